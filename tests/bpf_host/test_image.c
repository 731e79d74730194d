/* SPDX-License-Identifier: BSD-2-Clause */
/* Images: who gets one at a fork or an exec, when it ends, and what happens to inherited blocks where there is no room. */
#define HOST_SLOTS 128                  /* more than DT_ANCESTORS_MAX */

#include "books.h"

#define TOP(thread) (HOST_STACK(thread) + 2048)
#define CALLER 0x55550000123a
#define A 0x55a000000010
#define B 0x55a000000020
#define CHILD 200

static struct mm_struct memories[HOST_THREADS_MAX];
static struct signal_struct signals[HOST_THREADS_MAX];

static int setup(void **state)
{
	host_setup(state);
	host_config()->follow = DT_FOLLOW_CHILDREN;
	process_rows[DT_PROCESS_ROW_NEW] = *host_process(HOST_TGID); /* so that tracebacks are those of before an exec */
	memset(memories, 0, sizeof(memories));
	for (__u32 i = 0; i < HOST_THREADS_MAX; i++) {
		struct host_thread *thread = &host_threads[i];

		signals[i] = (struct signal_struct){ .nr_threads = 1 };
		thread->tgid = i ? CHILD + i - 1 : HOST_TGID;
		thread->task.tgid = (int)thread->tgid;
		thread->task.mm = &memories[i];
		thread->task.signal = &signals[i];
	}
	return 0;
}

static void run_as(int thread)
{
	host_current = &host_threads[thread];
}

/* The current thread forks another one off, which is in a process of its own. */
static void fork_off(int child)
{
	__u64 context[2] = { (uintptr_t)&host_current->task, (uintptr_t)&host_threads[child].task };

	host_threads[child].has_storage = false;
	process_fork(context);
}

static void exec_now(void)
{
	process_exec((__u64[]){ (uintptr_t)&host_current->task });
}

static void exit_now(void)
{
	process_exit((__u64[]){ (uintptr_t)&host_current->task });
}

static void allocate(__u64 address, __u64 bytes)
{
	__u64 top = TOP((__u64)(host_current - host_threads));

	host_enter(DT_SITE_malloc, top, CALLER, bytes, 0, 0);
	host_leave(top, address);
}

static void release(__u64 address)
{
	host_free(TOP((__u64)(host_current - host_threads)), CALLER, address);
}

static void expect_total(__u32 tgid, struct books want)
{
	books_expect_row(books_row_in(tgid, DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL), want);
}

static void test_fork(void **state)
{
	const struct dt_process_state *parent = host_image(HOST_TGID), *child;
	const struct dt_event *event;

	(void)state;
	allocate(A, 100);
	host_time_ns = 77;
	fork_off(1);
	child = host_image(CHILD);
	assert_non_null(child);
	assert_int_equal(child->image, parent->image + 1);
	assert_int_equal(child->tgid, CHILD);
	assert_int_equal(child->ppid, HOST_TGID);
	assert_int_equal(child->row, parent->row);
	assert_int_equal(child->phase, DT_IMAGE_RUNS);
	assert_int_equal(child->generation, 1);
	assert_int_equal(child->parent, parent - process_states);
	assert_int_equal(child->parent_segment, 1);
	assert_int_equal(child->parent_generation, 1);
	assert_int_equal(child->started_ns, 77);
	assert_int_equal(host_segments(HOST_TGID), DT_SEGMENTS(2, 1));
	assert_int_equal(parent->forks, 1);
	assert_int_equal(parent->heirs, 1);
	event = host_event(DT_EVENT_IMAGE, 0);
	assert_non_null(event);
	assert_int_equal(event->slot, host_slot_of(CHILD));
	assert_int_equal(image_news, 1);
	run_as(1);
	release(A);
	expect_total(CHILD, (struct books){ 0, 0, 1, 100, 0, -100 });
	books_expect_row(books_row_in(CHILD, DT_SOURCE_LIBC, 0, host_traceback(CALLER)), (struct books){ 0, 0, 1, 100, 0, -100 });
	expect_total(HOST_TGID, (struct books){ 1, 100, 0, 0, 100, 100 });
	release(A);
	books_expect_counted(COUNTED(unmatched_frees, 1));
}

