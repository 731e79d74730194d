/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * marked: the right to turn the epoch, which threads at markers have, too, and the snapshots of those.
 *
 * Whoever holds it has the half to read that was closed. A marker that has turned comes before whatever else wants to turn.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "session/session.h"
#include "session/skeleton.h"
#include "session/taken.h"

#define TAKEN_MAX 16                    /* snapshots that are read ahead; each has the rows of all traces */
#define CLAIM_NS_MAX 10000000000ull     /* a program that has the right, and has not turned: a few instructions */

int dt_session_markers_start(struct dt_session *session)
{
	struct epoll_event event = { .events = EPOLLIN };

	session->marked_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (session->marked_fd < 0 || epoll_ctl(session->epoll_fd, EPOLL_CTL_ADD, session->marked_fd, &event))
		return -errno;
	return 0;
}

void dt_session_markers_stop(struct dt_session *session)
{
	if (session->bpf)
		__atomic_store_n(&session->bpf->bss->markers_closed, 1, __ATOMIC_SEQ_CST);
}

static bool is_pending(const struct dt_session *session)
{
	return __atomic_load_n(&session->bpf->bss->marker.number, __ATOMIC_ACQUIRE) != session->marked;
}

bool dt_session_is_at_marker(const struct dt_session *session)
{
	return session->turn_is_ours || is_pending(session) || session->bpf->bss->markers_read != session->marked;
}

/* ---- the right to turn ------------------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void dt_session_show_life(struct dt_session *session)
{
	__atomic_store_n(&session->bpf->bss->markers_life_ns, now_ns(), __ATOMIC_SEQ_CST);
}

int dt_session_claim_turn(struct dt_session *session)
{
	const struct timespec pause = { .tv_nsec = 20000 };
	uint64_t deadline_ns = now_ns() + CLAIM_NS_MAX;

	session->turn_is_wanted = session->taken;
	while (!session->turn_is_ours) {
		__u32 holder = DT_TURN_FREE;

		if (is_pending(session)) {      /* and then we: threads that come to markers again and again do not hold us up */
			session->turn_is_wanted = true;
			return -EBUSY;
		}
		session->turn_is_ours = __atomic_compare_exchange_n(&session->bpf->bss->turn, &holder, DT_TURN_SESSION, false,
								    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
		if (!session->turn_is_ours && now_ns() > deadline_ns)
			return -ETIMEDOUT;
		if (!session->turn_is_ours)
			nanosleep(&pause, NULL);
	}
	return session->taken ? -EBUSY : 0;
}

void dt_session_release_turn(struct dt_session *session)
{
	if (!session->turn_is_ours || session->turn_is_wanted)
		return;
	session->turn_is_ours = false;
	__atomic_store_n(&session->bpf->bss->turn, DT_TURN_FREE, __ATOMIC_SEQ_CST);
}

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

void dt_session_note_marker(struct dt_session *session)
{
	eventfd_write(session->marked_fd, 1);
}

/* What is said of a marker: by the program itself, or by the user. */
static const char *text_of(const struct dt_session *session, struct dt_marker *marker)
{
	marker->label[sizeof(marker->label) - 1] = '\0';
	return marker->place && marker->place <= session->markers.count ? session->markers.list[marker->place - 1].symbol : marker->label;
}

static void add_taken(struct dt_session *session, struct dt_taken *taken)
{
	struct dt_taken **end = &session->taken;

	while (*end)
		end = &(*end)->next;
	*end = taken;
	session->taken_count++;
}

static int read_marker(struct dt_session *session, struct dt_marker *marker, struct dt_taken **ret_taken)
{
	DT_FREE char *label = NULL;
	int error;

	dt_session_show_life(session);
	error = dt_session_consume(session);

	if (!error)
		error = dt_session_follow(session);
	if (!error && asprintf(&label, "marker:%s", text_of(session, marker)) < 0) {
		label = NULL;
		error = -ENOMEM;
	}
	if (error)
		return dt_log_error(&session->log, error, "cannot take a snapshot: %s", strerror(-error));
	return dt_taken_read(session, label, DT_PART_RUNNING, marker, ret_taken);
}

/* -EAGAIN: no thread waits. */
static int read_next(struct dt_session *session)
{
	struct dt_marker marker;
	struct dt_taken *taken;
	int error;

	if (session->stopped || session->marked_fd < 0 || session->taken_count >= TAKEN_MAX || !is_pending(session))
		return -EAGAIN;
	marker = session->bpf->bss->marker;
	session->marked = marker.number;
	session->turn_is_ours = true;
	__atomic_store_n(&session->bpf->bss->turn, DT_TURN_SESSION, __ATOMIC_SEQ_CST);
	error = read_marker(session, &marker, &taken);
	dt_session_release_turn(session);
	__atomic_store_n(&session->bpf->bss->markers_read, session->marked, __ATOMIC_SEQ_CST);
	if (!error)
		add_taken(session, taken);
	return error;
}

void dt_session_read_marked(struct dt_session *session)
{
	int error = read_next(session);

	if (!error)
		dt_session_note_marker(session); /* who waits for the session is to take it */
	else if (error != -EAGAIN && !session->event_error)
		session->event_error = error;
}

static struct dt_taken *remove_taken(struct dt_session *session)
{
	struct dt_taken *taken = session->taken;

	session->taken = taken->next;
	session->taken_count--;
	return taken;
}

void dt_session_forget_marked(struct dt_session *session)
{
	while (session->taken)
		dt_taken_free(remove_taken(session));
}

int dt_session_take_marked(struct dt_session *session, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);
	eventfd_t times;
	int error = 0;

	if (session->stopped || session->marked_fd < 0)
		return -EAGAIN;
	eventfd_read(session->marked_fd, &times);       /* before the look: what comes later wakes us again */
	if (!session->taken)
		error = read_next(session);
	if (error == -EAGAIN) {                         /* who wanted the right to turn may not want it any more */
		session->turn_is_wanted = false;
		dt_session_release_turn(session);
	}
	if (!error)
		error = dt_taken_finish(session, remove_taken(session), ret_snapshot);
	if (session->taken)
		dt_session_note_marker(session);
	return error;
}
