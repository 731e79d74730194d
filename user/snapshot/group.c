/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

uint64_t dt_figures_get(const struct dt_figures *figures, enum dt_sort sort)
{
	switch (sort) {
	case DT_SORT_COUNT:
		return figures->blocks;
	case DT_SORT_ALLOCATED:
		return figures->allocated_bytes;
	case DT_SORT_ALLOCATIONS:
		return figures->allocations;
	case DT_SORT_PEAK:
		return figures->peak_bytes;
	case DT_SORT_AT_PEAK:
		return figures->at_peak_bytes;
	case DT_SORT_TEMPORARY:
		return figures->temporary;
	case DT_SORT_OLD:
		return figures->old_bytes;
	case DT_SORT_LIVE:
	default:
		return figures->bytes;
	}
}

/* What decides between rows with the same first figure. */
static const enum dt_sort seconds[DT_SORT_COUNT_] = {
	[DT_SORT_LIVE] = DT_SORT_COUNT,
	[DT_SORT_COUNT] = DT_SORT_LIVE,
	[DT_SORT_ALLOCATED] = DT_SORT_ALLOCATIONS,
	[DT_SORT_ALLOCATIONS] = DT_SORT_ALLOCATED,
	[DT_SORT_PEAK] = DT_SORT_LIVE,
	[DT_SORT_AT_PEAK] = DT_SORT_PEAK,
	[DT_SORT_TEMPORARY] = DT_SORT_ALLOCATIONS,
	[DT_SORT_OLD] = DT_SORT_LIVE,
};

/* tracemalloc has a trace for each live block, of 0 bytes, too, and none for others. */
static bool is_there(const struct dt_figures *figures, enum dt_sort sort)
{
	switch (sort) {
	case DT_SORT_ALLOCATED:
	case DT_SORT_ALLOCATIONS:
		return figures->allocations;
	case DT_SORT_PEAK:
		return figures->blocks || figures->peak_bytes;
	case DT_SORT_AT_PEAK:
	case DT_SORT_TEMPORARY:
		return dt_figures_get(figures, sort);
	case DT_SORT_OLD:
		return figures->old_blocks;
	case DT_SORT_LIVE:
	case DT_SORT_COUNT:
	default:
		return figures->blocks;
	}
}

/* ---- sums ----------------------------------------------------------------------------------------------------- */

static int add(struct dt_figures *to, const struct dt_figures *figures)
{
	bool overflow = __builtin_add_overflow(to->blocks, figures->blocks, &to->blocks);

	overflow |= __builtin_add_overflow(to->bytes, figures->bytes, &to->bytes);
	overflow |= __builtin_add_overflow(to->allocations, figures->allocations, &to->allocations);
	overflow |= __builtin_add_overflow(to->allocated_bytes, figures->allocated_bytes, &to->allocated_bytes);
	overflow |= __builtin_add_overflow(to->at_peak_bytes, figures->at_peak_bytes, &to->at_peak_bytes);
	overflow |= __builtin_add_overflow(to->temporary, figures->temporary, &to->temporary);
	overflow |= __builtin_add_overflow(to->old_blocks, figures->old_blocks, &to->old_blocks);
	overflow |= __builtin_add_overflow(to->old_bytes, figures->old_bytes, &to->old_bytes);
	overflow |= __builtin_add_overflow(to->traces, figures->traces, &to->traces);
	/* It is a bound: the largest number is one, too. */
	if (__builtin_add_overflow(to->peak_bytes, figures->peak_bytes, &to->peak_bytes))
		to->peak_bytes = UINT64_MAX;
	return overflow ? -EOVERFLOW : 0;
}

static struct dt_figures figures_of(const struct dt_snapshot_trace *trace)
{
	return (struct dt_figures){
		.blocks = trace->blocks,
		.bytes = trace->bytes,
		.allocations = trace->allocations,
		.allocated_bytes = trace->allocated_bytes,
		.peak_bytes = trace->peak_bytes,
		.at_peak_bytes = trace->at_peak_bytes,
		.temporary = trace->temporary,
		.old_blocks = trace->old_blocks,
		.old_bytes = trace->old_bytes,
		.traces = 1,
	};
}

