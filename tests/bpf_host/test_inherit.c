/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What forked children inherit: random histories of forks, execs, exits and clears against a model that copies a parent's blocks
 * at every fork, as a kernel copies memory. Few addresses, so that they are used again and again, in parents and in children; few
 * slots, so that they run out; rows of blocks are removed, reused or kept. The clock is stepped in between, also by snapshots: what is
 * old at the moment of one, and of which sizes all was, is read while the history goes on.
 *
 * What userspace makes of the rows is its own code (user/session/inherit.c, reading_rows.c), which reads these tables in place of the kernel's.
 */
#include "books.h"
#include "session/reading.h"
#include "session/images.h"
#include "session/inherit.h"
#include "session/live.h"
#include "session/session.h"

#define PROCESSES 6
#define DOMAINS 2
#define ADDRESSES 8
#define CALLERS 3
#define DEPTH_MAX 7                     /* below DT_ANCESTORS_MAX */
#define NUMPY 389047
#define SEEDS 1500
#define STEPS 600

struct block {
	bool is_live, is_own;           /* own: allocated by the image itself */
	__u64 bytes;
	int caller;
	__u32 born;                     /* segment, in whichever image */
};

struct sum {
	__u64 allocations, allocated_bytes, frees, freed_bytes;
};

struct image {
	bool is_used, has_ended;
	bool is_let_go;                 /* replaced, and nobody's parent: it is in no snapshot, and let go of what it inherited */
	int process;
	__u32 number, generation, depth;
	bool is_heir;
	__u32 parent;                   /* slot */
	__u32 heirs;
	struct block blocks[DOMAINS][ADDRESSES];
	struct block inherited[DOMAINS][ADDRESSES];
	struct sum sums[DOMAINS][1 + CALLERS]; /* all, by caller */
};

static struct image images[HOST_SLOTS];
static struct {
	bool runs;
	__u32 tgid;
} running[PROCESSES];
static struct mm_struct memories[PROCESSES];
static struct signal_struct signals[PROCESSES];
static __u64 numbers[CALLERS];
static __u64 counted[DT_COUNTER_COUNT];
static __u32 next_tgid;
static size_t used_slots;
static struct {
	__u32 depth, past;              /* the deepest image; the most blocks that were kept of one address */
	__u64 hiding;                   /* rows that hide what was inherited */
	__u64 readings, old, sized, kept, gone, inexact; /* of old blocks, and of all: how many; of those that died meanwhile, those that were kept */
	__u64 counted[DT_COUNTER_COUNT];
} seen;
static __u64 random_state;

static __u32 random_below(__u32 limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (__u32)(random_state >> 32) % limit;
}

static bool one_in(__u32 n)
{
	return !random_below(n);
}

static __u64 address_of(int index)
{
	return 0x55a000000000 + (__u64)(index + 1) * 16;
}

static __u64 caller_of(int index)
{
	return 0x555500000123 + (__u64)index * 0x111;
}

/* ---- the model ------------------------------------------------------------------------------------------------------- */

static struct image *image_of(int process)
{
	return &images[host_slot_of(running[process].tgid)];
}

static void book_end(struct image *image, int domain, struct block *block)
{
	struct sum *both[] = { &image->sums[domain][0], &image->sums[domain][1 + block->caller] };

	for (int i = 0; i < 2; i++) {
		both[i]->frees++;
		both[i]->freed_bytes += block->bytes;
	}
	block->is_live = false;
}

static void book_birth(struct image *image, int domain, int address, __u64 bytes, int caller)
{
	struct sum *both[] = { &image->sums[domain][0], &image->sums[domain][1 + caller] };

	for (int i = 0; i < 2; i++) {
		both[i]->allocations++;
		both[i]->allocated_bytes += bytes;
	}
	image->blocks[domain][address] = (struct block){ true, true, bytes, caller,
		DT_SEGMENTS_NOW(image_segments(&process_states[image - images], epoch)) };
}

static void begin_image(__u32 slot, int process)
{
	struct image *image = &images[slot];

	assert_false(image->is_used);
	*image = (struct image){ .is_used = true, .process = process, .number = process_states[slot].image, .generation = 1 };
	used_slots++;
}

