/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * host: the BPF programs, compiled for this machine with the kernel played by this file: maps, ring buffer, the memory
 * and the threads of a target, and uprobes that put a trampoline into the slots of return addresses.
 *
 * The whole text of domtrace.bpf.c is in here, so tests call its programs, or any part of it, as functions. A row that a
 * program has deleted or replaced is freed at once, so that AddressSanitizer sees a later use.
 */
#ifndef TEST_HOST_H
#define TEST_HOST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>
#include <uthash.h>

#define __TARGET_ARCH_x86
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wshadow"               /* maps are global here */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  /* a helper returns no error above 0, which gcc cannot know */
#include "bpf/domtrace.bpf.c"
#pragma GCC diagnostic pop

/* ---- faults ------------------------------------------------------------------------------------------------- */

enum host_operation { HOST_LOOKUP, HOST_UPDATE, HOST_DELETE, HOST_POP, HOST_STORAGE, HOST_RING, HOST_READ_KERNEL };

/* The n-th of these operations on `map` from now on fails, or finds the world changed by `before`. */
static struct host_trap {
	enum host_operation operation;
	const void *map;
	unsigned int nth;
	int error;
	void (*before)(void);
} host_trap;

static inline int host_sprung(enum host_operation operation, const void *map)
{
	struct host_trap trap = host_trap;

	if (!trap.nth || trap.operation != operation || trap.map != map || --host_trap.nth)
		return 0;
	if (trap.before)
		trap.before();
	return trap.error;
}

/* ---- maps --------------------------------------------------------------------------------------------------- */

struct host_row {
	UT_hash_handle hh;
	uint8_t data[];                 /* key, then value at a multiple of 8 */
};

struct host_map {
	const void *map;
	size_t rows_max, value_offset;
	struct host_row *rows;
};

#define HOST_MAPS_MAX 32

static struct host_map host_maps[HOST_MAPS_MAX];

static inline struct host_map *host_map(const struct host_definition *definition)
{
	struct host_map *map = host_maps;

	for (; map->map; map++)
		if (map->map == definition->map)
			return map;
	assert_true(map < host_maps + HOST_MAPS_MAX - 1);
	*map = (struct host_map){ definition->map, definition->rows, (definition->key_bytes + 7) / 8 * 8, NULL };
	return map;
}

#define host_rows_max(definition) (host_map(HOST_MAP(definition))->rows_max)
#define host_row_count(definition) HASH_COUNT(host_map(HOST_MAP(definition))->rows)
#define host_row_key(row) ((const void *)(row)->data)
#define host_row_value(definition, row) ((void *)((row)->data + host_map(HOST_MAP(definition))->value_offset))

static inline void *host_row_put(struct host_map *map, const struct host_definition *definition, const void *key, const void *value)
{
	struct host_row *row = calloc(1, sizeof(*row) + map->value_offset + definition->value_bytes);

	assert_non_null(row);
	memcpy(row->data, key, definition->key_bytes);
	if (value)
		memcpy(row->data + map->value_offset, value, definition->value_bytes);
	HASH_ADD_KEYPTR(hh, map->rows, row->data, definition->key_bytes, row);
	return row->data + map->value_offset;
}

/* Maps that have all their rows from the beginning. */
static inline bool is_array(size_t type)
{
	return type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_ARRAY || type == BPF_MAP_TYPE_ARRAY_OF_MAPS;
}

static void *host_lookup(const struct host_definition *definition, const void *key)
{
	struct host_map *map = host_map(definition);
	struct host_row *row;

	if (host_sprung(HOST_LOOKUP, definition->map))
		return NULL;
	HASH_FIND(hh, map->rows, key, definition->key_bytes, row);
	if (row)
		return row->data + map->value_offset;
	if (is_array(definition->type) && *(const __u32 *)key < definition->rows)
		return host_row_put(map, definition, key, NULL);
	return NULL;
}

