/* SPDX-License-Identifier: BSD-2-Clause */
/* command: the command that a session has started, held where its program or its loader has mapped files. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "session/images.h"
#include "session/session.h"
#include "session/skeleton.h"

static int begin_command(struct dt_session *session, struct dt_traced **ret_traced)
{
	struct dt_traced *traced = dt_traced_new(session->launch.pid, -1);
	int error = traced ? 0 : -ENOMEM;

	if (traced)
		traced->root = true;
	if (!error)
		error = dt_session_begin_process(session, traced);
	if (!error)
		*ret_traced = traced;
	return error;
}

/* A new program, of which nothing has run: held again whenever its loader has mapped files. */
static int take_exec(struct dt_session *session, struct dt_traced *traced)
{
	int error = 0;

	if (!traced)
		error = begin_command(session, &traced);
	else if (!session->follow)
		error = dt_session_replace_image(session, traced, &traced);
	if (error)
		return error;
	dt_images_state(session->bpf, traced->slot)->hold = 1;
	traced->root = true;
	error = dt_session_follow_maps(session, traced, true);
	return error ? error : dt_session_try_python(session, traced, true);
}

static int take_launch_event(struct dt_session *session, enum dt_launch_event event)
{
	struct dt_traced *traced;
	int error = session->stopped ? 0 : dt_session_adopt(session);

	traced = dt_session_find(session, session->launch.pid);
	if (error || !traced || session->stopped)
		event = event == DT_LAUNCH_ENDED ? event : DT_LAUNCH_NOTHING;
	switch (event) {
	case DT_LAUNCH_EXEC:
		error = take_exec(session, traced);
		break;
	case DT_LAUNCH_HELD:
		error = dt_session_follow_maps(session, traced, false);
		if (!error)
			error = dt_session_try_python(session, traced, true);
		break;
	case DT_LAUNCH_EXITING:         /* the last moment to see its files and its memory */
		dt_process_read_rss(traced->pid, &traced->info.rss_bytes);
		error = dt_session_consume(session);
		break;
	case DT_LAUNCH_ENDED:
		if (traced)
			dt_session_end_process(session, traced);
		return 0;
	case DT_LAUNCH_NOTHING:
		break;
	}
	dt_launch_continue(&session->launch);
	return error == -ESRCH ? 0 : error;
}

int dt_session_dispatch_command(struct dt_session *session)
{
	int error = 0;

	if (session->launch_thread != gettid())  /* the kernel takes ptrace from no other; the command stands still until it comes */
		return 0;
	while (session->launch.pid && !error) {
		enum dt_launch_event event = dt_launch_next(&session->launch);

		if (event == DT_LAUNCH_NOTHING)
			break;
		error = take_launch_event(session, event);
	}
	return error;
}

int dt_session_launch(struct dt_session *session, char *const argv[], pid_t *ret_pid)
{
	DT_SESSION_LOCKED(session);
	struct epoll_event event = { .events = EPOLLIN };
	int error;

	if (session->stopped)
		return -ESHUTDOWN;
	if (session->launch.pid)
		return -EBUSY;
	session->launch_thread = gettid();
	error = dt_launch_start(argv, &session->log, &session->launch);
	if (error)
		return error;
	if (epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, session->launch.signal_fd, &event))
		error = -errno;
	if (!error)
		error = take_exec(session, NULL);
	dt_launch_continue(&session->launch);
	if (error)
		return dt_log_error(&session->log, error, "cannot trace command '%s': %s", argv[0], strerror(-error));
	dt_log_info(&session->log, "tracing process %d (%s)", (int)session->launch.pid,
		    dt_session_find(session, session->launch.pid)->info.comm);
	*ret_pid = session->launch.pid;
	return 0;
}

int dt_session_command_status(const struct dt_session *session, int *ret_status)
{
	DT_SESSION_LOCKED(session);
	if (!session->launch.pid)
		return -ECHILD;
	if (!session->launch.ended)
		return -EAGAIN;
	*ret_status = session->launch.status;
	return 0;
}
