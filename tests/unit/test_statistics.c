/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics and differences as callers of the library get them. What they are is compared with tracemalloc by unit/algebra. */
#include <errno.h>

#include "said.h"
#include "snapshot/group.h"
#include "snapshot_sample.h"

#include <domtrace/snapshot.h>

/* Every row of every group, in every order, is that of the groups that are compared with tracemalloc. */
static void compare(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, const struct dt_grouping_opts *opts)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	struct dt_statistics *statistics = NULL;
	struct dt_groups groups;
	struct dt_statistic row = { .size = sizeof(row) };

	assert_int_equal(dt_groups_make(snapshot, old, opts->group, opts->cumulative, opts->sort, &groups), 0);
	assert_int_equal(dt_snapshot_compare_to(snapshot, old, opts, &log, &statistics), 0);
	assert_int_equal(dt_statistics_count(statistics), groups.row_count);
	for (size_t i = 0; i < groups.row_count; i++) {
		const struct dt_group_row *want = &groups.rows[i];
		const struct dt_key *key = &groups.keys.keys[want->key];

		assert_int_equal(dt_statistics_get(statistics, i, &row), 0);
		assert_true(row.live_blocks == want->now->blocks && row.live_bytes == want->now->bytes);
		assert_true(row.old_live_blocks == want->old->blocks && row.old_live_bytes == want->old->bytes);
		assert_true(row.allocations == want->now->allocations && row.allocated_bytes == want->now->allocated_bytes);
		assert_true(row.is_new == !want->was_old && row.is_gone == !want->is_now);
		assert_string_equal(row.name, groups.keys.places[key->places[opts->group == DT_GROUP_TRACEBACK ? key->place_count - 1 : 0]].name);
		for (size_t k = 0; k < row.frame_count; k++) {
			struct dt_frame_info frame = { .size = sizeof(frame) };

			assert_int_equal(dt_statistics_get_frame(statistics, i, k, &frame), 0);
			if (opts->group > DT_GROUP_FILENAME)
				continue;
			assert_string_equal(frame.filename, groups.keys.places[key->places[k]].name);
			assert_int_equal(frame.lineno, groups.keys.places[key->places[k]].number);
		}
		assert_int_equal(dt_statistics_get_frame(statistics, i, row.frame_count, &(struct dt_frame_info){ .size = sizeof(struct dt_frame_info) }),
				 -ERANGE);
	}
	assert_int_equal(dt_statistics_get(statistics, groups.row_count, &row), -ERANGE);
	assert_int_equal(said.lines, 0);
	dt_statistics_free(statistics);
	dt_groups_clear(&groups);
}

static void test_rows(void **state)
{
	struct dt_snapshot *now = new_sample("/srv/app.py"), *old = new_mixed_sample("/srv/app.py");
	struct dt_grouping_opts opts = { .size = sizeof(opts) };

	(void)state;
	/* Sums stay below 2^64. */
	now->traces[3].temporary = now->traces[3].allocations = now->traces[3].allocated_bytes = now->traces[3].at_peak_bytes = 1;
	for (opts.group = 0; opts.group < DT_GROUP_COUNT_; opts.group++)
		for (opts.sort = 0; opts.sort < DT_SORT_COUNT_; opts.sort++)
			for (int i = 0; i < 4; i++) {
				opts.cumulative = i & 1 && (opts.group == DT_GROUP_LINENO || opts.group == DT_GROUP_FILENAME);
				compare(now, i & 2 ? old : NULL, &opts);
			}
	dt_snapshot_free(now);
	dt_snapshot_free(old);
}

static void test_defaults_and_faults(void **state)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	struct dt_snapshot *sample = new_mixed_sample("/srv/app.py");
	struct dt_grouping_opts opts = { .size = sizeof(opts), .group = DT_GROUP_MODULE, .cumulative = true };
	struct dt_statistic row = { .size = sizeof(row) };
	struct dt_statistics *statistics = NULL;

	(void)state;
	assert_int_equal(dt_snapshot_statistics(sample, NULL, &log, &statistics), 0);
	assert_int_equal(dt_statistics_count(statistics), 7);
	assert_int_equal(dt_statistics_get(statistics, 0, &row), 0);
	assert_int_equal(row.live_bytes, 30000);
	assert_int_equal(row.frame_count, 10);
	dt_statistics_free(statistics);
	assert_int_equal(dt_snapshot_statistics(sample, &opts, &log, &statistics), -EINVAL);
	assert_string_equal(said.last, "cumulative figures go with lineno and filename, not with module");
	opts = (struct dt_grouping_opts){ .group = DT_GROUP_MODULE };
	assert_int_equal(dt_snapshot_statistics(sample, &opts, &log, &statistics), -EINVAL);
	opts = (struct dt_grouping_opts){ .size = sizeof(opts), .group = DT_GROUP_COUNT_ };
	assert_int_equal(dt_snapshot_statistics(sample, &opts, &log, &statistics), -EINVAL);
	assert_int_equal(said.lines, 3);
	dt_statistics_free(NULL);
	dt_snapshot_free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows), cmocka_unit_test(test_defaults_and_faults) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
