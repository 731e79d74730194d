/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * churn: the program whose events are timed. It measures itself, so that nothing but calls is counted, in processor time
 * of its threads ("ns"), so that others on the machine do not count either; pairs also says "wall_ns".
 *
 * It prints {"pid": …}, then answers each line of standard input with one of JSON, until its input ends:
 *   pairs THREADS FRAMES MILLISECONDS   malloc and free, again and again, from a stack of 1 or 5 … 64 frames
 *   grow BLOCKS TRACEBACKS              allocates so many blocks, from so many places in turn, and keeps them
 *   swap MILLISECONDS                   frees one of them, anyone, and allocates another, from a stack of 3 frames
 *   shrink                              frees them
 * A stack of n frames: the immediate caller of malloc included, none above.
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
#define FRAMES_MAX 64
#define BYTES_MIN 16
#define BYTES_MASK 1023                 /* sizes are 16 … 1039 bytes */
#define BATCH_PAIRS 256

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * The two ends of a stack of known depth: code whose caller is undefined (DWARF 5, 6.4.1), as that of a thread's outermost
 * function, and that leaves rbp at 0, the ABI's mark of the same.
 */
__asm__(".text\n"
	".type malloc_bottom, @function\n"
	"malloc_bottom:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n"
	"	push %rbp\n"
	"	xor %ebp, %ebp\n"
	"	call malloc@plt\n"
	"	pop %rbp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size malloc_bottom, . - malloc_bottom\n"
	".type call_bottom, @function\n"
	"call_bottom:\n"
	"	.cfi_startproc\n"
	"	.cfi_undefined rip\n"
	"	push %rbp\n"
	"	xor %ebp, %ebp\n"
	"	call *%rsi\n"
	"	pop %rbp\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size call_bottom, . - call_bottom\n");
void *malloc_bottom(size_t bytes);
void call_bottom(void *context, void (*function)(void *));

/* ---- pairs ---------------------------------------------------------------------------------------------------- */

struct pairs {
	unsigned frames;
	uint64_t limit_ns;
	uint64_t pairs, cpu_ns, wall_ns; /* out */
	pthread_barrier_t *start;
};

SITE void *malloc_here(size_t bytes)
{
	void *block = malloc(bytes);

	__asm__ volatile("" : "+r"(block)); /* no tail call */
	return block;
}

SITE void churn(struct pairs *pairs, void *(*allocate)(size_t))
{
	uint64_t random = 88172645463325252u, count = 0;
	uint64_t cpu_begin = clock_ns(CLOCK_THREAD_CPUTIME_ID), begin = clock_ns(CLOCK_MONOTONIC), end = begin;

	for (; end - begin < pairs->limit_ns; end = clock_ns(CLOCK_MONOTONIC)) {
		for (unsigned i = 0; i < BATCH_PAIRS; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			free(allocate(BYTES_MIN + (random & BYTES_MASK)));
		}
		count += BATCH_PAIRS;
	}
	pairs->pairs = count;
	pairs->wall_ns = end - begin;
	pairs->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_begin;
}

/* Frames: malloc_here, churn, churn_deep as often as it takes, churn_from_bottom, call_bottom. */
#define FRAMES_FIXED 4

SITE void churn_deep(struct pairs *pairs, unsigned levels)
{
	if (levels > 1)
		churn_deep(pairs, levels - 1);
	else
		churn(pairs, malloc_here);
	__asm__ volatile("");
}

SITE void churn_from_bottom(void *context)
{
	struct pairs *pairs = context;

	churn_deep(pairs, pairs->frames - FRAMES_FIXED);
}

static void *run_pairs(void *context)
{
	struct pairs *pairs = context;

	free(malloc(1));                /* the thread's arena and cache are made now */
	pthread_barrier_wait(pairs->start);
	if (pairs->frames == 1)
		churn(pairs, malloc_bottom);
	else
		call_bottom(pairs, churn_from_bottom);
	return NULL;
}

