/* SPDX-License-Identifier: BSD-2-Clause */
/* What must hold in every snapshot; whoever breaks it has a bug, and no table is better than a wrong one. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "snapshot/sizes.h"
#include "snapshot/snapshot.h"

/* What the traces of one domain add up to. */
struct sums {
	uint64_t blocks, bytes, allocations, allocated_bytes, at_peak_bytes, temporary;
	uint64_t old_blocks, old_bytes;
	bool overflow, sized;
};

static __attribute__((format(printf, 3, 4)))
int broken(struct dt_snapshot *snapshot, const char **ret_reason, const char *format, ...)
{
	char line[512];
	va_list arguments;
	const char *reason;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	reason = dt_snapshot_string(snapshot, line);
	*ret_reason = reason ? reason : "the snapshot contradicts itself, and there is no memory left to say how";
	return -EBADMSG;
}

static int check_indexes(struct dt_snapshot *s, const char **ret_reason)
{
	for (uint32_t i = 0; i < s->domain_count; i++)
		if (s->domains[i].process >= s->process_count)
			return broken(s, ret_reason, "domain %u names process %u, but there are %u", i,
				      s->domains[i].process, s->process_count);
	for (uint32_t i = 0; i < s->traceback_count; i++) {
		const struct dt_snapshot_traceback *row = &s->tracebacks[i];

		if (row->total_frames < row->frame_count)
			return broken(s, ret_reason, "traceback %u keeps %u frames of %u", i, row->frame_count,
				      row->total_frames);
		for (uint32_t k = 0; k < row->frame_count; k++)
			if (row->frames[k] >= s->frame_count)
				return broken(s, ret_reason, "traceback %u names frame %u, but there are %u", i,
					      row->frames[k], s->frame_count);
	}
	return 0;
}

static void add(uint64_t *sum, uint64_t value, bool *overflow)
{
	if (__builtin_add_overflow(*sum, value, sum))
		*overflow = true;
}

/* Sums by domain. Of the largest table, which is walked through once, so its indexes are looked at here, too. */
static int sum_traces(struct dt_snapshot *s, struct sums *sums, const char **ret_reason)
{
	for (uint32_t i = 0; i < s->trace_count; i++) {
		const struct dt_snapshot_trace *trace = &s->traces[i];
		struct sums *sum;

		if (trace->domain >= s->domain_count)
			return broken(s, ret_reason, "trace %u names domain %u, but there are %u", i, trace->domain,
				      s->domain_count);
		if (trace->traceback >= s->traceback_count)
			return broken(s, ret_reason, "trace %u names traceback %u, but there are %u", i,
				      trace->traceback, s->traceback_count);
		sum = &sums[trace->domain];
		add(&sum->blocks, trace->blocks, &sum->overflow);
		add(&sum->bytes, trace->bytes, &sum->overflow);
		add(&sum->allocations, trace->allocations, &sum->overflow);
		add(&sum->allocated_bytes, trace->allocated_bytes, &sum->overflow);
		add(&sum->at_peak_bytes, trace->at_peak_bytes, &sum->overflow);
		add(&sum->temporary, trace->temporary, &sum->overflow);
		add(&sum->old_blocks, trace->old_blocks, &sum->overflow);
		add(&sum->old_bytes, trace->old_bytes, &sum->overflow);
		sum->sized |= trace->sizes.count != 0;
	}
	return 0;
}

/* True where live, so much having come and gone; without wrapping around. */
static bool balances(uint64_t live, uint64_t come, uint64_t gone)
{
	return come >= gone && live == come - gone;
}

static int check_domain(struct dt_snapshot *s, uint32_t index, const struct sums *sums, const char **ret_reason)
{
	const struct dt_snapshot_domain *d = &s->domains[index];
	const struct {
		const char *what;
		uint64_t own, sum;
	} figures[] = {
		{ "live blocks", d->live_blocks, sums->blocks },
		{ "live bytes", d->live_bytes, sums->bytes },
		{ "allocations", d->allocations, sums->allocations },
		{ "allocated bytes", d->allocated_bytes, sums->allocated_bytes },
		{ "temporary blocks", d->temporary, sums->temporary },
		{ "bytes at its peak", d->at_peak_exact ? d->peak_bytes : sums->at_peak_bytes, sums->at_peak_bytes },
		{ "old blocks", d->old_blocks, sums->old_blocks },
		{ "old bytes", d->old_bytes, sums->old_bytes },
	};

	if (!balances(d->live_blocks, d->allocations, d->frees))
		return broken(s, ret_reason, "domain %u (%s) has %" PRIu64 " live blocks after %" PRIu64 " allocations and %"
			      PRIu64 " frees", index, d->name, d->live_blocks, d->allocations, d->frees);
	if (!balances(d->live_bytes, d->allocated_bytes, d->freed_bytes))
		return broken(s, ret_reason, "domain %u (%s) has %" PRIu64 " live bytes after %" PRIu64 " allocated and %"
			      PRIu64 " freed", index, d->name, d->live_bytes, d->allocated_bytes, d->freed_bytes);
	if (d->temporary > d->frees)
		return broken(s, ret_reason, "domain %u (%s) has %" PRIu64 " temporary blocks of %" PRIu64 " that were freed", index,
			      d->name, d->temporary, d->frees);
	if (sums->overflow)
		return broken(s, ret_reason, "the traces of domain %u (%s) add up to more than 64 bits", index, d->name);
	for (size_t i = 0; i < DT_ARRAY_SIZE(figures); i++)
		if (figures[i].own != figures[i].sum)
			return broken(s, ret_reason, "domain %u (%s) has %" PRIu64 " %s, but its traces have %" PRIu64,
				      index, d->name, figures[i].own, figures[i].what, figures[i].sum);
	return 0;
}

