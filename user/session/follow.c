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

	dt_session_show_life(session);
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

/* Names of domains that its files hold. */
static void meet_names(struct dt_session *session, const struct dt_traced *traced)
{
	char shown[DT_DECLARED_SHOWN_SIZE];

	for (size_t i = 0; i < traced->declared.count; i++) {
		dt_declared_format(traced->declared.names[i].name, traced->declared.names[i].domain, shown);
		dt_domains_meet(&session->domains, shown);
	}
}

int dt_session_meet_file(struct dt_session *session, struct dt_traced *traced, uint32_t number)
{
	const struct dt_module *module = number == traced->met_file ? NULL : dt_modules_find(&session->modules, number);
	int error = module ? dt_traced_note_names(traced, module, &session->log) : 0;

	if (!module || error)
		return error;
	traced->met_file = number;
	meet_names(session, traced);
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
	if (changed)                    /* before it is published: until then no traceback leads through that code */
		dt_tracebacks_reach_names(session->tracebacks, traced);
	if (!changed && !row_changed && removals == traced->row.removals)
		return 0;
	error = dt_traced_attach(traced, &session->modules, &target);
	if (error)
		return error;
	meet_names(session, traced);
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

int dt_session_try_python(struct dt_session *session, struct dt_traced *traced, bool held)
{
	int error = open_python_calls(session, traced, held);

	return error == -EAGAIN || traced->python_calls.refused ? 0 : error;
}

static const char *const source_wants[DT_SOURCE_COUNT] = {
	[DT_SOURCE_LIBC] = "no file it maps defines malloc or another allocation function that is known, so there is no libc domain in it; "
			   "name an allocator of its own with --allocator",
	[DT_SOURCE_PYTHON] = "no file it maps is a CPython whose allocators can be probed",
	[DT_SOURCE_TRACEMALLOC] = "no file it maps defines PyTraceMalloc_Track, so there is no Python in it and none of the domains asked for",
	[DT_SOURCE_DECLARED] = "no file it maps has a probe of <domtrace/domain.h>",
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
	/* A domain that a program declares may come with a file that is loaded later. */
	any = any || session->domains.only_named;
	return any ? 0 : dt_log_error(&session->log, -ENOENT, "process %d (%s) cannot be traced: no file it maps defines an allocation "
				      "function of the traced domains; name an allocator of its own with --allocator", (int)traced->pid, traced->info.comm);
}

int dt_session_begin_process(struct dt_session *session, struct dt_traced *traced)
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
	error = dt_session_begin_process(session, traced);
	if (error)
		return error;
	error = dt_session_follow_maps(session, traced, true);
	if (!error)
		error = dt_session_try_python(session, traced, false);
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
	DT_SESSION_LOCKED(session);
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
	error = dt_session_begin_process(session, traced);
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
	if (!dt_session_is_at_marker(session)) /* the kernel would wait for the thread there; the process has gone, and so have its probes */
		dt_links_close(&traced->links);
	if (traced->root && !traced->hidden)
		dt_log_info(&session->log, "process %d (%s) has ended", (int)traced->pid, traced->info.comm);
	if (!traced->root || traced->hidden)
		dt_session_set_timer(session);
}

int dt_session_replace_image(struct dt_session *session, struct dt_traced *old, struct dt_traced **ret_traced)
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
	error = dt_session_begin_process(session, traced);
	if (!error)
		*ret_traced = traced;
	return error;
}

int dt_session_follow_mappings(struct dt_session *session, struct dt_traced *traced)
{
	uint64_t start;
	int error = session->follow ? 0 : dt_traced_read_image(traced->pid, &start);
	bool replaced = !session->follow && !error && start != traced->image_start;

	if (replaced)
		error = dt_session_replace_image(session, traced, &traced);
	if (!error)
		error = dt_session_follow_maps(session, traced, replaced);
	if (!error)
		error = dt_session_try_python(session, traced, false);
	/* -ESRCH: it has ended; that will be said. -EEXIST: an exec came in between, of which there is other news. */
	return error == -ESRCH || error == -EEXIST ? 0 : error;
}
