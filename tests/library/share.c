/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * share PID PID: two sessions in one process, each of a process of its own, and threads that share the first: one dispatches, others ask
 * at once. A line on standard input says that the processes have done what they do; what both sessions found is told as JSON.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/snapshot.h>

#define ROUNDS 10
#define ASKERS 3

static struct dt_session *sessions[2];
static pid_t pids[2];
static atomic_bool done;
static atomic_int failures;
static uint64_t asked[ASKERS];

static void say(void *context, enum dt_log_level level, const char *line)
{
	if (level <= DT_LOG_INFO)
		fprintf(context, "share: %s\n", line);
}

static void *dispatch(void *context)
{
	(void)context;
	while (!done)
		failures += !!dt_session_dispatch(sessions[0]);
	return NULL;
}

static void *ask(void *context)
{
	uint64_t *allocations = context, current, peak;
	bool exact = false;

	for (int i = 0; i < ROUNDS; i++) {
		struct dt_snapshot *snapshot;
		struct dt_domain_info domain = { .size = sizeof(domain) };

		failures += !!dt_session_get_traced_memory(sessions[0], pids[0], "libc", &current, &peak, &exact) || !exact;
		if (dt_session_take_snapshot(sessions[0], "request", &snapshot)) {
			failures++;
			continue;
		}
		failures += !!dt_snapshot_get_domain(snapshot, 0, &domain) || domain.live_bytes != current || domain.peak_bytes != peak;
		*allocations = domain.allocations;
		dt_snapshot_free(snapshot);
	}
	return NULL;
}

/* The figures of a session's only domain, and which block lies around an address that is one byte into the largest one told. */
static int tell(int number, const char *end)
{
	struct dt_domain_info domain = { .size = sizeof(domain) };
	struct dt_snapshot_process_info process = { .size = sizeof(process) };
	struct dt_snapshot_info info = { .size = sizeof(info) };
	struct dt_snapshot *snapshot;
	uint64_t current, peak;
	int error = dt_session_take_snapshot(sessions[number], "request", &snapshot);

	if (error)
		return error;
	dt_snapshot_get_info(snapshot, &info);
	dt_snapshot_get_process(snapshot, 0, &process);
	dt_snapshot_get_domain(snapshot, 0, &domain);
	printf("{\"pid\":%d,\"processes\":%zu,\"domains\":%zu,\"domain\":\"%s\",\"complete\":%s,\"live_bytes\":%" PRIu64 ",\"live_blocks\":%"
	       PRIu64 ",\"peak_bytes\":%" PRIu64 ",\"allocations\":%" PRIu64 ",", (int)process.pid, info.process_count, info.domain_count,
	       domain.name, info.complete ? "true" : "false", domain.live_bytes, domain.live_blocks, domain.peak_bytes, domain.allocations);
	dt_snapshot_free(snapshot);
	error = dt_session_reset_peak(sessions[number]);
	if (!error)
		error = dt_session_get_traced_memory(sessions[number], 0, NULL, &current, &peak, NULL);
	printf("\"current\":%" PRIu64 ",\"peak_after_reset\":%" PRIu64 "%s", current, peak, end);
	return error;
}

/* Bytes of the block around an address; 0: there is none. */
static uint64_t block_around(uint64_t address, const char **ret_error)
{
	struct dt_trace_info trace = { .size = sizeof(trace) };
	struct dt_snapshot *snapshot;
	int error = dt_session_get_object_traceback(sessions[0], pids[0], address, &snapshot);

	*ret_error = error ? strerror(-error) : "";
	if (error)
		return 0;
	error = dt_snapshot_get_trace(snapshot, 0, &trace);
	dt_snapshot_free(snapshot);
	return error ? 0 : trace.live_bytes;
}

int main(int count, char **arguments)
{
	struct dt_session_opts opts = { .size = sizeof(opts), .log = { say, stderr }, .domains = (const char *const[]){ "libc", NULL } };
	struct dt_tracer_memory memory = { .size = sizeof(memory) };
	pthread_t threads[ASKERS + 1];
	unsigned long long address;
	const char *why;
	uint64_t bytes;

	for (int i = 0; i < 2 && count == 3; i++) {
		pids[i] = atoi(arguments[1 + i]);
		if (dt_session_start(&opts, pids[i], &sessions[i]))
			return 1;
	}
	pthread_create(&threads[ASKERS], NULL, dispatch, NULL);
	fprintf(stderr, "share: ready\n");
	if (scanf("%llu", &address) != 1)
		return 1;
	for (int i = 0; i < ASKERS; i++)
		pthread_create(&threads[i], NULL, ask, &asked[i]);
	for (int i = 0; i < ASKERS; i++)
		pthread_join(threads[i], NULL);
	done = true;
	pthread_join(threads[ASKERS], NULL);
	printf("[");
	if (tell(0, "},") || tell(1, "},"))
		return 1;
	bytes = block_around(address, &why);
	printf("{\"failures\":%d,\"asked\":[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "],\"around\":%" PRIu64 ",\"error\":\"%s\",", (int)failures, asked[0],
	       asked[1], asked[2], bytes, why);
	bytes = block_around(1, &why);
	printf("\"around_1\":%" PRIu64 ",\"error_1\":\"%s\",\"limit\":%u,", bytes, why, dt_session_get_traceback_limit(sessions[0]));
	if (dt_session_get_tracer_memory(sessions[0], &memory))
		return 1;
	printf("\"kernel\":%s,\"process\":%s}]\n", memory.kernel_bytes ? "true" : "false", memory.process_bytes ? "true" : "false");
	dt_session_free(sessions[0]);           /* the other goes on */
	if (!dt_session_is_tracing(sessions[1]))
		return 1;
	dt_session_free(sessions[1]);
	return 0;
}
