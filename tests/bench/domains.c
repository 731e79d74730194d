// SPDX-License-Identifier: BSD-2-Clause
/* What a DT_DOMAIN_TRACK costs while nobody traces: loops with and without it. Prints {"with_ns": …, "without_ns": …} for each line read. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <domtrace/domain.h>

#define CALLS 20000000

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static __attribute__((noipa)) double loop_with(unsigned long pointer)
{
	double begin = now_ns();

	for (unsigned long i = 0; i < CALLS; i++) {
		DT_DOMAIN_TRACK(7, pointer + i, i);
		__asm__ volatile("" : : "r"(i));
	}
	return (now_ns() - begin) / CALLS;
}

static __attribute__((noipa)) double loop_without(void)
{
	double begin = now_ns();

	for (unsigned long i = 0; i < CALLS; i++)
		__asm__ volatile("" : : "r"(i));
	return (now_ns() - begin) / CALLS;
}

int main(void)
{
	char line[16];

	printf("{\"pid\": %d}\n", (int)getpid());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		double with = loop_with(4096), without = loop_without();

		printf("{\"with_ns\": %.3f, \"without_ns\": %.3f}\n", with, without);
		fflush(stdout);
	}
	return 0;
}
