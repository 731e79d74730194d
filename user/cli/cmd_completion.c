/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/command.h"
#include "cli/completion.h"
#include "cli/terminal.h"

int dt_cmd_completion_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);

	if (dt_completion_write(options->argv[0], stdout)) {
		dt_log_error(&log, -EINVAL, "there is no completion for '%s': it is bash, zsh or fish", options->argv[0]);
		return dt_command_refuse_usage();
	}
	return dt_command_finish_output(&log, DT_EXIT_DONE);
}
