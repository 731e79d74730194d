/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames in mappings that userspace has not read: walked by the file's table, and sent as places in it. */
#include "coded_file.h"

#define NUMBER 77
#define OFFSET 0x3000ull                /* of CODE in the file */

static struct super_block file_system = { .s_dev = 8 << 20 | 1 };
static struct inode inode = { .i_ino = 4711, .i_sb = &file_system };
static struct backing_file file = { .file = { .f_inode = &inode } };

static const struct dt_unwind_rule rules[] = {
	{ .cfa = DT_CFA_STACK, .cfa_offset = 8 },
	{ .cfa = DT_CFA_STACK, .cfa_offset = 16 },
	{ .cfa = DT_CFA_END },
};

static struct dt_file_row *show_file(void)
{
	const struct dt_file_key key = { .inode = inode.i_ino, .device = file_system.s_dev };
	struct dt_file_row row = { .base = OFFSET, .pages = mappings[0].pages, .page_count = PAGES, .number = NUMBER };

	assert_int_equal(bpf_map_update_elem(&files, &key, &row, BPF_ANY), 0);
	return bpf_map_lookup_elem(&files, &key);
}

/* FUNCTION(0), called by FUNCTION(1), called by FUNCTION(2); mapped, and not read. */
static int setup(void **state)
{
	next_word = 0;
	next_rule = DT_UNWIND_RULE_CHAIN;
	host_setup(state);
	host_config()->follow = DT_FOLLOW_ALL;
	host_process(HOST_TGID)->mapping_count = host_process(HOST_TGID)->mappings_version = 0;
	put_file(rules, 3);
	host_areas[0] = (struct vm_area_struct){ .vm_start = CODE, .vm_end = CODE + PAGES * DT_UNWIND_PAGE_BYTES, .vm_flags = VM_EXEC,
						 .vm_pgoff = OFFSET / DT_UNWIND_PAGE_BYTES, .vm_file = &file.file };
	host_area_count = 1;
	show_file();
	*host_slot(STACK) = CALL(1);
	*host_slot(STACK + 16) = CALL(2);
	return 0;
}

static __u64 place(__u64 address)
{
	return DT_FRAME_PLACE(NUMBER, address - CODE + OFFSET);
}

/* What was found before holds for an image alone. */
static void forget(void)
{
	host_image(HOST_TGID)->image += 1000;
}

static const struct dt_traceback_event *expect_places(void)
{
	const struct dt_traceback_event *event = walk_from(CALL(0));

	assert_int_equal(event->truncation, DT_TRUNCATION_none);
	assert_int_equal(event->frame_count, 3);
	assert_int_equal(event->total_frames, 3);
	for (__u32 i = 0; i < 3; i++) {
		assert_int_equal(event->frames[i].where, place(CALL(i)));
		assert_int_equal(event->frames[i].instruction, DT_FRAME_IN_FILE);
		assert_int_equal(event->frames[i].kind, DT_FRAME_NATIVE);
	}
	return event;
}

/* Nothing is known of the mapping of the last of so many frames: as before, and userspace is asked. */
static void expect_unknown_frame(__u64 where, __u32 count)
{
	const struct dt_traceback_event *event;

	forget();
	host_time_ns += 200000000;
	event = walk_from(CALL(0));
	assert_int_equal(event->truncation, DT_TRUNCATION_unknown_mapping);
	assert_int_equal(event->frame_count, count);
	assert_int_equal(event->frames[count - 1].where, where);
	assert_int_equal(event->frames[count - 1].instruction, 0);
	assert_non_null(host_event(DT_EVENT_UNKNOWN, 0));
}

static void expect_unknown(void)
{
	expect_unknown_frame(CALL(0), 1);
}

/* The traceback has the number that it has when the mapping is known. */
static void test_whole(void **state)
{
	const struct dt_traceback_event *event;
	__u64 number;

	(void)state;
	number = expect_places()->traceback;
	assert_int_equal(expect_places()->traceback, number);
	assert_int_equal(host_counter(DT_COUNTER_truncated_unknown_mapping), 0);
	forget();
	host_process(HOST_TGID)->mapping_count = 1;
	host_process(HOST_TGID)->mappings_version = 5;
	event = walk_from(CALL(0));
	assert_int_equal(event->traceback, number);
	assert_int_equal(event->frames[1].where, CALL(1));
	assert_int_equal(event->frames[1].instruction, 0);
}