static long host_update(const struct host_definition *definition, const void *key, const void *value, __u64 flags)
{
	int error = host_sprung(HOST_UPDATE, definition->map);
	struct host_map *map = host_map(definition);
	struct host_row *row;

	HASH_FIND(hh, map->rows, key, definition->key_bytes, row);
	if (row && flags == BPF_NOEXIST)
		return -EEXIST;
	if (!row && flags == BPF_EXIST)
		return -ENOENT;
	if (!row && HASH_COUNT(map->rows) >= map->rows_max)
		return -E2BIG;
	if (error)
		return error;
	host_row_put(map, definition, key, value);
	if (row) {
		HASH_DEL(map->rows, row);
		free(row);
	}
	return 0;
}

static long host_delete(const struct host_definition *definition, const void *key)
{
	int error = host_sprung(HOST_DELETE, definition->map);
	struct host_map *map = host_map(definition);
	struct host_row *row;

	HASH_FIND(hh, map->rows, key, definition->key_bytes, row);
	if (!row || error)
		return error ? error : -ENOENT;
	HASH_DEL(map->rows, row);
	free(row);
	return 0;
}

/* Slots of images that are free; the last one is given out first. */
static __u32 host_free_slots[DT_PROCESSES_MAX];
static size_t host_free_slot_count;

static long bpf_map_pop_elem(const void *map, void *value)
{
	int error = host_sprung(HOST_POP, map);

	assert_true(map == &free_slots);
	if (error || !host_free_slot_count)
		return error ? error : -ENOENT;
	memcpy(value, &host_free_slots[--host_free_slot_count], sizeof(__u32));
	return 0;
}

/* ---- the ring buffer ---------------------------------------------------------------------------------------- */

struct host_record {
	struct host_record *next;
	size_t size;
	uint64_t data[];
};

static struct host_record *host_records, **host_records_end = &host_records;
static bool host_ring_is_full;

static void *bpf_ringbuf_reserve(void *map, __u64 size, __u64 flags)
{
	struct host_record *record;

	assert_true(map == (void *)&events && !flags);
	if (host_ring_is_full || host_sprung(HOST_RING, map))
		return NULL;
	record = malloc(sizeof(*record) + size);
	assert_non_null(record);
	record->size = size;
	record->next = NULL;
	memset(record->data, 0xa5, size); /* whatever was there before */
	return record->data;
}

static void bpf_ringbuf_submit(void *data, __u64 flags)
{
	assert_int_equal(flags, 0);
	*host_records_end = (struct host_record *)((char *)data - offsetof(struct host_record, data));
	host_records_end = &(*host_records_end)->next;
}

static long bpf_ringbuf_output(void *map, const void *data, __u64 size, __u64 flags)
{
	void *to = bpf_ringbuf_reserve(map, size, flags);

	if (!to)
		return -EAGAIN;
	memcpy(to, data, size);
	bpf_ringbuf_submit(to, 0);
	return 0;
}

/* The n-th record of this type (enum dt_event_type); NULL: there are fewer. */
static inline const void *host_event(__u32 type, unsigned int n)
{
	for (const struct host_record *record = host_records; record; record = record->next) {
		const struct dt_event *event = (const void *)record->data;

		if (event->type == type && !n--)
			return event;
	}
	return NULL;
}

/* Userspace has read all. */
static inline void host_drain(void)
{
	while (host_records) {
		struct host_record *record = host_records;

		host_records = record->next;
		free(record);
	}
	host_records_end = &host_records;
}

/* ---- the target: memory and threads ---------------------------------------------------------------------------- */

#define HOST_RANGES_MAX 64
#define HOST_STACK_WORDS 512
#define HOST_STACK(number) (0x7ffc00000000ull + (number) * 0x100000ull) /* lowest address of a thread's stack */
#define HOST_TRAMPOLINE 0x7ffff7fff000ull
#define HOST_ALLOCATOR 0x7f1234000000ull /* code from here on is of a file that allocates; below, it is the program's */

static struct { __u64 start, size; const void *bytes; } host_ranges[HOST_RANGES_MAX];
static size_t host_range_count;

static inline void host_memory(__u64 start, const void *bytes, size_t size)
{
	assert_true(host_range_count < HOST_RANGES_MAX);
	host_ranges[host_range_count].start = start;
	host_ranges[host_range_count].size = size;
	host_ranges[host_range_count++].bytes = bytes;
}

/* Where memory comes from instead, if it is set: 0, or an error. */
static long (*host_read)(void *to, __u32 size, __u64 address);

