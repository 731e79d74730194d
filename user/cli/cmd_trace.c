/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "cli/watch.h"

static void cleanup_session(struct dt_session **session)
{
	dt_session_free(*session);
}

static void cleanup_output(struct dt_output **output)
{
	dt_output_close(*output);
}

static int fail(const struct dt_options *options)
{
	return options->argv ? DT_EXIT_COMMAND_FAILED : DT_EXIT_FAILED;
}

/* The status when the command could not be started, as a shell gives it. */
static int fail_launch(int error)
{
	switch (error) {
	case -ENOENT:
		return DT_EXIT_COMMAND_NOT_FOUND;
	case -EACCES:
	case -ENOEXEC:
	case -ENOTDIR:
	case -ETXTBSY:
		return DT_EXIT_COMMAND_NOT_EXECUTABLE;
	default:
		return DT_EXIT_COMMAND_FAILED;
	}
}

/* Each file that a traced process maps is kept open; the usual 1,024 would do for some of them only. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int attach_all(struct dt_session *session, const struct dt_log *log)
{
	size_t count;
	int error = dt_session_add_all(session, &count);

	if (!error)
		dt_log_info(log, "tracing %zu processes, and those that start from now on", count);
	return error;
}

/* Attaches to all that was asked for, or starts it. Returns an exit status. */
static int attach(const struct dt_options *options, const struct dt_log *log, struct dt_session *session, pid_t *command)
{
	int error = 0;

	if (options->argv)
		error = dt_session_launch(session, options->argv, command);
	if (error)
		return fail_launch(error);
	raise_file_limit();             /* ours, not that of the command */
	for (size_t i = 0; i < options->pid_count && !error; i++)
		error = dt_session_add_process(session, options->pids[i]);
	if (!error && options->all)
		error = attach_all(session, log);
	if (!error)
		error = dt_session_drop_privileges(session, options->output && strchr(options->output, '%'));
	return error ? fail(options) : DT_EXIT_DONE;
}

static int watch(const struct dt_options *options, const struct dt_log *log, struct dt_session *session,
		 struct dt_output *output, pid_t command)
{
	struct dt_report_opts report = dt_options_report(options);
	struct dt_watch_opts opts = {
		.session = session,
		.output = output,
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
	if (dt_watch_run(&opts) || (command && dt_session_command_status(session, &status)))
		return fail(options);
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
		return fail(options);
	status = attach(options, &log, session, &command);
	return status == DT_EXIT_DONE ? watch(options, &log, session, output, command) : status;
}
