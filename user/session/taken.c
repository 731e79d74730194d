/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/taken.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>

#include "base/cleanup.h"
#include "session/inherit.h"
#include "session/layers.h"
#include "session/memory.h"
#include "session/session.h"
#include "target/process.h"

void dt_taken_free(struct dt_taken *taken)
{
	if (!taken)
		return;
	dt_snapshot_free(taken->snapshot);
	dt_reading_clear(&taken->reading);
	dt_fill_free(taken->fill);
	free(taken->processes);
	free(taken);
}

/* ---- of its moment ----------------------------------------------------------------------------------------------- */

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

/* Two clocks, read at one time, as they stood when the second of them was at `moment_ns`. */
static void go_back(uint64_t moment_ns, struct timespec *time, struct timespec *now)
{
	int64_t moment = (int64_t)moment_ns, behind = (int64_t)now->tv_sec * 1000000000 + now->tv_nsec - moment;
	int64_t then = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec - behind;

	*time = (struct timespec){ then / 1000000000, then % 1000000000 };
	*now = (struct timespec){ moment / 1000000000, moment % 1000000000 };
}

int dt_session_read_tables(struct dt_session *session, const struct dt_marker *marker, struct dt_snapshot *snapshot, struct timespec *ret_now,
			   struct dt_reading *reading)
{
	uint64_t turned_ns = marker ? marker->turned_ns : 0;
	int error;

	dt_reading_begin(session, marker, reading);
	error = marker ? dt_collect_wait(session->collect) : dt_collect_turn(session->collect, &reading->moment, &turned_ns);
	if (!error)
		dt_reading_turn(session, reading);
	clock_gettime(CLOCK_REALTIME, &snapshot->time);
	clock_gettime(CLOCK_MONOTONIC, ret_now);
	go_back(turned_ns, &snapshot->time, ret_now);
	if (!error)
		error = dt_session_settle(session);
	if (!error)
		error = dt_collect_read(session->collect);
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

struct dt_traced **dt_session_choose_processes(const struct dt_session *session, enum dt_part part, size_t *ret_count)
{
	struct dt_traced **chosen = calloc(session->process_count + 1, sizeof(*chosen));
	size_t count = 0;

	for (size_t i = 0; chosen && i < session->process_count; i++) {
		struct dt_traced *traced = session->processes[i];
		bool is_end = traced->exited && !traced->root;

		if (!traced->hidden && !traced->reported && !has_nothing(traced) && (part == DT_PART_LAST || (part == DT_PART_ENDED) == is_end))
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

/* What there is of blocks and of the processes' memory beyond the tables. */
static int read_beyond(struct dt_session *session, struct dt_taken *taken)
{
	struct dt_snapshot *snapshot = taken->snapshot;
	int error = dt_layers_read(session, taken->processes, taken->count, is_spared(snapshot), moment_of(session, snapshot), snapshot);

	check_python_calls(session, taken->processes, taken->count);
	return error;
}

/* The tables have been read. */
static int read_rest(struct dt_session *session, const char *label, const struct timespec *now, struct dt_taken *taken)
{
	bool totals = taken->part == DT_PART_TOTALS;
	int error;

	taken->processes = dt_session_choose_processes(session, taken->part, &taken->count);
	if (!taken->processes)
		return -ENOMEM;
	error = dt_inherit_find(session->bpf, &session->live, taken->processes, taken->count, session->tracebacks);
	if (!error && !totals)
		error = read_blocks(session, taken->processes, taken->count, &taken->reading, taken->snapshot);
	if (!error)
		error = dt_session_fill_header(session, label, now, taken->snapshot);
	if (!error)
		error = add_processes(session, taken->processes, taken->count, taken->snapshot);
	if (!error)
		error = dt_fill_new(session->collect, &session->domains, taken->processes, taken->count, !totals && session->marked_fd >= 0,
				    taken->snapshot, &taken->fill);
	dt_session_show_life(session);
	if (!error && !totals)
		error = read_beyond(session, taken);
	taken->snapshot->counters[DT_COUNTER_python_unseen] = session->python_unseen;
	return error;
}

static int read_all(struct dt_session *session, const char *label, const struct dt_marker *marker, struct dt_taken *taken)
{
	struct timespec now;
	int error = dt_snapshot_new(&taken->snapshot), ended;

	if (error)
		return error;
	dt_session_show_life(session);
	error = dt_session_read_tables(session, marker, taken->snapshot, &now, &taken->reading);
	dt_session_show_life(session);
	if (!error)
		error = read_rest(session, label, &now, taken);
	ended = dt_reading_end(session, &taken->reading);
	return error ? error : ended;
}

int dt_taken_read(struct dt_session *session, const char *label, enum dt_part part, const struct dt_marker *marker, struct dt_taken **ret_taken)
{
	struct dt_taken *taken = calloc(1, sizeof(*taken));
	int error = -ENOMEM;

	if (taken) {
		taken->part = part;
		error = read_all(session, label, marker, taken);
	}
	dt_session_release_turn(session);
	if (error) {
		dt_taken_free(taken);
		return dt_log_error(&session->log, error, "cannot take a snapshot: %s", strerror(-error));
	}
	*ret_taken = taken;
	return 0;
}

/* ---- then -------------------------------------------------------------------------------------------------------- */

static int add_traces(struct dt_session *session, struct dt_taken *taken)
{
	int error = dt_session_find_names(session);

	if (!error)
		error = dt_fill_traces(taken->fill, session->tracebacks, &taken->reading);
	for (size_t i = 0; i < taken->count && taken->part == DT_PART_ENDED && !error; i++)
		taken->processes[i]->reported = true;
	return error;
}

int dt_taken_finish(struct dt_session *session, struct dt_taken *taken, struct dt_snapshot **ret_snapshot)
{
	int error = taken->part == DT_PART_TOTALS ? 0 : add_traces(session, taken);

	if (error) {
		dt_taken_free(taken);
		return dt_log_error(&session->log, error, "cannot take a snapshot: %s", strerror(-error));
	}
	dt_session_show_life(session);
	session->sequence += taken->part != DT_PART_TOTALS;
	taken->snapshot->sequence = session->sequence;
	*ret_snapshot = DT_TAKE(taken->snapshot);
	dt_taken_free(taken);
	return 0;
}
