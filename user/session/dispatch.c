/* SPDX-License-Identifier: BSD-2-Clause */
/* dispatch: takes in what the programs send, and does what follows from it. */
#include <errno.h>
#include <poll.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/clock.h"
#include "session/images.h"
#include "session/session.h"
#include "session/skeleton.h"

static int take_traceback(struct dt_session *session, struct dt_traced *traced, const struct dt_traceback_event *event, size_t size)
{
	int error;

	if (size < sizeof(*event) - sizeof(event->frames))
		return -EBADMSG;
	error = dt_tracebacks_add(session->tracebacks, traced, dt_publish_maps(session->publish, event->row), event, size);
	/* Where a probe is, its file, if nobody has read the mappings: of a program that ends before that there is no other trace of it. */
	if (!error && event->frame_count && event->frames[0].kind == DT_FRAME_NATIVE && event->frames[0].instruction & DT_FRAME_IN_FILE)
		error = dt_session_meet_file(session, traced, (uint32_t)(event->frames[0].where >> DT_FRAME_OFFSET_BITS));
	return error;
}

static int add_name(const struct dt_session *session, struct dt_traced *traced, const struct dt_name_event *event)
{
	bool was_full = traced->declared.full;
	int error = dt_declared_add(&traced->declared, event->domain, event->segment ? event->segment : 1, event->name);

	dt_traced_say_full(traced, was_full, &session->log);
	return error == -ENOMEM ? error : 0;
}

/* Was one forked off it in that segment or later, or is that not known yet? */
static bool may_have_heirs(const struct dt_session *session, const struct dt_traced *traced, uint32_t segment)
{
	uint64_t forks = __atomic_load_n(&dt_images_state(session->bpf, traced->slot)->forks, __ATOMIC_ACQUIRE);

	return DT_FORKS_UNDER_WAY(forks) || DT_FORKS_LAST(forks) >= segment;
}

/* Of those that were forked off behind that moment, and off these. Children stand behind those that they inherited from. */
static int add_heirs_name(const struct dt_session *session, const struct dt_traced *traced, const struct dt_name_event *event)
{
	bool has_it[DT_PROCESSES_MAX] = { false };      /* by slot */
	int error = 0;

	has_it[traced->slot] = true;
	for (size_t i = 0; i < session->process_count && !error; i++) {
		struct dt_traced *heir = session->processes[i];
		const struct dt_process_state *state = dt_images_state(session->bpf, heir->slot);

		if (heir->image <= traced->image || !state->parent_segment || state->parent_segment < event->segment ||
		    !has_it[state->parent & (DT_PROCESSES_MAX - 1)])
			continue;
		has_it[heir->slot] = true;
		error = add_name(session, heir, event);
	}
	return error;
}

/* The record is copied: the ring is not ours to write to, and the name in it need not end. */
static int take_name(struct dt_session *session, struct dt_traced *traced, const void *data, size_t size)
{
	char shown[DT_DECLARED_SHOWN_SIZE];
	struct dt_name_event event;
	int error;

	if (size < sizeof(event))
		return -EBADMSG;
	memcpy(&event, data, sizeof(event));
	event.name[sizeof(event.name) - 1] = '\0';
	if (!*event.name)
		return 0;
	dt_declared_format(event.name, event.domain, shown);
	dt_domains_meet(&session->domains, shown);
	error = add_name(session, traced, &event);
	return error || !may_have_heirs(session, traced, event.segment) ? error : add_heirs_name(session, traced, &event);
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
	if (event->type == DT_EVENT_MARKER)
		dt_session_note_marker(session);
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
	case DT_EVENT_NAME:
		error = take_name(session, traced, data, size);
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
	error = dt_session_dispatch_command(session);

	if (error || session->stopped)
		return error;
	error = dt_session_adopt(session);
	for (size_t i = 0; i < session->process_count && !error; i++) {
		struct dt_traced *traced = session->processes[i];

		if (!traced->stale)
			continue;
		traced->stale = false;
		if (!traced->exited)
			error = dt_session_follow_mappings(session, traced);
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
	DT_SESSION_LOCKED(session);
	int error = dt_clock_check(&session->log, __atomic_load_n(&session->bpf->bss->epoch, __ATOMIC_SEQ_CST));

	if (error)
		return error;
	dt_session_show_life(session);
	error = dt_session_consume(session);
	dt_session_step(session);
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
	DT_SESSION_LOCKED(session);
	size_t running = session->follow == DT_FOLLOW_ALL;      /* there may always be others */

	for (size_t i = 0; i < session->process_count; i++)
		running += !session->processes[i]->exited;
	return running;
}
