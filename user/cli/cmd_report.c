/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/terminal.h"

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

/* As while tracing; filtered tables are tables. */
static int write_report(const struct dt_options *options, const struct dt_snapshot *snapshot, const struct dt_log *log)
{
	struct dt_report_opts opts = dt_options_report(options);
	int error;

	opts.colour = dt_terminal_has_colour(stdout);
	opts.columns = dt_terminal_columns(stdout);
	error = dt_report_write(snapshot, &opts, stdout);
	if (error == -ENODATA)
		return dt_log_error(log, error, "--sort old needs the ages of blocks, which the snapshot does not tell (any more, behind a filter by size or "
				    "age): take it with --older-than");
	return error ? dt_log_error(log, error, "the report cannot be written: %s", strerror(-error)) : 0;
}

static int write_statistics(const struct dt_options *options, const struct dt_snapshot *snapshot, const struct dt_log *log)
{
	struct dt_statistics_opts opts = dt_options_statistics(options);

	opts.colour = dt_terminal_has_colour(stdout);
	opts.columns = dt_terminal_columns(stdout);
	return dt_statistics_write(snapshot, NULL, &opts, log, stdout);
}

int dt_cmd_report_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	struct dt_filter_opts filter = dt_options_filter(options);
	bool grouped = options->group || options->cumulative || (options->format && !strcmp(options->format, "json"));
	int error = dt_snapshot_load_all((const char *const *)options->argv, &log, &snapshot);

	if (!error)
		error = dt_snapshot_filter(snapshot, &filter, &log);
	if (!error)
		error = grouped ? write_statistics(options, snapshot, &log) : write_report(options, snapshot, &log);
	return dt_command_finish_output(&log, error ? DT_EXIT_FAILED : DT_EXIT_DONE);
}
