/* SPDX-License-Identifier: BSD-2-Clause */
/* part: live blocks by size and age, of traces that know them and of such that do not; what filters say that cannot be answered. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "snapshot/part.h"
#include "snapshot/sizes.h"
#include "snapshot_sample.h"

static void test_up_to(void **state)
{
	(void)state;
	assert_int_equal(dt_part_up_to(1), 1);
	assert_int_equal(dt_part_up_to(4096), (1ull << 13) - 1);
	assert_true(dt_part_up_to(1ull << 62) == UINT64_MAX >> 1 && dt_part_up_to(1ull << 63) == UINT64_MAX);
}

/* 3 blocks of the class of 16 bytes with 40, 2 of that of 64 with 100; of all of them so many are old, with so many bytes. */
#define TRACE(old, old_size) { \
	.blocks = 5, .bytes = 140, .allocations = 9, .allocated_bytes = 900, .peak_bytes = 300, .at_peak_bytes = 200, .temporary = 2, \
	.old_blocks = old, .old_bytes = old_size, .sizes = { (struct dt_snapshot_size[]){ { 16, 3, 40 }, { 64, 2, 100 } }, 2 }, \
}

static void test_cut(void **state)
{
	const uint64_t small = dt_part_up_to(16), none = dt_part_up_to(8), all = UINT64_MAX;
	const struct { struct dt_part part; uint64_t old, old_size; bool known; uint64_t blocks, bytes; } cases[] = {
		{ { all, all }, 1, 10, true, 5, 140 }, { { 0, 0 }, 1, 10, true, 0, 0 }, { { small, small }, 1, 10, true, 3, 40 },
		{ { ~small, ~small }, 1, 10, true, 2, 100 }, { { none, none }, 1, 10, true, 0, 0 }, { { ~none, ~none }, 1, 10, true, 5, 140 },
		{ { all, 0 }, 1, 10, true, 1, 10 }, { { 0, all }, 1, 10, true, 4, 130 }, { { ~none, none }, 1, 10, true, 1, 10 },
		{ { small, 0 }, 1, 10, false, 0, 0 }, { { 0, small }, 1, 10, false, 0, 0 }, { { all, small }, 4, 10, false, 0, 0 },
		{ { all, small }, 0, 0, true, 3, 40 }, { { small, all }, 5, 140, true, 3, 40 }, { { small, 0 }, 0, 0, true, 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_snapshot_trace trace = TRACE(cases[i].old, cases[i].old_size);

		assert_int_equal(dt_part_is_known(&cases[i].part, &trace), cases[i].known);
		if (!cases[i].known)
			continue;
		dt_part_cut(&cases[i].part, &trace);
		assert_int_equal(trace.blocks, cases[i].blocks);
		assert_int_equal(trace.bytes, cases[i].bytes);
		assert_true(trace.allocations == trace.blocks && trace.allocated_bytes == trace.bytes && trace.peak_bytes == trace.bytes);
		assert_true(trace.at_peak_bytes == trace.bytes && !trace.temporary && !trace.old_blocks && !trace.old_bytes);
	}
}

/* ---- filters --------------------------------------------------------------------------------------------------- */

static char said[4][512];
static size_t said_count;

static void say(void *context, enum dt_log_level level, const char *line)
{
	(void)context;
	(void)level;
	assert_true(said_count < DT_ARRAY_SIZE(said));
	snprintf(said[said_count++], sizeof(said[0]), "%s", line);
}

static const struct dt_log log_to_said = { say, NULL };

static int filter(struct dt_snapshot *sample, const char *text)
{
	const char *const filters[] = { text, NULL };
	struct dt_filter_opts opts = { .size = sizeof(opts), .filters = filters };

	said_count = 0;
	return dt_snapshot_filter(sample, &opts, &log_to_said);
}

#define NUMPY_SIZES { 1, 22, 1, 3700224 }, { 1, 24, 1, 10000000 }, { 0, 17, 10, 1100000 }, { 0, 16, 2, 100000 }

/* With sizes of all domains, and 5 of the 12 blocks of the first trace, of 400,000 bytes, of an age of 60.4 s. */
static struct dt_snapshot *new_known_sample(void)
{
	static const struct dt_sized seen[] = { NUMPY_SIZES, { 2, 12, 3, 12288 } };
	struct dt_snapshot *sample = new_sample("/srv/app.py");
	const char *reason = "";

	assert_int_equal(dt_sizes_set(sample, seen, DT_ARRAY_SIZE(seen)), 0);
	sample->ages = (struct dt_snapshot_ages){ 60000000000, 60400000000, true };
	sample->traces[0].old_blocks = sample->domains[0].old_blocks = 5;
	sample->traces[0].old_bytes = sample->domains[0].old_bytes = 400000;
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
	return sample;
}

static void test_filter(void **state)
{
	static const struct { const char *text; uint32_t traces; uint64_t blocks, bytes; bool sized; } cases[] = {
		{ "size>65536", 2, 12, 14800224, true }, { "size>64K,size<=128K", 1, 10, 1100000, true }, { "!size<=4M", 1, 1, 10000000, true },
		{ "size>128K", 1, 2, 13700224, true }, { "size>16M", 0, 0, 0, true }, { "age>=60s", 1, 5, 400000, false },
		{ "age<1m", 2, 9, 14500224, false }, { "!age>=60s,domain=numpy", 2, 9, 14500224, false },
		{ "blocks>=12,size<=64K", 1, 2, 100000, true }, { "size>1M,age<60s", 1, 2, 13700224, false },
	};
	const char *reason;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_snapshot *sample = new_known_sample();
		const struct dt_snapshot_domain *numpy = &sample->domains[0];

		assert_int_equal(filter(sample, cases[i].text), 0);
		assert_int_equal(dt_snapshot_check(sample, &reason), 0);
		assert_int_equal(numpy->live_blocks, cases[i].blocks);
		assert_int_equal(numpy->live_bytes, cases[i].bytes);
		assert_int_equal(numpy->sized, cases[i].sized);
		assert_true(numpy->allocations == numpy->live_blocks && !numpy->frees && numpy->peak_bytes == numpy->live_bytes &&
			    numpy->at_peak_exact && !numpy->temporary && !sample->ages.older_than_ns);
		assert_int_equal(sample->trace_count - (sample->trace_count && sample->traces[sample->trace_count - 1].domain), cases[i].traces);
		assert_string_equal(said[said_count - 1], !strstr(cases[i].text, "age") ? "filtered by size: all figures are of blocks that are live, "
				    "as it is not known of others" : strstr(cases[i].text, "size") ? "filtered by size and age: all figures are of blocks that "
				    "are live, as it is not known of others" : "filtered by age: all figures are of blocks that are live, as it is not "
				    "known of others");
		if (strstr(cases[i].text, "age"))
			assert_string_equal(said[0], "old blocks are those of an age of at least 60.400 s: they were told apart then");
		dt_snapshot_free(sample);
	}
}

