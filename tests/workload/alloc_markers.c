// SPDX-License-Identifier: BSD-2-Clause
/*
 * Threads that come to markers again and again: --at N of them (1), --rounds N each, beside --churn N others (0) that allocate and free
 * without pause. With --call each comes to the entry of line_reached() instead of a DT_SNAPSHOT. Where there is one thread in all, it is the main thread.
 *
 * What each thread had booked when it came to a marker is told in the end, for each of its call sites, with the result of what it
 * computed in its blocks, which nothing that traces it may change, and how long the longest marker took.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include <domtrace/domain.h>

#include "truth.h"

#define AT_MAX 2
#define SITES 3
#define CHURN_MAX 8
#define ROUNDS_MAX 2000
#define BLOCKS_MAX 64

#define SITE_FUNCTIONS(F) F(0, 0) F(0, 1) F(0, 2) F(1, 0) F(1, 1) F(1, 2)

#define F(thread, number) SITE void *site_##thread##_##number(size_t bytes) { return malloc(bytes); }
SITE_FUNCTIONS(F)
#undef F

static void *(*const sites[AT_MAX][SITES])(size_t) = {
#define F(thread, number) [thread][number] = site_##thread##_##number,
	SITE_FUNCTIONS(F)
#undef F
};

struct block {
	uint64_t *words;                /* NULL: none */
	size_t count;
	unsigned site;
};

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t random, result, longest_ns;
	struct block blocks[BLOCKS_MAX];
	struct truth_row rows[SITES];
	struct truth_row history[ROUNDS_MAX][SITES];
};

static struct worker workers[AT_MAX];
static pthread_t churners[CHURN_MAX];
static unsigned at_count, churn_count, round_count;
static bool calls;
static _Atomic(bool) done;
static _Atomic(unsigned) arrived;
static pthread_barrier_t barrier;

static uint64_t next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	return *random ^= *random << 17;
}

static void drop(struct worker *worker, struct block *block)
{
	struct truth_row *row = &worker->rows[block->site];

	for (size_t i = 0; i < block->count; i++)
		worker->result = worker->result * 31 + block->words[i];
	row->frees++;
	row->freed_bytes += block->count * sizeof(*block->words);
	free(block->words);
	block->words = NULL;
}

static void fill(struct worker *worker, struct block *block)
{
	struct truth_row *row;

	block->site = next_random(&worker->random) % SITES;
	block->count = next_random(&worker->random) % 100 + 1;
	block->words = sites[worker->number][block->site](block->count * sizeof(*block->words));
	if (!block->words)
		truth_stop("alloc_markers: out of memory\n");
	for (size_t i = 0; i < block->count; i++)
		block->words[i] = next_random(&worker->random);
	row = &worker->rows[block->site];
	row->allocations++;
	row->allocated_bytes += block->count * sizeof(*block->words);
}

