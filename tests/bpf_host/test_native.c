/* SPDX-License-Identifier: BSD-2-Clause */
/* The native walk by unwind tables: every kind of rule, the search of mappings, pages and rows, and how a walk ends. */
#include <stdio.h>

#include "coded_file.h"

#define SPAN_MAX (1ull << 32)

static int setup(void **state)
{
	next_word = 0;
	next_rule = DT_UNWIND_RULE_CHAIN;
	host_setup(state);
	host_process(HOST_TGID)->mapping_count = 1;
	return 0;
}

/* ---- walks ---------------------------------------------------------------------------------------------------------- */

/* The frames of a malloc called by FUNCTION(0), behind that one. */
static void expect_frames(enum dt_truncation truncation, const __u64 *wheres, __u32 count)
{
	__u64 before = truncation ? host_counter(DT_COUNTER_TRUNCATED + truncation) : 0;
	const struct dt_traceback_event *event = walk_from(CALL(0));

	assert_non_null(event);
	assert_int_equal(event->truncation, truncation);
	assert_int_equal(event->frame_count, count + 1);
	assert_int_equal(event->total_frames, count + 1);
	assert_int_equal(event->row, host_image(HOST_TGID)->row);
	assert_int_equal(event->frames[0].where, CALL(0));
	for (__u32 i = 0; i < count; i++) {
		assert_int_equal(event->frames[i + 1].where, wheres[i]);
		assert_int_equal(event->frames[i + 1].kind, DT_FRAME_NATIVE);
	}
	if (truncation)
		assert_int_equal(host_counter(DT_COUNTER_TRUNCATED + truncation), before + 1);
}

#define expect_walk(truncation, ...) \
	do { \
		const __u64 wheres[] = { 0, ##__VA_ARGS__ }; \
		expect_frames(DT_TRUNCATION_##truncation, wheres + 1, sizeof(wheres) / 8 - 1); \
	} while (0)

static const struct dt_unwind_rule outermost = { .cfa = DT_CFA_END };

static void test_stack_pointer(void **state)
{
	const struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8 },
		{ .cfa = DT_CFA_STACK, .cfa_offset = 24, .frame_pointer = DT_SAVED_AT_CFA, .frame_pointer_words = -2 },
		{ .cfa = DT_CFA_FRAME, .cfa_offset = 16, .frame_pointer = DT_SAVED_AT_CFA, .frame_pointer_words = -2 },
		outermost,
	};

	(void)state;
	put_file(rules, 4);
	*host_slot(STACK) = CALL(1);            /* CFA is STACK + 8 */
	*host_slot(STACK + 16) = STACK + 64;    /* function 1's caller's rbp, at its CFA − 16 */
	*host_slot(STACK + 24) = CALL(2);
	*host_slot(STACK + 64) = 0;
	*host_slot(STACK + 72) = CALL(3);
	expect_walk(none, CALL(1), CALL(2), CALL(3));
}

/* The saved frame pointer may lie anywhere; words apart from each other, and large frames, are read. */
static void test_large_frames(void **state)
{
	static __u64 far[2];
	struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_STACK, .cfa_offset = 65600, .frame_pointer = DT_SAVED_AT_CFA, .frame_pointer_words = -8200 },
		{ .cfa = DT_CFA_FRAME, .cfa_offset = 16 },
		outermost,
	};

	(void)state;
	put_file(rules, 3);
	host_memory(STACK + 65600 - 8, far, sizeof(far));
	*host_slot(STACK) = STACK + 65600 - 8;  /* at CFA − 65,600: one word above the return address's slot, minus 16 */
	far[0] = CALL(1);
	far[1] = CALL(2);
	expect_walk(none, CALL(1), CALL(2));
	host_ranges[host_range_count - 1].size = 8;
	expect_walk(unreadable, CALL(1));
}