static long bpf_probe_read_user(void *to, __u32 size, const void *from)
{
	__u64 address = (uintptr_t)from;

	if (host_read)
		return host_read(to, size, address);
	for (size_t i = 0; i < host_range_count; i++) {
		__u64 offset = address - host_ranges[i].start;

		if (address >= host_ranges[i].start && offset <= host_ranges[i].size && size <= host_ranges[i].size - offset) {
			memcpy(to, (const char *)host_ranges[i].bytes + offset, size);
			return 0;
		}
	}
	memset(to, 0, size);
	return -EFAULT;
}

static long bpf_probe_read_user_str(void *to, __u32 size, const void *from)
{
	char *text = to;

	for (__u32 i = 0; i < size; i++) {
		if (i + 1 == size)
			text[i] = '\0';
		else if (bpf_probe_read_user(&text[i], 1, (const char *)from + i))
			return -EFAULT;
		if (!text[i])
			return i + 1;
	}
	return 0;
}

static long bpf_copy_from_user(void *to, __u32 size, const void *from)
{
	return bpf_probe_read_user(to, size, from);
}

/* What others do while a program waits, once for each turn; not 0: the thread is being killed. */
static long (*host_wait)(void);

static long bpf_copy_from_user_task(void *to, __u32 size, const void *from, struct task_struct *task, __u64 flags)
{
	long killed = host_wait ? host_wait() : 0;

	assert_true(task == bpf_get_current_task_btf() && !flags);
	return killed ? killed : bpf_probe_read_user(to, size, from);
}

struct host_thread {
	struct task_struct task;
	__u32 tgid;
	__u64 lowest;                   /* address of its stack */
	__u64 stack[HOST_STACK_WORDS];
	__u64 returns[HOST_STACK_WORDS]; /* what stood in the slots before the trampoline */
	enum dt_site sites[HOST_STACK_WORDS]; /* whose returns are awaited there */
	bool has_storage;
	struct dt_thread storage;
	struct marker_wait wait;
};

#define HOST_THREADS_MAX 8

static struct host_thread host_threads[HOST_THREADS_MAX], *host_current = host_threads;
static struct sighand_struct host_sighand;
static __u64 host_frame_pointer, host_cookie, host_function;
static bool host_has_sessions;          /* uprobe sessions: an entry may do without its return */
static __u32 host_signal;
static __u32 host_namespace_tgid;
static char host_comm[DT_COMM_BYTES];
static __u32 host_uid;
static __u64 host_cgroups[8];           /* numbers, from the root on */

static struct task_struct *bpf_get_current_task_btf(void)
{
	return &host_current->task;
}

/* The kernel's own list of what is mapped. */
static struct vm_area_struct host_areas[8];
static size_t host_area_count;
static int host_areas_busy_for;         /* another thread is changing it for so many looks */

static long bpf_find_vma(struct task_struct *task, __u64 address, long (*note)(struct task_struct *, struct vm_area_struct *, void *),
			 void *context, __u64 flags)
{
	assert_ptr_equal(task, &host_current->task);
	assert_int_equal(flags, 0);
	if (host_areas_busy_for) {
		host_areas_busy_for--;
		return -EBUSY;
	}
	for (size_t i = 0; i < host_area_count; i++)
		if (address - host_areas[i].vm_start < host_areas[i].vm_end - host_areas[i].vm_start) {
			note(task, &host_areas[i], context);
			return 0;
		}
	return -ENOENT;
}

static __u32 host_cpu;

static __u32 bpf_get_smp_processor_id(void)
{
	return host_cpu;
}

static __u64 bpf_get_current_pid_tgid(void)
{
	return (__u64)host_current->tgid << 32 | (host_current->tgid + (__u32)(host_current - host_threads));
}

static long bpf_get_ns_current_pid_tgid(__u64 device, __u64 inode, struct bpf_pidns_info *info, __u32 size)
{
	assert_int_equal(size, sizeof(*info));
	if (device != 4 || inode != 4026531836 || !host_namespace_tgid)
		return -EINVAL;
	info->tgid = info->pid = host_namespace_tgid;
	return 0;
}

/* How often preemption is deferred just now, and has been. */
static int host_deferred, host_deferrals;

