/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done to snapshots of files before they are looked at: merged, filtered, and left with some of their frames. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/snapshot.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "snapshot/filter.h"
#include "snapshot/kind.h"
#include "snapshot/merge.h"

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

static int merge_file(struct dt_snapshot *into, const char *name, const struct dt_log *log)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *from = NULL;
	uint32_t process = 0;
	int error = dt_snapshot_load(name, log, &from);

	if (error)
		return error;
	error = dt_merge_add(into, from, &process);
	if (error == -EEXIST)
		return dt_log_error(log, error, "%s: process %d was in a file before it, with the same domain, and would count twice: give only one "
				    "of the files, or compare them with domtrace diff", name, from->processes[process].pid);
	if (error)
		return dt_log_error(log, error, "%s: it cannot be merged with the files before it: %s", name, strerror(-error));
	return 0;
}

int dt_snapshot_load_all(const char *const names[], const struct dt_log *log, struct dt_snapshot **ret_snapshot)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *all = NULL;
	const char *reason;
	int error;

	if (names[0] && !names[1])
		return dt_snapshot_load(names[0], log, ret_snapshot);
	error = dt_snapshot_new(&all);
	if (error)
		return dt_log_error(log, error, "not enough memory to merge snapshots");
	for (size_t i = 0; names[i] && !error; i++)
		error = merge_file(all, names[i], log);
	if (error)
		return error;
	error = dt_snapshot_check(all, &reason);
	if (error)
		return dt_log_error(log, error, "the snapshots cannot be merged: %s", error == -ENOMEM ? strerror(ENOMEM) : reason);
	*ret_snapshot = DT_TAKE(all);
	return 0;
}

int dt_snapshot_copy(const struct dt_snapshot *snapshot, struct dt_snapshot **ret_snapshot)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *copy = NULL;
	uint32_t process;
	int error = dt_snapshot_new(&copy);

	if (!error)
		error = dt_merge_add(copy, snapshot, &process);
	if (!error)
		*ret_snapshot = DT_TAKE(copy);
	return error;
}

int dt_snapshot_merge(const struct dt_snapshot *const snapshots[], size_t count, const struct dt_log *log,
		      struct dt_snapshot **ret_snapshot)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *all = NULL;
	const char *reason;
	uint32_t process = 0;
	int error = dt_snapshot_new(&all);

	for (size_t i = 0; i < count && !error; i++) {
		error = dt_merge_add(all, snapshots[i], &process);
		if (error == -EEXIST)
			return dt_log_error(log, error, "snapshot %zu cannot be merged with those before it: process %d has the same domain "
					    "there, and would count twice", i + 1, snapshots[i]->processes[process].pid);
	}
	if (!error)
		error = dt_snapshot_check(all, &reason);
	if (error)
		return dt_log_error(log, error, "the snapshots cannot be merged: %s", error == -EBADMSG ? reason : strerror(-error));
	*ret_snapshot = DT_TAKE(all);
	return 0;
}

static void free_filters(struct dt_filter **filters, size_t count)
{
	for (size_t i = 0; i < count; i++)
		dt_filter_free(filters[i]);
	free(filters);
}

static size_t count_of(const char *const list[])
{
	size_t count = 0;

	while (list && list[count])
		count++;
	return count;
}

/* The inclusive ones of either list are one condition, and both conditions hold: so they are applied in turn. */
static int apply(struct dt_snapshot *snapshot, const char *const texts[],
		 int (*parse)(const char *, const struct dt_log *, struct dt_filter **), const struct dt_log *log)
{
	size_t count = count_of(texts), parsed = 0;
	struct dt_filter **filters = calloc(count + 1, sizeof(*filters));
	int error = filters ? 0 : dt_log_error(log, -ENOMEM, "not enough memory for filters");

	for (; parsed < count && !error; parsed++)
		error = parse(texts[parsed], log, &filters[parsed]);
	if (!error)
		error = dt_filter_apply(filters, count, snapshot, log);
	if (filters)
		free_filters(filters, parsed);
	return error;
}

int dt_snapshot_filter(struct dt_snapshot *snapshot, const struct dt_filter_opts *opts, const struct dt_log *log)
{
	int error = 0;

	if (opts->stack && !strcmp(opts->stack, "python"))
		dt_kind_keep(snapshot, DT_FRAME_PYTHON);
	else if (opts->stack && !strcmp(opts->stack, "native"))
		dt_kind_keep(snapshot, DT_FRAME_NATIVE);
	if (opts->domains)
		error = apply(snapshot, opts->domains, dt_filter_parse_domain, log);
	if (opts->filters && !error)
		error = apply(snapshot, opts->filters, dt_filter_parse, log);
	return error;
}

/* Processes are the same where their number and their start are. */
static bool have_common_process(const struct dt_snapshot *a, const struct dt_snapshot *b)
{
	for (uint32_t i = 0; i < a->process_count; i++)
		for (uint32_t k = 0; k < b->process_count; k++)
			if (a->processes[i].pid == b->processes[k].pid && a->processes[i].start_time_ns == b->processes[k].start_time_ns)
				return true;
	return false;
}

void dt_snapshot_tell_pair(const struct dt_snapshot *old, const struct dt_snapshot *snapshot, const struct dt_log *log)
{
	bool later = old->time.tv_sec != snapshot->time.tv_sec ? old->time.tv_sec > snapshot->time.tv_sec :
								old->time.tv_nsec > snapshot->time.tv_nsec;

	if (!have_common_process(old, snapshot))
		dt_log_info(log, "no process is in both snapshots: they are of different runs, whose tracebacks are compared");
	else if (later)
		dt_log_warning(log, "the first snapshot was taken after the second: what grew is shown as shrunk");
}