static void test_realigned_stack(void **state)
{
	const struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_FRAME_INDIRECT, .cfa_offset = -8, .frame_pointer = DT_SAVED_AT_FRAME },
		{ .cfa = DT_CFA_FRAME, .cfa_offset = 16 },
		outermost,
	};

	(void)state;
	put_file(rules, 3);
	host_frame_pointer = STACK + 32;
	*host_slot(STACK + 24) = STACK + 128;   /* the CFA, below the saved rbp */
	*host_slot(STACK + 32) = STACK + 200;
	*host_slot(STACK + 120) = CALL(1);
	*host_slot(STACK + 208) = CALL(2);
	expect_walk(none, CALL(1), CALL(2));
	*host_slot(STACK + 24) = STACK;         /* a CFA that is not above the stack pointer */
	expect_walk(unreadable);
	*host_slot(STACK + 24) = STACK + 12;    /* not aligned */
	expect_walk(unreadable);
	*host_slot(STACK + 24) = STACK + SPAN_MAX + 8;
	expect_walk(unreadable);
	host_frame_pointer = 8;                 /* the CFA cannot be read */
	expect_walk(unreadable);
}

/* The stack pointer is right, what is said of the frame pointer is not: only who needs that cannot go on. */
static void test_a_frame_pointer_that_is_gone(void **state)
{
	const struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8, .frame_pointer = DT_SAVED_AT_FRAME },
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8 },
		{ .cfa = DT_CFA_FRAME, .cfa_offset = 16 },
	};

	(void)state;
	put_file(rules, 3);
	host_frame_pointer = 8;
	*host_slot(STACK) = CALL(1);
	*host_slot(STACK + 8) = CALL(2);
	expect_walk(unsupported_rule, CALL(1), CALL(2));
}

static void test_plt(void **state)
{
	const struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_PLT, .cfa_offset = 11 },
		outermost,
	};

	(void)state;
	put_file(rules, 2);
	*host_slot(STACK) = 0xbad;
	*host_slot(STACK + 8) = CALL(1);
	/* The rule looks at the instruction pointer itself: CALL(0) + 11 is past the push, CALL(0) + 10 is not. */
	assert_int_equal(walk_from(CALL(0) + 11)->frames[1].where, CALL(1));
	*host_slot(STACK) = CALL(1);
	assert_int_equal(walk_from(CALL(0) + 10)->frames[1].where, CALL(1));
}

/* From code with a table to code of a JIT compiler, to a page of the file that no table speaks of, and back. */
static void test_frame_pointers_where_no_table_is(void **state)
{
	const struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8 },
		outermost,
		{ .cfa = DT_CFA_CHAIN },
	};
	__u64 jit = CODE + 0x100000, behind = CODE + PAGES * DT_UNWIND_PAGE_BYTES + 7;
	const struct dt_traceback_event *event;

	(void)state;
	put_file(rules, 3);
	mappings[0].end += DT_UNWIND_PAGE_BYTES;
	mappings[1] = (struct dt_mapping_row){ .start = jit, .end = jit + 4096 };
	host_process(HOST_TGID)->mapping_count = 2;
	host_frame_pointer = STACK + 32;
	*host_slot(STACK) = jit + 5;
	*host_slot(STACK + 32) = STACK + 64;
	*host_slot(STACK + 40) = behind;
	*host_slot(STACK + 64) = STACK + 80;
	*host_slot(STACK + 72) = CALL(2);
	*host_slot(STACK + 80) = 0;
	*host_slot(STACK + 88) = CALL(1);
	expect_walk(none, jit + 5, behind, CALL(2), CALL(1));
	event = host_event(DT_EVENT_TRACEBACK, 0);
	for (__u32 i = 0; i < 5; i++)
		assert_int_equal(event->frames[i].instruction, i < 2 ? 0 : DT_FRAME_CHAINED);
	mappings[0].flags = DT_MAPPING_TABLE_LOST;
	host_process(HOST_TGID)->mappings_version++;
	expect_walk(no_rule);
}

/* What is found by a rule that was derived from code says so. */
static void test_derived_rules(void **state)
{
	const struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8, .frame_pointer = DT_SAVED_DERIVED },
		{ .cfa = DT_CFA_STACK, .cfa_offset = 16, .frame_pointer = DT_SAVED_AT_CFA | DT_SAVED_DERIVED, .frame_pointer_words = -2 },
		{ .cfa = DT_CFA_FRAME, .cfa_offset = 16 },
		outermost,
	};
	const struct dt_traceback_event *event;

	(void)state;
	put_file(rules, 4);
	*host_slot(STACK) = CALL(1);
	*host_slot(STACK + 8) = STACK + 64;
	*host_slot(STACK + 16) = CALL(2);
	*host_slot(STACK + 72) = CALL(3);
	expect_walk(none, CALL(1), CALL(2), CALL(3));
	event = host_event(DT_EVENT_TRACEBACK, 0);
	assert_int_equal(event->frames[0].instruction, 0);
	assert_int_equal(event->frames[1].instruction, DT_FRAME_CHAINED);
	assert_int_equal(event->frames[2].instruction, DT_FRAME_CHAINED);
	assert_int_equal(event->frames[3].instruction, 0);
}