static int check_memory(struct dt_snapshot *s, uint32_t index, const char **ret_reason)
{
	const struct dt_snapshot_memory *m = &s->processes[index].memory;
	const uint64_t parts[] = { m->heap_bytes, m->anonymous_mapping_bytes, m->file_mapping_bytes, m->other_mapping_bytes };
	bool overflow = false;
	uint64_t sum = 0;

	for (size_t i = 0; i < DT_ARRAY_SIZE(parts); i++)
		add(&sum, parts[i], &overflow);
	if (m->known && (overflow || sum != m->resident_bytes || m->private_bytes > m->resident_bytes))
		return broken(s, ret_reason, "process %u has %" PRIu64 " resident bytes, its mappings have %" PRIu64 ", %" PRIu64
			      " of them private", index, m->resident_bytes, sum, m->private_bytes);
	return 0;
}

static int check_layers(struct dt_snapshot *s, uint32_t index, const char **ret_reason)
{
	const struct dt_snapshot_layers *layers = &s->processes[index].layers;

	if (!layers->known)
		return 0;
	if (layers->claimed_bytes > layers->libc_bytes)
		return broken(s, ret_reason, "of %" PRIu64 " libc bytes of process %u, %" PRIu64 " are claimed", layers->libc_bytes, index,
			      layers->claimed_bytes);
	for (uint32_t i = 0; i < s->domain_count; i++) {
		const struct dt_snapshot_domain *d = &s->domains[i];
		uint64_t read = d->compared ? d->in_libc_bytes + d->outside_libc_bytes : layers->libc_bytes;

		if (d->process != index)
			continue;
		if (d->compared == (d->source == DT_SOURCE_LIBC))
			return broken(s, ret_reason, "domain %u (%s) has %s place in the layers of process %u", i, d->name,
				      d->compared ? "a wrong" : "no", index);
		if (layers->exact && (read != d->live_bytes || (d->compared && read < d->in_libc_bytes)))
			return broken(s, ret_reason, "domain %u (%s) has %" PRIu64 " live bytes, but its blocks have %" PRIu64, i, d->name,
				      d->live_bytes, read);
	}
	return 0;
}

/*
 * What is old is live, and there is nothing old unless it was asked for and tracing had begun so long ago. Behind the sums: where domains have
 * nothing old, traces have not.
 */
static int check_ages(struct dt_snapshot *s, const char **ret_reason)
{
	const struct dt_snapshot_ages *ages = &s->ages;
	bool any = false;

	if (ages->age_ns && ages->age_ns < ages->older_than_ns)
		return broken(s, ret_reason, "blocks are told as old that are %" PRIu64 " ns old, not %" PRIu64, ages->age_ns, ages->older_than_ns);
	for (uint32_t i = 0; i < s->domain_count; i++)
		any |= s->domains[i].old_blocks || s->domains[i].old_bytes;
	for (uint32_t i = 0; i < s->trace_count && any; i++) {
		const struct dt_snapshot_trace *t = &s->traces[i];

		if (t->old_blocks > t->blocks || t->old_bytes > t->bytes || ((!ages->older_than_ns || !ages->age_ns) && t->old_blocks))
			return broken(s, ret_reason, "trace %u has %" PRIu64 " old blocks of %" PRIu64 " bytes among %" PRIu64 " of %" PRIu64, i,
				      t->old_blocks, t->old_bytes, t->blocks, t->bytes);
	}
	return 0;
}

/* Behind the sums: those of the classes do not overflow, either. */
static int check_sizes(struct dt_snapshot *s, const struct sums *sums, const char **ret_reason)
{
	uint32_t domain = 0;
	bool any = false;
	int error;

	for (uint32_t i = 0; i < s->domain_count; i++)
		any |= s->domains[i].sized || sums[i].sized;
	error = any ? dt_sizes_check(s, &domain) : 0;
	if (error != -EBADMSG)
		return error;
	return broken(s, ret_reason, "size classes of domain %u (%s), or of its traces, are none, or do not add up to what is live", domain,
		      s->domains[domain].name);
}

int dt_snapshot_check(struct dt_snapshot *snapshot, const char **ret_reason)
{
	DT_FREE struct sums *sums = NULL;
	int error = check_indexes(snapshot, ret_reason);

	if (error)
		return error;
	sums = calloc(snapshot->domain_count + 1ul, sizeof(*sums));
	if (!sums)
		return -ENOMEM;
	error = sum_traces(snapshot, sums, ret_reason);
	for (uint32_t i = 0; i < snapshot->domain_count && !error; i++)
		error = check_domain(snapshot, i, &sums[i], ret_reason);
	for (uint32_t i = 0; i < snapshot->process_count && !error; i++) {
		error = check_memory(snapshot, i, ret_reason);
		if (!error)
			error = check_layers(snapshot, i, ret_reason);
	}
	error = error ? error : check_ages(snapshot, ret_reason);
	return error ? error : check_sizes(snapshot, sums, ret_reason);
}