static void answer_pairs(unsigned threads, unsigned frames, unsigned milliseconds)
{
	struct pairs pairs[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	pthread_barrier_t start;
	double cpu = 0, wall = 0;
	uint64_t count = 0;

	pthread_barrier_init(&start, NULL, threads);
	for (unsigned i = 0; i < threads; i++) {
		pairs[i] = (struct pairs){ .frames = frames, .limit_ns = milliseconds * 1000000ull, .start = &start };
		if (pthread_create(&ids[i], NULL, run_pairs, &pairs[i]))
			abort();
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		cpu += (double)pairs[i].cpu_ns / (double)pairs[i].pairs;
		wall += (double)pairs[i].wall_ns / (double)pairs[i].pairs;
		count += pairs[i].pairs;
	}
	pthread_barrier_destroy(&start);
	printf("{\"ns\": %.2f, \"wall_ns\": %.2f, \"pairs\": %llu}\n", cpu / threads, wall / threads, (unsigned long long)count);
}

/* ---- live blocks ------------------------------------------------------------------------------------------------ */

static void **blocks;
static unsigned long block_count;

/* Four calls from four places, one of which `path` chooses: 4^LEVELS tracebacks. */
#define LEVELS 9
#define TRACEBACKS_MAX (1ul << 2 * LEVELS)

SITE void *grow_from(unsigned long path, unsigned level, size_t bytes)
{
	void *block;

	if (level == LEVELS)
		return malloc(bytes);
	switch (path >> 2 * level & 3) { /* different instructions behind the calls, or the compiler makes them one */
	case 0:
		block = grow_from(path, level + 1, bytes);
		__asm__ volatile("# 0" : "+r"(block));
		return block;
	case 1:
		block = grow_from(path, level + 1, bytes);
		__asm__ volatile("# 1" : "+r"(block));
		return block;
	case 2:
		block = grow_from(path, level + 1, bytes);
		__asm__ volatile("# 2" : "+r"(block));
		return block;
	default:
		block = grow_from(path, level + 1, bytes);
		__asm__ volatile("# 3" : "+r"(block));
		return block;
	}
}

struct growth {
	unsigned long count, tracebacks;
};

SITE void grow(void *context)
{
	struct growth *growth = context;

	for (unsigned long i = 0; i < growth->count; i++)
		blocks[block_count++] = grow_from(i % growth->tracebacks, 0, BYTES_MIN);
}

static void answer_grow(unsigned long count, unsigned long tracebacks)
{
	struct growth growth = { .count = count, .tracebacks = tracebacks };
	uint64_t begin;

	blocks = realloc(blocks, (block_count + count) * sizeof(*blocks));
	begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	call_bottom(&growth, grow);
	printf("{\"blocks\": %lu, \"ns\": %.2f}\n", block_count, (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - begin) / (double)count);
}

struct swaps {
	uint64_t limit_ns;
	uint64_t count, cpu_ns;         /* out */
};

SITE void swap(void *context)
{
	struct swaps *swaps = context;
	uint64_t random = 88172645463325252u, cpu_begin = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	uint64_t begin = clock_ns(CLOCK_MONOTONIC);

	do {
		for (unsigned i = 0; i < BATCH_PAIRS; i++) {
			void **block;

			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			block = &blocks[(random >> 32) * block_count >> 32];
			free(*block);
			*block = malloc_here(BYTES_MIN);
		}
		swaps->count += BATCH_PAIRS;
	} while (clock_ns(CLOCK_MONOTONIC) - begin < swaps->limit_ns);
	swaps->cpu_ns = clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_begin;
}

static void answer_swap(unsigned milliseconds)
{
	struct swaps swaps = { .limit_ns = milliseconds * 1000000ull };

	call_bottom(&swaps, swap);
	printf("{\"ns\": %.2f}\n", (double)swaps.cpu_ns / (double)swaps.count);
}

static void answer_shrink(void)
{
	while (block_count)
		free(blocks[--block_count]);
	printf("{\"blocks\": 0}\n");
}

int main(void)
{
	char line[128];
	unsigned threads, frames, milliseconds;
	unsigned long count, tracebacks;

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("{\"pid\": %d}\n", (int)getpid());
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "pairs %u %u %u", &threads, &frames, &milliseconds) == 3 && threads && threads <= THREADS_MAX &&
		    (frames == 1 || (frames > FRAMES_FIXED && frames <= FRAMES_MAX)))
			answer_pairs(threads, frames, milliseconds);
		else if (sscanf(line, "grow %lu %lu", &count, &tracebacks) == 2 && tracebacks && tracebacks <= TRACEBACKS_MAX)
			answer_grow(count, tracebacks);
		else if (sscanf(line, "swap %u", &milliseconds) == 1 && block_count && block_count >> 32 == 0)
			answer_swap(milliseconds);
		else if (!strcmp(line, "shrink\n"))
			answer_shrink();
		else
			printf("{\"error\": \"not understood\"}\n");
	}
	return 0;
}