static void test_signal(void **state)
{
	const struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8 },
		{ .cfa = DT_CFA_SIGNAL },
		{ .cfa = DT_CFA_FRAME, .cfa_offset = 16 },
		outermost,
	};
	__u64 interrupted = FUNCTION(2), signal_frame = STACK + 8;
	const struct dt_traceback_event *event;

	(void)state;
	put_file(rules, 4);
	host_threads[0].stack[0] = 0;
	*host_slot(STACK) = FUNCTION(1) + 1;    /* tables hold from the byte before such code */
	*host_slot(signal_frame + 120) = HOST_STACK(1) + 64; /* rbp */
	*host_slot(signal_frame + 160) = HOST_STACK(1) + 16; /* rsp: on another stack, below this one or above */
	*host_slot(signal_frame + 168) = interrupted;
	host_threads[1].stack[9] = CALL(3);
	expect_walk(none, FUNCTION(1) + 1, interrupted, CALL(3));
	event = host_event(DT_EVENT_TRACEBACK, 0);
	assert_int_equal(event->frames[0].instruction, 0);
	assert_int_equal(event->frames[1].instruction, DT_FRAME_INTERRUPTED);
	assert_int_equal(event->frames[2].instruction, DT_FRAME_INTERRUPTED); /* its first instruction, and so looked up as that */
	assert_int_equal(event->frames[3].instruction, 0);
	*host_slot(STACK) = FUNCTION(1) + 1;
	host_ranges[0].size = signal_frame + 168 - HOST_STACK(0);
	expect_walk(unreadable, FUNCTION(1) + 1);
}

/* Loops are possible only through signal frames; they end. */
static void test_a_loop_of_signal_frames(void **state)
{
	const struct dt_unwind_rule rules[] = { { .cfa = DT_CFA_SIGNAL } };
	const struct dt_traceback_event *event;

	(void)state;
	put_file(rules, 1);
	*host_slot(STACK + 160) = STACK;
	*host_slot(STACK + 168) = CALL(0);
	event = walk_from(CALL(0));
	assert_int_equal(event->truncation, DT_TRUNCATION_too_deep);
	assert_int_equal(event->total_frames, DT_FRAMES_WALKED_MAX + 1);
	assert_int_equal(event->frame_count, DT_FRAME_LIMIT_DEFAULT);
}

static void test_what_is_not_supported(void **state)
{
	struct dt_unwind_rule rules[] = {
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8, .frame_pointer = DT_SAVED_UNKNOWN },
		{ .cfa = DT_CFA_STACK, .cfa_offset = 8 },
		{ .cfa = DT_CFA_FRAME, .cfa_offset = 16 },
		{ .cfa = DT_CFA_UNSUPPORTED },
	};

	(void)state;
	put_file(rules, 4);
	*host_slot(STACK) = CALL(1);
	*host_slot(STACK + 8) = CALL(2);
	host_frame_pointer = STACK + 64;
	expect_walk(unsupported_rule, CALL(1), CALL(2)); /* rbp was lost on the way */
	unwind_rules[DT_UNWIND_RULE_CHAIN + 2].frame_pointer = DT_SAVED_AT_CFA; /* found again, beside a CFA */
	unwind_rules[DT_UNWIND_RULE_CHAIN + 2].frame_pointer_words = 1;
	*host_slot(STACK + 24) = STACK + 64;
	*host_slot(STACK + 72) = CALL(3);
	expect_walk(unsupported_rule, CALL(1), CALL(2), CALL(3));
	*host_slot(STACK + 72) = CALL(4);
	expect_walk(no_rule, CALL(1), CALL(2), CALL(4));
	*host_slot(STACK + 72) = CODE + PAGES * DT_UNWIND_PAGE_BYTES; /* the last byte that is mapped has no rule either */
	expect_walk(no_rule, CALL(1), CALL(2), CODE + PAGES * DT_UNWIND_PAGE_BYTES);
	*host_slot(STACK + 72) = 0;                     /* nobody called */
	expect_walk(none, CALL(1), CALL(2));
}

