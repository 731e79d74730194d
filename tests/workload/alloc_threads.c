// SPDX-License-Identifier: BSD-2-Clause
/*
 * Threads that free each other's blocks: --threads N (8) and --ops N a thread.
 *
 * Without --late the threads exist before the trace and hand each block to their neighbour, which reallocates some, frees
 * most and keeps every 16th. Each block tells its own row and size, each thread keeps its own books; their sum does not
 * depend on the order of things.
 * With --late the threads are created after the trace began, and end before it does.
 */
#include <link.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "truth.h"

#define THREADS_MAX 16
#define OPS_MAX 100000
#define LATE_FREED 5                    /* fewer than a bin of the thread's cache holds (7) */
#define LATE_KEPT 3

#define ROWS(R) \
	R(MALLOC, "thread_malloc", "thread_step") \
	R(CALLOC, "thread_calloc", "thread_step") \
	R(ALIGNED_ALLOC, "thread_aligned_alloc", "thread_step") \
	R(REALLOC, "thread_realloc", "thread_receive") \
	R(LATE, "thread_malloc", "thread_late")

enum row {
#define R(id, function, caller) ROW_##id,
	ROWS(R)
#undef R
	ROW_DTV,
	ROW_COUNT
};

static const struct truth_name names[ROW_COUNT] = {
#define R(id, function_, caller_) [ROW_##id] = {.function = function_, .caller = caller_},
	ROWS(R)
#undef R
	[ROW_DTV] = {.module = "ld-linux-x86-64.so.2"},
};

/* What each block begins with. */
struct block {
	uint32_t row;
	uint32_t number;
	uint64_t bytes;
};

struct worker {
	pthread_t thread;
	struct truth books;
	struct worker *neighbour;
	_Atomic(unsigned) received;     /* filled entries of `inbox`, by the other neighbour */
	unsigned taken;
	struct block *inbox[OPS_MAX];
};

static struct worker workers[THREADS_MAX];
static unsigned thread_count, op_count;
static pthread_barrier_t barrier;

static struct block *booked(struct truth *books, unsigned row, void *memory, uint32_t number, uint64_t bytes)
{
	struct block *block = memory;

	if (!block)
		truth_stop("alloc_threads: out of memory\n");
	*block = (struct block){.row = row, .number = number, .bytes = bytes};
	truth_book_allocation(books, row, bytes);
	return block;
}

SITE struct block *thread_malloc(struct worker *worker, unsigned row, uint32_t number, size_t bytes)
{
	return booked(&worker->books, row, malloc(bytes), number, bytes);
}

SITE struct block *thread_calloc(struct worker *worker, uint32_t number, size_t bytes)
{
	return booked(&worker->books, ROW_CALLOC, calloc(1, bytes), number, bytes);
}

SITE struct block *thread_aligned_alloc(struct worker *worker, uint32_t number, size_t bytes)
{
	return booked(&worker->books, ROW_ALIGNED_ALLOC, aligned_alloc(64, bytes), number, bytes);
}

SITE struct block *thread_realloc(struct worker *worker, struct block *block, size_t bytes)
{
	uint32_t number = block->number;

	truth_book_free(&worker->books, block->row, block->bytes);
	return booked(&worker->books, ROW_REALLOC, realloc(block, bytes), number, bytes);
}

SITE void thread_free(struct worker *worker, struct block *block)
{
	truth_book_free(&worker->books, block->row, block->bytes);
	free(block);
}

SITE bool thread_receive(struct worker *worker)
{
	struct block *block;

	if (worker->taken == atomic_load_explicit(&worker->received, memory_order_acquire))
		return false;
	block = worker->inbox[worker->taken++];
	if (block->number % 4 == 1)
		block = thread_realloc(worker, block, sizeof(*block) + block->number % 3000);
	if (block->number % 16)
		thread_free(worker, block);
	return true;
}