/* Of the file's first page there may be none in the table, or more than in the file. */
static void test_table_that_begins_elsewhere(void **state)
{
	struct dt_file_row *row = show_file();
	const struct dt_traceback_event *event;

	(void)state;
	row->base = OFFSET + DT_UNWIND_PAGE_BYTES;      /* of what lies before it nothing is known: frame pointers */
	event = walk_from(CALL(0));
	assert_int_equal(event->truncation, DT_TRUNCATION_none);
	assert_int_equal(event->frame_count, 1);
	forget();
	row->base = OFFSET - 0x10000;                   /* the same file with its table from before its start on */
	row->page_count = PAGES + 16;
	row->pages = next_word;
	for (__u32 page = 0; page < PAGES + 16; page++) {
		*word_at(next_word++) = page < 16 ? 0 : *word_at(mappings[0].pages + 2 * (page - 16));
		*word_at(next_word++) = page < 16 ? 0 : 16;
	}
	expect_places();
}

static void test_what_is_not_known(void **state)
{
	const struct dt_file_key key = { .inode = inode.i_ino, .device = file_system.s_dev };
	const struct vm_area_struct area = host_areas[0];

	(void)state;
	host_areas[0].vm_file = NULL;
	expect_unknown();
	host_areas[0] = area;
	host_areas[0].vm_flags = ~(unsigned long)VM_EXEC;
	expect_unknown();
	host_areas[0] = area;
	host_areas[0].vm_pgoff = 1ul << (DT_FRAME_OFFSET_BITS - 12); /* so far that a frame cannot say it */
	expect_unknown();
	host_areas[0] = area;
	host_area_count = 0;
	expect_unknown();
	host_area_count = 1;
	host_areas_busy_for = FILE_TRIES;
	expect_unknown();
	forget();
	host_areas_busy_for = FILE_TRIES - 1;
	expect_places();
	host_areas_busy_for = 0;
	file_system.s_dev++;
	expect_unknown();
	file_system.s_dev--;
	expect_places();
	assert_int_equal(bpf_map_delete_elem(&files, &key), 0);
	expect_unknown();
	show_file();
	host_config()->follow = DT_FOLLOW_NONE;
	expect_unknown();
}

/* A program that is known has loaded a library: its frames are places, those of the program addresses. */
static void test_a_library_among_known_files(void **state)
{
	const struct dt_traceback_event *event;
	__u64 library = CODE + 0x100000;

	(void)state;
	mappings[0].pages = next_word;          /* the program: the same functions, at CODE */
	put_file(rules, 3);
	host_process(HOST_TGID)->mapping_count = 1;
	host_process(HOST_TGID)->mappings_version = 5;
	host_areas[0].vm_start += library - CODE;
	host_areas[0].vm_end += library - CODE;
	*host_slot(STACK) = CALL(1) + library - CODE;
	for (int again = 0; again < 2; again++) {
		event = walk_from(CALL(0));
		assert_int_equal(event->truncation, DT_TRUNCATION_none);
		assert_int_equal(event->frame_count, 3);
		assert_int_equal(event->frames[0].where, CALL(0));
		assert_int_equal(event->frames[0].instruction, 0);
		assert_int_equal(event->frames[1].where, place(CALL(1)));
		assert_int_equal(event->frames[1].instruction, DT_FRAME_IN_FILE);
		assert_int_equal(event->frames[2].where, CALL(2));
		assert_int_equal(event->frames[2].instruction, 0);
	}
}

/* What was found once is known for as long as the image removes nothing, and for no other. */
static void test_what_is_kept(void **state)
{
	(void)state;
	expect_places();
	host_areas_busy_for = FILE_TRIES;
	expect_places();
	host_image(HOST_TGID)->removals = 2;
	assert_int_equal(walk_from(CALL(0))->truncation, DT_TRUNCATION_unknown_mapping);
	host_image(HOST_TGID)->removals = 0;
	host_areas_busy_for = FILE_TRIES;
	expect_places();
	expect_unknown();
}

/* A stacking file system maps a file of another one: maps tells what lies on top, on kernels that know it. */
static void test_a_stacking_file_system(void **state)
{
	struct super_block below = { .s_dev = 1 };
	struct inode real = { .i_ino = 5, .i_sb = &below };
	struct dentry user = { .d_inode = &inode };

	(void)state;
	file = (struct backing_file){ .file = { .f_mode = FMODE_BACKING, .f_inode = &real }, .user_path = { .dentry = &user } };
	expect_places();
	host_has_fields = 0;
	expect_unknown();
	host_has_fields = 1;
	for (unsigned int nth = 1; nth <= 5; nth++) { /* each of the reads fails */
		host_trap = (struct host_trap){ .operation = HOST_READ_KERNEL, .nth = nth, .error = -EFAULT };
		expect_unknown();
	}
	file = (struct backing_file){ .file = { .f_inode = &inode } };
	expect_places();
}