/* ---- mappings ---------------------------------------------------------------------------------------------------------- */

static void test_unknown_mapping(void **state)
{
	const struct dt_unwind_rule rules[] = { { .cfa = DT_CFA_STACK, .cfa_offset = 8 } };
	__u64 outside[] = { CODE, CODE + PAGES * DT_UNWIND_PAGE_BYTES + 1, 5, 0x7fffffffffff };

	(void)state;
	put_file(rules, 1);
	for (size_t i = 0; i < sizeof(outside) / 8; i++) {
		*host_slot(STACK) = outside[i];
		expect_walk(unknown_mapping, outside[i]);
		/* Asked once, and again when some time has passed. */
		assert_true(!host_event(DT_EVENT_UNKNOWN, 0) == (i % 2 == 1));
		host_time_ns += 60000000;
	}
	host_process(HOST_TGID)->mapping_count = 0;
	host_process(HOST_TGID)->mappings_version++;
	host_time_ns += 200000000;
	expect_walk(unknown_mapping);
	assert_non_null(host_event(DT_EVENT_UNKNOWN, 0));
	host_ring_is_full = true;               /* the question was lost: it is asked again */
	host_time_ns += 200000000;
	walk_from(CALL(0));
	host_ring_is_full = false;
	expect_walk(unknown_mapping);
	assert_non_null(host_event(DT_EVENT_UNKNOWN, 0));
}

/* Every mapping of a process is found, those of its neighbours are not. */
static void test_many_mappings(void **state)
{
	const struct dt_unwind_rule rules[] = { outermost };
	struct dt_mapping_row row;

	(void)state;
	put_file(rules, 1);
	row = mappings[0];
	for (__u32 count = 1; count <= 300; count += 13) {
		host_process(HOST_TGID)->first_mapping = 1000;
		host_process(HOST_TGID)->mapping_count = count;
		for (__u32 i = 0; i <= count + 1; i++) {
			row.start = CODE + (__u64)i * 0x10000;
			row.end = row.start + PAGES * DT_UNWIND_PAGE_BYTES;
			row.base = row.start;
			mappings[999 + i] = row;
		}
		for (__u32 i = 0; i <= count + 1; i++)
			assert_int_equal(walk_from(CALL(0) + (__u64)i * 0x10000)->truncation,
					 i && i <= count ? DT_TRUNCATION_none : DT_TRUNCATION_unknown_mapping);
	}
}

static void test_removed_libraries(void **state)
{
	const struct dt_unwind_rule rules[] = { { .cfa = DT_CFA_STACK, .cfa_offset = 8 }, outermost };

	(void)state;
	put_file(rules, 2);
	*host_slot(STACK) = CALL(1);
	host_image(HOST_TGID)->removals = 2;
	expect_walk(none, CALL(1));             /* a file that stays */
	mappings[0].flags = DT_MAPPING_REMOVABLE;
	host_process(HOST_TGID)->mappings_version++;
	expect_walk(stale_mapping);
	host_process(HOST_TGID)->removals = 2;
	expect_walk(none, CALL(1));
	host_image(HOST_TGID)->removals = 3;         /* something is being removed */
	host_process(HOST_TGID)->removals = 3;
	expect_walk(stale_mapping);
}

/* The same addresses, walked by the same rules, in two files one after the other. */
static void test_a_library_in_the_place_of_another(void **state)
{
	const struct dt_unwind_rule rules[] = { { .cfa = DT_CFA_STACK, .cfa_offset = 8 }, outermost };
	__u64 first;

	(void)state;
	put_file(rules, 2);
	*host_slot(STACK) = CALL(1);
	mappings[0].flags = DT_MAPPING_REMOVABLE;
	mappings[0].file = 1;
	first = walk_from(CALL(0))->traceback;
	assert_int_equal(walk_from(CALL(0))->traceback, first);
	mappings[0].file = 2;
	host_process(HOST_TGID)->mappings_version++;
	assert_int_not_equal(walk_from(CALL(0))->traceback, first);
	mappings[0].file = 1;
	host_process(HOST_TGID)->mappings_version++;
	assert_int_equal(walk_from(CALL(0))->traceback, first);
}