SITE void thread_step(struct worker *worker, uint32_t number)
{
	size_t bytes = sizeof(struct block) + (number * 37u) % (number % 50 ? 700 : 40000);
	struct worker *neighbour = worker->neighbour;
	unsigned at = atomic_load_explicit(&neighbour->received, memory_order_relaxed);

	if (number % 8 == 7)
		neighbour->inbox[at] = thread_aligned_alloc(worker, number, bytes);
	else if (number % 3 == 0)
		neighbour->inbox[at] = thread_calloc(worker, number, bytes);
	else
		neighbour->inbox[at] = thread_malloc(worker, ROW_MALLOC, number, bytes);
	atomic_store_explicit(&neighbour->received, at + 1, memory_order_release);
}

static void *thread_early(void *argument)
{
	struct worker *worker = argument;

	pthread_barrier_wait(&barrier);         /* the trace has begun */
	for (unsigned i = 0; i < op_count; i++) {
		thread_step(worker, i);
		thread_receive(worker);
	}
	while (worker->taken < op_count)
		if (!thread_receive(worker))
			sched_yield();
	pthread_barrier_wait(&barrier);         /* all have done */
	pthread_barrier_wait(&barrier);         /* the snapshot is taken */
	return NULL;
}

/* What glibc does when a thread ends: it frees what the thread's cache holds, all of it freed before, and the cache. */
SITE void *thread_late(void *argument)
{
	struct block *freed[LATE_FREED];
	struct worker *worker = argument;

	for (unsigned i = 0; i < LATE_KEPT; i++)
		thread_malloc(worker, ROW_LATE, i, 100);
	for (unsigned i = 0; i < LATE_FREED; i++)
		freed[i] = thread_malloc(worker, ROW_LATE, i, 40);
	for (unsigned i = 0; i < LATE_FREED; i++)
		thread_free(worker, freed[i]);
	worker->books.allocator_frees += LATE_FREED + 1;
	pthread_barrier_wait(&barrier);         /* all exist at one time: none inherits the stack of another */
	return NULL;
}

static int largest_module(struct dl_phdr_info *info, size_t size, void *context)
{
	size_t *largest = context;

	(void)size;
	if (info->dlpi_tls_modid > *largest)
		*largest = info->dlpi_tls_modid;
	return 0;
}

/*
 * A new stack comes with a vector of the thread's TLS blocks, which the loader allocates: two entries of 16 bytes, one a
 * module, and 14 to spare (glibc 2.36 elf/dl-tls.c, allocate_dtv; sysdeps/generic/ldsodefs.h, DTV_SURPLUS).
 */
static uint64_t dtv_bytes(void)
{
	size_t modules = 0;

	dl_iterate_phdr(largest_module, &modules);
	return (modules + 2 + 14) * 16;
}

static void start(void *(*function)(void *))
{
	for (unsigned i = 0; i < thread_count; i++) {
		workers[i].neighbour = &workers[(i + 1) % thread_count];
		if (pthread_create(&workers[i].thread, NULL, function, &workers[i]))
			truth_stop("alloc_threads: no thread\n");
	}
}

static void print(struct truth *truth)
{
	for (unsigned i = 0; i < thread_count; i++)
		truth_add(truth, &workers[i].books);
	truth_print(truth, names, ROW_COUNT, "");
}

static void run_early(struct truth *truth)
{
	start(thread_early);
	truth_print_pid();
	truth_wait();
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	print(truth);
	truth_wait();
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < thread_count; i++)
		pthread_join(workers[i].thread, NULL);
}

static void run_late(struct truth *truth)
{
	uint64_t bytes = dtv_bytes();

	truth_print_pid();
	truth_wait();
	start(thread_late);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < thread_count; i++) {
		pthread_join(workers[i].thread, NULL);
		truth_book_allocation(truth, ROW_DTV, bytes);
	}
	print(truth);
	truth_wait();
}

int main(int argc, char **argv)
{
	static struct truth truth;

	thread_count = (unsigned)truth_number_option(argc, argv, "--threads", 8);
	op_count = (unsigned)truth_number_option(argc, argv, "--ops", 20000);
	if (thread_count < 1 || thread_count > THREADS_MAX || op_count > OPS_MAX)
		truth_stop("alloc_threads: 1 to 16 threads, up to 100000 operations\n");
	pthread_barrier_init(&barrier, NULL, thread_count + 1);
	if (truth_has_option(argc, argv, "--late"))
		run_late(&truth);
	else
		run_early(&truth);
	return 0;
}
