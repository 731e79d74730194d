/* SPDX-License-Identifier: BSD-2-Clause */
/* take: snapshots of a session, and the clearing of its traces. */
#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/cleanup.h"
#include "session/images.h"
#include "session/inherit.h"
#include "session/layers.h"
#include "session/memory.h"
#include "session/session.h"
#include "snapshot/snapshot.h"
#include "target/process.h"

/* What of the tables is taken. */
enum part {
	PART_RUNNING,
	PART_ENDED,                     /* of processes that have ended since */
	PART_TOTALS,                    /* no traces: this is no snapshot, and has the number of the last one */
};

/* ---- snapshots --------------------------------------------------------------------------------------------------- */

/* Of a snapshot whose head is filled in, as CLOCK_MONOTONIC has it. */
static uint64_t moment_of(const struct dt_session *session, const struct dt_snapshot *snapshot)
{
	return (uint64_t)session->started.tv_sec * 1000000000 + (uint64_t)session->started.tv_nsec + snapshot->elapsed_ns;
}

/* Snapshots that nobody asked for one by one cost the targets and domtrace no more than they may. */
static bool is_spared(const struct dt_snapshot *snapshot)
{
	static const char *const labels[] = { "interval", "peak", "exit", "status" };
	bool spared = false;

	for (size_t i = 0; i < DT_ARRAY_SIZE(labels); i++)
		spared = spared || !strcmp(snapshot->label, labels[i]);
	return spared;
}

static int add_processes(const struct dt_session *session, struct dt_traced *const *processes, size_t count, struct dt_snapshot *snapshot)
{
	for (size_t i = 0; i < count; i++) {
		struct dt_traced *traced = processes[i];
		struct dt_snapshot_memory memory;
		struct dt_snapshot_process row;
		uint32_t index;
		int error;

		dt_memory_read(traced, is_spared(snapshot), moment_of(session, snapshot), &memory);
		row = (struct dt_snapshot_process){
			.pid = traced->pid,
			.ppid = traced->info.ppid,
			.start_time_ns = traced->info.start_time_ns,
			.comm = traced->info.comm,
			.exe = traced->info.exe,
			.command = (const char *const *)traced->info.command,
			.python = traced->python ? traced->python->version : NULL,
			.exited = traced->exited,
			.from_start = !traced->late,
			.rss_bytes = traced->info.rss_bytes,
			.memory = memory,
		};
		error = dt_snapshot_add_process(snapshot, &row, &index);
		if (error)
			return error;
	}
	return 0;
}

int dt_session_fill_header(const struct dt_session *session, const char *label, const struct timespec *now, struct dt_snapshot *snapshot)
{
	struct utsname name;

	uname(&name);
	snapshot->sequence = session->sequence + 1;
	snapshot->label = dt_snapshot_string(snapshot, label);
	snapshot->kernel = dt_snapshot_string(snapshot, name.release);
	snapshot->architecture = dt_snapshot_string(snapshot, name.machine);
	snapshot->traceback_limit = session->frame_limit;
	snapshot->elapsed_ns = (uint64_t)((now->tv_sec - session->started.tv_sec) * 1000000000ll + now->tv_nsec - session->started.tv_nsec);
	return snapshot->label && snapshot->kernel && snapshot->architecture ? 0 : -ENOMEM;
}

/* Records first: those of every row that is read must be there. */
int dt_session_read_tables(struct dt_session *session, struct dt_snapshot *snapshot, struct timespec *ret_now, struct dt_reading *reading)
{
	int error = dt_session_dispatch(session);

	dt_reading_begin(session, reading);
	if (!error)
		error = dt_collect_turn(session->collect, &reading->moment);
	if (!error)
		dt_reading_turn(session, reading);
	clock_gettime(CLOCK_REALTIME, &snapshot->time);
	clock_gettime(CLOCK_MONOTONIC, ret_now);
	if (!error)
		error = dt_session_settle(session);
	if (!error)
		error = dt_collect_read(session->collect);
	return error;
}

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
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!error && !dt_tracebacks_are_named(session->tracebacks, places) && now.tv_sec - begin.tv_sec < NAMING_SECONDS_MAX);
	return error;
}

/* One of many that has nothing to be traced. Of those that have ended that is not known: they may have gone on after the last look. */
static bool has_nothing(const struct dt_traced *traced)
{
	size_t sites = 0;

	for (int source = 0; source < DT_SOURCE_COUNT; source++)
		sites += traced->sites[source];
	return !traced->root && !traced->exited && traced->maps && !sites;
}

struct dt_traced **dt_session_choose_processes(const struct dt_session *session, bool ended, size_t *ret_count)
{
	struct dt_traced **chosen = calloc(session->process_count + 1, sizeof(*chosen));
	size_t count = 0;

	for (size_t i = 0; chosen && i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];
		bool is_end = traced->exited && !traced->root;

		if (!traced->hidden && !traced->reported && ended == is_end && !has_nothing(traced))
			chosen[count++] = traced;
	}
	*ret_count = count;
	return chosen;
}

/* Once for each process and snapshot: does its table of domain python have all there is? */
static void check_python_calls(struct dt_session *session, struct dt_traced *const *processes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!processes[i]->exited)
			session->python_unseen += !dt_python_calls_check(&processes[i]->python_calls, processes[i]->pid);
}

