/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/peaks.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

/* DT_PEAK(). */
static uint64_t row_peak(const struct dt_collect_row *row)
{
	const struct dt_tally *a = &row->half[0], *b = &row->half[1];

	return a->peak > b->peak ? a->peak : b->peak;
}

/* Is it of the time since peaks were reset last? Else nothing has changed since then. */
static bool is_current(const struct dt_collect *collect, uint64_t peak)
{
	return DT_PEAK_RESETS(peak) == DT_PEAK_RESETS(collect->peak_zero);
}

static int64_t tally_live(const struct dt_tally *tally)
{
	return (int64_t)(tally->allocated_bytes - tally->freed_bytes); /* less than 0: more of it was inherited */
}

struct dt_tally dt_collect_row_sum(const struct dt_collect *collect, const struct dt_collect_row *row)
{
	const struct dt_tally *a = &row->half[0], *b = &row->half[1];
	struct dt_tally sum = {
		.allocations = a->allocations + b->allocations,
		.allocated_bytes = a->allocated_bytes + b->allocated_bytes,
		.frees = a->frees + b->frees,
		.freed_bytes = a->freed_bytes + b->freed_bytes,
		.temporary = a->temporary + b->temporary,
	};

	sum.peak = (uint64_t)(is_current(collect, row_peak(row)) ? DT_PEAK_BYTES(row_peak(row)) : tally_live(&sum));
	return sum;
}

uint64_t dt_tally_peak(const struct dt_tally *tally)
{
	int64_t live = tally_live(tally);

	return (int64_t)tally->peak > live ? tally->peak : (uint64_t)live;
}

int64_t dt_peaks_row(const struct dt_collect *collect, const struct dt_collect_row *row)
{
	struct dt_tally sum = dt_collect_row_sum(collect, row), domain;
	struct dt_trace_key key = row->key;
	const struct dt_collect_row *total;

	key.traceback = DT_TRACEBACK_TOTAL;
	HASH_FIND(hh, collect->rows, &key, sizeof(key), total);
	domain = total ? dt_collect_row_sum(collect, total) : (struct dt_tally){ 0 };
	if (total && is_current(collect, row_peak(total)) && tally_live(&domain) <= (int64_t)domain.peak)
		for (int i = 0; i < 2; i++)
			if (row->half[i].at_peak_of == row_peak(total))
				return row->half[i].at_peak_bytes;
	return tally_live(&sum);
}

int dt_peaks_check(struct dt_snapshot *snapshot)
{
	DT_FREE uint64_t *sums = calloc(snapshot->domain_count + 1ul, sizeof(*sums));

	if (!sums)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		struct dt_snapshot_trace *trace = &snapshot->traces[i];

		if ((int64_t)trace->at_peak_bytes < 0)
			trace->at_peak_bytes = 0;
		sums[trace->domain] += trace->at_peak_bytes;
	}
	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		snapshot->domains[i].at_peak_exact = sums[i] == snapshot->domains[i].peak_bytes;
	return 0;
}