static void inherit(struct image *heir, __u32 parent)
{
	heir->is_heir = true;
	heir->parent = parent;
	heir->depth = images[parent].depth + 1;
	seen.depth = heir->depth > seen.depth ? heir->depth : seen.depth;
	memcpy(heir->blocks, images[parent].blocks, sizeof(heir->blocks));
	for (int domain = 0; domain < DOMAINS; domain++)
		for (int i = 0; i < ADDRESSES; i++)
			heir->blocks[domain][i].is_own = false;
	memcpy(heir->inherited, heir->blocks, sizeof(heir->blocks));
	images[parent].heirs++;
}

/* ---- steps: the same thing to the programs and to the model --------------------------------------------------------------- */

static __u64 stack_of(int process)
{
	return HOST_STACK((__u64)process) + 2048;
}

/* An address that the allocator may give out; seldom one whose free was missed. */
static int pick_free(struct image *image, int domain)
{
	int start = (int)random_below(ADDRESSES);
	bool misses = one_in(30);

	for (int i = 0; i < ADDRESSES; i++) {
		const struct block *block = &image->blocks[domain][(start + i) % ADDRESSES];

		if (!block->is_live || (misses && block->is_own))
			return (start + i) % ADDRESSES;
	}
	return -1;
}

static void add(struct image *image, int domain, int address, __u64 bytes, int caller)
{
	struct block *block = &image->blocks[domain][address];

	if (block->is_live) {
		counted[DT_COUNTER_missed_frees] += domain == 0;
		book_end(image, domain, block);
	}
	book_birth(image, domain, address, bytes, caller);
}

static void step_allocate(int process)
{
	int domain = (int)random_below(DOMAINS), caller = (int)random_below(CALLERS);
	struct image *image = image_of(process);
	int address = pick_free(image, domain);
	__u64 bytes = 1 + random_below(1000);

	if (address < 0)
		return;
	add(image, domain, address, bytes, caller);
	if (domain) {
		host_track(stack_of(process), caller_of(caller), NUMPY, address_of(address), bytes);
	} else {
		host_enter(DT_SITE_malloc, stack_of(process), caller_of(caller), bytes, 0, 0);
		host_leave(stack_of(process), address_of(address));
	}
}

static void step_free(int process)
{
	int domain = (int)random_below(DOMAINS), address = (int)random_below(ADDRESSES);
	struct image *image = image_of(process);
	struct block *block = &image->blocks[domain][address];

	if (block->is_live)
		book_end(image, domain, block);
	else
		counted[DT_COUNTER_unmatched_frees]++;
	if (domain)
		host_untrack(stack_of(process), caller_of(0), NUMPY, address_of(address));
	else
		host_free(stack_of(process), caller_of(0), address_of(address));
}

static void step_reallocate(int process)
{
	int address = (int)random_below(ADDRESSES), caller = (int)random_below(CALLERS), to = -1;
	struct image *image = image_of(process);
	struct block *block = &image->blocks[0][address], old = *block;
	__u64 bytes = 1 + random_below(1000);

	if (!one_in(3)) {
		block->is_live = false;
		to = one_in(2) ? address : pick_free(image, 0);
		block->is_live = old.is_live;
	}
	if (to >= 0) {
		if (old.is_live)
			book_end(image, 0, block);
		else
			counted[DT_COUNTER_unmatched_frees]++;
		add(image, 0, to, bytes, caller);
	} else {
		counted[DT_COUNTER_failed_allocations]++;
	}
	host_enter(DT_SITE_realloc, stack_of(process), caller_of(caller), address_of(address), bytes, 0);
	host_leave(stack_of(process), to < 0 ? 0 : address_of(to));
}

static void prepare_thread(int process, __u32 tgid)
{
	struct host_thread *thread = &host_threads[process];

	running[process].runs = true;
	running[process].tgid = tgid;
	thread->tgid = tgid;
	thread->task.tgid = (int)tgid;
	thread->task.mm = &memories[process];
	thread->task.signal = &signals[process];
	thread->has_storage = false;
	signals[process].nr_threads = 1;
	signals[process].live.counter = 1;
}