/* A new thread is no new process, and nobody follows who is not traced. */
static void test_what_is_no_fork(void **state)
{
	(void)state;
	host_threads[1].task.tgid = HOST_TGID;
	fork_off(1);
	run_as(2);
	fork_off(3);
	assert_int_equal(host_row_count(&processes), 1);
	assert_int_equal(image_news, 0);
	assert_int_equal(host_segments(HOST_TGID), DT_SEGMENTS(1, 1));
	run_as(0);
	signals[0].nr_threads = 2;
	fork_off(4);
	assert_int_equal(host_row_count(&processes), 2);
	books_expect_counted(COUNTED(forks_with_threads, 1));
}

/* vfork(): its parent's memory, its parent's books, until it begins a program of its own. */
static void test_vfork(void **state)
{
	(void)state;
	allocate(A, 100);
	host_threads[1].task.mm = &memories[0];
	fork_off(1);
	assert_int_equal(host_slot_of(CHILD), host_slot_of(HOST_TGID));
	assert_int_equal(host_image(HOST_TGID)->sharers, 1);
	assert_int_equal(host_image(HOST_TGID)->heirs, 0);
	run_as(1);
	release(A);
	allocate(B, 7);
	expect_total(HOST_TGID, (struct books){ 2, 107, 1, 100, 100, 7 });
	exec_now();
	assert_int_equal(host_image(HOST_TGID)->sharers, 0);
	assert_int_equal(host_image(HOST_TGID)->phase, DT_IMAGE_RUNS);
	assert_int_equal(host_image(CHILD)->ppid, HOST_TGID);
	release(B);                     /* nothing of that is in the new program */
	allocate(B, 9);
	expect_total(CHILD, (struct books){ 1, 9, 0, 0, 9, 9 });
	expect_total(HOST_TGID, (struct books){ 2, 107, 1, 100, 100, 7 });
	books_expect_counted(COUNTED(unmatched_frees, 1));
	/* One that ends without. */
	run_as(0);
	host_threads[2].task.mm = &memories[0];
	fork_off(2);
	run_as(2);
	exit_now();
	assert_null(host_image(CHILD + 1));
	assert_int_equal(host_image(HOST_TGID)->sharers, 0);
	assert_int_equal(host_image(HOST_TGID)->phase, DT_IMAGE_RUNS);
}

/* The same where nothing follows forks: told by its memory, for as long as that is its parent's. Else vfork() itself is counted. */
static void test_vfork_not_followed(void **state)
{
	struct pid number = { 0 };
	const __u32 child = CHILD;

	(void)state;
	host_config()->follow = DT_FOLLOW_NONE;
	host_threads[1].task.mm = &memories[0];
	host_threads[1].task.real_parent = &host_threads[2].task;       /* a thread, which is not the first of its process */
	host_threads[2].task.mm = &memories[0];
	host_threads[2].task.group_leader = &host_threads[0].task;
	host_threads[0].task.thread_pid = &number;
	allocate(A, 100);
	run_as(1);
	release(A);
	allocate(B, 7);
	expect_total(HOST_TGID, (struct books){ 2, 107, 1, 100, 100, 7 });
	assert_null(bpf_map_lookup_elem(&processes, &child));
	host_threads[1] = (struct host_thread){ .task = { .mm = &memories[1], .real_parent = &host_threads[2].task }, .tgid = CHILD,
						.lowest = host_threads[1].lowest };
	vfork_enter(NULL);
	allocate(A, 9);
	expect_total(HOST_TGID, (struct books){ 2, 107, 1, 100, 100, 7 });
	run_as(0);
	vfork_enter(NULL);
	books_expect_counted(COUNTED(vforks_unseen, 1));
}