static void test_signal(void **state)
{
	const struct dt_unwind_rule with_signal[] = { { .cfa = DT_CFA_STACK, .cfa_offset = 8 }, { .cfa = DT_CFA_SIGNAL }, { .cfa = DT_CFA_END } };
	const struct dt_traceback_event *event;

	(void)state;
	put_file(with_signal, 3);
	show_file();
	*host_slot(STACK) = FUNCTION(1) + 1;
	*host_slot(STACK + 8 + 168) = FUNCTION(2);
	event = walk_from(CALL(0));
	assert_int_equal(event->truncation, DT_TRUNCATION_none);
	assert_int_equal(event->frame_count, 3);
	assert_int_equal(event->frames[1].where, place(FUNCTION(1) + 1));
	assert_int_equal(event->frames[1].instruction, DT_FRAME_IN_FILE | DT_FRAME_INTERRUPTED);
	assert_int_equal(event->frames[2].where, place(FUNCTION(2)));
	assert_int_equal(event->frames[2].instruction, DT_FRAME_IN_FILE | DT_FRAME_INTERRUPTED);
}

/* What is not kept has no place; and where something was unloaded before, the file is part of the number. */
static void test_limit_and_number(void **state)
{
	const struct dt_traceback_event *event;
	__u64 number;

	(void)state;
	number = expect_places()->traceback;
	host_image(HOST_TGID)->removals = 2;
	assert_int_not_equal(expect_places()->traceback, number);
	host_image(HOST_TGID)->removals = 0;
	host_config()->frame_limit = 2;
	event = walk_from(CALL(0));
	assert_int_equal(event->total_frames, 3);
	assert_int_equal(event->frame_count, 2);
	assert_int_equal(event->frames[1].where, place(CALL(1)));
}

/* What interrupts a call of the allocator is told from what that calls itself by whose code it is, also before the mappings are read. */
static void test_who_calls(void **state)
{
	struct dt_file_row *row = show_file();
	__u64 deep = TOP - 256;

	(void)state;
	for (int allocates = 0; allocates < 2; allocates++) {
		host_clear(HOST_TGID);
		forget();
		row->flags = allocates ? DT_MAPPING_ALLOCATOR : 0;
		host_enter(DT_SITE_malloc, TOP, CALL(0), 100, 0, 0);
		host_enter(DT_SITE_malloc, deep, CALL(1), 20, 0, 0);
		host_leave(deep, 0x7600000100);
		host_leave(TOP, 0x7600000200);
		books_expect(DT_TRACEBACK_TOTAL, 2 - allocates, allocates ? 100 : 120, 0, 0, allocates ? 100 : 120, allocates ? 100 : 120);
	}
	row->flags = 0;
}

/* A call in another one, while the mappings are locked for so many looks. Returns whether it is booked. */
static bool inner_call_is_booked(int busy_for, __u64 caller)
{
	__u64 deep = TOP - 256;
	__u64 blocks;

	host_clear(HOST_TGID);
	host_areas_busy_for = busy_for;
	host_enter(DT_SITE_malloc, TOP, CALL(0), 100, 0, 0);
	host_enter(DT_SITE_malloc, deep, caller, 20, 0, 0);
	host_areas_busy_for = 0;
	host_leave(deep, 0x7600000100);
	host_leave(TOP, 0x7600000200);
	blocks = books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL)->half[0].allocations;
	assert_in_range(blocks, 1, 2);
	return blocks == 2;
}