static void step_fork(int process)
{
	__u32 parent = host_slot_of(running[process].tgid);
	__u64 context[2] = { (uintptr_t)&host_threads[process].task };
	int child = 0;

	while (child < PROCESSES && running[child].runs)
		child++;
	if (child == PROCESSES || images[parent].depth == DEPTH_MAX)
		return;
	prepare_thread(child, one_in(2) ? HOST_TGID + (__u32)child : ++next_tgid); /* a pid that was another's before, or a new one */
	context[1] = (uintptr_t)&host_threads[child].task;
	process_fork(context);
	if (used_slots == HOST_SLOTS) {
		counted[DT_COUNTER_processes_full]++;
		running[child].runs = false;
		assert_null(host_image(running[child].tgid));
		return;
	}
	begin_image(host_slot_of(running[child].tgid), child);
	inherit(image_of(child), parent);
}

static void end_replaced(struct image *image)
{
	image->has_ended = true;
	if (!image->is_heir || image->heirs)
		return;
	image->is_let_go = true;
	image->is_heir = false;
	images[image->parent].heirs--;
}

static void step_exec(int process)
{
	__u64 context[1] = { (uintptr_t)&host_threads[process].task };

	end_replaced(image_of(process));
	process_exec(context);
	if (used_slots == HOST_SLOTS) {
		counted[DT_COUNTER_processes_full]++;
		running[process].runs = false;
		assert_null(host_image(running[process].tgid));
		return;
	}
	begin_image(host_slot_of(running[process].tgid), process);
}

static void step_exit(int process)
{
	__u64 context[1] = { (uintptr_t)&host_threads[process].task };
	int count = 0;

	for (int i = 0; i < PROCESSES; i++)
		count += running[i].runs;
	if (count == 1)
		return;
	image_of(process)->has_ended = true;
	signals[process].live.counter = 0;
	process_exit(context);
	running[process].runs = false;
	assert_null(host_image(running[process].tgid));
}

static void step_clear(int process)
{
	struct image *image = image_of(process);

	host_clear(running[process].tgid);
	image->generation = host_image(running[process].tgid)->generation;
	memset(image->blocks, 0, sizeof(image->blocks));
	memset(image->sums, 0, sizeof(image->sums));
}

/* Rows of a slot, whose owners are the first word of every key. */
#define remove_rows(definition, slot) \
	do { \
		struct host_row *row_, *next_; \
		HASH_ITER(hh, host_map(HOST_MAP(definition))->rows, row_, next_) \
			if ((*(const __u32 *)host_row_key(row_) & DT_OWNER_SLOT_MASK) == (slot)) \
				bpf_map_delete_elem(definition, host_row_key(row_)); \
	} while (0)

/* Userspace forgets the blocks that were kept for heirs where there are none any more: user/session/collect.c. */
static void sweep_past(void)
{
	struct host_row *row, *next;

	HASH_ITER(hh, host_map(HOST_MAP(&past))->rows, row, next)
		if (!images[*(const __u32 *)host_row_key(row) & DT_OWNER_SLOT_MASK].heirs)
			bpf_map_delete_elem(&past, host_row_key(row));
}

/* Userspace takes back the slots of images that have ended and have no heirs: user/session/sweep.c. */
static bool is_reading;

static bool sweep_one(void)
{
	for (__u32 slot = 0; slot < HOST_SLOTS; slot++) {
		struct host_row *row, *next;

		if (!images[slot].is_used || !images[slot].has_ended || images[slot].heirs)
			continue;
		assert_int_equal(process_states[slot].heirs, 0);
		assert_int_not_equal(process_states[slot].phase, DT_IMAGE_RUNS);
		HASH_ITER(hh, host_map(HOST_MAP(&live))->rows, row, next)
			if ((*(const __u32 *)host_row_key(row) & DT_OWNER_SLOT_MASK) == slot)
				spare_rows -= DT_SPAN_DIED(((const struct dt_block *)host_row_value(&live, row))->span) != 0;
		remove_rows(&live, slot);
		remove_rows(&past, slot);
		remove_rows(&traces, slot);
		remove_rows(&totals, slot);
		if (images[slot].is_heir) {
			images[images[slot].parent].heirs--;
			process_states[images[slot].parent].heirs--;
		}
		process_states[slot] = (struct dt_process_state){ 0 };
		host_free_slots[host_free_slot_count++] = slot;
		images[slot].is_used = false;
		used_slots--;
		return true;
	}
	return false;
}

