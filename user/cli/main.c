/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/help.h"
#include "cli/terminal.h"

static int (*const commands[DT_COMMAND_COUNT_])(const struct dt_options *options) = {
	[DT_COMMAND_TRACE] = dt_cmd_trace_run,
	[DT_COMMAND_SITES] = dt_cmd_sites_run,
	[DT_COMMAND_DOCTOR] = dt_cmd_doctor_run,
	[DT_COMMAND_REPORT] = dt_cmd_report_run,
	[DT_COMMAND_DIFF] = dt_cmd_diff_run,
	[DT_COMMAND_EXPORT] = dt_cmd_export_run,
	[DT_COMMAND_CTL] = dt_cmd_ctl_run,
	[DT_COMMAND_COMPLETION] = dt_cmd_completion_run,
};

#define LARGE_BYTES 131072              /* glibc's own threshold at the start (mallopt(3)) */

int main(int argc, char **argv)
{
	enum dt_log_level verbosity = DT_LOG_ERROR;
	struct dt_log log = dt_terminal_log(&verbosity);
	DT_CLEANUP(dt_options_clear) struct dt_options options = { 0 };
	int error;

	/* The code and tables of a file are large and soon let go of; glibc would move the threshold and keep them for itself. */
	mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
	error = dt_options_parse(argc, argv, &log, &options);
	if (error == -EINVAL)
		return dt_command_refuse_usage();
	if (error)
		return DT_EXIT_FAILED;
	if (!options.help && !options.version)
		return commands[options.command](&options);
	if (options.help)
		dt_help_write(stdout);
	else
		puts("domtrace " DOMTRACE_VERSION);
	return dt_command_finish_output(&log, DT_EXIT_DONE);
}
