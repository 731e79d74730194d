/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/standstill.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/file.h"

/* All others stand still while one is waited for that is in an uninterruptible system call: then rather nothing is done. */
#define REST_NS_MAX 200000000ull
/* One that only waits for a processor stops as soon as it gets it; on a busy machine that may take longer. */
#define RUN_NS_MAX 5000000000ull
#define PASSES_MAX 64                   /* threads that start threads while they are caught */

/* Threads that are being caught. */
struct catching {
	pid_t pid, held;
	pid_t leader_ended;             /* the main thread, if it has ended: it stays as long as its process; 0: it has not */
	uint64_t deadline_ns;
	struct dt_standstill caught;
};

static bool is_known(const struct catching *catching, pid_t tid)
{
	for (size_t i = 0; i < catching->caught.count; i++)
		if (catching->caught.threads[i] == tid)
			return true;
	return tid == catching->held || tid == catching->leader_ended;
}

static int remember(struct dt_standstill *standstill, pid_t tid)
{
	pid_t *threads = reallocarray(standstill->threads, standstill->count + 1, sizeof(*threads));
	int *signals;

	if (!threads)
		return -ENOMEM;
	standstill->threads = threads;
	signals = reallocarray(standstill->signals, standstill->count + 1, sizeof(*signals));
	if (!signals)
		return -ENOMEM;
	standstill->signals = signals;
	threads[standstill->count] = tid;
	signals[standstill->count++] = 0;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void forget(struct dt_standstill *standstill, size_t index)
{
	standstill->count--;
	standstill->threads[index] = standstill->threads[standstill->count];
	standstill->signals[index] = standstill->signals[standstill->count];
}

/* As in /proc/PID/stat: 'R' for one that runs or could; 'X' for one that is not there. */
static char state_of(pid_t pid, pid_t tid)
{
	DT_FREE char *text = NULL;
	const char *state;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	if (dt_file_read(path, &text, NULL))
		return 'X';
	state = strrchr(text, ')');     /* the name before may hold anything */
	return state && state[1] == ' ' ? state[2] : 'X';
}

static bool is_overdue(const struct catching *catching, pid_t tid)
{
	uint64_t now = now_ns();

	return now >= catching->deadline_ns && (now >= catching->deadline_ns + RUN_NS_MAX || state_of(catching->pid, tid) != 'R');
}

/* Waits until a thread that was interrupted has stopped. 1: it has ended. It is looked at at least once, however late it is. */
static int wait_for_rest(const struct catching *catching, pid_t tid, int *ret_signal)
{
	const struct timespec pause = { .tv_nsec = 20000 };
	bool is_last = false;
	int status;

	for (;;) {
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got == tid && WIFSTOPPED(status)) {
			*ret_signal = status >> 16 ? 0 : WSTOPSIG(status);
			return 0;
		}
		if (got == tid || (got < 0 && errno == ECHILD))
			return 1;
		if (is_last)
			return -EBUSY;
		nanosleep(&pause, NULL);
		is_last = is_overdue(catching, tid);    /* one that has just stopped does not run, either */
	}
}

/* A main thread that has ended stays as long as its process: ptrace says EPERM of it. */
static bool has_ended(pid_t pid, pid_t tid)
{
	return strchr("ZX", state_of(pid, tid));
}

/* Asks a thread to stop, without waiting for it: as long as others run, the processors are theirs. */
static int interrupt_thread(struct catching *catching, pid_t tid)
{
	int error = remember(&catching->caught, tid);

	if (error)
		return error;
	if (!ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		ptrace(PTRACE_INTERRUPT, tid, NULL, NULL); /* should it have ended, that is seen when it is waited for */
		return 0;
	}
	error = -errno;
	forget(&catching->caught, catching->caught.count - 1);
	if (error == -ESRCH)
		return 0;
	if (error != -EPERM || !has_ended(catching->pid, tid))
		return error;
	if (tid == catching->pid)
		catching->leader_ended = tid;
	return 0;
}

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* *ret_new: there were threads that were not known yet. They may have ended since, but have started others before, which were not seen. */
static int interrupt_threads(struct catching *catching, bool *ret_new)
{
	DT_CLEANUP(close_directory) DIR *directory = NULL;
	struct dirent *entry;
	bool any = false;
	char path[64];
	int error = 0;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)catching->pid);
	directory = opendir(path);
	if (!directory)
		return errno == ENOENT ? -ESRCH : -errno;
	while (!error && (entry = readdir(directory))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid <= 0 || is_known(catching, tid))
			continue;
		any = true;
		error = interrupt_thread(catching, tid);
	}
	if (!error)
		*ret_new = any;
	return error;
}

/* Those from `first` on. After an error those that have stopped are caught, and others not. */
static int wait_for_threads(struct catching *catching, size_t first)
{
	struct dt_standstill *caught = &catching->caught;
	int error = 0;

	for (size_t i = first; i < caught->count;) {
		int result = wait_for_rest(catching, caught->threads[i], &caught->signals[i]);

		if (result)
			forget(caught, i);
		else
			i++;
		if (result < 0)
			error = result;
	}
	return error;
}

/* Catches the threads that are not yet. */
static int catch_threads(struct catching *catching, bool *ret_new)
{
	size_t first = catching->caught.count;
	int error = interrupt_threads(catching, ret_new), waited = wait_for_threads(catching, first);

	return error ? error : waited;
}

int dt_standstill_begin(pid_t pid, pid_t held, struct dt_standstill *ret_standstill)
{
	struct catching catching = { .pid = pid, .held = held, .deadline_ns = now_ns() + REST_NS_MAX };
	bool any = true;
	int error = 0;

	for (int pass = 0; pass < PASSES_MAX && any && !error; pass++)
		error = catch_threads(&catching, &any);
	if (!error && any)
		error = -EBUSY;
	if (!error && !catching.caught.count && !held)
		error = -ESRCH;
	if (error) {
		dt_standstill_end(&catching.caught);
		return error;
	}
	*ret_standstill = catching.caught;
	return 0;
}

void dt_standstill_end(struct dt_standstill *standstill)
{
	for (size_t i = 0; i < standstill->count; i++)
		ptrace(PTRACE_DETACH, standstill->threads[i], NULL, (long)standstill->signals[i]);
	free(standstill->threads);
	free(standstill->signals);
	*standstill = (struct dt_standstill){ 0 };
}
