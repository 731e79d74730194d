/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libtrack: PyTraceMalloc_Track and _Untrack for NumPy's domain, again and again, for tracks.py; addresses that nobody owns.
 *
 * track_pairs() is called from Python. track_pairs_outermost() does the same in a thread of its own that has no Python state
 * and whose calls come from code that nobody called: no stack at all. Both return nanoseconds of processor time for one pair.
 */
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define DOMAIN 389047
#define ADDRESS 0x100000
#define BATCH_PAIRS 256
#define EXPORTED __attribute__((noipa, visibility("default")))

int PyTraceMalloc_Track(unsigned domain, uintptr_t address, size_t bytes);
int PyTraceMalloc_Untrack(unsigned domain, uintptr_t address);

/* Its caller is undefined (DWARF 5, 6.4.1), as that of a thread's outermost function. */
__asm__(".text\n"
	".type track_outermost, @function\n"
	"track_outermost:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n"
	"	push %rbp\n"
	"	xor %ebp, %ebp\n"
	"	call PyTraceMalloc_Track@plt\n"
	"	pop %rbp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size track_outermost, . - track_outermost\n");
int track_outermost(unsigned domain, uintptr_t address, size_t bytes);

EXPORTED double track_pairs(unsigned milliseconds);
EXPORTED double track_pairs_outermost(unsigned milliseconds);

typedef int (*track_fn)(unsigned domain, uintptr_t address, size_t bytes);

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static __attribute__((noipa)) double pairs(track_fn track, unsigned milliseconds)
{
	uint64_t begin = clock_ns(CLOCK_THREAD_CPUTIME_ID), until = clock_ns(CLOCK_MONOTONIC) + milliseconds * 1000000ull;
	uint64_t count = 0;

	do {
		for (unsigned i = 0; i < BATCH_PAIRS; i++) {
			track(DOMAIN, ADDRESS + 64 * i, 8 * i);
			PyTraceMalloc_Untrack(DOMAIN, ADDRESS + 64 * i);
		}
		count += BATCH_PAIRS;
	} while (clock_ns(CLOCK_MONOTONIC) < until);
	return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / (double)count;
}

EXPORTED double track_pairs(unsigned milliseconds)
{
	return pairs(PyTraceMalloc_Track, milliseconds);
}

struct work {
	unsigned milliseconds;
	double ns;
};

static void *run(void *context)
{
	struct work *work = context;

	work->ns = pairs(track_outermost, work->milliseconds);
	return NULL;
}

/* -1: no thread */
EXPORTED double track_pairs_outermost(unsigned milliseconds)
{
	struct work work = { .milliseconds = milliseconds, .ns = -1 };
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, &work))
		return -1;
	pthread_join(thread, NULL);
	return work.ns;
}
