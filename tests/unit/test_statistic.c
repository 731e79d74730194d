/* SPDX-License-Identifier: BSD-2-Clause */
/* statistic: the order of a report, by each figure, with ties, whatever order the rows came in. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "snapshot/statistic.h"

/* Tracebacks by number: 0 main, 1 main-load, 2 main-save, 3 lost. */
static struct dt_snapshot *new_snapshot(void)
{
	static const char *const functions[] = { "main", "load", "save" };
	struct dt_snapshot *snapshot = NULL;
	uint32_t index;

	assert_int_equal(dt_snapshot_new(&snapshot), 0);
	for (int i = 2; i >= 0; i--) {
		struct dt_snapshot_frame frame = { .kind = DT_FRAME_PYTHON, .file = "/a.py", .function = functions[i], .line = 5 };

		assert_int_equal(dt_snapshot_add_frame(snapshot, &frame, &index), 0);
	}
	struct dt_snapshot_traceback rows[] = {
		{ .frames = (uint32_t[]){ 2 }, .frame_count = 1, .total_frames = 1 },
		{ .frames = (uint32_t[]){ 2, 1 }, .frame_count = 2, .total_frames = 2 },
		{ .frames = (uint32_t[]){ 2, 0 }, .frame_count = 2, .total_frames = 2 },
		{ .truncation = DT_TRUNCATION_lost },
	};

	for (size_t i = 0; i < DT_ARRAY_SIZE(rows); i++)
		assert_int_equal(dt_snapshot_add_traceback(snapshot, &rows[i], &index), 0);
	return snapshot;
}

static void add(struct dt_snapshot *snapshot, const struct dt_snapshot_trace *row)
{
	uint32_t index;

	assert_int_equal(dt_snapshot_add_trace(snapshot, row, &index), 0);
}

static void assert_order(const struct dt_snapshot *snapshot, uint32_t domain, enum dt_sort sort, const uint32_t *expected,
			 size_t count)
{
	DT_FREE uint32_t *indexes = NULL;
	size_t got = SIZE_MAX;

	assert_int_equal(dt_statistic_order(snapshot, domain, sort, &indexes, &got), 0);
	assert_int_equal(got, count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(indexes[i], expected[i]);
}

#define ASSERT_ORDER(domain, sort, ...) do { \
	uint32_t expected[] = { __VA_ARGS__ }; \
	assert_order(snapshot, domain, sort, expected, DT_ARRAY_SIZE(expected)); \
} while (0)

static void test_each_figure(void **state)
{
	struct dt_snapshot *snapshot = new_snapshot();

	(void)state;
	add(snapshot, &(struct dt_snapshot_trace){ .traceback = 0, .blocks = 1, .bytes = 300, .allocations = 9,
						   .allocated_bytes = 900, .peak_bytes = 300, .at_peak_bytes = 3 });
	add(snapshot, &(struct dt_snapshot_trace){ .traceback = 1, .blocks = 3, .bytes = 100, .allocations = 7,
						   .allocated_bytes = UINT64_MAX, .peak_bytes = 800, .at_peak_bytes = 2, .temporary = 4 });
	add(snapshot, &(struct dt_snapshot_trace){ .traceback = 2, .allocations = 8, .allocated_bytes = 1, .peak_bytes = 1,
						   .at_peak_bytes = 1, .temporary = 8 });
	add(snapshot, &(struct dt_snapshot_trace){ .domain = 1, .traceback = 2, .blocks = 1 });
	ASSERT_ORDER(0, DT_SORT_LIVE, 0, 1);
	ASSERT_ORDER(0, DT_SORT_COUNT, 1, 0);
	ASSERT_ORDER(0, DT_SORT_ALLOCATED, 1, 0, 2);
	ASSERT_ORDER(0, DT_SORT_ALLOCATIONS, 0, 2, 1);
	ASSERT_ORDER(0, DT_SORT_PEAK, 1, 0, 2);
	ASSERT_ORDER(0, DT_SORT_AT_PEAK, 0, 1, 2);
	ASSERT_ORDER(0, DT_SORT_TEMPORARY, 2, 1);
	ASSERT_ORDER(1, DT_SORT_COUNT, 3);
	assert_order(snapshot, 1, DT_SORT_LIVE, NULL, 0);
	assert_order(snapshot, 2, DT_SORT_LIVE, NULL, 0);
	dt_snapshot_free(snapshot);
}

