/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/terminal.h"

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

int dt_cmd_diff_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *old = NULL;
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	struct dt_filter_opts filter = dt_options_filter(options);
	struct dt_statistics_opts opts = dt_options_statistics(options);
	int error = dt_snapshot_load(options->argv[0], &log, &old);

	opts.colour = dt_terminal_has_colour(stdout);
	opts.columns = dt_terminal_columns(stdout);
	if (!error)
		error = dt_snapshot_load(options->argv[1], &log, &snapshot);
	if (!error) {
		dt_snapshot_tell_pair(old, snapshot, &log);
		error = dt_snapshot_filter(old, &filter, &log);
	}
	if (!error)
		error = dt_snapshot_filter(snapshot, &filter, &log);
	if (!error)
		error = dt_statistics_write(snapshot, old, &opts, &log, stdout);
	return dt_command_finish_output(&log, error ? DT_EXIT_FAILED : DT_EXIT_DONE);
}