/* Said in one sentence, and nothing has changed. */
static void expect_refused(struct dt_snapshot *sample, const char *text, const char *sentence)
{
	uint64_t blocks = sample->domains[0].live_blocks;

	assert_int_equal(filter(sample, text), -ENODATA);
	assert_int_equal(said_count, 1);
	assert_string_equal(said[0], sentence);
	assert_int_equal(sample->domains[0].live_blocks, blocks);
}

static void test_refused(void **state)
{
	struct dt_snapshot *plain = new_sample("/srv/app.py"), *known = new_known_sample();

	(void)state;
	expect_refused(plain, "size>4K", "the filter 'size>4K' asks for sizes of blocks, which the snapshot does not tell of the domain numpy of process "
		       "4242: take it with --sizes");
	expect_refused(plain, "!age<1h", "the filter '!age<1h' asks for an age that the snapshot does not tell: take it with --older-than 1h");
	assert_int_equal(filter(plain, "size>4K,domain=pandas"), 0);    /* which has no live blocks */
	expect_refused(known, "age>=61s", "the filter 'age>=61s' asks for an age that the snapshot does not tell, as it was taken for another: take it with "
		       "--older-than 61s");
	expect_refused(known, "size>64K,age>=60s", "the filters cannot be answered exactly: of a traceback of the domain numpy they ask for sizes of its old "
		       "blocks, and a snapshot tells sizes and ages apart from each other: filter by one of them");
	known->ages.exact = false;
	expect_refused(known, "age>=60s", "the filter 'age>=60s' cannot be answered exactly, as some old blocks are missing in the snapshot: take another "
		       "one, if it happens again with a larger --table past=");
	known->domains[0].sizes_exact = false;
	expect_refused(known, "size>1M", "the filter 'size>1M' cannot be answered exactly, as the snapshot does not have the sizes of all blocks of the domain "
		       "numpy of process 4242: take another one, if it happens again with a larger --table past=");
	assert_int_equal(filter(known, "size>4G,domain=tracemalloc:7"), 0);
	dt_snapshot_free(plain);
	dt_snapshot_free(known);
}

static void test_wrong(void **state)
{
	static const struct { const char *text, *sentence; } cases[] = {
		{ "size>3K", "the filter 'size>3K': '3K' is not a power of two of bytes (as 64, 4K or 1M), between which sizes are told apart" },
		{ "size>0", "the filter 'size>0': '0' is not a power of two of bytes (as 64, 4K or 1M), between which sizes are told apart" },
		{ "size>=4K", "the filter 'size>=4K': '=4K' is not a power of two of bytes (as 64, 4K or 1M), between which sizes are told apart" },
		{ "size>", "the filter 'size>': '' is not a power of two of bytes (as 64, 4K or 1M), between which sizes are told apart" },
		{ "size=4K", "the filter 'size=4K': 'size=4K' is none of file=, line=, all, function=, module=, domain=, process=, bytes>=, bytes<=, "
			     "blocks>=, blocks<=, size>, size<=, age>= and age<" },
		{ "age>=60", "the filter 'age>=60': '60' is not a duration (as 500ms, 60s, 5m or 1h)" },
		{ "age<=60s", "the filter 'age<=60s': '=60s' is not a duration (as 500ms, 60s, 5m or 1h)" },
		{ "age>=60s,age<60s", "the filter 'age>=60s,age<60s' has a duration (as 500ms, 60s, 5m or 1h) twice: give two filters" },
	};
	struct dt_snapshot *sample = new_known_sample();

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		assert_int_equal(filter(sample, cases[i].text), -EINVAL);
		assert_int_equal(said_count, 1);
		assert_string_equal(said[0], cases[i].sentence);
	}
	dt_snapshot_free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_up_to), cmocka_unit_test(test_cut), cmocka_unit_test(test_filter), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_wrong),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
