/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "cli/command.h"
#include "cli/request.h"
#include "cli/runtime.h"
#include "cli/terminal.h"

struct question {
	pid_t pid;                      /* 0: the only one that runs */
	enum dt_request request;
};

static int refuse(void)
{
	dt_command_refuse_usage();
	return -EINVAL;
}

/* [PID] REQUEST */
static int parse(const struct dt_options *options, const struct dt_log *log, struct question *ret_question)
{
	const char *number = options->argv[1] ? options->argv[0] : NULL, *name = options->argv[number ? 1 : 0];
	struct question question;
	uint64_t pid = 0;

	if (number && dt_parse_u64(number, 1, INT_MAX, &pid)) {
		dt_log_error(log, -EINVAL, "'%s' is not the number of a process", number);
		return refuse();
	}
	if (dt_request_parse(name, &question.request) || question.request == DT_REQUEST_STATUS_JSON) {
		dt_log_error(log, -EINVAL, "there is no request '%s': it is snapshot, clear, reset-peak, status or stop", name);
		return refuse();
	}
	if (options->format && question.request != DT_REQUEST_STATUS) {
		dt_log_error(log, -EINVAL, "--format is for the request status only");
		return refuse();
	}
	if (options->format && !strcmp(options->format, "json"))
		question.request = DT_REQUEST_STATUS_JSON;
	question.pid = (pid_t)pid;
	*ret_question = question;
	return 0;
}

/* ---- whom -------------------------------------------------------------------------------------------------------- */

static int say_several(const pid_t *pids, size_t count, const struct dt_log *log)
{
	char list[DT_RUNTIME_PEERS_MAX * 13] = "";
	size_t size = 0;

	for (size_t i = 0; i < count; i++)
		size += (size_t)snprintf(list + size, sizeof(list) - size, "%s%d", i ? ", " : "", (int)pids[i]);
	dt_log_error(log, -EINVAL, "several domtrace can be asked, %s%s: say which one, as in 'domtrace ctl %d status'", list,
		     count == DT_RUNTIME_PEERS_MAX ? " and maybe others" : "", (int)pids[0]);
	return DT_EXIT_USAGE;
}

/* Exit status; 0: *ret_pid is the one that runs. */
static int find_only(int directory, const struct dt_log *log, pid_t *ret_pid)
{
	pid_t pids[DT_RUNTIME_PEERS_MAX];
	size_t count = 0;
	int error = dt_runtime_list(directory, pids, &count);

	if (error) {
		dt_log_error(log, error, "cannot look which domtrace can be asked: %s", strerror(-error));
		return DT_EXIT_FAILED;
	}
	if (count > 1)
		return say_several(pids, count, log);
	if (!count) {
		dt_log_error(log, -ESRCH, "no domtrace of this user traces (any more)");
		return DT_EXIT_NOT_TRACING;
	}
	*ret_pid = pids[0];
	return 0;
}

static int say_not_tracing(pid_t pid, const struct dt_log *log)
{
	dt_log_error(log, -ESRCH, "process %d is no domtrace of this user that traces (any more)", (int)pid);
	return DT_EXIT_NOT_TRACING;
}

/* Exit status; 0: *ret_fd is the caller's. */
static int reach(pid_t *pid, const struct dt_log *log, int *ret_fd)
{
	char parent[PATH_MAX];
	DT_FD int directory = -1;
	int error, status;

	dt_runtime_parent(parent, sizeof(parent));
	error = dt_runtime_open(parent, false, log, DT_LOG_ERROR, &directory);
	if (error && error != -ENOENT)
		return DT_EXIT_FAILED;
	if (error && *pid)
		return say_not_tracing(*pid, log);
	if (error) {
		dt_log_error(log, -ESRCH, "no domtrace of this user traces (any more)");
		return DT_EXIT_NOT_TRACING;
	}
	status = *pid ? 0 : find_only(directory, log, pid);
	if (status)
		return status;
	error = dt_runtime_connect(directory, *pid, ret_fd);
	if (error == -ENOENT || error == -ECONNREFUSED)
		return say_not_tracing(*pid, log);
	if (!error)
		return 0;
	dt_log_error(log, error, "cannot ask domtrace, process %d: %s", (int)*pid, strerror(error == -EAGAIN ? ETIMEDOUT : -error));
	return DT_EXIT_FAILED;
}

/* ---- what -------------------------------------------------------------------------------------------------------- */

/* All that comes until the other end closes; *ret_data is the caller's. */
static int receive(int fd, char **ret_data, size_t *ret_size)
{
	DT_FREE char *data = NULL;
	size_t size = 0, room = 0;

	for (;;) {
		ssize_t got;

		if (size == room) {
			size_t wanted = room ? room * 2 : 4096;
			char *grown = wanted > 2ul * DT_ANSWER_SIZE_MAX ? NULL : realloc(data, wanted);

			if (!grown)
				return -ENOMEM;
			data = grown;
			room = wanted;
		}
		got = recv(fd, data + size, room - size, 0);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno != ECONNRESET)
			return -errno;
		if (got <= 0)
			break;
		size += (size_t)got;
	}
	*ret_data = DT_TAKE(data);
	*ret_size = size;
	return 0;
}

/* Exit status of an answer; what it says is written. */
static int tell(pid_t pid, const char *data, size_t size, const struct dt_log *log)
{
	enum dt_verdict verdict;
	size_t begin, text_size;

	if (!size)
		return say_not_tracing(pid, log); /* it has ended in between */
	if (dt_verdict_read_line(data, size, &verdict, &begin, &text_size) || size - begin != text_size ||
	    (verdict != DT_VERDICT_DONE && !text_size)) {
		dt_log_error(log, -EBADMSG, "the answer of process %d is not whole", (int)pid);
		return DT_EXIT_FAILED;
	}
	if (verdict == DT_VERDICT_DONE) {
		fwrite(data + begin, 1, text_size, stdout);
		return dt_command_finish_output(log, DT_EXIT_DONE);
	}
	dt_log_error(log, -EIO, "process %d: %.*s", (int)pid, (int)text_size - 1, data + begin);
	return verdict == DT_VERDICT_STOPPED ? DT_EXIT_NOT_TRACING : DT_EXIT_FAILED;
}

int dt_cmd_ctl_run(const struct dt_options *options)
{
	struct dt_log log = dt_terminal_log(&options->verbosity);
	struct question question = { 0 };
	char line[DT_REQUEST_SIZE_MAX];
	DT_FREE char *data = NULL;
	DT_FD int fd = -1;
	size_t size = 0;
	int status, error;

	if (parse(options, &log, &question))
		return DT_EXIT_USAGE;
	status = reach(&question.pid, &log, &fd);
	if (status)
		return status;
	/* One that is gone already answers nothing: which receive() sees. */
	(void)!send(fd, line, dt_request_write_line(question.request, line), MSG_NOSIGNAL);
	error = receive(fd, &data, &size);
	if (!error)
		return tell(question.pid, data, size, &log);
	dt_log_error(&log, error, "cannot read the answer of process %d: %s", (int)question.pid, strerror(-error));
	return DT_EXIT_FAILED;
}
