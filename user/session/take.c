/* SPDX-License-Identifier: BSD-2-Clause */
/* take: snapshots of a session, and the clearing of its traces. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "session/images.h"
#include "session/session.h"
#include "session/taken.h"
#include "snapshot/snapshot.h"

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

#define NAMING_SLICE_NS 20000000        /* between two looks at what the programs have sent */
#define NAMING_SECONDS_MAX 60           /* what has no name by then gets it in a later snapshot */

int dt_session_find_names(struct dt_session *session)
{
	size_t places = dt_tracebacks_places(session->tracebacks);
	struct timespec begin, now;
	int error;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		error = dt_tracebacks_name(session->tracebacks, NAMING_SLICE_NS);
		if (error == -EAGAIN)
			error = dt_session_consume(session);
		if (!error)
			error = dt_session_follow(session);
		if (!error)
			dt_session_read_marked(session);
		dt_session_show_life(session);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!error && !dt_tracebacks_are_named(session->tracebacks, places) && now.tv_sec - begin.tv_sec < NAMING_SECONDS_MAX);
	return error;
}

/* The right to turn is ours, and is given back. */
static int take(struct dt_session *session, const char *label, enum dt_part part, struct dt_snapshot **ret_snapshot)
{
	struct dt_taken *taken;
	int error = dt_taken_read(session, label, part, NULL, &taken);

	return error ? error : dt_taken_finish(session, taken, ret_snapshot);
}

int dt_session_begin_turn(struct dt_session *session)
{
	int error = dt_session_dispatch(session);

	return error ? error : dt_session_claim_turn(session);
}

/* Says what is wrong, but not that a marker comes before us. */
static int begin(struct dt_session *session)
{
	int error = dt_session_begin_turn(session);

	return error && error != -EBUSY ? dt_log_error(&session->log, error, "cannot take a snapshot: %s", strerror(-error)) : error;
}

int dt_session_refuse_stopped(const struct dt_session *session, const char *what)
{
	return dt_log_error(&session->log, -ESHUTDOWN, "%s: tracing has been stopped", what);
}

static int begin_and_take(struct dt_session *session, const char *label, enum dt_part part, struct dt_snapshot **ret_snapshot)
{
	int error;

	if (session->stopped)
		return dt_session_refuse_stopped(session, "no snapshot can be taken");
	error = begin(session);
	return error ? error : take(session, label, part, ret_snapshot);
}

int dt_session_take_snapshot(struct dt_session *session, const char *label, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);

	return begin_and_take(session, label, DT_PART_RUNNING, ret_snapshot);
}

int dt_session_take_final(struct dt_session *session, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);

	return begin_and_take(session, "final", DT_PART_LAST, ret_snapshot);
}

int dt_session_take_totals(struct dt_session *session, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);
	int error;

	if (session->stopped)
		return dt_session_refuse_stopped(session, "there is nothing to tell of");
	error = begin(session);
	return error ? error : take(session, "status", DT_PART_TOTALS, ret_snapshot);
}

int dt_session_take_ended(struct dt_session *session, bool at_once, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);
	bool any = false;
	int error;

	if (session->stopped || (!session->ended_are_due && !at_once))
		return -EAGAIN;
	if (session->taken)             /* they show processes that would be forgotten */
		return -EBUSY;
	for (size_t i = 0; i < session->process_count; i++) {
		const struct dt_traced *traced = session->processes[i];

		any = any || (traced->exited && !traced->root && !traced->hidden && !traced->reported);
	}
	error = any ? begin(session) : -EAGAIN;
	if (error == -EBUSY)
		return error;
	session->ended_are_due = false;
	if (!error)
		error = take(session, "exit", DT_PART_ENDED, ret_snapshot);
	if (!error || error == -EAGAIN) {
		int swept = dt_session_sweep(session);

		if (swept)              /* the snapshot is there all the same */
			session->event_error = swept;
	}
	return error;
}

int dt_session_reset_peak(struct dt_session *session)
{
	DT_SESSION_LOCKED(session);
	int error;

	if (session->stopped)
		return dt_session_refuse_stopped(session, "the peaks cannot be reset");
	error = dt_session_claim_turn(session); /* the peaks of a marker that has turned are those of its line */
	if (error == -EBUSY)
		return error;
	if (!error)
		error = dt_collect_reset_peaks(session->collect);
	dt_session_release_turn(session);
	if (error == -EOVERFLOW)
		return dt_log_error(&session->log, error, "the peaks have been reset %d times, which is as far as this trace can count; start "
				    "another one", DT_PEAK_RESETS_MAX);
	return error ? dt_log_error(&session->log, error, "cannot reset the peaks: %s", strerror(-error)) : 0;
}

int dt_session_clear_traces(struct dt_session *session)
{
	DT_SESSION_LOCKED(session);
	int error = 0;

	if (session->stopped)
		return dt_session_refuse_stopped(session, "the traces cannot be cleared");
	error = dt_session_claim_turn(session);
	if (error == -EBUSY)
		return error;
	if (!error)
		error = dt_session_adopt(session);
	for (size_t i = 0; i < session->process_count && !error; i++)
		session->processes[i]->generation = dt_images_clear(session->bpf, session->processes[i]->slot);
	if (!error)
		error = dt_session_wait(session);
	if (!error)
		error = dt_collect_forget(session->collect);
	if (!error)
		error = dt_collect_clear_counters(session->collect);
	session->python_unseen = 0;
	dt_session_release_turn(session);
	clock_gettime(CLOCK_MONOTONIC, &session->started);
	return error ? dt_log_error(&session->log, error, "cannot clear the traces: %s", strerror(-error)) : 0;
}
