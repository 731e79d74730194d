/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sweep: the rows of images that have ended leave the tables.
 *
 * It takes a walk through all tables, so it is done for many at once: when a while has passed, or slots grow scarce.
 */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "session/images.h"
#include "session/session.h"
#include "session/skeleton.h"

#define SWEEP_SECONDS 2
#define SWEEP_COUNT (DT_PROCESSES_MAX / 8)

void dt_session_set_timer(struct dt_session *session)
{
	struct itimerspec now, due = { .it_value = { .tv_sec = SWEEP_SECONDS } };

	session->ended_count++;
	if (!timerfd_gettime(session->timer_fd, &now) && !now.it_value.tv_sec && !now.it_value.tv_nsec)
		timerfd_settime(session->timer_fd, 0, &due, NULL);
}

/* Has it fired, or have so many ended that it is time all the same? */
static bool is_due(struct dt_session *session)
{
	uint64_t times;

	if (read(session->timer_fd, &times, sizeof(times)) != sizeof(times) && session->ended_count < SWEEP_COUNT)
		return false;
	session->ended_count = 0;
	return true;
}

/* Nobody shows it, shares its memory or looks into its rows any more; `heirs_gone` are those that go with it. */
static bool is_done(const struct dt_session *session, const struct dt_traced *traced, uint32_t heirs_gone)
{
	const struct dt_process_state *state = dt_images_state(session->bpf, traced->slot);

	return traced->exited && (traced->hidden || traced->reported) &&
	       __atomic_load_n(&state->heirs, __ATOMIC_ACQUIRE) == heirs_gone && !__atomic_load_n(&state->sharers, __ATOMIC_ACQUIRE);
}

/* Children stand behind those that they inherited from: where they go, these may be able to go, too. */
static size_t find_done(const struct dt_session *session, bool gone[DT_PROCESSES_MAX])
{
	uint32_t heirs_gone[DT_PROCESSES_MAX] = { 0 };
	size_t count = 0;

	memset(gone, 0, DT_PROCESSES_MAX * sizeof(*gone));
	for (size_t i = session->process_count; i--;) {
		const struct dt_traced *traced = session->processes[i];
		const struct dt_process_state *state = dt_images_state(session->bpf, traced->slot);

		if (!is_done(session, traced, heirs_gone[traced->slot]))
			continue;
		gone[traced->slot] = true;
		count++;
		if (state->parent_segment)
			heirs_gone[state->parent & (DT_PROCESSES_MAX - 1)]++;
	}
	return count;
}

/*
 * Up to which segment heirs of each image do not need what died. First the one that there is: all that are forked off from now on have
 * seen the end of what died before.
 */
static void note_segment(const struct dt_session *session, uint32_t settled[DT_PROCESSES_MAX])
{
	uint32_t segment = DT_EPOCH_SEGMENT(__atomic_load_n(&session->bpf->bss->epoch, __ATOMIC_SEQ_CST));

	for (uint32_t slot = 0; slot < DT_PROCESSES_MAX; slot++)
		settled[slot] = segment;
}

/* Then, when the programs that ran meanwhile have made their heirs known, those that there are. */
static void note_heirs(const struct dt_session *session, const bool gone[DT_PROCESSES_MAX], uint32_t settled[DT_PROCESSES_MAX])
{
	for (uint32_t slot = 0; slot < DT_PROCESSES_MAX; slot++) {
		const struct dt_process_state *state = dt_images_state(session->bpf, slot);
		uint32_t *of_parent = &settled[state->parent & (DT_PROCESSES_MAX - 1)];

		if (!gone[slot] && state->parent_segment && state->parent_segment < *of_parent)
			*of_parent = state->parent_segment;
	}
}

static int remove_process(struct dt_session *session, struct dt_traced *traced)
{
	struct dt_process_state *state = dt_images_state(session->bpf, traced->slot);
	uint32_t slot = traced->slot;

	dt_publish_withdraw(session->publish, traced);
	dt_tracebacks_remove_process(session->tracebacks, traced);
	if (state->parent_segment)
		__atomic_sub_fetch(&dt_images_state(session->bpf, state->parent)->heirs, 1, __ATOMIC_SEQ_CST);
	session->by_slot[slot] = NULL;
	dt_traced_free(traced);
	return dt_images_give(session->bpf, slot);
}

static int remove_done(struct dt_session *session, const bool gone[DT_PROCESSES_MAX])
{
	size_t kept = 0;
	int error = 0;

	dt_tracebacks_look_again(session->tracebacks);
	for (size_t i = session->process_count; i--;) { /* children first: they speak of those that they inherited from */
		int failed;

		if (!gone[session->processes[i]->slot])
			continue;
		failed = remove_process(session, session->processes[i]);
		session->processes[i] = NULL;
		error = error ? error : failed;
	}
	for (size_t i = 0; i < session->process_count; i++)
		if (session->processes[i])
			session->processes[kept++] = session->processes[i];
	session->process_count = kept;
	return error;
}

static void use_modules(struct dt_session *session)
{
	dt_modules_begin(&session->modules);
	dt_publish_use_modules(session->publish, &session->modules);
	for (size_t i = 0; i < session->process_count; i++)
		dt_traced_use_modules(session->processes[i], &session->modules);
	dt_tracebacks_use_modules(session->tracebacks);
}

/* What only those had that are gone goes, too. */
static int prune(struct dt_session *session)
{
	int error = dt_tracebacks_prune(session->tracebacks);

	use_modules(session);
	if (error || !dt_modules_select(&session->modules))
		return error;
	error = dt_session_wait(session);
	use_modules(session);
	dt_modules_prune(&session->modules);
	return error;
}

int dt_session_see_to_ended(struct dt_session *session)
{
	bool untaken = session->ended_are_due;

	if (session->taken)             /* their names are still to be found */
		return 0;
	if (!is_due(session))           /* a process may also load and unload one library after the other */
		return dt_modules_are_many(&session->modules) ? prune(session) : 0;
	session->ended_are_due = true;
	return untaken ? dt_session_sweep(session) : 0;
}

int dt_session_sweep_past(struct dt_session *session)
{
	static const bool gone[DT_PROCESSES_MAX];
	uint32_t settled[DT_PROCESSES_MAX];
	int error;

	note_segment(session, settled);
	error = dt_session_wait(session);
	note_heirs(session, gone, settled);
	return error ? error : dt_collect_sweep_past(session->collect, gone, settled);
}

int dt_session_sweep(struct dt_session *session)
{
	uint32_t settled[DT_PROCESSES_MAX];
	bool gone[DT_PROCESSES_MAX];
	int error;

	if (!find_done(session, gone))
		return 0;
	note_segment(session, settled);
	error = dt_session_wait(session);
	note_heirs(session, gone, settled);
	if (!error)
		error = dt_collect_sweep(session->collect, gone, settled);
	if (!error)
		error = remove_done(session, gone);
	if (!error)                     /* what programs knew of them is theirs no more, so that can go, too */
		error = dt_session_wait(session);
	return error ? error : prune(session);
}