void bpf_preempt_disable(void)
{
	host_deferred++;
	host_deferrals++;
}

void bpf_preempt_enable(void)
{
	host_deferred--;
}

static void *host_task_storage(const void *map, __u64 flags)
{
	assert_true(map == &threads || map == &marker_waits);
	assert_int_equal(host_deferred, config.defers_preemption);
	if (host_sprung(HOST_STORAGE, map))
		return NULL;
	if (map == &marker_waits)
		return &host_current->wait;
	if (!host_current->has_storage) {
		if (!(flags & BPF_LOCAL_STORAGE_GET_F_CREATE))
			return NULL;
		host_current->has_storage = true;
		host_current->storage = (struct dt_thread){ 0 };
	}
	return &host_current->storage;
}

static long bpf_probe_read_kernel(void *to, __u32 size, const void *address)
{
	int error = host_sprung(HOST_READ_KERNEL, NULL);

	if (error)
		memset(to, 0, size);
	else
		memcpy(to, address, size);
	return error;
}

static long bpf_get_current_comm(void *to, __u32 size)
{
	assert_int_equal(size, sizeof(host_comm));
	memcpy(to, host_comm, size);
	return 0;
}

static __u64 bpf_get_current_uid_gid(void)
{
	return 77ull << 32 | host_uid;
}

static __u64 bpf_get_current_ancestor_cgroup_id(int level)
{
	return level >= 0 && level < 8 ? host_cgroups[level] : 0;
}

static __u64 bpf_get_attach_cookie(struct pt_regs *ctx)
{
	(void)ctx;
	return host_cookie;
}

static __u64 bpf_get_func_ip(struct pt_regs *ctx)
{
	(void)ctx;
	return host_function;
}

static __u64 host_time_ns;

static __u64 bpf_ktime_get_ns(void)
{
	return host_time_ns;
}

static long bpf_send_signal_thread(__u32 signal)
{
	host_signal = signal;
	return 0;
}

static long bpf_loop(__u32 count, long (*step)(__u32 index, void *context), void *context, __u64 flags)
{
	__u32 i = 0;

	assert_int_equal(flags, 0);
	while (i < count)
		if (step(i++, context))
			break;
	return i;
}

/* ---- calls of the target ------------------------------------------------------------------------------------------ */

static inline __u64 *host_slot(__u64 stack)
{
	assert_true(stack >= host_current->lowest && stack < host_current->lowest + sizeof(host_current->stack) && !(stack & 7));
	return &host_current->stack[(stack - host_current->lowest) / 8];
}

static __u64 host_fourth_argument;

/* A call instruction: the return address goes to `stack`. 0: a jump, the slot keeps what it holds (a tail call). */
static inline struct pt_regs host_call_instruction(__u64 stack, __u64 return_address, __u64 a, __u64 b, __u64 c)
{
	struct pt_regs registers = { .rip = host_function = HOST_ALLOCATOR + 0x500000, .rsp = stack, .rbp = host_frame_pointer,
				     .rdi = a, .rsi = b, .rdx = c, .rcx = host_fourth_argument };

	if (return_address) {
		*host_slot(stack) = return_address;
		host_current->returns[(stack - host_current->lowest) / 8] = return_address;
	}
	return registers;
}

/* Enters a function of the malloc family. The kernel awaits its return, unless a session does without. */
static inline void host_enter(enum dt_site site, __u64 stack, __u64 return_address, __u64 a, __u64 b, __u64 c)
{
	struct pt_regs registers = host_call_instruction(stack, return_address, a, b, c);
	int skip;

	host_cookie = site;
	skip = host_has_sessions ? alloc_session(&registers) : alloc_enter(&registers);
	if (skip && host_has_sessions)
		return;
	*host_slot(stack) = HOST_TRAMPOLINE;
	host_current->sites[(stack - host_current->lowest) / 8] = site;
}

static inline void host_leave(__u64 stack, __u64 result)
{
	struct pt_regs registers = { .rip = host_current->returns[(stack - host_current->lowest) / 8], .rsp = stack + 8,
				     .rbp = host_frame_pointer, .rax = result };

	if (*host_slot(stack) != HOST_TRAMPOLINE)
		return;                 /* the kernel does not see this return */
	host_cookie = host_current->sites[(stack - host_current->lowest) / 8];
	if (host_has_sessions)
		alloc_session(&registers);
	else
		alloc_exit(&registers);
}

