/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * adopt: images that the programs have begun, at a fork or an exec, and those that have ended.
 *
 * process_states is the whole truth; records of the ring buffer only say when to look. So none of it can be lost, and what
 * ended before anyone looked is found all the same.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "session/images.h"
#include "session/session.h"
#include "session/skeleton.h"

static struct bpf_program *follow_program(const struct dt_session *session, size_t i)
{
	struct bpf_program *const programs[DT_FOLLOW_PROGRAMS] = {
		session->bpf->progs.process_fork, session->bpf->progs.process_exec, session->bpf->progs.process_exit,
	};

	return programs[i];
}

int dt_session_follow_prepare(struct dt_session *session)
{
	int error = 0;

	for (size_t i = 0; i < DT_FOLLOW_PROGRAMS && !error; i++)
		error = bpf_program__set_autoload(follow_program(session, i), session->follow != DT_FOLLOW_NONE);
	return error;
}

int dt_session_follow_start(struct dt_session *session)
{
	if (!session->follow)
		return 0;
	for (size_t i = 0; i < DT_FOLLOW_PROGRAMS; i++) {
		session->follow_links[i] = bpf_program__attach(follow_program(session, i));
		if (!session->follow_links[i])
			return -errno;
	}
	return 0;
}

void dt_session_follow_stop(struct dt_session *session)
{
	for (size_t i = 0; i < DT_FOLLOW_PROGRAMS; i++) {
		bpf_link__destroy(session->follow_links[i]);
		session->follow_links[i] = NULL;
	}
}

/* What an exec replaced hands on what belongs to the process. One that has ended was another process, whose number came again. */
static void take_over(struct dt_session *session, struct dt_traced *traced)
{
	struct dt_traced *old = dt_session_find(session, traced->pid);

	if (!old || dt_images_state(session->bpf, old->slot)->phase != DT_IMAGE_REPLACED)
		return;
	traced->root = old->root;
	traced->pidfd = old->pidfd;
	old->pidfd = -1;
	old->hidden = true;
	dt_session_end_process(session, old);
}

/* What is known of the parent's code is known of the child's. */
static int inherit(const struct dt_session *session, struct dt_traced *traced, const struct dt_process_state *state)
{
	const struct dt_traced *parent = session->by_slot[state->parent & (DT_PROCESSES_MAX - 1)];

	traced->row = session->bpf->bss->process_rows[state->row & (DT_PROCESS_ROWS - 1)];
	traced->maps = dt_known_maps_share(dt_publish_known_maps(session->publish, state->row));
	if (!parent)
		return 0;
	traced->python_module = parent->python_module;
	traced->python = parent->python;
	traced->python_calls = parent->python_calls;
	traced->late = parent->late;
	memcpy(traced->sites, parent->sites, sizeof(parent->sites));
	return dt_declared_inherit(&traced->declared, &parent->declared, state->parent_segment) == -ENOMEM ? -ENOMEM : 0;
}

/* What /proc says, if it still is of this image, and else what the programs noted. */
static int read_info(struct dt_traced *traced, const struct dt_process_state *state)
{
	const uint64_t tick_ns = 1000000000 / (uint64_t)sysconf(_SC_CLK_TCK);
	struct dt_process_info info = { 0 };
	char comm[DT_COMM_BYTES + 1] = "";

	if (!dt_process_read(traced->pid, &info) && __atomic_load_n(&state->phase, __ATOMIC_ACQUIRE) == DT_IMAGE_RUNS) {
		traced->info = info;
		return 0;
	}
	dt_process_info_clear(&info);
	memcpy(comm, state->comm, DT_COMM_BYTES);
	traced->info.pid = traced->pid;
	traced->info.ppid = (pid_t)state->ppid;
	/* In whole ticks, as /proc/PID/stat has it. */
	traced->info.start_time_ns = state->process_started_ns / tick_ns * tick_ns;
	traced->info.comm = strdup(comm);
	traced->info.command = calloc(1, sizeof(*traced->info.command));
	return traced->info.comm && traced->info.command ? 0 : -ENOMEM;
}

static int adopt(struct dt_session *session, uint32_t slot, const struct dt_process_state *state)
{
	struct dt_traced *traced = dt_traced_new((pid_t)state->tgid, -1);
	int error = traced ? read_info(traced, state) : -ENOMEM;

	if (error) {
		dt_traced_free(traced);
		return error;
	}
	traced->slot = slot;
	traced->image = state->image;
	traced->shown = true;
	take_over(session, traced);
	if (state->parent_segment)
		error = inherit(session, traced, state);
	if (error)
		dt_traced_free(traced);
	else
		error = dt_session_remember(session, traced);
	if (error)
		return error;
	dt_tracebacks_add_process(session->tracebacks, traced);
	traced->stale = !traced->maps;
	dt_log_debug(&session->log, "tracing process %d (%s)", (int)traced->pid, traced->info.comm);
	return 0;
}

struct dt_traced *dt_session_adopt_slot(struct dt_session *session, uint32_t slot)
{
	const struct dt_process_state *state = dt_images_state(session->bpf, slot);
	struct dt_traced *traced;
	int error;

	if (slot >= DT_PROCESSES_MAX)
		return NULL;
	traced = session->by_slot[slot];
	if (traced || !__atomic_load_n(&state->image, __ATOMIC_ACQUIRE))
		return traced;
	/* The parent first: what is known of it is also known of the child. */
	if (state->parent_segment)
		dt_session_adopt_slot(session, state->parent);
	error = adopt(session, slot, state);
	if (error && !session->event_error)
		session->event_error = error;
	return session->by_slot[slot];
}

int dt_session_adopt(struct dt_session *session)
{
	uint32_t news = __atomic_load_n(&session->bpf->bss->image_news, __ATOMIC_ACQUIRE);
	int error;

	if (news == session->news)
		return 0;
	session->news = news;
	for (uint32_t slot = 0; slot < DT_PROCESSES_MAX; slot++) {
		const struct dt_process_state *state = dt_images_state(session->bpf, slot);
		struct dt_traced *traced = dt_session_adopt_slot(session, slot);
		uint32_t phase = __atomic_load_n(&state->phase, __ATOMIC_ACQUIRE);

		if (!traced || phase == DT_IMAGE_RUNS)
			continue;
		traced->hidden = traced->hidden || phase == DT_IMAGE_REPLACED;
		dt_session_end_process(session, traced);
	}
	error = session->event_error;
	session->event_error = 0;
	return error;
}
