/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/command.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/terminal.h"

int dt_command_refuse_usage(void)
{
	fputs("Try 'domtrace --help'.\n", stderr);
	return DT_EXIT_USAGE;
}

int dt_command_finish_output(const struct dt_log *log, int status)
{
	int error = dt_terminal_flush(stdout);

	if (!error)
		return status;
	dt_log_error(log, error, "cannot write to standard output: %s", strerror(-error));
	return DT_EXIT_FAILED;
}