static inline void host_free_by(enum dt_site site, __u64 stack, __u64 return_address, __u64 address)
{
	bool is_second = sites[site].block == 1;
	struct pt_regs registers = host_call_instruction(stack, return_address, is_second ? 0 : address, is_second ? address : 0, 0);

	host_cookie = site;
	free_enter(&registers);
}

static inline void host_free(__u64 stack, __u64 return_address, __u64 address)
{
	host_free_by(DT_SITE_free, stack, return_address, address);
}

static inline void host_track(__u64 stack, __u64 return_address, __u32 domain, __u64 address, __u64 bytes)
{
	struct pt_regs registers = host_call_instruction(stack, return_address, domain, address, bytes);

	host_cookie = DT_SITE_PyTraceMalloc_Track;
	track_enter(&registers);
}

static inline void host_untrack(__u64 stack, __u64 return_address, __u32 domain, __u64 address)
{
	struct pt_regs registers = host_call_instruction(stack, return_address, domain, address, 0);

	host_cookie = DT_SITE_PyTraceMalloc_Untrack;
	untrack_enter(&registers);
}

/* ---- the tables ------------------------------------------------------------------------------------------------------ */

static inline __u64 host_counter(enum dt_counter counter)
{
	__u32 key = counter;

	return *(__u64 *)bpf_map_lookup_elem(&counters, &key);
}

/* The image that a process runs; NULL: it is not traced. */
static inline struct dt_process_state *host_image(__u32 tgid)
{
	const __u32 *slot = bpf_map_lookup_elem(&processes, &tgid);

	return slot ? &process_states[*slot] : NULL;
}

static inline __u32 host_slot_of(__u32 tgid)
{
	return (__u32)(host_image(tgid) - process_states);
}

/* What is known of its program. */
static inline struct dt_process *host_process(__u32 tgid)
{
	const struct dt_process_state *state = host_image(tgid);

	return state ? &process_rows[state->row] : NULL;
}

/* Userspace takes a slot for a process that runs already, and shows its program. */
static inline void host_put_process(__u32 tgid, const struct dt_process *process)
{
	struct dt_process_state *state;
	__u32 slot;

	assert_int_equal(bpf_map_pop_elem(&free_slots, &slot), 0);
	state = &process_states[slot];
	*state = (struct dt_process_state){
		.tgid = tgid, .row = DT_PROCESS_ROW_NEW + 1 + slot, .phase = DT_IMAGE_RUNS, .generation = 1, .image = ++image_count,
	};
	process_rows[state->row] = *process;
	assert_int_equal(bpf_map_update_elem(&processes, &tgid, &slot, BPF_NOEXIST), 0);
}

/* Userspace ends it: user/session/images.c, dt_images_end(). */
static inline void host_remove_process(__u32 tgid)
{
	struct dt_process_state *state = host_image(tgid);

	state->row = 0;
	state->phase = DT_IMAGE_ENDED;
	bpf_map_delete_elem(&processes, &tgid);
}

/* A new generation of its blocks: user/session/images.c, dt_images_clear(). */
static inline void host_clear(__u32 tgid)
{
	struct dt_process_state *state = host_image(tgid);

	state->generation = DT_SEGMENTS_NOW(image_segments(state, epoch)) + 1;
	epoch += DT_EPOCH_STEP;
}

/* The segment of an image, and its generation. */
static inline __u64 host_segments(__u32 tgid)
{
	return image_segments(host_image(tgid), epoch);
}

/* The number of the traceback that is this one return address, as it was sent; 0: it was not. */
static inline __u64 host_traceback(__u64 return_address)
{
	const struct dt_traceback_event *event;

	for (unsigned int i = 0; (event = host_event(DT_EVENT_TRACEBACK, i)); i++)
		if (event->frame_count == 1 && event->frames[0].where == return_address)
			return event->traceback;
	return 0;
}