/* Sums by traceback or by domain, or, with `numbers`, by what these have for them. */
static int sum_traces(const struct dt_snapshot *snapshot, bool by_domain, const uint32_t *numbers, enum dt_sort sort,
		      struct dt_figures *sums)
{
	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		const struct dt_snapshot_trace *trace = &snapshot->traces[i];
		uint32_t index = by_domain ? trace->domain : trace->traceback;
		struct dt_figures figures = figures_of(trace);
		int error = is_there(&figures, sort) ? add(&sums[numbers ? numbers[index] : index], &figures) : 0;

		if (error)
			return error;
	}
	return 0;
}

/* A traceback's sum goes to the keys of all its frames. */
static int sum_frames(const struct dt_snapshot *snapshot, const uint32_t *numbers, enum dt_sort sort, struct dt_figures *sums)
{
	DT_FREE struct dt_figures *of_tracebacks = calloc(snapshot->traceback_count + 1ul, sizeof(*of_tracebacks));
	int error = of_tracebacks ? sum_traces(snapshot, false, NULL, sort, of_tracebacks) : -ENOMEM;

	for (uint32_t i = 0; i < snapshot->traceback_count && !error; i++) {
		const struct dt_snapshot_traceback *row = &snapshot->tracebacks[i];

		if (!is_there(&of_tracebacks[i], sort))
			continue;
		for (uint32_t k = 0; k < row->frame_count && !error; k++)
			error = add(&sums[numbers[row->frames[k]]], &of_tracebacks[i]);
		if (!row->frame_count)
			error = add(&sums[numbers[snapshot->frame_count]], &of_tracebacks[i]);
	}
	return error;
}

static int sum_keys(struct dt_keys *keys, const struct dt_snapshot *snapshot, bool cumulative, enum dt_sort sort,
		    struct dt_figures **ret_sums, uint32_t *ret_count)
{
	bool by_domain = keys->group == DT_GROUP_DOMAIN || keys->group == DT_GROUP_PROCESS;
	DT_FREE struct dt_figures *sums = NULL;
	DT_FREE uint32_t *numbers = NULL;
	int error = dt_keys_of(keys, snapshot, cumulative, &numbers);

	if (error)
		return error;
	sums = reallocarray(NULL, keys->key_count + 1ul, sizeof(*sums));
	if (!sums)
		return -ENOMEM;
	/* Not calloc(): pages of its that are read before they are written cost two faults each. */
	memset(sums, 0, (keys->key_count + 1ul) * sizeof(*sums));
	error = cumulative ? sum_frames(snapshot, numbers, sort, sums) : sum_traces(snapshot, by_domain, numbers, sort, sums);
	if (error)
		return error;
	*ret_sums = DT_TAKE(sums);
	*ret_count = keys->key_count;
	return 0;
}

/* ---- order ---------------------------------------------------------------------------------------------------- */

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static uint64_t difference(const struct dt_group_row *row, enum dt_sort sort)
{
	uint64_t now = dt_figures_get(row->now, sort), old = dt_figures_get(row->old, sort);

	return now > old ? now - old : old - now;
}

/* What a row is put in order by; small, as it is moved and compared many times. */
struct rank {
	uint64_t first, second;
	uint32_t row;
};

/* As Statistic._sort_key: size, count, traceback; as StatisticDiff._sort_key: |size_diff|, size, |count_diff|, count, traceback. */
static struct rank rank_of(const struct dt_groups *groups, uint32_t index, bool differences)
{
	const struct dt_group_row *row = &groups->rows[index];
	uint64_t now = dt_figures_get(row->now, groups->sort);

	if (differences)
		return (struct rank){ difference(row, groups->sort), now, index };
	return (struct rank){ now, dt_figures_get(row->now, seconds[groups->sort]), index };
}

