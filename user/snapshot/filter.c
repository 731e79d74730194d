/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/filter.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "snapshot/place.h"
#include "snapshot/term.h"
#include "snapshot/traces.h"

/* ---- matching ------------------------------------------------------------------------------------------------- */

static bool text_matches(const struct dt_pattern *pattern, const char *text)
{
	return !pattern || (text && dt_pattern_matches(pattern, text, strlen(text)));
}

static bool frame_matches(const struct dt_filter *filter, const struct dt_snapshot_frame *frame)
{
	struct dt_place place = dt_place_of(frame);

	return (!filter->has_line || place.number == filter->line) &&
	       (!filter->file || dt_pattern_matches(filter->file, place.name, dt_term_file_size(place.name))) &&
	       text_matches(filter->function, frame ? frame->function : NULL) &&
	       text_matches(filter->module, frame ? frame->module : NULL);
}

static bool domain_matches(const struct dt_filter *filter, const struct dt_snapshot *snapshot, uint32_t index)
{
	const struct dt_snapshot_domain *domain = &snapshot->domains[index];
	const struct dt_snapshot_process *process = &snapshot->processes[domain->process];
	bool same_id = domain->source != DT_SOURCE_TRACEMALLOC || domain->id == filter->id;

	if (filter->domain && strcmp(filter->domain, domain->name) &&
	    !(filter->domain_known && domain->source == filter->source && same_id))
		return false;
	if (filter->has_pid && (uint64_t)process->pid != filter->pid)
		return false;
	return text_matches(filter->process, process->comm);
}

/* What a filter thinks of each row of each table, found out once. */
struct verdict {
	bool *frames, *tracebacks, *domains;
};

static void clear_verdict(struct verdict *verdict)
{
	free(verdict->frames);
	free(verdict->tracebacks);
	free(verdict->domains);
}

static bool traceback_matches(const struct dt_filter *filter, const struct dt_snapshot_traceback *row, const bool *frames)
{
	if (!row->frame_count)
		return frame_matches(filter, NULL);
	if (!filter->all_frames)
		return frames[row->frames[row->frame_count - 1]];
	for (uint32_t i = 0; i < row->frame_count; i++)
		if (frames[row->frames[i]])
			return true;
	return false;
}

static int find_verdict(const struct dt_filter *filter, const struct dt_snapshot *snapshot, struct verdict *verdict)
{
	verdict->frames = malloc(snapshot->frame_count + 1ul);
	verdict->tracebacks = malloc(snapshot->traceback_count + 1ul);
	verdict->domains = malloc(snapshot->domain_count + 1ul);
	if (!verdict->frames || !verdict->tracebacks || !verdict->domains)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->frame_count; i++)
		verdict->frames[i] = frame_matches(filter, &snapshot->frames[i]);
	for (uint32_t i = 0; i < snapshot->traceback_count; i++)
		verdict->tracebacks[i] = traceback_matches(filter, &snapshot->tracebacks[i], verdict->frames);
	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		verdict->domains[i] = domain_matches(filter, snapshot, i);
	return 0;
}

static bool is_within(const struct dt_bounds *bounds, uint64_t value)
{
	return value >= bounds->minimum && value <= bounds->maximum;
}

static bool trace_matches(const struct dt_filter *filter, const struct verdict *verdict, const struct dt_snapshot_trace *trace)
{
	return verdict->tracebacks[trace->traceback] && verdict->domains[trace->domain] && is_within(&filter->bytes, trace->bytes) &&
	       is_within(&filter->blocks, trace->blocks);
}

/* ---- what a snapshot knows ------------------------------------------------------------------------------------- */

static int check_ages(const struct dt_filter *filter, const struct dt_snapshot_ages *ages, const struct dt_log *log)
{
	if (ages->older_than_ns != filter->age_ns)
		return dt_log_error(log, -ENODATA, "the filter '%s' asks for an age that the snapshot does not tell%s: take it with --older-than %s",
				    filter->text, ages->older_than_ns ? ", as it was taken for another" : "", filter->age);
	if (ages->age_ns && !ages->exact)
		return dt_log_error(log, -ENODATA, "the filter '%s' cannot be answered exactly, as some old blocks are missing in the snapshot: "
				    "take another one, if it happens again with a larger --table past=", filter->text);
	return 0;
}

static int check_sizes(const struct dt_filter *filter, const struct dt_snapshot *snapshot, const struct dt_log *log)
{
	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		const struct dt_snapshot_domain *domain = &snapshot->domains[i];
		pid_t pid = snapshot->processes[domain->process].pid;

		if (!domain->live_blocks || !domain_matches(filter, snapshot, i))
			continue;
		if (!domain->sized)
			return dt_log_error(log, -ENODATA, "the filter '%s' asks for sizes of blocks, which the snapshot does not tell of the domain %s "
					    "of process %d: take it with --sizes", filter->text, domain->name, pid);
		if (!domain->sizes_exact)
			return dt_log_error(log, -ENODATA, "the filter '%s' cannot be answered exactly, as the snapshot does not have the sizes of all "
					    "blocks of the domain %s of process %d: take another one, if it happens again with a larger --table past=",
					    filter->text, domain->name, pid);
	}
	return 0;
}

