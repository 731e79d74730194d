/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/tracer.h"
#include "cli/watch.h"

static void cleanup_session(struct dt_session **session)
{
	dt_session_free(*session);
}

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

/* `options` says what of them is compared, and how it is shown. */
static int compare(const struct dt_options *options, const struct dt_log *log, struct dt_snapshot *old, struct dt_snapshot *snapshot)
{
	struct dt_filter_opts filter = dt_options_filter(options);
	struct dt_statistics_opts opts = dt_options_statistics(options);
	int error = dt_snapshot_filter(old, &filter, log);

	opts.colour = dt_terminal_has_colour(stdout);
	opts.columns = dt_terminal_columns(stdout);
	if (!error)
		error = dt_snapshot_filter(snapshot, &filter, log);
	return error ? error : dt_statistics_write(snapshot, old, &opts, log, stdout);
}

static int compare_files(const struct dt_options *options, const struct dt_log *log)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *old = NULL;
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	int error = dt_snapshot_load(options->argv[0], log, &old);

	if (!error)
		error = dt_snapshot_load(options->argv[1], log, &snapshot);
	if (error)
		return error;
	dt_snapshot_tell_pair(old, snapshot, log);
	return compare(options, log, old, snapshot);
}

/* The last one counts: a signal may have asked for others. */
static void keep(void *context, struct dt_snapshot *snapshot)
{
	struct dt_snapshot **kept = context;

	dt_snapshot_free(*kept);
	*kept = snapshot;
}

/* Both ends, while it happens. A signal ends the time early. */
static int compare_processes(const struct dt_options *options, const struct dt_log *log)
{
	struct dt_session_opts opts = dt_options_session(options, log);
	DT_CLEANUP(cleanup_session) struct dt_session *session = NULL;
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *old = NULL;
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	struct dt_watch_opts watch = { .log = log, .duration_ns = options->over_ns, .keep = keep, .context = &snapshot };
	pid_t command = 0;
	int error;

	opts.markers = false;           /* the two ends are what is compared */
	error = dt_session_new(&opts, &session);
	if (error)
		return error;
	if (dt_tracer_attach(options, log, session, &command))
		return -EIO;            /* which was said */
	error = dt_session_take_snapshot(session, "request", &old);
	watch.session = session;
	if (!error)
		error = dt_watch_run(&watch);
	if (!error && !snapshot)
		error = -EIO;
	return error ? error : compare(options, log, old, snapshot);
}

int dt_cmd_diff_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	int error = options->pid_count ? compare_processes(options, &log) : compare_files(options, &log);

	if (error == -EINVAL && options->pid_count)
		return dt_command_refuse_usage();
	return dt_command_finish_output(&log, error ? DT_EXIT_FAILED : DT_EXIT_DONE);
}