static void step(void)
{
	int process = (int)random_below(PROCESSES);

	if (!running[process].runs)
		return;
	if (one_in(8))
		epoch += one_in(4) && !is_reading ? DT_EPOCH_STEP * random_below(3) : DT_EPOCH_STEP;
	host_current = &host_threads[process];
	switch (random_below(32)) {
	case 0: case 1:
		step_fork(process);
		break;
	case 2:
		step_exit(process);
		break;
	case 3:
		if (one_in(3))
			step_exec(process);
		break;
	case 4:
		if (one_in(6) && !is_reading)
			step_clear(process);
		break;
	case 5:
		if (one_in(4) && !is_reading)
			while (sweep_one())
				sweep_past();
		break;
	case 6: case 7: case 8: case 9: case 10: case 11:
		step_reallocate(process);
		break;
	case 12: case 13: case 14: case 15: case 16: case 17: case 18: case 19: case 20: case 21:
		step_free(process);
		break;
	default:
		step_allocate(process);
	}
}

static struct dt_session session;
static const __u64 no_bpf[8192];       /* in place of the skeleton */

/* ---- comparison ---------------------------------------------------------------------------------------------------------- */

/* Userspace, in place of what would ask the kernel (user/session/images.c, live.c, table.c, tracebacks.c). */
struct dt_process_state *dt_images_state(struct domtrace_bpf *bpf, uint32_t slot)
{
	(void)bpf;
	return &process_states[slot];
}

static void go_on(__u32 steps)
{
	for (__u32 i = 0; is_reading && i < steps; i++)
		step();
}

/* Rows that are there from the beginning to the end are read once, as they are then; others may be. */
static int each_row(const struct host_map *map, size_t key_size, dt_table_fn fn, void *context)
{
	size_t count, i = 0;
	int error = 0;
	char *keys;

	go_on(random_below(8));
	count = HASH_COUNT(map->rows);
	keys = malloc((count + 1) * key_size);
	for (struct host_row *row = map->rows; row; row = row->hh.next)
		memcpy(keys + i++ * key_size, row->data, key_size);
	for (i = 0; i < count && !error; i++) {
		struct dt_block copy;
		struct host_row *row;

		HASH_FIND(hh, map->rows, keys + i * key_size, key_size, row);
		if (!row)
			continue;
		memcpy(&copy, row->data + map->value_offset, sizeof(copy));
		error = fn(context, keys + i * key_size, &copy);
		if (one_in(6))
			go_on(2);
	}
	free(keys);
	return error;
}

int dt_live_each(const struct dt_live *table, dt_table_fn fn, void *context)
{
	(void)table;
	return each_row(host_map(HOST_MAP(&live)), sizeof(struct dt_block_key), fn, context);
}

int dt_table_each(int fd, size_t key_size, size_t value_size, dt_table_fn fn, void *context)
{
	assert_true(fd < 0);            /* that of no map: it is the table of past blocks which is asked for */
	assert_int_equal(key_size, sizeof(struct dt_past_key));
	assert_int_equal(value_size, sizeof(struct dt_block));
	return each_row(host_map(HOST_MAP(&past)), sizeof(struct dt_past_key), fn, context);
}

uint64_t dt_reading_lost(const struct dt_session *unused)
{
	(void)unused;
	return reading_lost;
}

int dt_tracebacks_inherit(struct dt_tracebacks *tracebacks, uint32_t image, uint32_t parent, uint64_t traceback)
{
	(void)tracebacks, (void)image, (void)parent, (void)traceback;
	return 0;
}

static void compare_block(const struct block *want, const struct dt_block *is)
{
	if (!is != !want->is_live)
		fail_msg("a block of %llu bytes is %s", (unsigned long long)(is ? is->bytes & DT_BLOCK_BYTES_MASK : want->bytes),
			 is ? "there" : "missing");
	if (!is)
		return;
	assert_int_equal(is->bytes & DT_BLOCK_BYTES_MASK, want->bytes);
	assert_int_equal(is->traceback, numbers[want->caller]);
}

