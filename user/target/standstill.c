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
#define PASSES_MAX 64                   /* threads that start threads while they are caught */

static bool is_known(const struct dt_standstill *standstill, pid_t tid)
{
	for (size_t i = 0; i < standstill->count; i++)
		if (standstill->threads[i] == tid)
			return true;
	return false;
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

/* Waits until a thread that was interrupted has stopped. 1: it has ended. */
static int wait_for_rest(pid_t tid, uint64_t deadline_ns, int *ret_signal)
{
	const struct timespec pause = { .tv_nsec = 20000 };
	int status;

	while (now_ns() < deadline_ns) {
		pid_t got = waitpid(tid, &status, __WALL | WNOHANG);

		if (got == tid && WIFSTOPPED(status)) {
			*ret_signal = status >> 16 ? 0 : WSTOPSIG(status);
			return 0;
		}
		if (got == tid || (got < 0 && errno == ECHILD))
			return 1;
		nanosleep(&pause, NULL);
	}
	return -EBUSY;
}

/* A main thread that has ended stays as long as its process: ptrace says EPERM of it. */
static bool has_ended(pid_t pid, pid_t tid)
{
	DT_FREE char *text = NULL;
	const char *state;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", (int)pid, (int)tid);
	if (dt_file_read(path, &text, NULL))
		return true;
	state = strrchr(text, ')');     /* the name before may hold anything */
	return state && (!strncmp(state, ") Z", 3) || !strncmp(state, ") X", 3));
}

/* 1: the thread has ended meanwhile. */
static int catch_thread(struct dt_standstill *standstill, pid_t pid, pid_t tid, uint64_t deadline_ns)
{
	int signal = 0, result;

	if (ptrace(PTRACE_SEIZE, tid, NULL, NULL)) {
		result = -errno;
		return result == -ESRCH || (result == -EPERM && has_ended(pid, tid)) ? 1 : result;
	}
	result = ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) ? 1 : wait_for_rest(tid, deadline_ns, &signal);
	if (result > 0)
		return result;
	if (!result)
		result = remember(standstill, tid);
	if (result) {
		ptrace(PTRACE_DETACH, tid, NULL, (long)signal);
		return result;
	}
	standstill->signals[standstill->count - 1] = signal;
	return 0;
}

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

/* Catches the threads that are not yet; *ret_caught says how many there were. */
static int catch_threads(pid_t pid, pid_t held, uint64_t deadline_ns, struct dt_standstill *standstill, size_t *ret_caught)
{
	DT_CLEANUP(close_directory) DIR *directory = NULL;
	struct dirent *entry;
	char path[64];
	size_t before = standstill->count;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	directory = opendir(path);
	if (!directory)
		return errno == ENOENT ? -ESRCH : -errno;
	while ((entry = readdir(directory))) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);
		int result;

		if (tid <= 0 || tid == held || is_known(standstill, tid))
			continue;
		result = catch_thread(standstill, pid, tid, deadline_ns);
		if (result < 0)
			return result;
	}
	*ret_caught = standstill->count - before;
	return 0;
}

int dt_standstill_begin(pid_t pid, pid_t held, struct dt_standstill *ret_standstill)
{
	const uint64_t deadline_ns = now_ns() + REST_NS_MAX;
	struct dt_standstill standstill = { 0 };
	size_t caught = 1;
	int error = 0;

	for (int pass = 0; pass < PASSES_MAX && caught && !error; pass++)
		error = catch_threads(pid, held, deadline_ns, &standstill, &caught);
	if (!error && caught)
		error = -EBUSY;
	if (!error && !standstill.count && !held)
		error = -ESRCH;
	if (error) {
		dt_standstill_end(&standstill);
		return error;
	}
	*ret_standstill = standstill;
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