/* Do any of the filters ask for some of a trace's blocks? Then the snapshot has to know them. */
static int check_known(struct dt_filter *const filters[], size_t count, const struct dt_snapshot *snapshot, const struct dt_log *log,
		       bool *ret_sizes, bool *ret_ages)
{
	int error = 0;

	*ret_sizes = *ret_ages = false;
	for (size_t i = 0; i < count && !error; i++) {
		*ret_sizes |= filters[i]->has_size;
		*ret_ages |= filters[i]->age != NULL;
		if (filters[i]->age)
			error = check_ages(filters[i], &snapshot->ages, log);
		if (filters[i]->has_size && !error)
			error = check_sizes(filters[i], snapshot, log);
	}
	return error;
}

/* ---- all filters ----------------------------------------------------------------------------------------------- */

struct filters {
	struct dt_filter *const *list;
	struct verdict *verdicts;       /* of each */
	size_t count;
	bool inclusive;                 /* there are such */
};

static void clear_filters(struct filters *filters)
{
	for (size_t i = 0; i < filters->count && filters->verdicts; i++)
		clear_verdict(&filters->verdicts[i]);
	free(filters->verdicts);
}

static int find_verdicts(struct filters *filters, const struct dt_snapshot *snapshot)
{
	int error = 0;

	filters->verdicts = calloc(filters->count + 1, sizeof(*filters->verdicts));
	if (!filters->verdicts)
		return -ENOMEM;
	for (size_t i = 0; i < filters->count && !error; i++) {
		filters->inclusive |= !filters->list[i]->exclusive;
		error = find_verdict(filters->list[i], snapshot, &filters->verdicts[i]);
	}
	return error;
}

/* What all filters leave of a trace. */
static struct dt_part part_left(const struct filters *filters, const struct dt_snapshot_trace *trace)
{
	struct dt_part in = { 0, 0 }, out = { 0, 0 };

	for (size_t i = 0; i < filters->count; i++) {
		const struct dt_filter *filter = filters->list[i];
		struct dt_part *to = filter->exclusive ? &out : &in;

		if (!trace_matches(filter, &filters->verdicts[i], trace))
			continue;
		to->old |= filter->part.old;
		to->young |= filter->part.young;
	}
	if (!filters->inclusive)
		in = DT_PART_ALL;
	return (struct dt_part){ in.old & ~out.old, in.young & ~out.young };
}

static int keep_whole(const struct filters *filters, struct dt_snapshot *snapshot)
{
	DT_FREE bool *kept = malloc(snapshot->trace_count + 1ul);

	if (!kept)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->trace_count; i++)
		kept[i] = part_left(filters, &snapshot->traces[i]).old;
	return dt_traces_keep(snapshot, kept);
}

/* Sizes and ages that were asked for are known apart, not of each other. */
static int keep_parts(const struct filters *filters, struct dt_snapshot *snapshot, bool sizes, bool ages, const struct dt_log *log)
{
	DT_FREE struct dt_part *parts = calloc(snapshot->trace_count + 1ul, sizeof(*parts));

	if (!parts)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->trace_count; i++) {
		parts[i] = part_left(filters, &snapshot->traces[i]);
		if (!dt_part_is_known(&parts[i], &snapshot->traces[i]))
			return dt_log_error(log, -ENODATA, "the filters cannot be answered exactly: of a traceback of the domain %s they ask for sizes of its "
					    "old blocks, and a snapshot tells sizes and ages apart from each other: filter by one of them",
					    snapshot->domains[snapshot->traces[i].domain].name);
	}
	if (ages && snapshot->ages.age_ns > snapshot->ages.older_than_ns)
		dt_log_info(log, "old blocks are those of an age of at least %" PRIu64 ".%03u s: they were told apart then", snapshot->ages.age_ns /
			    1000000000, (unsigned)(snapshot->ages.age_ns / 1000000 % 1000));
	dt_log_info(log, "filtered by %s: all figures are of blocks that are live, as it is not known of others", !ages ? "size" : sizes ?
		    "size and age" : "age");
	return dt_traces_cut(snapshot, parts, !ages);
}

int dt_filter_apply(struct dt_filter *const filters[], size_t count, struct dt_snapshot *snapshot, const struct dt_log *log)
{
	DT_CLEANUP(clear_filters) struct filters all = { .list = filters, .count = count };
	bool sizes, ages;
	int error = check_known(filters, count, snapshot, log, &sizes, &ages);

	if (error || !count)
		return error;
	error = find_verdicts(&all, snapshot);
	if (!error)
		error = sizes || ages ? keep_parts(&all, snapshot, sizes, ages, log) : keep_whole(&all, snapshot);
	return error == -ENODATA ? error : error ? dt_log_error(log, error, "the snapshot cannot be filtered: %s", strerror(-error)) : 0;
}