struct found {
	struct dt_block blocks[DOMAINS][ADDRESSES];
	bool is_there[DOMAINS][ADDRESSES];
	__u32 slot;
};

static int find(void *context, const struct dt_block_key *key, const struct dt_block *block)
{
	__u32 source = key->owner.process >> DT_OWNER_SOURCE_SHIFT, index = (__u32)((key->address - address_of(0)) / 16);
	struct found *found = context;

	assert_int_equal(key->owner.process & DT_OWNER_SLOT_MASK, found->slot);
	assert_true(source == DT_SOURCE_LIBC || source == DT_SOURCE_TRACEMALLOC);
	assert_int_equal(key->owner.domain, source == DT_SOURCE_LIBC ? 0 : NUMPY);
	assert_true(index < ADDRESSES);
	assert_false(found->is_there[source != DT_SOURCE_LIBC][index]);
	found->is_there[source != DT_SOURCE_LIBC][index] = true;
	found->blocks[source != DT_SOURCE_LIBC][index] = *block;
	return 0;
}

static struct dt_owner owner_of(__u32 slot, int domain)
{
	return (struct dt_owner){ slot | (__u32)(domain ? DT_SOURCE_TRACEMALLOC : DT_SOURCE_LIBC) << DT_OWNER_SOURCE_SHIFT,
				  domain ? NUMPY : 0 };
}

static void compare_blocks(const struct image *image, const struct found *inherited, int domain)
{
	for (int i = 0; i < ADDRESSES; i++) {
		struct dt_block_key key = { owner_of(inherited->slot, domain), address_of(i) };
		const struct dt_block *row = bpf_map_lookup_elem(&live, &key), *from = &inherited->blocks[domain][i];
		__u32 born = row ? DT_SPAN_BORN(row->span) : 0;

		/* What it inherited never changes, whatever its parent and all others have done since. */
		if (image->is_heir)
			compare_block(&image->inherited[domain][i], inherited->is_there[domain][i] ? from : NULL);
		if (row && (DT_SPAN_DIED(row->span) || (born ? born : 1) < image->generation))
			row = NULL;
		else if (!row && image->generation == 1 && inherited->is_there[domain][i])
			row = from;
		compare_block(&image->blocks[domain][i], row);
	}
}

static void compare_sums(const struct image *image, __u32 slot, int domain)
{
	for (int i = 0; i <= CALLERS; i++) {
		struct dt_trace_key key = { owner_of(slot, domain), i ? numbers[i - 1] : DT_TRACEBACK_TOTAL, image->generation, 0 };
		const struct dt_trace *row = i ? bpf_map_lookup_elem(&traces, &key) : bpf_map_lookup_elem(&totals, &key);
		const struct sum *want = &image->sums[domain][i];

		if (!row) {
			assert_int_equal(want->allocations | want->frees, 0);
			continue;
		}
		assert_int_equal(row->half[0].allocations + row->half[1].allocations, want->allocations);
		assert_int_equal(row->half[0].allocated_bytes + row->half[1].allocated_bytes, want->allocated_bytes);
		assert_int_equal(row->half[0].frees + row->half[1].frees, want->frees);
		assert_int_equal(row->half[0].freed_bytes + row->half[1].freed_bytes, want->freed_bytes);
		assert_int_equal(row->live_bytes, (__s64)(want->allocated_bytes - want->freed_bytes));
	}
}

static void compare(void)
{
	size_t dead = 0;

	for (__u32 slot = 0; slot < HOST_SLOTS; slot++) {
		const struct image *image = &images[slot];
		struct dt_traced traced = { .slot = slot, .image = image->number }, *list = &traced;
		struct found inherited = { .slot = slot };

		if (!image->is_used)
			continue;
		assert_int_equal(process_states[slot].image, image->number);
		assert_int_equal(process_states[slot].heirs, image->heirs);
		assert_int_equal(dt_inherit_each((struct domtrace_bpf *)(uintptr_t)no_bpf, NULL, &list, 1, find, &inherited), 0);
		for (int domain = 0; domain < DOMAINS; domain++) {
			if (!image->is_let_go)
				compare_blocks(image, &inherited, domain);
			compare_sums(image, slot, domain);
		}
	}
	for (struct host_row *row = host_map(HOST_MAP(&live))->rows; row; row = row->hh.next) {
		const struct dt_block *block = host_row_value(&live, row);

		dead += DT_SPAN_DIED(block->span) != 0;
		seen.past = block_past(block) > seen.past ? block_past(block) : seen.past;
		seen.hiding += (block->bytes & DT_BLOCK_HIDES) != 0;
	}
	assert_int_equal(spare_rows, dead);
	for (enum dt_counter counter = 0; counter < DT_COUNTER_COUNT; counter++)
		if (host_counter(counter) != counted[counter])
			fail_msg("counter %d is %llu, not %llu", (int)counter, (unsigned long long)host_counter(counter),
				 (unsigned long long)counted[counter]);
}

