/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes that stand still: all threads, for as long as it was asked, and as they were afterwards. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "target/standstill.h"

#define THREADS 4

static volatile uint64_t *counts;       /* shared with the child: one for each thread, then signals */

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000 }, NULL);
}

static void *count(void *at)
{
	for (volatile uint64_t *number = at;;)
		++*number;
	return NULL;
}

static void *breed(void *at)
{
	pthread_t thread;

	++*(volatile uint64_t *)at;
	pause_ms(1);
	if (!pthread_create(&thread, NULL, breed, at))
		pthread_detach(thread);
	return NULL;
}

static void note_signal(int number)
{
	(void)number;
	counts[THREADS]++;
}

/* A child whose threads run `fn`; its main thread ends, or waits. If a test fails it ends with us: whoever reads our output waits for it. */
static pid_t start(void *(*fn)(void *), bool main_ends)
{
	pid_t pid;

	for (size_t i = 0; i <= THREADS; i++)
		counts[i] = 0;
	fflush(stdout);
	pid = fork();
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGUSR1, note_signal);
	for (size_t i = 0; i < THREADS; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, fn, (void *)(uintptr_t)&counts[i]);
	}
	if (main_ends)
		pthread_exit(NULL);
	for (;;)
		pause();
}

static uint64_t sum(void)
{
	uint64_t all = 0;

	for (size_t i = 0; i < THREADS; i++)
		all += counts[i];
	return all;
}

static void wait_for_progress(uint64_t beyond)
{
	for (int i = 0; i < 20000 && sum() <= beyond; i++)
		pause_ms(1);
	assert_true(sum() > beyond);
}

/* All threads are there. */
static void wait_for_threads(void)
{
	for (size_t i = 0; i < THREADS; i++)
		for (int ms = 0; ms < 20000 && !counts[i]; ms++)
			pause_ms(1);
	wait_for_progress(sum());
}

static void finish(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void expect_standstill(pid_t pid)
{
	struct dt_standstill standstill;
	uint64_t before;

	wait_for_threads();
	assert_int_equal(dt_standstill_begin(pid, 0, &standstill), 0);
	before = sum();
	pause_ms(30);
	assert_int_equal(sum(), before);
	dt_standstill_end(&standstill);
	assert_int_equal(standstill.count, 0);
	wait_for_progress(before);
}

static void test_threads(void **state)
{
	static void *(*const kinds[])(void *) = { count, breed };

	(void)state;
	for (size_t i = 0; i < 2 * DT_ARRAY_SIZE(kinds); i++) {
		pid_t pid = start(kinds[i / 2], i % 2);

		for (int round = 0; round < 5; round++)
			expect_standstill(pid);
		finish(pid);
	}
}

/* A signal that comes meanwhile is taken afterwards, once. */
static void test_signals(void **state)
{
	pid_t pid = start(count, false);
	struct dt_standstill standstill;

	(void)state;
	wait_for_threads();
	for (uint64_t i = 0; i < 50; i++) {
		if (i % 2)
			kill(pid, SIGUSR1);
		assert_int_equal(dt_standstill_begin(pid, 0, &standstill), 0);
		if (i % 2 == 0)
			kill(pid, SIGUSR1);
		dt_standstill_end(&standstill);
		for (int k = 0; k < 10000 && counts[THREADS] <= i; k++)
			pause_ms(1);
		assert_int_equal(counts[THREADS], i + 1);
	}
	finish(pid);
}

static char state_of(pid_t pid)
{
	DT_FREE char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	assert_int_equal(dt_file_read(path, &text, NULL), 0);
	return strrchr(text, ')')[2];
}

/* Who was stopped stays so. */
static void test_stopped_before(void **state)
{
	pid_t pid = start(count, false);
	struct dt_standstill standstill;
	uint64_t before;

	(void)state;
	wait_for_threads();
	kill(pid, SIGSTOP);
	assert_int_equal(waitpid(pid, NULL, WUNTRACED), pid);
	assert_int_equal(dt_standstill_begin(pid, 0, &standstill), 0);
	before = sum();
	dt_standstill_end(&standstill);
	pause_ms(50);
	assert_int_equal(state_of(pid), 'T');
	assert_int_equal(sum(), before);
	kill(pid, SIGCONT);
	wait_for_progress(before);
	finish(pid);
}

static void test_refusals(void **state)
{
	pid_t pid = start(count, false), tracer;
	struct dt_standstill standstill = { .count = 77 };
	int ends[2];

	(void)state;
	wait_for_threads();
	assert_int_equal(pipe(ends), 0);
	tracer = fork();
	if (!tracer) {
		char byte = ptrace(PTRACE_SEIZE, pid, NULL, NULL) ? 'n' : 'y';

		if (write(ends[1], &byte, 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(ends[0], &(char){ 0 }, 1), 1);
	assert_int_equal(dt_standstill_begin(pid, 0, &standstill), -EPERM);
	assert_int_equal(standstill.count, 77);
	wait_for_progress(sum());
	finish(tracer);
	expect_standstill(pid);
	finish(pid);
	assert_int_equal(dt_standstill_begin(pid, 0, &standstill), -ESRCH);
	close(ends[0]);
	close(ends[1]);
}

/* One that the caller holds already counts as still. */
static void test_held(void **state)
{
	pid_t pid = start(count, false);
	struct dt_standstill standstill;
	uint64_t before;

	(void)state;
	wait_for_threads();
	assert_int_equal(ptrace(PTRACE_SEIZE, pid, NULL, NULL), 0);
	assert_int_equal(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL), 0);
	assert_int_equal(waitpid(pid, NULL, __WALL), pid);
	assert_int_equal(dt_standstill_begin(pid, pid, &standstill), 0);
	assert_int_equal(standstill.count, THREADS);
	before = sum();
	pause_ms(30);
	assert_int_equal(sum(), before);
	dt_standstill_end(&standstill);
	wait_for_progress(before);
	finish(pid);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_stopped_before),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_held),
	};

	counts = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return counts == MAP_FAILED ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