/* While they are locked, and nothing is known from before, it may be the allocator's own call: which is said. */
static void test_who_calls_while_locked(void **state)
{
	struct mm_struct memory = { .start_code = CODE, .end_code = CODE + 0x800, .exe_file = &file.file };

	(void)state;
	forget();
	assert_false(inner_call_is_booked(FILE_TRIES, CALL(1)));
	assert_int_equal(host_counter(DT_COUNTER_callers_unknown), 1);
	assert_true(inner_call_is_booked(FILE_TRIES - 1, CALL(1)));
	assert_true(inner_call_is_booked(FILE_TRIES, CALL(1)));         /* found a moment ago */
	host_image(HOST_TGID)->removals = 2;
	assert_false(inner_call_is_booked(FILE_TRIES, CALL(1)));
	assert_int_equal(host_counter(DT_COUNTER_callers_unknown), 2);
	host_current->task.mm = &memory;
	assert_true(inner_call_is_booked(FILE_TRIES, CALL(1)));         /* the program's own code */
	assert_false(inner_call_is_booked(FILE_TRIES, CODE + 0x1000));
	assert_int_equal(host_counter(DT_COUNTER_callers_unknown), 2);  /* at the start of a page: a trampoline */
	assert_false(inner_call_is_booked(FILE_TRIES, CODE + 0x900));
	assert_int_equal(host_counter(DT_COUNTER_callers_unknown), 3);
	host_current->task.mm = NULL;
	host_image(HOST_TGID)->removals = 0;
	host_config()->follow = DT_FOLLOW_NONE;
	assert_false(inner_call_is_booked(0, CALL(1)));
	assert_int_equal(host_counter(DT_COUNTER_callers_unknown), 4);
}

/* The program's own code needs no lock; what no table is for may stand elsewhere by now. */
static void test_the_program_while_locked(void **state)
{
	struct mm_struct memory = { .start_code = FUNCTION(0), .end_code = FUNCTION(4), .exe_file = &file.file };
	struct dt_file_row *row = show_file();
	const struct dt_traceback_event *event;
	__u64 number = expect_places()->traceback;
	__u32 page_count = row->page_count;

	(void)state;
	forget();
	row->code_offset = OFFSET;      /* of FUNCTION(0) */
	host_current->task.mm = &memory;
	host_areas_busy_for = 3 * FILE_TRIES;
	assert_int_equal(expect_places()->traceback, number);
	host_areas_busy_for = 2 * FILE_TRIES;
	memory.end_code = FUNCTION(1);
	expect_unknown_frame(CALL(1), 2);
	host_areas_busy_for = FILE_TRIES;
	memory = (struct mm_struct){ .start_code = FUNCTION(1), .end_code = FUNCTION(4), .exe_file = &file.file };
	expect_unknown();
	host_areas_busy_for = FILE_TRIES;
	memory = (struct mm_struct){ .start_code = FUNCTION(0), .end_code = FUNCTION(4) };
	expect_unknown();
	memory.exe_file = &file.file;
	host_areas_busy_for = FILE_TRIES;
	row->page_count = 0;
	expect_unknown();
	row->page_count = page_count;
	host_areas_busy_for = FILE_TRIES;
	file_system.s_dev++;
	expect_unknown();
	file_system.s_dev--;
	event = expect_places();
	assert_int_equal(event->traceback, number);
	host_current->task.mm = NULL;
}

/* Of eight mappings each is looked for once; a ninth takes the place of the first. */
static void test_mappings_are_kept(void **state)
{
	(void)state;
	for (__u64 i = 0; i < FILE_WAYS + 1; i++) {
		struct file_mapping mapping = { .start = CODE + i * 0x10000, .bytes = 0x10000, .file_offset = i, .file_key.inode = 5 + i };

		file_keep(3, 77, &mapping);
		for (__u64 j = 0; j < FILE_WAYS + 2; j++) {
			struct file_mapping found = { 0 };
			bool is_kept = j <= i && j + FILE_WAYS > i;

			assert_int_equal(file_recall(3, 77, CODE + j * 0x10000 + 0xffff, &found), is_kept);
			assert_false(file_recall(3, 78, CODE + j * 0x10000, &found));
			assert_false(file_recall(4, 77, CODE + j * 0x10000, &found));
			if (!is_kept)
				continue;
			file_recall(3, 77, CODE + j * 0x10000, &found);
			assert_int_equal(found.start, CODE + j * 0x10000);
			assert_int_equal(found.file_offset, j);
			assert_int_equal(found.file_key.inode, 5 + j);
		}
	}
	file_sets[3].ways[0].file_offset++;     /* written at the same moment */
	assert_false(file_recall(3, 77, CODE + FILE_WAYS * 0x10000, &(struct file_mapping){ 0 }));
}

#define file_test(test) cmocka_unit_test_setup_teardown(test, setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		file_test(test_whole),
		file_test(test_table_that_begins_elsewhere),
		file_test(test_what_is_not_known),
		file_test(test_a_library_among_known_files),
		file_test(test_a_stacking_file_system),
		file_test(test_what_is_kept),
		file_test(test_signal),
		file_test(test_limit_and_number),
		file_test(test_who_calls),
		file_test(test_who_calls_while_locked),
		file_test(test_the_program_while_locked),
		file_test(test_mappings_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
