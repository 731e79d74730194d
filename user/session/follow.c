/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * follow: the processes of a session, from when they are added until they end.
 *
 * A process is traced from the moment its slot stands in the map `processes`: all its probes are in place by then, so no
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

#include "session/images.h"
#include "session/session.h"
#include "session/skeleton.h"

/* ---- processes --------------------------------------------------------------------------------------------------- */

struct dt_traced *dt_session_find(const struct dt_session *session, pid_t pid)
{
	for (size_t i = session->process_count; i--;)
		if (session->processes[i]->pid == pid && !session->processes[i]->hidden && !session->processes[i]->exited)
			return session->processes[i];
	return NULL;
}

int dt_session_remember(struct dt_session *session, struct dt_traced *traced)
{
	struct dt_traced **grown = reallocarray(session->processes, session->process_count + 1, sizeof(struct dt_traced *));

	if (!grown) {
		dt_traced_free(traced);
		return -ENOMEM;
	}
	session->processes = grown;
	grown[session->process_count++] = traced;
	session->by_slot[traced->slot] = traced;
	return 0;
}

int dt_session_settle(struct dt_session *session)
{
	int error = dt_session_consume(session);

	dt_publish_reclaim(session->publish);
	return error;
}

int dt_session_wait(struct dt_session *session)
{
	int error = dt_collect_wait(session->collect);

	return error ? error : dt_session_settle(session);
}

static int publish(struct dt_session *session, struct dt_traced *traced)
{
	uint32_t count = traced->row.mapping_count;
	int error = dt_publish_process(session->publish, traced);

	if (error == -EAGAIN) {
		error = dt_session_wait(session);
		if (!error)
			error = dt_publish_process(session->publish, traced);
	}
	if (error != -ENOSPC)
		return error;
	dt_log_warning(&session->log, "process %d has %u executable mappings, more than there is room for: its native tracebacks "
		       "are truncated", (int)traced->pid, count);
	return 0;
}

int dt_session_follow_maps(struct dt_session *session, struct dt_traced *traced, bool row_changed)
{
	const struct dt_process_state *state = dt_images_state(session->bpf, traced->slot);
	struct dt_attach_target target = {
		.bpf = session->bpf,
		.method = session->method,
		.filter = &session->domains.filter,
		.log = &session->log,
		.for_all = session->follow != DT_FOLLOW_NONE,
		.started_ns = state->hold ? 0 : state->started_ns,
	};
	/* Read first: what is removed later than this is then known to be. */
	uint32_t removals = __atomic_load_n(&state->removals, __ATOMIC_ACQUIRE);
	bool changed;
	int error = dt_traced_read_maps(traced, session->mappings_version + 1, &changed);

	if (error)
		return error;
	session->mappings_version += changed;
	if (!changed && !row_changed && removals == traced->row.removals)
		return 0;
	error = dt_traced_attach(traced, &session->modules, &target);
	if (error)
		return error;
	traced->row.removals = removals;
	return publish(session, traced);
}

/* `held`: its main thread stands still by our ptrace. -EAGAIN: not all calls of CPython's allocators are seen yet. */
static int open_python_calls(struct dt_session *session, struct dt_traced *traced, bool held)
{
	bool may_write = session->patch_python || traced->pid == session->launch.pid;
	int error = dt_python_calls_open(&traced->python_calls, traced->pid, held ? traced->pid : 0, may_write, &session->log);

	if (error || traced->row.python_aliases == traced->python_calls.are_seen)
		return error;
	traced->row.python_aliases = traced->python_calls.are_seen;
	return publish(session, traced);
}

/* The same where it may be so later: what is refused is said, and the other domains go on. */
static int try_python_calls(struct dt_session *session, struct dt_traced *traced, bool held)
{
	int error = open_python_calls(session, traced, held);

	return error == -EAGAIN || traced->python_calls.refused ? 0 : error;
}

static const char *const source_wants[DT_SOURCE_COUNT] = {
	[DT_SOURCE_LIBC] = "no file it maps defines malloc or another allocation function that is known, so there is no libc domain in it; "
			   "name an allocator of its own with --allocator",
	[DT_SOURCE_PYTHON] = "no file it maps is a CPython whose allocators can be probed",
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
	for (size_t i = 0; !any && i < traced->attached_count; i++)
		if (dt_module_is_stripped(traced->attached[i]))
			return dt_log_error(&session->log, -ENOENT, "process %d (%s) cannot be traced: %s is linked statically and stripped of its "
					    "symbols, so its allocator's functions cannot be found; run one with symbols (strip --strip-debug keeps them)",
					    (int)traced->pid, traced->info.comm, traced->attached[i]->path);
	return any ? 0 : dt_log_error(&session->log, -ENOENT, "process %d (%s) cannot be traced: no file it maps defines an allocation "
				      "function of the traced domains; name an allocator of its own with --allocator", (int)traced->pid, traced->info.comm);
}