static void test_ties(void **state)
{
	(void)state;
	/* The same rows in every order of arrival. */
	for (uint32_t first = 0; first < 4; first++) {
		struct dt_snapshot *snapshot = new_snapshot();
		uint32_t at[4];

		for (uint32_t i = 0; i < 4; i++) {
			uint32_t traceback = (first + i * 3) % 4;

			at[traceback] = i;
			add(snapshot, &(struct dt_snapshot_trace){ .traceback = traceback, .blocks = 2, .bytes = 64 });
		}
		/* No frames, the shorter one, then "load" before "save". */
		ASSERT_ORDER(0, DT_SORT_LIVE, at[3], at[0], at[1], at[2]);
		snapshot->traces[at[1]].blocks = 3;
		ASSERT_ORDER(0, DT_SORT_LIVE, at[1], at[3], at[0], at[2]);
		snapshot->traces[at[2]].bytes = 65;
		ASSERT_ORDER(0, DT_SORT_COUNT, at[1], at[2], at[3], at[0]);
		snapshot->traces[at[0]].peak_bytes = 1;
		ASSERT_ORDER(0, DT_SORT_COUNT, at[1], at[2], at[0], at[3]);
		dt_snapshot_free(snapshot);
	}
}

static void test_key(void **state)
{
	struct dt_snapshot_trace row = { .blocks = 1, .bytes = 2, .allocations = 3, .allocated_bytes = 4, .peak_bytes = 5,
					 .at_peak_bytes = 6, .temporary = 7 };

	(void)state;
	assert_int_equal(dt_statistic_key(&row, DT_SORT_LIVE), 2);
	assert_int_equal(dt_statistic_key(&row, DT_SORT_COUNT), 1);
	assert_int_equal(dt_statistic_key(&row, DT_SORT_ALLOCATED), 4);
	assert_int_equal(dt_statistic_key(&row, DT_SORT_ALLOCATIONS), 3);
	assert_int_equal(dt_statistic_key(&row, DT_SORT_PEAK), 5);
	assert_int_equal(dt_statistic_key(&row, DT_SORT_AT_PEAK), 6);
	assert_int_equal(dt_statistic_key(&row, DT_SORT_TEMPORARY), 7);
}

static void assert_processes(const struct dt_snapshot *snapshot, enum dt_sort sort, const uint32_t *expected)
{
	DT_FREE uint32_t *indexes = NULL;

	assert_int_equal(dt_statistic_order_processes(snapshot, sort, &indexes), 0);
	for (uint32_t i = 0; i < snapshot->process_count; i++)
		assert_int_equal(indexes[i], expected[i]);
}

#define ASSERT_PROCESSES(sort, ...) assert_processes(snapshot, sort, (uint32_t[]){ __VA_ARGS__ })

/* By the sum over its domains; of equal ones the one with the lower number, then the one that came first. */
static void test_processes(void **state)
{
	static const struct dt_snapshot_domain domains[] = {
		{ .process = 0, .live_blocks = 1, .live_bytes = 100, .allocations = 9, .allocated_bytes = 500, .peak_bytes = 400 },
		{ .process = 1, .live_blocks = 2, .live_bytes = 60, .allocations = 1, .allocated_bytes = 60, .peak_bytes = 60 },
		{ .process = 1, .id = 7, .live_blocks = 2, .live_bytes = 60, .allocations = 8, .allocated_bytes = 60, .peak_bytes = 60 },
		{ .process = 3, .live_blocks = 3, .live_bytes = 100, .allocations = 1, .allocated_bytes = 101, .peak_bytes = 100 },
	};
	static const int pids[] = { 50, 40, 10, 30, 10 };
	struct dt_snapshot *snapshot = NULL;
	DT_FREE uint32_t *none = NULL;
	uint32_t index;

	(void)state;
	assert_int_equal(dt_snapshot_new(&snapshot), 0);
	assert_int_equal(dt_statistic_order_processes(snapshot, DT_SORT_LIVE, &none), 0);
	for (size_t i = 0; i < DT_ARRAY_SIZE(pids); i++)
		assert_int_equal(dt_snapshot_add_process(snapshot, &(struct dt_snapshot_process){ .pid = pids[i], .comm = "p" }, &index), 0);
	ASSERT_PROCESSES(DT_SORT_LIVE, 2, 4, 3, 1, 0);          /* all have nothing */
	for (size_t i = 0; i < DT_ARRAY_SIZE(domains); i++) {
		struct dt_snapshot_domain domain = domains[i];

		domain.name = "libc";
		assert_int_equal(dt_snapshot_add_domain(snapshot, &domain, &index), 0);
	}
	ASSERT_PROCESSES(DT_SORT_LIVE, 1, 3, 0, 2, 4);
	ASSERT_PROCESSES(DT_SORT_COUNT, 1, 3, 0, 2, 4);
	ASSERT_PROCESSES(DT_SORT_ALLOCATIONS, 1, 0, 3, 2, 4);
	ASSERT_PROCESSES(DT_SORT_ALLOCATED, 0, 1, 3, 2, 4);
	ASSERT_PROCESSES(DT_SORT_PEAK, 0, 1, 3, 2, 4);
	dt_snapshot_free(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_figure),
		cmocka_unit_test(test_ties),
		cmocka_unit_test(test_key),
		cmocka_unit_test(test_processes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
