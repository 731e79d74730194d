/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/statistic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct order {
	const struct dt_snapshot *snapshot;
	enum dt_sort sort;
};

uint64_t dt_statistic_key(const struct dt_snapshot_trace *trace, enum dt_sort sort)
{
	switch (sort) {
	case DT_SORT_COUNT:
		return trace->blocks;
	case DT_SORT_ALLOCATED:
		return trace->allocated_bytes;
	case DT_SORT_ALLOCATIONS:
		return trace->allocations;
	case DT_SORT_PEAK:
		return trace->peak_bytes;
	case DT_SORT_AT_PEAK:
		return trace->at_peak_bytes;
	case DT_SORT_TEMPORARY:
		return trace->temporary;
	case DT_SORT_OLD:
		return trace->old_bytes;
	case DT_SORT_LIVE:
	default:
		return trace->bytes;
	}
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* No text comes before any text. Equal strings are one pointer. */
static int compare_text(const char *a, const char *b)
{
	if (a == b)
		return 0;
	if (!a || !b)
		return a ? 1 : -1;
	return strcmp(a, b);
}

static int compare_frames(const struct dt_snapshot_frame *a, const struct dt_snapshot_frame *b)
{
	int by = compare_u64(a->kind, b->kind);

	by = by ? by : compare_text(a->file, b->file);
	by = by ? by : compare_text(a->module, b->module);
	by = by ? by : (a->line > b->line) - (a->line < b->line);
	by = by ? by : compare_text(a->function, b->function);
	by = by ? by : compare_u64(a->function_offset, b->function_offset);
	by = by ? by : compare_u64(a->address, b->address);
	by = by ? by : (a->first_line > b->first_line) - (a->first_line < b->first_line);
	by = by ? by : compare_text(a->build_id, b->build_id);
	return by ? by : a->inlined - b->inlined;
}

static int compare_tracebacks(const struct dt_snapshot *snapshot, uint32_t index_a, uint32_t index_b)
{
	const struct dt_snapshot_traceback *a = &snapshot->tracebacks[index_a], *b = &snapshot->tracebacks[index_b];
	int by;

	for (uint32_t i = 0; i < a->frame_count && i < b->frame_count; i++) {
		by = compare_frames(&snapshot->frames[a->frames[i]], &snapshot->frames[b->frames[i]]);
		if (by)
			return by;
	}
	by = compare_u64(a->frame_count, b->frame_count);
	by = by ? by : compare_u64(a->total_frames, b->total_frames);
	return by ? by : compare_u64(a->truncation, b->truncation);
}

static int compare_traces(const void *index_a, const void *index_b, void *context)
{
	/* Largest first: what the user asked for, then the other figures in the order of their names in enum dt_sort. */
	const struct order *order = context;
	const struct dt_snapshot *snapshot = order->snapshot;
	const struct dt_snapshot_trace *a = &snapshot->traces[*(const uint32_t *)index_a];
	const struct dt_snapshot_trace *b = &snapshot->traces[*(const uint32_t *)index_b];
	int by = compare_u64(dt_statistic_key(b, order->sort), dt_statistic_key(a, order->sort));

	for (enum dt_sort sort = 0; !by && sort < DT_SORT_COUNT_; sort++)
		by = compare_u64(dt_statistic_key(b, sort), dt_statistic_key(a, sort));
	return by ? by : compare_tracebacks(snapshot, a->traceback, b->traceback);
}

int dt_statistic_order(const struct dt_snapshot *snapshot, uint32_t domain, enum dt_sort sort,
		       uint32_t **ret_indexes, size_t *ret_count)
{
	struct order order = { .snapshot = snapshot, .sort = sort };
	DT_FREE uint32_t *indexes = NULL;
	size_t count = 0;

	for (uint32_t i = 0; i < snapshot->trace_count; i++)
		count += snapshot->traces[i].domain == domain && dt_statistic_key(&snapshot->traces[i], sort);
	indexes = malloc((count + 1) * sizeof(*indexes));
	if (!indexes)
		return -ENOMEM;
	count = 0;
	for (uint32_t i = 0; i < snapshot->trace_count; i++)
		if (snapshot->traces[i].domain == domain && dt_statistic_key(&snapshot->traces[i], sort))
			indexes[count++] = i;
	qsort_r(indexes, count, sizeof(*indexes), compare_traces, &order);
	*ret_indexes = DT_TAKE(indexes);
	*ret_count = count;
	return 0;
}

/* ---- processes --------------------------------------------------------------------------------------------------- */

static uint64_t domain_key(const struct dt_snapshot_domain *domain, enum dt_sort sort)
{
	const struct dt_snapshot_trace figures = {
		.blocks = domain->live_blocks,
		.bytes = domain->live_bytes,
		.allocations = domain->allocations,
		.allocated_bytes = domain->allocated_bytes,
		.peak_bytes = domain->peak_bytes,
		.at_peak_bytes = domain->peak_bytes,
		.temporary = domain->temporary,
		.old_blocks = domain->old_blocks,
		.old_bytes = domain->old_bytes,
	};

	return dt_statistic_key(&figures, sort);
}

struct process_order {
	const struct dt_snapshot *snapshot;
	const uint64_t *keys;           /* by process */
};

static int compare_processes(const void *index_a, const void *index_b, void *context)
{
	const struct process_order *order = context;
	uint32_t a = *(const uint32_t *)index_a, b = *(const uint32_t *)index_b;
	int by = compare_u64(order->keys[b], order->keys[a]);

	by = by ? by : order->snapshot->processes[a].pid - order->snapshot->processes[b].pid;
	return by ? by : compare_u64(a, b);
}

int dt_statistic_order_processes(const struct dt_snapshot *snapshot, enum dt_sort sort, uint32_t **ret_indexes)
{
	DT_FREE uint64_t *keys = calloc(snapshot->process_count + 1ul, sizeof(*keys));
	DT_FREE uint32_t *indexes = calloc(snapshot->process_count + 1ul, sizeof(*indexes));
	struct process_order order = { snapshot, keys };

	if (!keys || !indexes)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		keys[snapshot->domains[i].process] += domain_key(&snapshot->domains[i], sort);
	for (uint32_t i = 0; i < snapshot->process_count; i++)
		indexes[i] = i;
	qsort_r(indexes, snapshot->process_count, sizeof(*indexes), compare_processes, &order);
	*ret_indexes = DT_TAKE(indexes);
	return 0;
}
