/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * follow: the processes of a session, from when they are added until they end.
 *
 * A process is traced from the moment its row stands in the map `processes`: all its probes are in place by then, so no
 * entry is seen whose return is not.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "session/session.h"
#include "session/skeleton.h"

/* ---- processes --------------------------------------------------------------------------------------------------- */

static struct dt_traced *find_process(const struct dt_session *session, pid_t pid)
{
	for (size_t i = 0; i < session->process_count; i++)
		if (session->processes[i]->pid == pid)
			return session->processes[i];
	return NULL;
}

static int remember_process(struct dt_session *session, struct dt_traced *traced)
{
	size_t count = session->process_count + 1;
	struct dt_traced **processes = realloc(session->processes, count * sizeof(*processes));
	bool *stale;

	if (!processes)
		return -ENOMEM;
	session->processes = processes;
	stale = realloc(session->stale, count * sizeof(*stale));
	if (!stale)
		return -ENOMEM;
	session->stale = stale;
	processes[count - 1] = traced;
	stale[count - 1] = false;
	session->process_count = count;
	return 0;
}

int dt_session_settle(struct dt_session *session)
{
	int error = dt_session_consume(session);

	for (size_t i = 0; i < session->process_count; i++)
		dt_traced_settle(session->processes[i]);
	dt_publish_reclaim(session->publish);
	return error;
}

static int wait_and_settle(struct dt_session *session)
{
	int error = dt_collect_wait(session->collect);

	return error ? error : dt_session_settle(session);
}

static int publish(struct dt_session *session, struct dt_traced *traced)
{
	uint32_t count = traced->row.mapping_count;
	int error = dt_publish_process(session->publish, traced);

	if (error == -EAGAIN) {
		error = wait_and_settle(session);
		if (!error)
			error = dt_publish_process(session->publish, traced);
	}
	if (error != -ENOSPC)
		return error;
	dt_log_warning(&session->log, "process %d has %u executable mappings, more than there is room for: its native tracebacks "
		       "are truncated", (int)traced->pid, count);
	return 0;
}

int dt_session_upload(struct dt_session *session, struct dt_traced *traced)
{
	int error = publish(session, traced);

	return error ? error : wait_and_settle(session);
}

/*
 * Reads what a process maps, attaches to what is new, and shows all of it to the programs, if anything of it has changed or
 * the caller has changed the row.
 */
static int follow_maps(struct dt_session *session, struct dt_traced *traced, bool row_changed)
{
	/* Read first: what is removed later than this is then known to be. */
	uint32_t removals = __atomic_load_n(&session->bpf->bss->process_states[traced->row.slot].removals, __ATOMIC_ACQUIRE);
	bool changed;
	int error = dt_traced_read_maps(traced, session->mappings_version + 1, &changed);

	if (error)
		return error;
	session->mappings_version += changed;
	if (!changed && !row_changed && removals == traced->row.removals)
		return 0;
	error = dt_traced_attach(traced, &session->modules, session->bpf, session->method, &session->domains.filter, &session->log);
	if (error)
		return error;
	traced->row.removals = removals;
	return publish(session, traced);
}

static const char *const source_wants[DT_SOURCE_COUNT] = {
	[DT_SOURCE_LIBC] = "no file it maps defines malloc, so there is no libc domain in it",
	[DT_SOURCE_TRACEMALLOC] = "no file it maps defines PyTraceMalloc_Track, so there is no Python in it and none of the domains asked for",
};

/* Has it what was asked for by name; or, where nothing was, anything at all? */
static int check_sites(const struct dt_session *session, const struct dt_traced *traced)
{
	bool any = false;

	for (int source = 0; source < DT_SOURCE_COUNT; source++) {
		any = any || traced->sites[source];
		if (session->domains.required[source] && !traced->sites[source])
			return dt_log_error(&session->log, -ENOENT, "process %d (%s) cannot be traced: %s",
					    (int)traced->pid, traced->info.comm, source_wants[source]);
	}
	return any ? 0 : dt_log_error(&session->log, -ENOENT, "process %d (%s) cannot be traced: no file it maps defines an allocation "
				      "function of the traced domains", (int)traced->pid, traced->info.comm);
}

static int begin_process(struct dt_session *session, struct dt_traced *traced)
{
	int error = dt_process_read(traced->pid, &traced->info);

	if (!error)
		error = dt_traced_read_image(traced->pid, &traced->image);
	if (!error)
		dt_tracebacks_add_process(session->tracebacks, traced->pid);
	if (!error)
		error = follow_maps(session, traced, true);
	if (!error)
		error = check_sites(session, traced);
	return error;
}

