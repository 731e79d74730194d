/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "cli/command.h"
#include "cli/terminal.h"

int dt_cmd_sites_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	struct dt_session_opts opts = dt_options_session(options, &log);
	int status = DT_EXIT_DONE;

	for (size_t i = 0; i < options->pid_count; i++)
		if (dt_sites_write(&opts, options->pids[i], stdout))
			status = DT_EXIT_FAILED;
	return dt_command_finish_output(&log, status);
}