/* Of what jemalloc is told or asked by name; and whatever it is told by a name that cannot be read. */
static void test_dropped_heaps(void **state)
{
	static const struct { char name[88]; bool drops; } controls[] = {
		{ "arena.0.reset", true }, { "arena.4096.destroy", true }, { "arena.reset", true }, { "arena.0.purge", false },
		{ "arena.0.resets", false }, { "arenas.0.reset", false }, { "stats.arenas.0.reset", false }, { "prof.reset", false },
		{ "arena", false }, { "", false }, { "arena.0.destro", false }, { "arena.0.xdestroy", false },
		{ "arena.0.a.name.with.as.many.characters.as.are.looked.at.12.reset", true },
		{ "arena.0.a.name.with.as.many.characters.as.are.looked.at.123.reset", false },
	};
	__u64 dropped = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(controls) / sizeof(controls[0]); i++) {
		struct pt_regs registers = { .rdi = 0x10000 };

		host_range_count = 0;
		host_memory(registers.rdi, controls[i].name, sizeof(controls[i].name));
		control_enter(&registers);
		dropped += controls[i].drops;
		assert_int_equal(host_counter(DT_COUNTER_heaps_dropped), dropped);
	}
	control_enter(&(struct pt_regs){ .rdi = 0x20000 });
	drop_enter(NULL);
	run_as(3);                      /* who is not traced */
	control_enter(&(struct pt_regs){ .rdi = 0x20000 });
	drop_enter(NULL);
	assert_int_equal(dropped, 4);
	books_expect_counted(COUNTED(heaps_dropped, 6));
}

/* A process ends with its last thread; its number is another process's afterwards. */
static void test_exit(void **state)
{
	struct dt_process_state *first = host_image(HOST_TGID);
	struct dt_process process = { .mapping_count = 2, .mappings_version = 1 };

	(void)state;
	allocate(A, 100);
	signals[0].live.counter = 1;
	exit_now();
	assert_int_equal(first->phase, DT_IMAGE_RUNS);
	signals[0].live.counter = 0;
	exit_now();
	assert_int_equal(first->phase, DT_IMAGE_ENDED);
	assert_null(host_image(HOST_TGID));
	host_threads[0].has_storage = false;
	release(A);
	books_expect_nothing_counted();
	host_put_process(HOST_TGID, &process);
	assert_ptr_not_equal(host_image(HOST_TGID), first);
	release(A);
	books_expect_counted(COUNTED(unmatched_frees, 1));
	/* What a thread remembers of a slot holds only for the image that it was of. */
	allocate(B, 7);
	host_image(HOST_TGID)->image += 1000;
	allocate(A, 8);
	expect_total(HOST_TGID, (struct books){ 2, 15, 0, 0, 15, 15 });
}

/* In the middle of a call: what it was to replace lives on. Not where its process, or its program, ends with it. */
static void test_thread_ends_in_a_call(void **state)
{
	(void)state;
	allocate(A, 100);
	host_enter(DT_SITE_realloc, TOP(0), CALLER, A, 200, 0);
	signals[0].live.counter = 1;
	signals[0].flags = SIGNAL_GROUP_EXIT;
	exit_now();
	signals[0].flags = 0;
	signals[0].group_exec_task = &host_threads[1].task;
	exit_now();
	signals[0].group_exec_task = NULL;
	books_expect_nothing_counted();
	assert_null(books_block(DT_SOURCE_LIBC, 0, A));
	exit_now();
	books_expect_counted(COUNTED(calls_abandoned, 1));
	books_expect_block(A, 100, host_traceback(CALLER));
	exit_now();                     /* nothing of it is left to be counted */
	books_expect_counted(COUNTED(calls_abandoned, 1));
	/* What it has interrupted itself, too; and nothing where the slot is another image's by now. */
	host_enter(DT_SITE_malloc, TOP(0), CALLER, 10, 0, 0);
	host_enter(DT_SITE_malloc, TOP(0) - 64, CALLER, 20, 0, 0);
	host_image(HOST_TGID)->image += 1000;
	exit_now();
	books_expect_counted(COUNTED(calls_abandoned, 1));
	host_image(HOST_TGID)->image -= 1000;
	exit_now();
	books_expect_counted(COUNTED(calls_abandoned, 3));
	assert_int_equal(host_image(HOST_TGID)->phase, DT_IMAGE_RUNS);
}