static void test_return_probes(void **state)
{
	const struct dt_unwind_rule rules[] = { { .cfa = DT_CFA_STACK, .cfa_offset = 8 }, outermost };
	struct return_instance first = { .stack = STACK, .orig_ret_vaddr = CALL(1) };
	struct return_instance second = { .stack = STACK, .orig_ret_vaddr = HOST_TRAMPOLINE, .next = &first };
	struct return_instance other = { .stack = STACK - 8, .orig_ret_vaddr = CALL(0), .next = &second };
	struct uprobe_task utask = { .return_instances = &other };

	(void)state;
	put_file(rules, 2);
	mappings[1] = (struct dt_mapping_row){ .start = HOST_TRAMPOLINE, .end = HOST_TRAMPOLINE + 4096, .flags = DT_MAPPING_RETURN_PROBES };
	host_process(HOST_TGID)->mapping_count = 2;
	*host_slot(STACK) = HOST_TRAMPOLINE + 1; /* that page, and no return that the kernel knows of */
	expect_walk(return_probe, HOST_TRAMPOLINE + 1);
	*host_slot(STACK) = HOST_TRAMPOLINE;
	host_threads[0].task.utask = &utask;
	expect_walk(none, CALL(1));
}

/* What was looked up once holds for its version of the mappings, and for no other. */
static void test_other_mappings(void **state)
{
	struct dt_unwind_rule rules[] = { { .cfa = DT_CFA_STACK, .cfa_offset = 8 }, outermost };

	(void)state;
	*host_slot(STACK) = CALL(1);
	*host_slot(STACK + 8) = FUNCTION(1) + 0x30;
	for (__u32 i = 0; i < 8; i++) {
		rules[0].cfa_offset = 8 + 8 * (i % 2);
		put_file(rules, 2);
		host_process(HOST_TGID)->mappings_version++;
		for (int again = 0; again < 3; again++)
			if (i % 2)
				expect_walk(none, FUNCTION(1) + 0x30);
			else
				expect_walk(none, CALL(1));
	}
}

/* ---- tables that are large ------------------------------------------------------------------------------------------------ */

/* A page with as many rows as there can be, in another chunk than its index, whose rows each have their own rule. */
static void test_a_full_page(void **state)
{
	__u32 index = DT_UNWIND_CHUNK_WORDS - 2, rows = 3 * DT_UNWIND_CHUNK_WORDS - 4096;

	(void)state;
	*word_at(index) = rows;
	*word_at(index + 1) = 4096;
	for (__u32 i = 0; i < 4096; i++) {
		*word_at(rows + i) = DT_UNWIND_ROW(i, i + 2);
		unwind_rules[i + 2] = (struct dt_unwind_rule){ .cfa = i % 3 ? DT_CFA_UNSUPPORTED : DT_CFA_END };
	}
	mappings[0] = (struct dt_mapping_row){ .start = CODE, .end = CODE + 4096, .base = CODE, .pages = index, .page_count = 1 };
	for (__u32 i = 0; i < 4096; i++)
		assert_int_equal(walk_from(CODE + i + 1)->truncation, i % 3 ? DT_TRUNCATION_unsupported_rule : DT_TRUNCATION_none);
	host_process(HOST_TGID)->mappings_version++;
	mappings[0].pages = DT_UNWIND_CHUNKS_MAX * DT_UNWIND_CHUNK_WORDS; /* no chunk has that number */
	assert_int_equal(walk_from(CODE + 1)->truncation, DT_TRUNCATION_no_rule);
}

int main(void)
{
#define case_of(test) cmocka_unit_test_setup_teardown(test, setup, host_teardown)
	const struct CMUnitTest tests[] = {
		case_of(test_stack_pointer),
		case_of(test_large_frames),
		case_of(test_realigned_stack),
		case_of(test_a_frame_pointer_that_is_gone),
		case_of(test_plt),
		case_of(test_frame_pointers_where_no_table_is),
		case_of(test_derived_rules),
		case_of(test_signal),
		case_of(test_a_loop_of_signal_frames),
		case_of(test_what_is_not_supported),
		case_of(test_unknown_mapping),
		case_of(test_many_mappings),
		case_of(test_removed_libraries),
		case_of(test_a_library_in_the_place_of_another),
		case_of(test_return_probes),
		case_of(test_other_mappings),
		case_of(test_a_full_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