/* The largest first. */
static int compare_ranks(const struct rank *one, const struct rank *other)
{
	int by = compare_u64(other->first, one->first);

	return by ? by : compare_u64(other->second, one->second);
}

static int compare_statistics(const void *a, const void *b, void *context)
{
	const struct dt_groups *groups = context;
	const struct rank *one = a, *other = b;
	int by = compare_ranks(one, other);

	return by ? by : dt_keys_compare(&groups->keys, groups->rows[other->row].key, groups->rows[one->row].key);
}

static int compare_differences(const void *a, const void *b, void *context)
{
	const struct dt_groups *groups = context;
	const struct dt_group_row *one = &groups->rows[((const struct rank *)a)->row], *other = &groups->rows[((const struct rank *)b)->row];
	enum dt_sort second = seconds[groups->sort];
	int by = compare_ranks(a, b);

	by = by ? by : compare_u64(difference(other, second), difference(one, second));
	by = by ? by : compare_u64(dt_figures_get(other->now, second), dt_figures_get(one->now, second));
	return by ? by : dt_keys_compare(&groups->keys, other->key, one->key);
}

static int sort_rows(struct dt_groups *groups, bool differences)
{
	DT_FREE struct rank *ranks = calloc(groups->row_count + 1, sizeof(*ranks));
	struct dt_group_row *sorted = calloc(groups->row_count + 1, sizeof(*sorted));

	if (!ranks || !sorted) {
		free(sorted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < groups->row_count; i++)
		ranks[i] = rank_of(groups, (uint32_t)i, differences);
	qsort_r(ranks, groups->row_count, sizeof(*ranks), differences ? compare_differences : compare_statistics, groups);
	for (size_t i = 0; i < groups->row_count; i++)
		sorted[i] = groups->rows[ranks[i].row];
	free(groups->rows);
	groups->rows = sorted;
	return 0;
}

/* There are figures for the keys that were known when they were summed up. */
static int fill_rows(struct dt_groups *groups, uint32_t now_count, uint32_t old_count)
{
	static const struct dt_figures none;
	uint32_t count = groups->keys.key_count;

	groups->rows = calloc(count + 1ul, sizeof(*groups->rows));
	if (!groups->rows)
		return -ENOMEM;
	for (uint32_t key = 0; key < count; key++) {
		struct dt_group_row row = { .key = key };

		row.now = key < now_count ? &groups->now[key] : &none;
		row.old = key < old_count ? &groups->old[key] : &none;
		row.is_now = is_there(row.now, groups->sort);
		row.was_old = is_there(row.old, groups->sort);
		if (row.is_now || row.was_old)
			groups->rows[groups->row_count++] = row;
	}
	return 0;
}

/* ---- groups --------------------------------------------------------------------------------------------------- */

static int make(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, bool cumulative, struct dt_groups *groups)
{
	uint32_t now_count = 0, old_count = 0;
	int error = sum_keys(&groups->keys, snapshot, cumulative, groups->sort, &groups->now, &now_count);

	if (old && !error)
		error = sum_keys(&groups->keys, old, cumulative, groups->sort, &groups->old, &old_count);
	if (!error)
		error = fill_rows(groups, now_count, old_count);
	return error ? error : sort_rows(groups, old != NULL);
}

int dt_groups_make(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, enum dt_group group, bool cumulative,
		   enum dt_sort sort, struct dt_groups *ret_groups)
{
	struct dt_groups groups = { .sort = sort };
	int error;

	if (cumulative && group != DT_GROUP_LINENO && group != DT_GROUP_FILENAME)
		return -EINVAL;
	dt_keys_init(&groups.keys, group);
	error = make(snapshot, old, cumulative, &groups);
	if (error)
		dt_groups_clear(&groups);
	else
		*ret_groups = groups;
	return error;
}

void dt_groups_clear(struct dt_groups *groups)
{
	dt_keys_clear(&groups->keys);
	free(groups->rows);
	free(groups->now);
	free(groups->old);
	*groups = (struct dt_groups){ 0 };
}