/* Gives a process a slot, and makes it known: the programs send what they see before userspace is done with it. */
static int begin_process(struct dt_session *session, struct dt_traced *traced)
{
	int error = dt_process_read(traced->pid, &traced->info);

	if (!error)
		error = dt_traced_read_image(traced->pid, &traced->image_start);
	if (!error)
		error = dt_images_take(session->bpf, traced->pid, traced->info.comm, traced->info.ppid, &traced->slot);
	if (error == -ENOSPC)
		dt_log_error(&session->log, error, "process %d cannot be traced: a session has room for %d processes",
			     (int)traced->pid, DT_PROCESSES_MAX);
	if (error) {
		dt_traced_free(traced);
		return error;
	}
	traced->image = dt_images_state(session->bpf, traced->slot)->image;
	error = dt_session_remember(session, traced);
	if (!error)
		dt_tracebacks_add_process(session->tracebacks, traced);
	return error;
}

static int watch_process(struct dt_session *session, const struct dt_traced *traced)
{
	struct epoll_event event = { .events = EPOLLIN };

	return epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, traced->pidfd, &event) ? -errno : 0;
}

/* It stays in its slot until nobody looks at that any more. */
static void discard_process(struct dt_session *session, struct dt_traced *traced)
{
	traced->exited = traced->hidden = true;
	dt_publish_withdraw(session->publish, traced);
	dt_links_close(&traced->links);
	dt_session_set_timer(session);
}

int dt_session_add_running(struct dt_session *session, pid_t pid)
{
	struct dt_traced *traced = dt_traced_new(pid, -1);
	int error;

	if (!traced)
		return -ENOMEM;
	traced->late = true;
	error = begin_process(session, traced);
	if (error)
		return error;
	error = dt_session_follow_maps(session, traced, true);
	if (!error)
		error = try_python_calls(session, traced, false);
	if (error)
		discard_process(session, traced);
	else
		dt_log_debug(&session->log, "tracing process %d (%s)", (int)pid, traced->info.comm);
	return error;
}

static int say_failure(const struct dt_session *session, pid_t pid, int error)
{
	if (error == -ESRCH)
		dt_log_error(&session->log, error, "process %d ended while domtrace attached to it", (int)pid);
	else if (error == -EACCES || error == -EPERM)
		dt_log_error(&session->log, error, "process %d cannot be traced: %s; run domtrace with sudo", (int)pid, strerror(-error));
	return error;
}

int dt_session_add_process(struct dt_session *session, pid_t pid)
{
	struct dt_traced *traced;
	int pidfd, error;

	if (session->stopped)
		return -ESHUTDOWN;
	if (dt_session_find(session, pid))
		return 0;
	error = dt_process_open(pid, &session->log, &pidfd);
	if (error)
		return error;
	traced = dt_traced_new(pid, pidfd);
	if (!traced)
		return -ENOMEM;
	traced->root = traced->late = true;
	error = begin_process(session, traced);
	if (error)
		return say_failure(session, pid, error);
	error = dt_session_follow_maps(session, traced, true);
	if (!error)
		error = check_sites(session, traced);
	if (!error)
		error = open_python_calls(session, traced, false);
	if (error == -EAGAIN)
		error = dt_python_calls_say_others(pid, &session->log);
	if (!error)
		error = watch_process(session, traced);
	if (error) {
		discard_process(session, traced);
		return say_failure(session, pid, error);
	}
	dt_log_info(&session->log, "tracing process %d (%s)", (int)pid, traced->info.comm);
	return 0;
}

void dt_session_end_process(struct dt_session *session, struct dt_traced *traced)
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
	if (traced->root && !traced->hidden)
		dt_log_info(&session->log, "process %d (%s) has ended", (int)traced->pid, traced->info.comm);
	if (!traced->root)
		dt_session_set_timer(session);
}

/* Another program runs in the process: it starts from nothing. Its probes stay; they are those of the process. */
static int replace_image(struct dt_session *session, struct dt_traced *old, struct dt_traced **ret_traced)
{
	struct dt_traced *traced = dt_traced_new(old->pid, old->pidfd);
	int error;

	if (!traced)
		return -ENOMEM;
	old->pidfd = -1;
	traced->root = old->root;
	traced->links = old->links;
	traced->attached = old->attached;
	traced->attached_count = old->attached_count;
	memcpy(traced->sites, old->sites, sizeof(old->sites));
	old->links = (struct dt_links){ 0 };
	old->attached = NULL;
	old->attached_count = 0;
	discard_process(session, old);
	error = begin_process(session, traced);
	if (!error)
		*ret_traced = traced;
	return error;
}