/* Where --snapshot-at takes snapshots. */
SITE void line_reached(void)
{
	__asm__ volatile("");
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void mark(struct worker *worker, unsigned round)
{
	char label[16] = { (char)('0' + worker->number), ':' };
	uint64_t begin = now_ns(), took;
	size_t at = 2;

	for (unsigned unit = 1000; unit; unit /= 10)
		label[at++] = (char)('0' + round / unit % 10);
	memcpy(worker->history[round], worker->rows, sizeof(worker->rows));
	if (calls)
		line_reached();
	else
		DT_SNAPSHOT(label);
	took = now_ns() - begin;
	worker->longest_ns = took > worker->longest_ns ? took : worker->longest_ns;
}

static void *work(void *argument)
{
	struct worker *worker = argument;

	worker->random = 0x9e3779b97f4a7c15ull + worker->number;
	for (unsigned round = 0; round < round_count; round++) {
		for (unsigned i = 0; i < 50; i++) {
			struct block *block = &worker->blocks[next_random(&worker->random) % BLOCKS_MAX];

			if (block->words)
				drop(worker, block);
			else
				fill(worker, block);
		}
		mark(worker, round);
	}
	return NULL;
}

static void *work_in_thread(void *argument)
{
	pthread_barrier_wait(&barrier);
	work(argument);
	arrived++;
	pthread_barrier_wait(&barrier);         /* no thread ends before the last snapshot: its cache would be freed */
	pthread_barrier_wait(&barrier);
	return NULL;
}

SITE void *churn_site(size_t bytes)
{
	return malloc(bytes);
}

static void *churn(void *argument)
{
	uint64_t random = (uintptr_t)argument;

	pthread_barrier_wait(&barrier);
	while (!done)
		free(churn_site(next_random(&random) % 1000));
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void start_threads(void)
{
	pthread_barrier_init(&barrier, NULL, at_count + churn_count + 1);
	for (unsigned i = 0; i < at_count; i++)
		if (pthread_create(&workers[i].thread, NULL, work_in_thread, &workers[i]))
			truth_stop("alloc_markers: no thread\n");
	for (uintptr_t i = 0; i < churn_count; i++)
		if (pthread_create(&churners[i], NULL, churn, (void *)(i + 1)))
			truth_stop("alloc_markers: no thread\n");
}

static void join_threads(void)
{
	for (unsigned i = 0; i < at_count; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < churn_count; i++)
		pthread_join(churners[i], NULL);
}

static void print_round(const struct worker *worker, unsigned round)
{
	truth_put_string("[");
	for (unsigned site = 0; site < SITES; site++) {
		const struct truth_row *row = &worker->history[round][site];

		truth_put_string(site ? ", [" : "[");
		truth_put_number(row->allocations - row->frees);
		truth_put_string(", ");
		truth_put_number(row->allocated_bytes - row->freed_bytes);
		truth_put_string(", ");
		truth_put_number(row->allocations);
		truth_put_string(", ");
		truth_put_number(row->allocated_bytes);
		truth_put_string("]");
	}
	truth_put_string("]");
}

/* {"threads": [{"result": …, "longest_ns": …, "rounds": [[[blocks, bytes, allocations, allocated bytes] of each site] …]}]} */
static void print(void)
{
	truth_put_string("{\"threads\": [");
	for (unsigned i = 0; i < at_count; i++) {
		truth_put_string(i ? ", {" : "{");
		truth_put_field("result", workers[i].result);
		truth_put_string(", ");
		truth_put_field("longest_ns", workers[i].longest_ns);
		truth_put_string(", \"rounds\": [");
		for (unsigned round = 0; round < round_count; round++) {
			truth_put_string(round ? ", " : "");
			print_round(&workers[i], round);
		}
		truth_put_string("]}");
	}
	truth_put_string("]}\n");
	truth_flush();
}

static void run_threads(void)
{
	const struct timespec pause = { .tv_nsec = 1000000 };

	pthread_barrier_wait(&barrier);         /* the trace has begun */
	while (arrived < at_count)
		nanosleep(&pause, NULL);
	done = true;
	pthread_barrier_wait(&barrier);
}

int main(int argc, char **argv)
{
	bool alone;

	at_count = (unsigned)truth_number_option(argc, argv, "--at", 1);
	churn_count = (unsigned)truth_number_option(argc, argv, "--churn", 0);
	round_count = (unsigned)truth_number_option(argc, argv, "--rounds", 10);
	calls = truth_has_option(argc, argv, "--call");
	if (!at_count || at_count > AT_MAX || churn_count > CHURN_MAX || round_count > ROUNDS_MAX)
		truth_stop("alloc_markers: 1 or 2 threads at markers, up to 8 others, up to 2000 rounds\n");
	for (unsigned i = 0; i < at_count; i++)
		workers[i].number = i;
	alone = at_count + churn_count == 1;
	if (!alone)
		start_threads();
	truth_print_pid();
	truth_wait();
	if (alone)
		work(&workers[0]);
	else
		run_threads();
	print();
	truth_wait();
	if (!alone) {
		pthread_barrier_wait(&barrier);
		join_threads();
	}
	return 0;
}
