/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/terminal.h"

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

int dt_cmd_export_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	struct dt_filter_opts filter = dt_options_filter(options);
	int error = dt_snapshot_load_all((const char *const *)options->argv, &log, &snapshot);

	if (!error)
		error = dt_snapshot_filter(snapshot, &filter, &log);
	if (!error)
		error = dt_export_write(snapshot, options->to, options->sort, &log, stdout);
	return dt_command_finish_output(&log, error ? DT_EXIT_FAILED : DT_EXIT_DONE);
}