/* ---- readings ------------------------------------------------------------------------------------------------------------ */

#define CLASSES 64

struct read_sums {
	__u64 blocks[CLASSES], bytes[CLASSES], old_blocks, old_bytes;
};

/* What an image had of one traceback. */
static struct read_sums sums_of(const struct image *image, int domain, int caller, const struct dt_reading *read)
{
	struct read_sums sums = { .old_blocks = 0 };

	for (int i = 0; i < ADDRESSES; i++) {
		const struct block *block = &image->blocks[domain][i];
		unsigned number = 0;

		if (!block->is_live || block->caller != caller)
			continue;
		while (1ull << number < block->bytes)
			number++;
		sums.blocks[number] += read->sizes;
		sums.bytes[number] += read->sizes ? block->bytes : 0;
		sums.old_blocks += block->born <= read->born_until;
		sums.old_bytes += block->born <= read->born_until ? block->bytes : 0;
	}
	return sums;
}

static struct read_sums find_sums(const struct dt_owner *owner, __u64 traceback, const struct dt_reading *read)
{
	struct read_sums sums = { .old_blocks = 0 };

	for (size_t i = 0; i < read->count; i++) {
		const struct dt_blocks *blocks = &read->blocks[i];

		if (memcmp(&blocks->owner, owner, sizeof(*owner)) || blocks->traceback != traceback)
			continue;
		assert_true(blocks->size_class < CLASSES);
		assert_int_equal(sums.blocks[blocks->size_class], 0);
		sums.blocks[blocks->size_class] = blocks->blocks;
		sums.bytes[blocks->size_class] = blocks->bytes;
		sums.old_blocks += blocks->old_blocks;
		sums.old_bytes += blocks->old_bytes;
	}
	return sums;
}

static void compare_read(const struct image *image, __u32 slot, const struct dt_reading *is)
{
	for (int domain = 0; domain < DOMAINS; domain++)
		for (int caller = 0; caller < CALLERS; caller++) {
			struct dt_owner owner = owner_of(slot, domain);
			struct read_sums want = sums_of(image, domain, caller, is), found = find_sums(&owner, numbers[caller], is);

			if (found.old_blocks != want.old_blocks || found.old_bytes != want.old_bytes)
				fail_msg("image %u (slot %u, of process %d), domain %d, caller %d: %llu old blocks of %llu bytes, not %llu of %llu",
					 image->number, slot, image->process, domain, caller, (unsigned long long)found.old_blocks,
					 (unsigned long long)found.old_bytes, (unsigned long long)want.old_blocks,
					 (unsigned long long)want.old_bytes);
			for (unsigned i = 0; i < CLASSES; i++) {
				if (found.blocks[i] != want.blocks[i] || found.bytes[i] != want.bytes[i])
					fail_msg("image %u (slot %u, of process %d), domain %d, caller %d: %llu blocks of %llu bytes of class "
						 "%u, not %llu of %llu", image->number, slot, image->process, domain, caller,
						 (unsigned long long)found.blocks[i], (unsigned long long)found.bytes[i], i,
						 (unsigned long long)want.blocks[i], (unsigned long long)want.bytes[i]);
				seen.sized += want.blocks[i];
			}
			seen.old += want.old_blocks;
		}
}

