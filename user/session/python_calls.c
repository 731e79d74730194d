/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/python_calls.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "target/python_alias.h"
#include "target/standstill.h"

static int write_now(const struct dt_python_calls *calls, pid_t pid, pid_t held, bool undo)
{
	struct dt_standstill standstill;
	int error = dt_standstill_begin(pid, held, &standstill);

	if (error)
		return error;
	error = dt_python_alias_write(pid, calls->bias, calls->alloc, undo);
	if (error && !undo)             /* some of them only: not left like that */
		dt_python_alias_write(pid, calls->bias, calls->alloc, true);
	dt_standstill_end(&standstill);
	return error;
}

/*
 * In a child of ours: a thread that could not be stopped in time, and would stop as soon as it can, goes on when its tracer
 * ends (ptrace(2)).
 */
static int write_tables(const struct dt_python_calls *calls, pid_t pid, pid_t held, bool undo)
{
	pid_t child;
	int status;

	child = fork();
	if (child < 0)
		return -errno;
	if (!child)
		_exit(-write_now(calls, pid, held, undo));
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* Why calls are not seen, or may not be made seen. */
static int refuse(const struct dt_python_calls *calls, pid_t pid, bool may_write, const struct dt_log *log)
{
	if (calls->alloc->unsupported)
		return dt_log_error(log, -ENOTSUP, "process %d cannot be traced in domain python: most calls of its CPython's allocators are "
				    "compiled into their callers, and %s", (int)pid, calls->alloc->unsupported);
	if (!may_write)
		return dt_log_error(log, -ENOTSUP, "process %d cannot be traced in domain python as it is: most calls of its CPython's allocators "
				    "are compiled into their callers; --patch-python lets domtrace change pointers in its memory so that "
				    "they are made, until the trace ends", (int)pid);
	return 0;
}

int dt_python_calls_say_others(pid_t pid, const struct dt_log *log)
{
	return dt_log_error(log, -ENOTSUP, "process %d cannot be traced in domain python: its CPython calls other allocators than its own, "
			    "and these are not known", (int)pid);
}

static int make_seen(struct dt_python_calls *calls, pid_t pid, pid_t held, const struct dt_log *log)
{
	int error = write_tables(calls, pid, held, false);

	if (error && error != -ESRCH)
		return dt_log_error(log, -ENOTSUP, "cannot change the tables of CPython's allocators in process %d: %s", (int)pid,
				    error == -EPERM ? "another tracer has it, or ptrace is not permitted" : strerror(-error));
	calls->written = !error;
	return error;
}

int dt_python_calls_open(struct dt_python_calls *calls, pid_t pid, pid_t held, bool may_write, const struct dt_log *log)
{
	enum dt_python_hold hold;
	int error;

	if (!calls->alloc || calls->are_seen || calls->refused)
		return 0;
	error = calls->alloc->inlined ? refuse(calls, pid, may_write, log) : 0;
	calls->refused = error;
	if (!error)
		error = dt_python_alias_read(pid, calls->bias, calls->alloc, &hold);
	if (!error && hold == DT_PYTHON_FUNCTIONS && calls->alloc->inlined) {
		error = make_seen(calls, pid, held, log);
		calls->refused = error;
		if (!error)
			error = dt_python_alias_read(pid, calls->bias, calls->alloc, &hold);
	}
	if (error)
		return error;
	calls->are_seen = hold == DT_PYTHON_ALIASES || (hold == DT_PYTHON_FUNCTIONS && !calls->alloc->inlined);
	return calls->are_seen ? 0 : -EAGAIN;
}

bool dt_python_calls_check(const struct dt_python_calls *calls, pid_t pid)
{
	enum dt_python_hold hold;

	if (!calls->alloc)
		return true;
	if (!calls->are_seen)
		return false;
	if (dt_python_alias_read(pid, calls->bias, calls->alloc, &hold))
		return true;            /* it has gone */
	return hold == DT_PYTHON_ALIASES || (hold == DT_PYTHON_FUNCTIONS && !calls->alloc->inlined);
}

void dt_python_calls_close(struct dt_python_calls *calls, pid_t pid, const struct dt_log *log)
{
	int error;

	if (!calls->written)
		return;
	calls->written = false;
	error = write_tables(calls, pid, 0, true);
	if (error && error != -ESRCH)
		dt_log_warning(log, "the tables of CPython's allocators in process %d stay as domtrace has changed them (%s), which does no "
			       "harm: they lead to the same functions", (int)pid, strerror(-error));
}
