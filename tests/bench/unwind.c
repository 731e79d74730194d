/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unwind: malloc and free from native stacks of any depth, in code without frame pointers, so that what is timed differs in
 * nothing but the stack. It measures itself as churn.c does, in processor time of its threads.
 *
 * It prints {"pid": …}, then answers each line of standard input with one of JSON, until its input ends:
 *   pairs THREADS FRAMES CHANGE MILLISECONDS
 * FRAMES: 1, which is no stack at all: malloc is called by code that nobody called; or 5 … 200, the immediate caller included.
 * CHANGE: what two calls in a row have in common: "nothing" changes, "inner": the innermost frame, "whole": every frame.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SITE static __attribute__((noipa))
#define THREADS_MAX 16
#define FRAMES_MAX 200
#define BYTES_MIN 16
#define BYTES_MASK 1023                 /* sizes are 16 … 1039 bytes */
#define BATCH_PAIRS 256

enum change { CHANGE_NOTHING, CHANGE_INNER, CHANGE_WHOLE };

struct pairs {
	unsigned frames;
	enum change change;
	uint64_t limit_ns;
	void *block;                    /* what the stack was made for, where it is made anew each time */
	size_t bytes;
	unsigned path;                  /* which of two calls each frame is in */
	double cpu_ns, wall_ns;         /* out, of one pair */
	pthread_barrier_t *start;
};

/*
 * The outermost frame: its caller is undefined (DWARF 5, 6.4.1), as in _start, and rbp is 0, the ABI's mark of the same.
 */
#define OUTERMOST(name, call) \
	__asm__(".text\n" \
		".type " name ", @function\n" \
		name ":\n" \
		"	.cfi_startproc\n" \
		"	.cfi_undefined rip\n" \
		"	push %rbp\n" \
		"	xor %ebp, %ebp\n" \
		"	call " call "\n" \
		"	pop %rbp\n" \
		"	ret\n" \
		"	.cfi_endproc\n" \
		".size " name ", . - " name "\n")
OUTERMOST("malloc_outermost", "malloc@plt");
OUTERMOST("call_outermost_0", "*%rdx");
OUTERMOST("call_outermost_1", "*%rdx");
void *malloc_outermost(size_t bytes);
void call_outermost_0(struct pairs *pairs, unsigned levels, void (*function)(struct pairs *, unsigned));
void call_outermost_1(struct pairs *pairs, unsigned levels, void (*function)(struct pairs *, unsigned));

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- the innermost frames ---------------------------------------------------------------------------------------- */

