/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>

#include "cli/command.h"
#include "cli/terminal.h"

int dt_cmd_doctor_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	struct dt_session_opts opts = dt_options_session(options, &log);
	bool able = false;
	int error = dt_doctor_write(&opts, stdout, &able);

	return dt_command_finish_output(&log, !error && able ? DT_EXIT_DONE : DT_EXIT_FAILED);
}
