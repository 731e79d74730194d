/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/traces.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "snapshot/sizes.h"

/* The sums of the traces that are left, in domains of which some are gone. */
static void close_domains(struct dt_snapshot *snapshot, const bool *lost)
{
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		struct dt_snapshot_domain *domain = &snapshot->domains[i];

		if (!lost[i])
			continue;
		domain->live_blocks = domain->live_bytes = domain->allocations = domain->allocated_bytes = domain->temporary = 0;
		domain->old_blocks = domain->old_bytes = 0;
		domain->at_peak_exact = domain->compared = false;
		snapshot->processes[domain->process].layers.known = false;
	}
	/* They were the sums of more traces, so these do not overflow. */
	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		const struct dt_snapshot_trace *trace = &snapshot->traces[i];
		struct dt_snapshot_domain *domain = &snapshot->domains[trace->domain];

		if (!lost[trace->domain])
			continue;
		domain->live_blocks += trace->blocks;
		domain->live_bytes += trace->bytes;
		domain->allocations += trace->allocations;
		domain->allocated_bytes += trace->allocated_bytes;
		domain->temporary += trace->temporary;
		domain->old_blocks += trace->old_blocks;
		domain->old_bytes += trace->old_bytes;
	}
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		struct dt_snapshot_domain *domain = &snapshot->domains[i];

		if (lost[i]) {
			domain->frees = domain->allocations - domain->live_blocks;
			domain->freed_bytes = domain->allocated_bytes - domain->live_bytes;
		}
		if (!snapshot->processes[domain->process].layers.known)
			domain->compared = false;
	}
}

/* The most that a domain's remaining traces can have had live at once. */
static void close_peaks(struct dt_snapshot *snapshot, const bool *lost, uint64_t *sums)
{
	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		uint64_t *sum = &sums[snapshot->traces[i].domain];

		if (__builtin_add_overflow(*sum, snapshot->traces[i].peak_bytes, sum))
			*sum = UINT64_MAX;
	}
	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		if (lost[i] && sums[i] < snapshot->domains[i].peak_bytes)
			snapshot->domains[i].peak_bytes = sums[i];
}

int dt_traces_keep(struct dt_snapshot *snapshot, const bool *kept)
{
	DT_FREE bool *lost = calloc(snapshot->domain_count + 1ul, sizeof(*lost));
	DT_FREE uint64_t *sums = calloc(snapshot->domain_count + 1ul, sizeof(*sums));
	uint32_t count = 0;

	if (!lost || !sums)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		if (kept[i])
			snapshot->traces[count++] = snapshot->traces[i];
		else
			lost[snapshot->traces[i].domain] = true;
	}
	snapshot->trace_count = count;
	close_peaks(snapshot, lost, sums);
	close_domains(snapshot, lost);
	return dt_sizes_sum(snapshot);
}

/* ---- live blocks alone ---------------------------------------------------------------------------------------- */

static void forget_sizes(struct dt_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->trace_count; i++)
		snapshot->traces[i].sizes.count = 0;
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		snapshot->domains[i].sizes.count = 0;
		snapshot->domains[i].sized = snapshot->domains[i].sizes_exact = false;
	}
}

/* Nothing of it was ever more than it is now. */
static void close_live_domains(struct dt_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		snapshot->domains[i].peak_bytes = snapshot->domains[i].live_bytes;
		snapshot->domains[i].at_peak_exact = true;
	}
}

int dt_traces_cut(struct dt_snapshot *snapshot, const struct dt_part *parts, bool keep_sizes)
{
	DT_FREE bool *all = malloc(snapshot->domain_count + 1ul);
	uint32_t count = 0;

	if (!all)
		return -ENOMEM;
	memset(all, true, snapshot->domain_count + 1ul);
	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		dt_part_cut(&parts[i], &snapshot->traces[i]);
		if (snapshot->traces[i].blocks)
			snapshot->traces[count++] = snapshot->traces[i];
	}
	snapshot->trace_count = count;
	snapshot->ages = (struct dt_snapshot_ages){ .older_than_ns = 0 };
	close_domains(snapshot, all);
	close_live_domains(snapshot);
	if (!keep_sizes)
		forget_sizes(snapshot);
	return dt_sizes_sum(snapshot);
}