static int watch_process(struct dt_session *session, const struct dt_traced *traced)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, traced->pidfd, &event) ? -errno : 0;
}

int dt_session_add_process(struct dt_session *session, pid_t pid)
{
	struct dt_traced *traced;
	int pidfd, error;

	if (session->stopped)
		return -ESHUTDOWN;
	if (find_process(session, pid))
		return 0;
	if (session->process_count == DT_PROCESSES_MAX)
		return dt_log_error(&session->log, -ENOSPC, "process %d cannot be traced: a session has room for %d processes",
				    (int)pid, DT_PROCESSES_MAX);
	error = dt_process_open(pid, &session->log, &pidfd);
	if (error)
		return error;
	traced = dt_traced_new(pid, pidfd, (uint32_t)session->process_count);
	if (!traced) {
		close(pidfd);
		return -ENOMEM;
	}
	error = remember_process(session, traced);
	if (error) {
		dt_traced_free(traced);
		return error;
	}
	error = begin_process(session, traced); /* known by then: programs send what they see before this is done */
	if (error == -ESRCH)
		dt_log_error(&session->log, error, "process %d ended while domtrace attached to it", (int)pid);
	else if (error == -EACCES || error == -EPERM)
		dt_log_error(&session->log, error, "process %d cannot be traced: %s; run domtrace with sudo", (int)pid, strerror(-error));
	if (!error)
		error = watch_process(session, traced);
	if (error) {
		session->process_count--;
		dt_publish_withdraw(session->publish, traced);
		dt_traced_free(traced);
		return error;
	}
	dt_log_info(&session->log, "tracing process %d (%s)", (int)pid, traced->info.comm);
	return 0;
}

static void end_process(struct dt_session *session, struct dt_traced *traced)
{
	if (traced->exited)
		return;
	traced->exited = true;
	if (traced->pidfd >= 0) {
		epoll_ctl(session->epoll_fd, EPOLL_CTL_DEL, traced->pidfd, NULL);
		close(traced->pidfd);
		traced->pidfd = -1;
	}
	dt_links_close(&traced->links);
	dt_log_info(&session->log, "process %d (%s) has ended", (int)traced->pid, traced->info.comm);
}

/* Another program runs in the process: it starts from nothing. `held`: none of its threads runs now. */
static int replace_image(struct dt_session *session, struct dt_traced *traced, bool held)
{
	struct dt_process_info info = { 0 };
	int error;

	dt_traced_forget_image(traced);
	dt_tracebacks_remove_process(session->tracebacks, traced->pid);
	dt_tracebacks_add_process(session->tracebacks, traced->pid);
	if (!dt_process_read(traced->pid, &info)) {
		dt_process_info_clear(&traced->info);
		traced->info = info;
	}
	dt_traced_read_image(traced->pid, &traced->image);
	error = dt_session_upload(session, traced);
	if (!error && held)
		error = dt_collect_sweep(session->collect, traced->pid, traced->row.generation);
	if (!error)
		error = dt_collect_forget(session->collect, session->processes, session->process_count);
	return error;
}

/* Follows what the loader did: new files, or another program altogether. */
static int follow_mappings(struct dt_session *session, struct dt_traced *traced)
{
	uint64_t image;
	int error = dt_traced_read_image(traced->pid, &image);
	bool replaced = !error && image != traced->image;

	if (replaced)
		error = replace_image(session, traced, false);
	if (!error)
		error = follow_maps(session, traced, replaced);
	return error == -ESRCH ? 0 : error;     /* it has ended; that will be said */
}

/* ---- the launched command ---------------------------------------------------------------------------------------- */

/* A new program, of which nothing has run: held again whenever its loader has mapped files. */
static int take_exec(struct dt_session *session, struct dt_traced *traced)
{
	int error = replace_image(session, traced, true);

	traced->row.hold = 1;
	return error ? error : follow_maps(session, traced, true);
}

static int take_launch_event(struct dt_session *session, enum dt_launch_event event)
{
	struct dt_traced *traced = find_process(session, session->launch.pid);
	int error = 0;

	if (!traced || session->stopped)
		event = event == DT_LAUNCH_ENDED ? event : DT_LAUNCH_NOTHING;
	switch (event) {
	case DT_LAUNCH_EXEC:
		error = take_exec(session, traced);
		break;
	case DT_LAUNCH_HELD:
		error = follow_maps(session, traced, false);
		break;
	case DT_LAUNCH_EXITING:         /* the last moment to see its files and its memory */
		dt_process_read_rss(traced->pid, &traced->info.rss_bytes);
		error = dt_session_consume(session);
		break;
	case DT_LAUNCH_ENDED:
		if (traced)
			end_process(session, traced);
		return 0;
	case DT_LAUNCH_NOTHING:
		break;
	}
	dt_launch_continue(&session->launch);
	return error == -ESRCH ? 0 : error;
}