/* The blocks. What is kept of them is kept until they have been read: the names of all come later, and may take long. */
static int read_blocks(struct dt_session *session, struct dt_traced *const *processes, size_t count, struct dt_reading *reading,
		     struct dt_snapshot *snapshot)
{
	int error = dt_reading_read(session, processes, count, reading);

	snapshot->ages = (struct dt_snapshot_ages){
		.older_than_ns = session->ages->older_than_ns,
		.age_ns = reading->age_ns,
		.exact = reading->ages && reading->exact,
	};
	return error ? error : dt_reading_end(session, reading);
}

static int fill_totals(struct dt_session *session, const char *label, const struct timespec *now, struct dt_snapshot *snapshot)
{
	const struct dt_reading nothing = { 0 };
	size_t count;
	DT_FREE struct dt_traced **chosen = dt_session_choose_processes(session, false, &count);
	int error = chosen ? dt_inherit_find(session->bpf, &session->live, chosen, count, session->tracebacks) : -ENOMEM;

	if (!error)
		error = dt_session_fill_header(session, label, now, snapshot);
	if (!error)
		error = add_processes(session, chosen, count, snapshot);
	if (!error)
		error = dt_collect_fill(session->collect, &session->domains, chosen, count, NULL, &nothing, snapshot);
	snapshot->counters[DT_COUNTER_python_unseen] = session->python_unseen;
	snapshot->sequence = session->sequence;
	return error;
}

static int fill_snapshot(struct dt_session *session, const char *label, bool ended, const struct timespec *now,
			 struct dt_reading *reading, struct dt_snapshot *snapshot)
{
	size_t count;
	DT_FREE struct dt_traced **chosen = dt_session_choose_processes(session, ended, &count);
	int error = chosen ? dt_inherit_find(session->bpf, &session->live, chosen, count, session->tracebacks) : -ENOMEM;

	if (!error)
		error = read_blocks(session, chosen, count, reading, snapshot);
	if (!error)
		error = dt_session_find_names(session);
	if (!error)
		error = dt_session_fill_header(session, label, now, snapshot);
	if (!error)
		error = add_processes(session, chosen, count, snapshot);
	if (!error)
		error = dt_collect_fill(session->collect, &session->domains, chosen, count, session->tracebacks, reading, snapshot);
	if (!error)
		error = dt_layers_read(session, chosen, count, is_spared(snapshot), moment_of(session, snapshot), snapshot);
	check_python_calls(session, chosen, count);
	snapshot->counters[DT_COUNTER_python_unseen] = session->python_unseen;
	for (size_t i = 0; i < count && ended && !error; i++)
		chosen[i]->reported = true;
	return error;
}

static int take(struct dt_session *session, const char *label, enum part part, struct dt_snapshot **ret_snapshot)
{
	DT_CLEANUP(dt_reading_clear) struct dt_reading reading = { 0 };
	struct dt_snapshot *snapshot;
	struct timespec now;
	int error = dt_snapshot_new(&snapshot), ended_reading;

	if (error)
		return error;
	error = dt_session_read_tables(session, snapshot, &now, &reading);
	if (!error && part == PART_TOTALS)
		error = fill_totals(session, label, &now, snapshot);
	else if (!error)
		error = fill_snapshot(session, label, part == PART_ENDED, &now, &reading, snapshot);
	ended_reading = dt_reading_end(session, &reading);
	error = error ? error : ended_reading;
	if (error) {
		dt_snapshot_free(snapshot);
		return dt_log_error(&session->log, error, "cannot take a snapshot: %s", strerror(-error));
	}
	session->sequence += part != PART_TOTALS;
	*ret_snapshot = snapshot;
	return 0;
}

int dt_session_refuse_stopped(const struct dt_session *session, const char *what)
{
	return dt_log_error(&session->log, -ESHUTDOWN, "%s: tracing has been stopped", what);
}

int dt_session_take_snapshot(struct dt_session *session, const char *label, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);
	if (session->stopped)
		return dt_session_refuse_stopped(session, "no snapshot can be taken");
	return take(session, label, PART_RUNNING, ret_snapshot);
}

int dt_session_take_totals(struct dt_session *session, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);
	if (session->stopped)
		return dt_session_refuse_stopped(session, "there is nothing to tell of");
	return take(session, "status", PART_TOTALS, ret_snapshot);
}

int dt_session_take_ended(struct dt_session *session, bool at_once, struct dt_snapshot **ret_snapshot)
{
	DT_SESSION_LOCKED(session);
	bool any = false;
	int error;

	if (session->stopped || (!session->ended_are_due && !at_once))
		return -EAGAIN;
	session->ended_are_due = false;
	for (size_t i = 0; i < session->process_count; i++) {
		const struct dt_traced *traced = session->processes[i];

		any = any || (traced->exited && !traced->root && !traced->hidden && !traced->reported);
	}
	error = any ? take(session, "exit", PART_ENDED, ret_snapshot) : -EAGAIN;
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
	error = dt_collect_reset_peaks(session->collect);
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
	clock_gettime(CLOCK_MONOTONIC, &session->started);
	return error ? dt_log_error(&session->log, error, "cannot clear the traces: %s", strerror(-error)) : 0;
}