static void test_no_room_for_images(void **state)
{
	(void)state;
	host_trap = (struct host_trap){ HOST_POP, &free_slots, 1, -ENOENT, NULL };
	fork_off(1);
	assert_null(host_image(CHILD));
	assert_int_equal(host_image(HOST_TGID)->heirs, 0);
	books_expect_counted(COUNTED(processes_full, 1));
	host_trap = (struct host_trap){ HOST_UPDATE, &processes, 1, -E2BIG, NULL };
	fork_off(1);
	assert_null(host_image(CHILD));
	books_expect_counted(COUNTED(processes_full, 2));
	host_threads[2].task.mm = &memories[0];
	host_trap = (struct host_trap){ HOST_UPDATE, &processes, 1, -E2BIG, NULL };
	fork_off(2);
	assert_null(host_image(CHILD + 1));
	assert_int_equal(host_image(HOST_TGID)->sharers, 0);
	books_expect_counted(COUNTED(processes_full, 3));
	host_trap = (struct host_trap){ HOST_POP, &free_slots, 1, -ENOENT, NULL };
	exec_now();
	assert_null(host_image(HOST_TGID));
	books_expect_counted(COUNTED(processes_full, 4));
}

/* ---- what heirs look for and does not fit ---------------------------------------------------------------------------------- */

static void test_no_room_for_past_blocks(void **state)
{
	(void)state;
	allocate(A, 100);
	fork_off(1);
	release(A);
	host_rows_max(&past) = 0;
	allocate(A, 30);
	books_expect_counted(COUNTED(past_full, 1));
	expect_total(HOST_TGID, (struct books){ 2, 130, 1, 100, 100, 30 });
	run_as(1);
	release(A);                     /* it cannot be known that it was there */
	assert_null(books_row_in(CHILD, DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL));
}

/* No room for the row that says that an inherited block has gone: nothing is booked, or it would be again with the next free there. */
static void test_no_room_for_what_is_freed(void **state)
{
	(void)state;
	allocate(A, 100);
	fork_off(1);
	host_rows_max(&live) = 1;
	run_as(1);
	release(A);
	books_expect_counted(COUNTED(inherited_unknown, 1), COUNTED(unmatched_frees, 1));
	release(A);
	books_expect_counted(COUNTED(inherited_unknown, 2), COUNTED(unmatched_frees, 2));
	assert_null(books_row_in(CHILD, DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL));
}

/* No memory for the row that takes the place of one that heirs look for: it stays, and the new block is counted as lost. */
static void test_no_room_for_a_row_in_place(void **state)
{
	(void)state;
	allocate(A, 100);
	fork_off(1);
	host_trap = (struct host_trap){ HOST_UPDATE, &live, 1, -ENOMEM, NULL };
	allocate(A, 30);
	books_expect_counted(COUNTED(live_full, 1));
	expect_total(HOST_TGID, (struct books){ 2, 130, 1, 30, 100, 100 });
	assert_int_equal(spare_rows, 0);
	run_as(1);
	release(A);
	expect_total(CHILD, (struct books){ 0, 0, 1, 100, 0, -100 });
	run_as(0);
	release(A);
	expect_total(HOST_TGID, (struct books){ 2, 130, 2, 130, 100, 0 });
}