/* A snapshot, of all images that there are then: what they had at its moment is read while they go on. */
static void read_blocks(void)
{
	static struct dt_traced traced[HOST_SLOTS];
	static struct image then[HOST_SLOTS];
	struct dt_traced *list[HOST_SLOTS];
	struct dt_reading read = { .begun = true, .ages = !one_in(4), .sizes = one_in(2) };
	size_t count = 0;

	read.moment = DT_EPOCH_SEGMENT(epoch);
	if (read.ages)
		read.born_until = read.moment > 40 && !one_in(8) ? read.moment - random_below(40) : random_below(read.moment + 1);
	reading = DT_SPAN(read.sizes ? read.moment : read.born_until, read.moment - (one_in(4) && read.moment ? 1 : 0));
	epoch += DT_EPOCH_TURN(epoch);
	memcpy(then, images, sizeof(then));
	for (__u32 slot = 0; slot < HOST_SLOTS; slot++)
		if (then[slot].is_used && !then[slot].is_let_go) {
			traced[slot] = (struct dt_traced){ .slot = slot, .image = then[slot].number, .generation = then[slot].generation,
							   .inherited_count = then[slot].is_heir };
			list[count++] = &traced[slot];
		}
	is_reading = true;
	assert_int_equal(dt_reading_read(&session, list, count, &read), 0);
	is_reading = false;
	for (__u32 slot = 0; slot < HOST_SLOTS && read.exact && (read.born_until || read.sizes); slot++)
		if (then[slot].is_used && !then[slot].is_let_go)
			compare_read(&then[slot], slot, &read);
	seen.readings++;
	seen.inexact += !read.exact;
	dt_reading_clear(&read);
	reading = 0;
	seen.gone += reading_kept;
	if (reading_kept)
		sweep_past();
	reading_kept = 0;
}

/* ---- histories ----------------------------------------------------------------------------------------------------------- */

static void start(__u64 seed)
{
	host_setup(NULL);
	host_config()->follow = DT_FOLLOW_CHILDREN;
	memset(images, 0, sizeof(images));
	memset(running, 0, sizeof(running));
	memset(counted, 0, sizeof(counted));
	used_slots = 0;
	next_tgid = 1000;
	spare_rows_max = (__s64)(seed % 3 * 7);
	random_state = seed * 0x9e3779b97f4a7c15;
	epoch = seed % 2 ? DT_EPOCH_STEP : DT_EPOCH_STEP * HOST_LATE_SEGMENT;
	session.bpf = (struct domtrace_bpf *)(uintptr_t)no_bpf;
	process_rows[DT_PROCESS_ROW_NEW] = *host_process(HOST_TGID); /* so that tracebacks are those of before an exec */
	prepare_thread(0, HOST_TGID);
	begin_image(host_slot_of(HOST_TGID), 0);
}

static void learn_numbers(void)
{
	start(1);
	for (int i = 0; i < CALLERS; i++) {
		host_track(stack_of(0), caller_of(i), NUMPY, address_of(0), 1);
		numbers[i] = host_traceback(caller_of(i));
	}
	host_teardown(NULL);
}

static void test_histories(void **state)
{
	(void)state;
	learn_numbers();
	for (__u64 seed = 1; seed <= SEEDS; seed++) {
		start(seed);
		for (int i = 1; i <= STEPS; i++) {
			step();
			if (i % 30 == 0)
				read_blocks();
			if (i % 20 == 0 || seed <= 50)
				compare();
		}
		for (int i = 0; i < DT_COUNTER_COUNT; i++)
			seen.counted[i] += counted[i];
		host_teardown(NULL);
	}
	/* They were histories in which everything happened. */
	assert_int_equal(seen.depth, DEPTH_MAX);
	assert_true(seen.past >= 3);
	assert_int_not_equal(seen.hiding, 0);
	assert_true(seen.old > 10000);
	assert_true(seen.sized > 10000);
	assert_true(seen.gone > 1000);
	assert_true(seen.inexact && seen.inexact < seen.readings / 4);
	assert_int_not_equal(seen.counted[DT_COUNTER_processes_full], 0);
	assert_int_not_equal(seen.counted[DT_COUNTER_missed_frees], 0);
	assert_int_not_equal(seen.counted[DT_COUNTER_unmatched_frees], 0);
	assert_int_not_equal(seen.counted[DT_COUNTER_failed_allocations], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
