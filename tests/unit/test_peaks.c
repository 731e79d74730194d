/* SPDX-License-Identifier: BSD-2-Clause */
/* peaks: what of a trace was live at its domain's peak, from rows as the programs leave them; and whether the traces add up to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "session/peaks.h"

#define SLOT 7
#define TRACE 100

static struct dt_collect_row *add(struct dt_collect *collect, uint64_t traceback, uint32_t generation, struct dt_tally one,
				  struct dt_tally other)
{
	struct dt_collect_row *row = calloc(1, sizeof(*row));

	assert_non_null(row);
	row->key = (struct dt_trace_key){ .owner = { SLOT, 0 }, .traceback = traceback, .generation = generation };
	row->half[0] = one;
	row->half[1] = other;
	HASH_ADD(hh, collect->rows, key, sizeof(row->key), row);
	return row;
}

static void clear(struct dt_collect *collect)
{
	struct dt_collect_row *row, *next;

	HASH_ITER(hh, collect->rows, row, next) {
		HASH_DEL(collect->rows, row);
		free(row);
	}
}

#define LIVE(allocated, freed, most) ((struct dt_tally){ .allocated_bytes = (allocated), .freed_bytes = (freed), .peak = (most) })
#define KEPT(allocated, freed, of, bytes) \
	((struct dt_tally){ .allocated_bytes = (allocated), .freed_bytes = (freed), .at_peak_of = (of), .at_peak_bytes = (bytes) })

/* Whatever the halves are in which the domain came to its peak and the trace has changed since. */
static void test_row(void **state)
{
	static const struct {
		struct dt_tally total[2], trace[2];
		int64_t want;
	} cases[] = {
		/* It has not changed since: what was kept of it, if anything, is of a peak before. */
		{ { LIVE(100, 0, 100), LIVE(50, 0, 150) }, { KEPT(60, 0, 0, 0), KEPT(10, 0, 0, 0) }, 70 },
		{ { LIVE(100, 0, 100), LIVE(50, 0, 150) }, { KEPT(60, 0, 100, 40), KEPT(10, 0, 0, 0) }, 70 },
		/* It has: kept in the one half or in the other. */
		{ { LIVE(100, 60, 100), LIVE(50, 0, 150) }, { KEPT(60, 60, 150, 55), KEPT(10, 0, 100, 3) }, 55 },
		{ { LIVE(100, 60, 100), LIVE(50, 0, 150) }, { KEPT(60, 60, 100, 3), KEPT(10, 0, 150, 55) }, 55 },
		{ { LIVE(100, 60, 150), LIVE(50, 0, 90) }, { KEPT(60, 60, 150, 0), KEPT(10, 0, 90, 8) }, 0 },
		/* The domain has more than ever before: a peak that its rows do not know yet. What the trace has is what it has of that. */
		{ { LIVE(100, 0, 100), LIVE(50, 0, 140) }, { KEPT(60, 0, 140, 9), KEPT(10, 0, 100, 8) }, 70 },
		/* More of it has gone than came: it was inherited. */
		{ { LIVE(20, 50, 20), LIVE(0, 0, 0) }, { KEPT(0, 50, 20, -30), KEPT(0, 0, 0, 0) }, -30 },
		{ { LIVE(20, 50, 20), LIVE(0, 0, 0) }, { KEPT(0, 50, 0, 0), KEPT(0, 0, 0, 0) }, -50 },
		/* An heir that only lost what it had has its peak at its beginning, of which it has kept 0. */
		{ { LIVE(0, 50, 0), LIVE(0, 10, 0) }, { KEPT(0, 50, 0, 0), KEPT(0, 10, 0, 0) }, 0 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_collect collect = { .rows = NULL };
		struct dt_collect_row *trace;

		/* Those of a generation that was cleared away do not matter. */
		add(&collect, DT_TRACEBACK_TOTAL, 1, LIVE(1, 0, 1), LIVE(1, 0, 1));
		add(&collect, DT_TRACEBACK_TOTAL, 2, cases[i].total[0], cases[i].total[1]);
		trace = add(&collect, TRACE, 2, cases[i].trace[0], cases[i].trace[1]);
		if (dt_peaks_row(&collect, trace) != cases[i].want)
			fail_msg("case %zu: %lld, not %lld", i, (long long)dt_peaks_row(&collect, trace), (long long)cases[i].want);
		clear(&collect);
	}
}

static void test_row_without_total(void **state)
{
	struct dt_collect collect = { .rows = NULL };
	struct dt_collect_row *trace = add(&collect, TRACE, 1, KEPT(60, 0, 0, 7), KEPT(0, 10, 0, 7));

	(void)state;
	assert_int_equal(dt_peaks_row(&collect, trace), 50);
	clear(&collect);
}

static void test_sums(void **state)
{
	struct dt_collect_row row = { .half = {
		{ .allocations = 1, .allocated_bytes = 2, .frees = 3, .freed_bytes = 4, .peak = 50, .temporary = 6, .at_peak_bytes = 9 },
		{ .allocations = 10, .allocated_bytes = 20, .frees = 30, .freed_bytes = 40, .peak = 5, .temporary = 60 },
	} };
	struct dt_tally sum = dt_collect_row_sum(&(struct dt_collect){ .rows = NULL }, &row), more = LIVE(90, 20, 60), less = LIVE(20, 90, 0);

	(void)state;
	assert_int_equal(sum.allocations, 11);
	assert_int_equal(sum.allocated_bytes, 22);
	assert_int_equal(sum.frees, 33);
	assert_int_equal(sum.freed_bytes, 44);
	assert_int_equal(sum.peak, 50);
	assert_int_equal(sum.temporary, 66);
	assert_int_equal(sum.at_peak_bytes, 0);
	assert_int_equal(dt_tally_peak(&sum), 50);
	assert_int_equal(dt_tally_peak(&more), 70);
	assert_int_equal(dt_tally_peak(&less), 0);
}

/* Since a reset: what rows say of the time before it is void; those that say nothing else have what they have. */
static void test_reset(void **state)
{
	struct dt_collect collect = { .peak_zero = DT_PEAK(3, 0) };
	struct dt_collect_row *total = add(&collect, DT_TRACEBACK_TOTAL, 1, LIVE(100, 60, 100), LIVE(50, 0, DT_PEAK(2, 150))), *trace;
	struct dt_tally sum = dt_collect_row_sum(&collect, total);

	(void)state;
	trace = add(&collect, TRACE, 1, KEPT(60, 30, DT_PEAK(2, 150), 55), KEPT(0, 0, 100, 3));
	assert_int_equal(sum.peak, 90);
	assert_int_equal(dt_peaks_row(&collect, trace), 30);
	total->half[0].peak = DT_PEAK(3, 95);
	sum = dt_collect_row_sum(&collect, total);
	assert_int_equal(sum.peak, 95);
	assert_int_equal(dt_peaks_row(&collect, trace), 30);
	trace->half[0].at_peak_of = DT_PEAK(3, 95);
	assert_int_equal(dt_peaks_row(&collect, trace), 55);
	total->half[0].peak = DT_PEAK(3, -10);
	sum = dt_collect_row_sum(&collect, total);
	assert_int_equal((int64_t)sum.peak, -10);
	clear(&collect);
}

/* A trace that has less than nothing, which threads that raced have left so, has nothing; then the sum is not the peak. */
static void test_check(void **state)
{
	static const struct {
		int64_t at_peak[2];
		uint64_t peak;
		bool exact;
	} cases[] = { { { 60, 40 }, 100, true }, { { 60, 41 }, 100, false }, { { 60, 39 }, 100, false }, { { 110, -10 }, 100, false },
		      { { 100, -10 }, 100, true }, { { 0, 0 }, 0, true } };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_snapshot_trace traces[3] = {
			{ .domain = 1, .at_peak_bytes = (uint64_t)cases[i].at_peak[0] }, { .domain = 0, .at_peak_bytes = 5 },
			{ .domain = 1, .at_peak_bytes = (uint64_t)cases[i].at_peak[1] },
		};
		struct dt_snapshot_domain domains[2] = { { .peak_bytes = 5 }, { .peak_bytes = cases[i].peak } };
		struct dt_snapshot snapshot = { .domains = domains, .domain_count = 2, .traces = traces, .trace_count = 3 };

		assert_int_equal(dt_peaks_check(&snapshot), 0);
		assert_true(domains[0].at_peak_exact);
		assert_int_equal(domains[1].at_peak_exact, cases[i].exact);
		assert_int_equal(traces[2].at_peak_bytes, cases[i].at_peak[1] < 0 ? 0 : cases[i].at_peak[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_row), cmocka_unit_test(test_row_without_total), cmocka_unit_test(test_sums), cmocka_unit_test(test_reset), cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