static int dispatch_launch(struct dt_session *session)
{
	int error = 0;

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
	struct epoll_event event = { .events = EPOLLIN };
	struct dt_traced *traced;
	int error;

	if (session->stopped)
		return -ESHUTDOWN;
	if (session->launch.pid)
		return -EBUSY;
	error = dt_launch_start(argv, &session->log, &session->launch);
	if (error)
		return error;
	traced = dt_traced_new(session->launch.pid, -1, (uint32_t)session->process_count);
	error = traced ? remember_process(session, traced) : -ENOMEM;
	if (error)
		dt_traced_free(traced);
	if (!error && epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, session->launch.signal_fd, &event))
		error = -errno;
	if (!error)
		error = take_exec(session, traced);
	dt_launch_continue(&session->launch);
	if (error)
		return dt_log_error(&session->log, error, "cannot trace command '%s': %s", argv[0], strerror(-error));
	dt_log_info(&session->log, "tracing process %d (%s)", (int)traced->pid, traced->info.comm);
	*ret_pid = traced->pid;
	return 0;
}

int dt_session_command_status(const struct dt_session *session, int *ret_status)
{
	if (!session->launch.pid)
		return -ECHILD;
	if (!session->launch.ended)
		return -EAGAIN;
	*ret_status = session->launch.status;
	return 0;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

int dt_session_take_record(void *context, void *data, size_t size)
{
	struct dt_session *session = context;
	const struct dt_event *event = data;
	struct dt_traced *traced;
	int error = 0;

	if (size < sizeof(*event))
		return 0;
	traced = find_process(session, (pid_t)event->tgid);
	if (!traced)
		return 0;
	switch (event->type) {
	case DT_EVENT_CODE:
		error = dt_tracebacks_add_code(session->tracebacks, data, size);
		break;
	case DT_EVENT_TRACEBACK:
		error = dt_tracebacks_add(session->tracebacks, traced, data, size);
		break;
	case DT_EVENT_MAPPINGS:
	case DT_EVENT_UNKNOWN:
		for (size_t i = 0; i < session->process_count; i++)
			session->stale[i] = session->stale[i] || session->processes[i] == traced;
		break;
	}
	if (error && !session->event_error)
		session->event_error = error;
	return 0;                       /* go on: one record that fails must not hold the others up */
}

int dt_session_consume(struct dt_session *session)
{
	int error = ring_buffer__consume(session->ring);

	if (error < 0)
		return error;
	error = session->event_error;
	session->event_error = 0;
	return error;
}

int dt_session_follow(struct dt_session *session)
{
	int error = dispatch_launch(session);

	if (error || session->stopped)
		return error;
	for (size_t i = 0; i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];

		if (!session->stale[i])
			continue;
		session->stale[i] = false;
		if (traced->exited)
			continue;
		error = follow_mappings(session, traced);
		if (error)
			return error;
	}
	return 0;
}

static void notice_ends(struct dt_session *session)
{
	for (size_t i = 0; i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];
		struct pollfd pidfd = { .fd = traced->pidfd, .events = POLLIN };

		if (!traced->exited && traced->pidfd >= 0 && poll(&pidfd, 1, 0) > 0)
			end_process(session, traced);
	}
}

int dt_session_fd(const struct dt_session *session)
{
	return session->epoll_fd;
}

#define REPLACED_MAX 256                /* rows and mappings that wait for their room to be used again */
#define NAMING_NS 2000000               /* at a time: more tracebacks arrive meanwhile */

int dt_session_dispatch(struct dt_session *session)
{
	int error = dt_session_consume(session);

	if (!error)
		error = dt_session_follow(session);
	if (!error && dt_publish_replaced(session->publish) > REPLACED_MAX)
		error = wait_and_settle(session);
	notice_ends(session);
	if (!error)
		error = dt_tracebacks_name(session->tracebacks, NAMING_NS);
	if (error == -EAGAIN)
		error = 0;              /* the others later */
	if (error)
		return dt_log_error(&session->log, error, "cannot follow the traced processes: %s", strerror(-error));
	return 0;
}

size_t dt_session_running(const struct dt_session *session)
{
	size_t running = 0;

	for (size_t i = 0; i < session->process_count; i++)
		running += !session->processes[i]->exited;
	return running;
}
