/* SPDX-License-Identifier: BSD-2-Clause */
/* command: what domtrace can be told to do. Each returns the exit status. */
#ifndef DT_CLI_COMMAND_H
#define DT_CLI_COMMAND_H

#include "cli/options.h"

enum dt_exit {
	DT_EXIT_DONE = 0,
	DT_EXIT_FAILED = 1,
	DT_EXIT_USAGE = 2,
	DT_EXIT_NOT_TRACING = 3,                /* 'domtrace ctl': nobody is there who traces (any more) */
	/* With a command, whose own status is domtrace's: as env(1) and timeout(1) do */
	DT_EXIT_COMMAND_FAILED = 125,           /* domtrace itself failed */
	DT_EXIT_COMMAND_NOT_EXECUTABLE = 126,
	DT_EXIT_COMMAND_NOT_FOUND = 127,
	DT_EXIT_SIGNAL = 128,                   /* plus the signal's number */
};

/* After a sentence that said what was wrong with the options: where to find help. Returns DT_EXIT_USAGE. */
int dt_command_refuse_usage(void);
/* Flushes standard output: `status`, or, said in one sentence, DT_EXIT_FAILED when something did not arrive. */
int dt_command_finish_output(const struct dt_log *log, int status);

int dt_cmd_trace_run(const struct dt_options *options);
int dt_cmd_sites_run(const struct dt_options *options);
int dt_cmd_doctor_run(const struct dt_options *options);
int dt_cmd_report_run(const struct dt_options *options);
int dt_cmd_diff_run(const struct dt_options *options);
int dt_cmd_export_run(const struct dt_options *options);
int dt_cmd_ctl_run(const struct dt_options *options);
int dt_cmd_completion_run(const struct dt_options *options);

#endif