/* Each heir finds what was at the address when it was forked off, however many blocks there have been before and since. */
static void test_many_past_blocks(void **state)
{
	enum { COUNT = 300 };
	struct dt_process_state *child;

	(void)state;
	fork_off(1);
	host_image(HOST_TGID)->forks = ~0u; /* forks all the time */
	child = host_image(CHILD);
	for (__u64 i = 1; i <= COUNT; i++) {
		allocate(A, i);                 /* born in segment 2 i, died in 2 i + 1 */
		epoch += DT_EPOCH_STEP;
		release(A);
		epoch += DT_EPOCH_STEP;
	}
	allocate(A, 1000);
	run_as(1);
	for (__u32 segment = 2; segment <= 2 * COUNT + 1; segment++) {
		struct dt_block_key key = { { host_slot_of(CHILD), 0 }, A };
		const struct dt_block *gone;

		child->parent_segment = segment;
		release(A);
		gone = bpf_map_lookup_elem(&live, &key);
		assert_int_equal(!gone, segment % 2);
		if (!gone)
			continue;
		assert_int_equal(block_bytes(gone), segment / 2);
		bpf_map_delete_elem(&live, &key);
	}
	books_expect_counted(COUNTED(unmatched_frees, COUNT));
}

/* A child of a child of … : the last one that is looked into is the one DT_ANCESTORS_MAX above. */
static void test_too_many_ancestors(void **state)
{
	struct dt_process_state *image;

	(void)state;
	allocate(A, 100);
	for (int depth = 1; depth <= DT_ANCESTORS_MAX + 1; depth++) {
		int child = 1 + depth % 2;

		fork_off(child);
		run_as(child);
		image = host_image(host_current->tgid);
		assert_non_null(image);
		assert_int_equal(image->ancestors, depth);
		assert_int_equal(host_counter(DT_COUNTER_ancestors_lost), depth > DT_ANCESTORS_MAX);
		if (depth >= DT_ANCESTORS_MAX) {
			__u64 unknown = host_counter(DT_COUNTER_inherited_unknown), unmatched = host_counter(DT_COUNTER_unmatched_frees);
			bool is_known = depth == DT_ANCESTORS_MAX;

			release(A);
			assert_int_equal(host_counter(DT_COUNTER_inherited_unknown), unknown + !is_known);
			assert_int_equal(host_counter(DT_COUNTER_unmatched_frees), unmatched + !is_known);
			assert_int_equal(!books_row_in(host_current->tgid, DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL), !is_known);
			/* as if it had not been freed */
			struct dt_block_key key = { { host_slot_of(host_current->tgid), 0 }, A };

			bpf_map_delete_elem(&live, &key);
		}
	}
}

/* ---- calls of two sources ------------------------------------------------------------------------------------------------------- */

static void test_a_call_in_a_call_of_another_source(void **state)
{
	(void)state;
	host_enter(DT_SITE__PyMem_RawMalloc, TOP(0), CALLER, 0, 100, 0);
	host_enter(DT_SITE_malloc, TOP(0) - 256, CALLER + 1, 116, 0, 0);
	host_leave(TOP(0) - 256, A);
	host_leave(TOP(0), A);
	books_expect_block_of(DT_SOURCE_LIBC, A, 116, host_traceback(CALLER + 1));
	books_expect_block_of(DT_SOURCE_PYTHON, A, 100, host_traceback(CALLER));
	host_free_by(DT_SITE__PyMem_RawFree, TOP(0), CALLER, A);
	books_expect_of(DT_SOURCE_PYTHON, 0, DT_TRACEBACK_TOTAL, (struct books){ 1, 100, 1, 100, 100, 0 });
	books_expect_of(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL, (struct books){ 1, 116, 0, 0, 116, 116 });
	host_free(TOP(0), CALLER, A);
	books_expect_of(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL, (struct books){ 1, 116, 1, 116, 116, 0 });
	assert_int_equal(host_row_count(&live), 0);
	books_expect_nothing_counted();
}