/* The constants of the programs, writable as they are before load. */
static inline struct dt_config *host_config(void)
{
	uintptr_t start = (uintptr_t)&config & ~4095ul, end = (uintptr_t)(&config + 1);

	assert_int_equal(mprotect((void *)start, end - start, PROT_READ | PROT_WRITE), 0);
	return (struct dt_config *)(uintptr_t)&config;
}

#define HOST_TGID 100
#define HOST_LATE_SEGMENT ((1ull << 32) - (1 << 20)) /* so late that a session has ended before: user/session/clock.h */
#ifndef HOST_SLOTS
#define HOST_SLOTS 16                   /* that there are; fewer than in the kernel, so that they run out */
#endif

static inline int host_teardown(void **state)
{
	(void)state;
	for (struct host_map *map = host_maps; map->map; map++) {
		struct host_row *row, *next;

		HASH_ITER(hh, map->rows, row, next) {
			HASH_DEL(map->rows, row);
			free(row);
		}
		map->map = NULL;
	}
	host_drain();
	return 0;
}

/* No image is known; the first slot that is given out is not 0, nor is the number of its image the same. */
static inline void host_setup_images(void)
{
	memset(process_states, 0, sizeof(process_states));
	host_free_slot_count = 0;
	for (__u32 slot = 0; slot < HOST_SLOTS; slot++)
		host_free_slots[host_free_slot_count++] = slot * 7 % HOST_SLOTS;
	image_count = 100;
	image_news = 0;
	memset(known_codes, 0, sizeof(known_codes));
}

/* One traced process, whose threads are all of host_threads and whose code has no unwind tables; all else as after load. */
static inline int host_setup(void **state)
{
	struct dt_process process = { .mapping_count = 2, .mappings_version = 1 };

	(void)state;
	*host_config() = (struct dt_config){ .hash_seed = 0x0123456789abcdef, .frame_limit = DT_FRAME_LIMIT_DEFAULT, .scratch_count = DT_SCRATCHES_MIN,
		.awaits_pages = 1 };
	epoch = peak_zero = traces_full_ns = reading = reading_kept = reading_lost = 0;
	spare_rows = spare_rows_max = rows_made = 0;
	rows_ask = DT_ROWS_ASKED;
	live_more_count = 0;
	host_setup_images();
	memset(process_rows, 0, 64 * sizeof(process_rows[0]));
	memset(mappings, 0, sizeof(mappings));
	memset(unwind_rules, 0, sizeof(unwind_rules));
	mappings[0].end = mappings[1].start = HOST_ALLOCATOR;
	mappings[1].end = 1ull << 47;
	mappings[1].flags = DT_MAPPING_ALLOCATOR;
	unwind_rules[DT_UNWIND_RULE_CHAIN].cfa = DT_CFA_CHAIN;
	host_time_ns = 1000000000;
	host_trap = (struct host_trap){ 0 };
	turn = markers_read = markers_closed = 0;
	markers_life_ns = markers_dead_ns = 0;
	memset(&marker, 0, sizeof(marker));
	host_wait = NULL;
	host_ring_is_full = host_has_sessions = false;
	host_cpu = 0;
	host_frame_pointer = host_range_count = 0;
	host_signal = host_namespace_tgid = host_uid = 0;
	host_area_count = 0;
	host_has_fields = 1;
	host_areas_busy_for = 0;
	memset(file_sets, 0, sizeof(file_sets));
	memset(host_comm, 0, sizeof(host_comm));
	memset(host_cgroups, 0, sizeof(host_cgroups));
	memset(host_threads, 0, sizeof(host_threads));
	memset(&host_sighand, 0, sizeof(host_sighand));
	for (__u64 i = 0; i < HOST_THREADS_MAX; i++) {
		struct host_thread *thread = &host_threads[i];

		thread->tgid = HOST_TGID;
		thread->task.tgid = HOST_TGID;
		thread->task.sighand = &host_sighand;
		thread->task.thread.fsbase = 0x7f0000000000ull + i * 0x10000;
		thread->lowest = HOST_STACK(i);
		host_memory(thread->lowest, thread->stack, sizeof(thread->stack));
	}
	host_current = host_threads;
	host_put_process(HOST_TGID, &process);
	return 0;
}

#define host_test(test) cmocka_unit_test_setup_teardown(test, host_setup, host_teardown)

#endif