#define MALLOC_HERE(n) \
	SITE void *malloc_here_##n(size_t bytes) \
	{ \
		void *block = malloc(bytes); \
\
		__asm__ volatile("# " #n : "+r"(block)); /* no tail call, and no two of them alike */ \
		return block; \
	}
MALLOC_HERE(0)
MALLOC_HERE(1)
MALLOC_HERE(2)
MALLOC_HERE(3)

static void *(*const malloc_here[4])(size_t) = { malloc_here_0, malloc_here_1, malloc_here_2, malloc_here_3 };

static void malloc_whole(struct pairs *pairs);

SITE void *malloc_anew(struct pairs *pairs, size_t bytes)
{
	pairs->bytes = bytes;
	pairs->path ^= 1;
	malloc_whole(pairs);
	return pairs->block;
}

static uint64_t next_random(uint64_t random)
{
	random ^= random << 13;
	random ^= random >> 7;
	return random ^ random << 17;
}

SITE void churn(struct pairs *pairs, void *(*allocate)(size_t))
{
	uint64_t random = 88172645463325252u, count = 0;
	uint64_t cpu_begin = clock_ns(CLOCK_THREAD_CPUTIME_ID), begin = clock_ns(CLOCK_MONOTONIC), end = begin;

	for (; end - begin < pairs->limit_ns; end = clock_ns(CLOCK_MONOTONIC)) {
		for (unsigned i = 0; i < BATCH_PAIRS; i++) {
			size_t bytes = BYTES_MIN + ((random = next_random(random)) & BYTES_MASK);

			if (pairs->change == CHANGE_WHOLE)
				free(malloc_anew(pairs, bytes));
			else if (pairs->change == CHANGE_INNER)
				free(malloc_here[i & 3](bytes));
			else
				free(allocate(bytes));
		}
		count += BATCH_PAIRS;
	}
	pairs->wall_ns = (double)(end - begin) / (double)count;
	pairs->cpu_ns = (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_begin) / (double)count;
}

/* ---- the frames in between --------------------------------------------------------------------------------------- */

typedef void (*level_fn)(struct pairs *pairs, unsigned levels);
#define LEVEL_FUNCTIONS 16
extern const level_fn level_functions[LEVEL_FUNCTIONS];

SITE void innermost_level(struct pairs *pairs)
{
	if (pairs->change == CHANGE_WHOLE)
		pairs->block = malloc_here[pairs->path](pairs->bytes);
	else
		churn(pairs, malloc_here_0);
}

/* Functions of different frames, each of which keeps some registers and calls the next one in one of two places. */
#define LEVEL(n, bytes) \
	SITE void level_##n(struct pairs *pairs, unsigned levels) \
	{ \
		char space[bytes]; \
\
		__asm__ volatile("" : : "r"(space) : "memory", "rbx", "r12"); \
		if (!levels) \
			innermost_level(pairs); \
		else if (pairs->path) \
			level_functions[((n) + 1) % LEVEL_FUNCTIONS](pairs, levels - 1); \
		else \
			level_functions[((n) + 5) % LEVEL_FUNCTIONS](pairs, levels - 1); \
		__asm__ volatile("" : : "r"(space) : "memory"); \
	}
LEVEL(0, 8) LEVEL(1, 40) LEVEL(2, 16) LEVEL(3, 104) LEVEL(4, 24) LEVEL(5, 72) LEVEL(6, 8) LEVEL(7, 200)
LEVEL(8, 56) LEVEL(9, 16) LEVEL(10, 136) LEVEL(11, 8) LEVEL(12, 88) LEVEL(13, 32) LEVEL(14, 264) LEVEL(15, 48)

const level_fn level_functions[LEVEL_FUNCTIONS] = {
	level_0, level_1, level_2, level_3, level_4, level_5, level_6, level_7,
	level_8, level_9, level_10, level_11, level_12, level_13, level_14, level_15,
};

/* Frames: malloc_here, churn where the stack stays, innermost_level, levels + 1 of level_*, call_outermost. */
#define FRAMES_FIXED 4

static void call_levels(struct pairs *pairs)
{
	unsigned levels = pairs->frames - FRAMES_FIXED + (pairs->change == CHANGE_WHOLE) - 1;

	if (pairs->path)
		call_outermost_1(pairs, levels, level_0);
	else
		call_outermost_0(pairs, levels, level_0);
}

static void malloc_whole(struct pairs *pairs)
{
	call_levels(pairs);
}

static void *run_pairs(void *context)
{
	struct pairs *pairs = context;

	free(malloc(1));                /* the thread's arena and cache are made now */
	pthread_barrier_wait(pairs->start);
	if (pairs->frames == 1)
		churn(pairs, malloc_outermost);
	else if (pairs->change == CHANGE_WHOLE)
		churn(pairs, NULL);
	else
		call_levels(pairs);
	return NULL;
}

static void answer(unsigned threads, const struct pairs *asked)
{
	struct pairs pairs[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	pthread_barrier_t start;
	double cpu = 0, wall = 0;

	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		pairs[i] = *asked;
		pairs[i].start = &start;
		if (pthread_create(&ids[i], NULL, run_pairs, &pairs[i]))
			abort();
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		cpu += pairs[i].cpu_ns;
		wall += pairs[i].wall_ns;
	}
	pthread_barrier_destroy(&start);
	printf("{\"ns\": %.2f, \"wall_ns\": %.2f}\n", cpu / threads, wall / threads);
}

/* False: it is no command. */
static int parse(const char *line, unsigned *ret_threads, struct pairs *ret_pairs)
{
	static const char *const changes[] = { "nothing", "inner", "whole" };
	unsigned milliseconds;
	char change[16];

	if (sscanf(line, "pairs %u %u %15s %u", ret_threads, &ret_pairs->frames, change, &milliseconds) != 4)
		return 0;
	ret_pairs->limit_ns = milliseconds * 1000000ull;
	for (ret_pairs->change = 0; ret_pairs->change < 3 && strcmp(change, changes[ret_pairs->change]);)
		ret_pairs->change++;
	if (ret_pairs->frames == 1 ? ret_pairs->change : ret_pairs->frames <= FRAMES_FIXED || ret_pairs->frames > FRAMES_MAX)
		return 0;
	return ret_pairs->change < 3 && *ret_threads && *ret_threads <= THREADS_MAX;
}

int main(void)
{
	char line[128];

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("{\"pid\": %d}\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin)) {
		struct pairs pairs = { .frames = 0 };
		unsigned threads;

		if (parse(line, &threads, &pairs))
			answer(threads, &pairs);
		else
			printf("{\"error\": \"not understood\"}\n");
	}
	return 0;
}
