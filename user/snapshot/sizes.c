/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/sizes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

unsigned dt_size_class(uint64_t bytes)
{
	unsigned exponent = bytes > 1 ? 64 - (unsigned)__builtin_clzll(bytes - 1) : 0;

	return exponent < DT_SIZE_CLASSES ? exponent : DT_SIZE_CLASSES - 1;
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

static uint64_t sum_of(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void dt_size_sums_add(struct dt_size_sums *sums, const struct dt_snapshot_sizes *sizes)
{
	for (uint32_t i = 0; i < sizes->count; i++) {
		unsigned number = dt_size_class(sizes->rows[i].upper_bytes);

		sums->blocks[number] = sum_of(sums->blocks[number], sizes->rows[i].blocks);
		sums->bytes[number] = sum_of(sums->bytes[number], sizes->rows[i].bytes);
	}
}

int dt_size_sums_keep(const struct dt_size_sums *sums, struct dt_snapshot *snapshot, struct dt_snapshot_sizes *ret_sizes)
{
	struct dt_snapshot_size rows[DT_SIZE_CLASSES];
	struct dt_snapshot_sizes sizes = { .rows = rows };
	int error;

	for (unsigned number = 0; number < DT_SIZE_CLASSES; number++)
		if (sums->blocks[number])
			rows[sizes.count++] = (struct dt_snapshot_size){ 1ull << number, sums->blocks[number], sums->bytes[number] };
	error = dt_sizes_own(snapshot, &sizes);
	if (!error)
		*ret_sizes = sizes;
	return error;
}

int dt_sizes_own(struct dt_snapshot *snapshot, struct dt_snapshot_sizes *sizes)
{
	size_t bytes = sizes->count * sizeof(*sizes->rows);
	struct dt_snapshot_size *rows = NULL;

	if (sizes->count) {
		rows = dt_snapshot_bytes(snapshot, bytes);
		if (!rows)
			return -ENOMEM;
		memcpy(rows, sizes->rows, bytes);
	}
	sizes->rows = rows;
	return 0;
}

void dt_sizes_total(const struct dt_snapshot_sizes *sizes, uint64_t *ret_blocks, uint64_t *ret_bytes)
{
	*ret_blocks = *ret_bytes = 0;
	for (uint32_t i = 0; i < sizes->count; i++) {
		*ret_blocks = sum_of(*ret_blocks, sizes->rows[i].blocks);
		*ret_bytes = sum_of(*ret_bytes, sizes->rows[i].bytes);
	}
}

static bool are_exact(const struct dt_snapshot_sizes *sizes, uint64_t live_blocks, uint64_t live_bytes)
{
	uint64_t blocks, bytes;

	dt_sizes_total(sizes, &blocks, &bytes);
	return blocks == live_blocks && bytes == live_bytes;
}

static int sum_domain(struct dt_snapshot *snapshot, struct dt_snapshot_domain *domain, const struct dt_size_sums *sums)
{
	int error = dt_size_sums_keep(sums, snapshot, &domain->sizes);

	if (!error)
		domain->sizes_exact = are_exact(&domain->sizes, domain->live_blocks, domain->live_bytes);
	return error;
}

/* Sums of traces, by their domains; only of domains that have sizes. */
static struct dt_size_sums *sum_traces(const struct dt_snapshot *snapshot)
{
	size_t count = 0;
	struct dt_size_sums *sums;

	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		count = snapshot->domains[i].sized ? i + 1ul : count;
	sums = calloc(count + 1, sizeof(*sums));
	for (uint32_t i = 0; i < snapshot->trace_count && sums; i++)
		if (snapshot->domains[snapshot->traces[i].domain].sized)
			dt_size_sums_add(&sums[snapshot->traces[i].domain], &snapshot->traces[i].sizes);
	return sums;
}

int dt_sizes_sum(struct dt_snapshot *snapshot)
{
	DT_FREE struct dt_size_sums *sums = sum_traces(snapshot);
	int error = sums ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < snapshot->domain_count && !error; i++)
		if (snapshot->domains[i].sized)
			error = sum_domain(snapshot, &snapshot->domains[i], &sums[i]);
	return error;
}

/* ---- of what was seen -------------------------------------------------------------------------------------------- */

static int compare_sized(const void *left, const void *right)
{
	const struct dt_sized *a = left, *b = right;

	if (a->trace != b->trace)
		return a->trace < b->trace ? -1 : 1;
	return (a->size_class > b->size_class) - (a->size_class < b->size_class);
}

/* One that was not seen was in the hands of a realloc, mostly. Should more have been seen than there are, none is believed. */
static void complete_sums(struct dt_size_sums *sums, const struct dt_snapshot_trace *trace)
{
	uint64_t blocks = 0, bytes = 0;
	unsigned number;

	for (unsigned i = 0; i < DT_SIZE_CLASSES; i++) {
		blocks = sum_of(blocks, sums->blocks[i]);
		bytes = sum_of(bytes, sums->bytes[i]);
	}
	if (blocks > trace->blocks || bytes > trace->bytes || (blocks == trace->blocks && bytes != trace->bytes)) {
		memset(sums, 0, sizeof(*sums));
	} else if (trace->blocks - blocks == 1) {
		number = dt_size_class(trace->bytes - bytes);
		sums->blocks[number]++;
		sums->bytes[number] += trace->bytes - bytes;
	}
}

int dt_sizes_set(struct dt_snapshot *snapshot, const struct dt_sized *seen, size_t count)
{
	DT_FREE struct dt_sized *sorted = calloc(count + 1, sizeof(*sorted));
	int error = sorted ? 0 : -ENOMEM;
	size_t next = 0;

	if (error)
		return error;
	if (count) {
		memcpy(sorted, seen, count * sizeof(*sorted));
		qsort(sorted, count, sizeof(*sorted), compare_sized);
	}
	for (uint32_t i = 0; i < snapshot->trace_count && !error; i++) {
		struct dt_size_sums sums = { .blocks = { 0 } };

		for (; next < count && sorted[next].trace == i; next++) {
			sums.blocks[sorted[next].size_class % DT_SIZE_CLASSES] += sorted[next].blocks;
			sums.bytes[sorted[next].size_class % DT_SIZE_CLASSES] += sorted[next].bytes;
		}
		complete_sums(&sums, &snapshot->traces[i]);
		error = dt_size_sums_keep(&sums, snapshot, &snapshot->traces[i].sizes);
	}
	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		snapshot->domains[i].sized = true;
	return error ? error : dt_sizes_sum(snapshot);
}

/* ---- checks ------------------------------------------------------------------------------------------------------ */

/* Are classes powers of two, in their order, and can they have so many bytes? */
static bool are_possible(const struct dt_snapshot_sizes *sizes)
{
	uint64_t last = 0;

	for (uint32_t i = 0; i < sizes->count; i++) {
		const struct dt_snapshot_size *row = &sizes->rows[i];
		unsigned __int128 least = row->upper_bytes > 1 ? (unsigned __int128)(row->upper_bytes / 2 + 1) * row->blocks : 0;

		if (!row->upper_bytes || row->upper_bytes & (row->upper_bytes - 1) || row->upper_bytes <= last || !row->blocks ||
		    row->bytes < least || row->bytes > (unsigned __int128)row->upper_bytes * row->blocks)
			return false;
		last = row->upper_bytes;
	}
	return true;
}

static bool are_within(const struct dt_snapshot_sizes *sizes, uint64_t live_blocks, uint64_t live_bytes)
{
	uint64_t blocks, bytes;

	dt_sizes_total(sizes, &blocks, &bytes);
	return blocks <= live_blocks && bytes <= live_bytes;
}

static bool are_sums(const struct dt_snapshot_sizes *sizes, const struct dt_size_sums *sums)
{
	struct dt_size_sums own = { .blocks = { 0 } };

	dt_size_sums_add(&own, sizes);
	return !memcmp(&own, sums, sizeof(own));
}

int dt_sizes_check(const struct dt_snapshot *snapshot, uint32_t *ret_domain)
{
	DT_FREE struct dt_size_sums *sums = NULL;

	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		const struct dt_snapshot_trace *trace = &snapshot->traces[i];

		*ret_domain = trace->domain;
		if ((!snapshot->domains[trace->domain].sized && trace->sizes.count) || !are_possible(&trace->sizes) ||
		    !are_within(&trace->sizes, trace->blocks, trace->bytes))
			return -EBADMSG;
	}
	sums = sum_traces(snapshot);
	if (!sums)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		const struct dt_snapshot_domain *domain = &snapshot->domains[i];

		*ret_domain = i;
		if (domain->sized && (!are_possible(&domain->sizes) || !are_sums(&domain->sizes, &sums[i]) ||
				      domain->sizes_exact != are_exact(&domain->sizes, domain->live_blocks, domain->live_bytes)))
			return -EBADMSG;
	}
	return 0;
}