/* ---- which programs are chosen ----------------------------------------------------------------------------------------------------- */

static bool is_chosen(void)
{
	exec_now();
	return host_image(host_current->tgid);
}

static void test_choice(void **state)
{
	struct super_block device = { .s_dev = 8 << 20 | 1 };
	struct inode inode = { .i_ino = 4711, .i_sb = &device };
	struct file file = { .f_inode = &inode };
	struct dt_choice *choice = &host_config()->choice;

	(void)state;
	host_config()->follow = DT_FOLLOW_ALL;
	memories[1].exe_file = &file;
	run_as(1);
	assert_true(is_chosen());
	choice->own_tgid = CHILD;
	assert_false(is_chosen());
	choice->own_tgid = 1;
	choice->by = DT_CHOICE_COMM;
	memcpy(choice->comm, "cc1", 4);
	memcpy(host_comm, "cc1plus", 8);
	assert_false(is_chosen());
	memcpy(host_comm, "cc1", 4);    /* what follows the NUL does not count */
	assert_true(is_chosen());
	assert_string_equal(host_image(CHILD)->comm, "cc1");
	choice->by |= DT_CHOICE_UID;
	choice->uid = 1000;
	assert_false(is_chosen());
	host_uid = 1000;
	assert_true(is_chosen());
	choice->by |= DT_CHOICE_CGROUP;
	choice->cgroup = 99;
	choice->cgroup_level = 2;
	host_cgroups[1] = 99;
	assert_false(is_chosen());
	host_cgroups[2] = 99;
	assert_true(is_chosen());
	choice->by |= DT_CHOICE_FILE;
	choice->file_inode = 4711;
	choice->file_device = 8 << 20;
	assert_false(is_chosen());
	choice->file_device = 8 << 20 | 1;
	assert_true(is_chosen());
	memories[1].exe_file = NULL;
	assert_false(is_chosen());
}

/* In a pid namespace a child has its number there; without one there it is not followed. */
static void test_pid_namespace(void **state)
{
	struct pid_namespace outer = { { 4026531836 - 1 } }, inner = { { 4026531836 } };
	struct { struct pid pid; struct upid more; } numbers = {
		.pid = { .level = 1, .numbers = { { 5000, &outer } } }, .more = { CHILD, &inner },
	};

	(void)state;
	host_config()->pid_namespace_device = 4;
	host_config()->pid_namespace_inode = 4026531836;
	host_namespace_tgid = HOST_TGID;
	host_threads[1].task.tgid = 5000;
	host_threads[1].task.thread_pid = &numbers.pid;
	fork_off(1);
	assert_int_equal(host_image(CHILD)->tgid, CHILD);
	assert_null(host_image(5000));
	numbers.pid.level = 0;
	fork_off(1);
	numbers.pid.level = 1;
	host_trap = (struct host_trap){ HOST_READ_KERNEL, NULL, 3, -EFAULT, NULL };
	fork_off(1);
	assert_int_equal(host_row_count(&processes), 2);
	books_expect_nothing_counted();
}

#define image_test(test) cmocka_unit_test_setup_teardown(test, setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		image_test(test_fork),
		image_test(test_what_is_no_fork),
		image_test(test_vfork),
		image_test(test_vfork_not_followed),
		image_test(test_dropped_heaps),
		image_test(test_exit),
		image_test(test_thread_ends_in_a_call),
		image_test(test_no_room_for_images),
		image_test(test_no_room_for_past_blocks),
		image_test(test_no_room_for_a_row_in_place),
		image_test(test_no_room_for_what_is_freed),
		image_test(test_many_past_blocks),
		image_test(test_too_many_ancestors),
		image_test(test_a_call_in_a_call_of_another_source),
		image_test(test_choice),
		image_test(test_pid_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