/* Follows what the loader did: new files, or, where the programs do not tell, another program altogether. */
static int follow_mappings(struct dt_session *session, struct dt_traced *traced)
{
	uint64_t start;
	int error = session->follow ? 0 : dt_traced_read_image(traced->pid, &start);
	bool replaced = !session->follow && !error && start != traced->image_start;

	if (replaced)
		error = replace_image(session, traced, &traced);
	if (!error)
		error = dt_session_follow_maps(session, traced, replaced);
	if (!error)
		error = try_python_calls(session, traced, false);
	/* -ESRCH: it has ended; that will be said. -EEXIST: an exec came in between, of which there is other news. */
	return error == -ESRCH || error == -EEXIST ? 0 : error;
}

/* ---- the launched command ---------------------------------------------------------------------------------------- */

static int begin_command(struct dt_session *session, struct dt_traced **ret_traced)
{
	struct dt_traced *traced = dt_traced_new(session->launch.pid, -1);
	int error = traced ? 0 : -ENOMEM;

	if (traced)
		traced->root = true;
	if (!error)
		error = begin_process(session, traced);
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
		error = replace_image(session, traced, &traced);
	if (error)
		return error;
	dt_images_state(session->bpf, traced->slot)->hold = 1;
	traced->root = true;
	error = dt_session_follow_maps(session, traced, true);
	return error ? error : try_python_calls(session, traced, true);
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
			error = try_python_calls(session, traced, true);
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
	int error;

	if (session->stopped)
		return -ESHUTDOWN;
	if (session->launch.pid)
		return -EBUSY;
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
	if (!session->launch.pid)
		return -ECHILD;
	if (!session->launch.ended)
		return -EAGAIN;
	*ret_status = session->launch.status;
	return 0;
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

static int take_traceback(struct dt_session *session, const struct dt_traced *traced, const struct dt_traceback_event *event, size_t size)
{
	if (size < sizeof(*event) - sizeof(event->frames))
		return -EBADMSG;
	return dt_tracebacks_add(session->tracebacks, traced, dt_publish_maps(session->publish, event->row), event, size);
}

int dt_session_take_record(void *context, void *data, size_t size)
{
	struct dt_session *session = context;
	const struct dt_event *event = data;
	struct dt_traced *traced;
	int error = 0;

	if (size < sizeof(*event))
		return 0;
	session->rows_are_scarce = session->rows_are_scarce || event->type == DT_EVENT_ROWS;
	traced = dt_session_adopt_slot(session, event->slot);
	if (!traced)
		return 0;
	switch (event->type) {
	case DT_EVENT_CODE:
		error = dt_tracebacks_add_code(session->tracebacks, traced, data, size);
		break;
	case DT_EVENT_TRACEBACK:
		error = take_traceback(session, traced, data, size);
		break;
	case DT_EVENT_MAPPINGS:
	case DT_EVENT_UNKNOWN:
		traced->stale = true;
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

/* Where the kernel has no memory for more, the table is full some time, and what that means is counted. */
static void make_room(struct dt_session *session)
{
	int error = session->rows_are_scarce ? dt_live_grow(&session->live) : 0;

	session->rows_are_scarce = false;
	if (error)
		dt_log_warning(&session->log, "the table of live blocks cannot grow beyond %llu: %s",
			       (unsigned long long)session->live.rows, strerror(-error));
}

int dt_session_follow(struct dt_session *session)
{
	int error;

	make_room(session);
	error = dispatch_launch(session);

	if (error || session->stopped)
		return error;
	error = dt_session_adopt(session);
	for (size_t i = 0; i < session->process_count && !error; i++) {
		struct dt_traced *traced = session->processes[i];

		if (!traced->stale)
			continue;
		traced->stale = false;
		if (!traced->exited)
			error = follow_mappings(session, traced);
	}
	return error;
}

static void notice_ends(struct dt_session *session)
{
	for (size_t i = 0; i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];
		struct pollfd pidfd = { .fd = traced->pidfd, .events = POLLIN };

		if (!traced->exited && traced->pidfd >= 0 && poll(&pidfd, 1, 0) > 0)
			dt_session_end_process(session, traced);
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
		error = dt_session_wait(session);
	notice_ends(session);
	if (!error)
		error = dt_session_see_to_ended(session);
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
	size_t running = session->follow == DT_FOLLOW_ALL;      /* there may always be others */

	for (size_t i = 0; i < session->process_count; i++)
		running += !session->processes[i]->exited;
	return running;
}
