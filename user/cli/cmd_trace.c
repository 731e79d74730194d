/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <limits.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/runtime.h"
#include "cli/terminal.h"
#include "cli/tracer.h"
#include "cli/watch.h"

static void cleanup_session(struct dt_session **session)
{
	dt_session_free(*session);
}

static void cleanup_control(struct dt_control **control)
{
	dt_control_close(*control);
}

static void cleanup_output(struct dt_output **output)
{
	dt_output_close(*output);
}

static int watch(const struct dt_options *options, const struct dt_log *log, struct dt_session *session,
		 struct dt_output *output, pid_t command)
{
	struct dt_report_opts report = dt_options_report(options);
	DT_CLEANUP(cleanup_control) struct dt_control *control = NULL;
	char parent[PATH_MAX];
	struct dt_watch_opts opts = {
		.session = session,
		.output = output,
		.output_name = options->output,
		.report = &report,
		.log = log,
		.command = command,
		.interval_ns = options->interval_ns,
		.count = options->count,
		.duration_ns = options->duration_ns,
	};
	int status;

	report.colour = dt_terminal_has_colour(stdout);
	report.columns = dt_terminal_columns(stdout);
	dt_runtime_parent(parent, sizeof(parent));
	if (dt_control_open(parent, log, &control))
		return dt_tracer_fail(options);
	opts.control = control;
	if (dt_watch_run(&opts) || (command && dt_session_command_status(session, &status)))
		return dt_tracer_fail(options);
	if (!command)
		return DT_EXIT_DONE;
	return WIFEXITED(status) ? WEXITSTATUS(status) : DT_EXIT_SIGNAL + WTERMSIG(status);
}

int dt_cmd_trace_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	struct dt_session_opts opts = dt_options_session(options, &log);
	DT_CLEANUP(cleanup_session) struct dt_session *session = NULL;
	DT_CLEANUP(cleanup_output) struct dt_output *output = NULL;
	pid_t command = 0;
	int error = dt_session_new(&opts, &session), status;

	if (error == -EINVAL)
		return dt_command_refuse_usage();
	if (!error && options->output)
		error = dt_output_open(options->output, &log, &output);
	if (error)
		return dt_tracer_fail(options);
	status = dt_tracer_attach(options, &log, session, &command);
	return status == DT_EXIT_DONE ? watch(options, &log, session, output, command) : status;
}
