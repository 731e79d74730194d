/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/tracer.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>

#include "base/log.h"
#include "cli/command.h"

int dt_tracer_fail(const struct dt_options *options)
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

int dt_tracer_attach(const struct dt_options *options, const struct dt_log *log, struct dt_session *session, pid_t *command)
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
	return error ? dt_tracer_fail(options) : DT_EXIT_DONE;
}
