/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * allocator: calls every function of one allocator and tells its own ground truth (truth.h).
 *
 * Built once for each (CMakeLists.txt): PREFIX is what the names begin with, WITH_… says which functions there are besides
 * malloc, calloc, realloc and free. With --threads, four threads allocate at once and free each other's blocks.
 */
#include <pthread.h>

#include "../truth.h"

#ifndef PREFIX
#define PREFIX
#endif
#define JOIN_(prefix, name) prefix##name
#define JOIN(prefix, name) JOIN_(prefix, name)
#define F(name) JOIN(PREFIX, name)

#define REFUSED (PTRDIFF_MAX - 4096ul)

void *F(malloc)(size_t bytes);
void *F(calloc)(size_t count, size_t bytes);
void *F(realloc)(void *block, size_t bytes);
void F(free)(void *block);
void *F(reallocarray)(void *block, size_t count, size_t bytes);
int F(posix_memalign)(void **block, size_t alignment, size_t bytes);
void *F(aligned_alloc)(size_t alignment, size_t bytes);
void *F(memalign)(size_t alignment, size_t bytes);
void *F(valloc)(size_t bytes);
void *F(pvalloc)(size_t bytes);
void F(cfree)(void *block);
void *F(reallocf)(void *block, size_t bytes);
void F(free_sized)(void *block, size_t bytes);
void F(free_aligned_sized)(void *block, size_t alignment, size_t bytes);

/* Part of steps(), which the truth names. */
#define STEPS static inline __attribute__((always_inline)) void

enum row {
	ROW_OLDER,
	ROW_MALLOC,
	ROW_CALLOC,
	ROW_REALLOC,
	ROW_REALLOCARRAY,
	ROW_POSIX_MEMALIGN,
	ROW_ALIGNED_ALLOC,
	ROW_MEMALIGN,
	ROW_VALLOC,
	ROW_PVALLOC,
	ROW_REALLOCF,
	ROW_OWN,                        /* functions that only this allocator has */
	ROW_RESIZED,
	ROW_IN_PLACE,
	ROW_THREAD,
	ROW_COUNT,
};

static const struct truth_name names[ROW_COUNT] = {
	[ROW_OLDER] = { .function = "make_older", .caller = "main" },
	[ROW_MALLOC] = { .function = "do_malloc", .caller = "steps" },
	[ROW_CALLOC] = { .function = "do_calloc", .caller = "steps" },
	[ROW_REALLOC] = { .function = "do_realloc", .caller = "steps" },
	[ROW_REALLOCARRAY] = { .function = "do_reallocarray", .caller = "steps" },
	[ROW_POSIX_MEMALIGN] = { .function = "do_posix_memalign", .caller = "steps" },
	[ROW_ALIGNED_ALLOC] = { .function = "do_aligned_alloc", .caller = "steps" },
	[ROW_MEMALIGN] = { .function = "do_memalign", .caller = "steps" },
	[ROW_VALLOC] = { .function = "do_valloc", .caller = "steps" },
	[ROW_PVALLOC] = { .function = "do_pvalloc", .caller = "steps" },
	[ROW_REALLOCF] = { .function = "do_reallocf", .caller = "steps" },
	[ROW_OWN] = { .function = "do_own", .caller = "steps" },
	[ROW_RESIZED] = { .function = "do_resized", .caller = "steps" },
	[ROW_IN_PLACE] = { .function = "do_in_place", .caller = "steps" },
	[ROW_THREAD] = { .function = "thread_step", .caller = "thread_main" },
};

static struct truth truth;
static void *older[4];

static void got(unsigned row, void *block, size_t bytes)
{
	truth_allocated(&truth, row, (uintptr_t)block, bytes);
}

static void give_back(void *block)
{
	truth_freed(&truth, (uintptr_t)block);
	F(free)(block);
}

SITE void *do_malloc(size_t bytes)
{
	void *block = F(malloc)(bytes);

	got(ROW_MALLOC, block, bytes);
	return block;
}

SITE void *do_calloc(size_t count, size_t bytes)
{
	void *block = F(calloc)(count, bytes);

	got(ROW_CALLOC, block, count * bytes);
	return block;
}

/* What the allocator does of size 0 is its own: a null pointer for a block of ours means that it is free. */
static void resized(unsigned row, uintptr_t old, void *block, size_t bytes)
{
	truth_reallocated(&truth, row, old, (uintptr_t)block, bytes, old && !bytes);
}

SITE void *do_realloc(void *old, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old;
	void *block = F(realloc)(old, bytes);

	resized(ROW_REALLOC, old_address, block, bytes);
	return block;
}

/* Small and large, freed and kept, refused, and none at all. */
STEPS steps_plain(void)
{
	void *block = do_malloc(1);

	do_malloc(100);
	give_back(block);
	give_back(do_malloc(5000));
	give_back(do_malloc(3 << 20));
	do_malloc(70000);
	do_malloc(REFUSED);
	give_back(do_malloc(0));
	do_calloc(3, 7);
	give_back(do_calloc(1000, 1000));
	do_calloc(REFUSED / 4, 16);
	F(free)(NULL);
	for (int i = 0; i < 2000; i++) {
		block = do_malloc(i % 900 + 1);
		if (i % 3)
			give_back(block);
	}
}

STEPS steps_realloc(void)
{
	void *block = do_realloc(NULL, 10);

	block = do_realloc(block, 20000);
	block = do_realloc(block, 1 << 20);
	block = do_realloc(block, 4000);
	block = do_realloc(block, 33);
	do_realloc(block, REFUSED);
	do_realloc(block, 34);
	block = do_realloc(do_malloc(50), 0);
	if (block)
		give_back(block);
	give_back(do_realloc(do_calloc(1, 60), 61));
	give_back(older[0]);
	do_realloc(older[1], 3000);
	do_realloc(older[2], REFUSED);
}

#ifdef WITH_REALLOCARRAY
SITE void *do_reallocarray(void *old, size_t count, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old;
	void *block = F(reallocarray)(old, count, bytes);

	resized(ROW_REALLOCARRAY, old_address, block, count * bytes);
	return block;
}
#endif

#ifdef WITH_POSIX
SITE void *do_posix_memalign(size_t alignment, size_t bytes)
{
	void *block = NULL;

	if (F(posix_memalign)(&block, alignment, bytes))
		block = NULL;
	got(ROW_POSIX_MEMALIGN, block, bytes);
	return block;
}
#endif

#ifdef WITH_ALIGNED_ALLOC
SITE void *do_aligned_alloc(size_t alignment, size_t bytes)
{
	void *block = F(aligned_alloc)(alignment, bytes);

	got(ROW_ALIGNED_ALLOC, block, bytes);
	return block;
}
#endif

#ifdef WITH_MEMALIGN
SITE void *do_memalign(size_t alignment, size_t bytes)
{
	void *block = F(memalign)(alignment, bytes);

	got(ROW_MEMALIGN, block, bytes);
	return block;
}

SITE void *do_valloc(size_t bytes)
{
	void *block = F(valloc)(bytes);

	got(ROW_VALLOC, block, bytes);
	return block;
}
#endif

#ifdef WITH_PVALLOC
SITE void *do_pvalloc(size_t bytes)
{
	void *block = F(pvalloc)(bytes);

	got(ROW_PVALLOC, block, bytes);
	return block;
}
#endif

STEPS steps_aligned(void)
{
#ifdef WITH_REALLOCARRAY
	give_back(do_reallocarray(do_reallocarray(NULL, 5, 10), 50, 100));
	do_reallocarray(NULL, REFUSED / 4, 16);
	do_reallocarray(NULL, 9, 9);
#endif
#ifdef WITH_POSIX
	give_back(do_posix_memalign(64, 100));
	do_posix_memalign(4096, 5000);
	do_posix_memalign(24, 1000);
	do_posix_memalign(64, REFUSED);
#endif
#ifdef WITH_ALIGNED_ALLOC
	give_back(do_aligned_alloc(64, 128));
	do_aligned_alloc(256, 65536);
#endif
#ifdef WITH_MEMALIGN
	give_back(do_memalign(32, 100));
	do_memalign(8192, 100);
	do_valloc(100);
	give_back(do_valloc(100000));
#endif
#ifdef WITH_PVALLOC
	give_back(do_pvalloc(100));
	do_pvalloc(5000);
#endif
}

#ifdef WITH_CFREE
STEPS steps_cfree(void)
{
	void *block = do_malloc(77);

	truth_freed(&truth, (uintptr_t)block);
	F(cfree)(block);
	truth_freed(&truth, (uintptr_t)older[3]);
	F(cfree)(older[3]);
}
#else
#define steps_cfree() ((void)0)
#endif

#ifdef WITH_SIZED
STEPS steps_sized(void)
{
	void *block = do_malloc(77);

	truth_freed(&truth, (uintptr_t)block);
	F(free_sized)(block, 77);
#if WITH_SIZED > 1
	block = do_aligned_alloc(64, 640);
	truth_freed(&truth, (uintptr_t)block);
	F(free_aligned_sized)(block, 64, 640);
#endif
}
#else
#define steps_sized() ((void)0)
#endif

#ifdef WITH_REALLOCF
SITE void *do_reallocf(void *old, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old;
	void *block = F(reallocf)(old, bytes);

	if (!block && bytes)
		truth.failed_allocations++;
	truth_reallocated(&truth, ROW_REALLOCF, old_address, (uintptr_t)block, bytes, old_address);
	return block;
}

STEPS steps_reallocf(void)
{
	give_back(do_reallocf(do_reallocf(NULL, 100), 7000));
	do_reallocf(do_reallocf(NULL, 200), REFUSED);
}
#else
#define steps_reallocf() ((void)0)
#endif

#include "own.h"

SITE void steps(void)
{
	steps_plain();
	steps_realloc();
	steps_aligned();
	steps_cfree();
	steps_sized();
	steps_reallocf();
	steps_own();
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

#define THREADS 4
#define ROUNDS 3000

static void *handed[THREADS][ROUNDS];
static uint32_t sizes[THREADS][ROUNDS];
static struct truth parts[THREADS];
static pthread_barrier_t barrier;

SITE void *thread_step(size_t bytes, unsigned how)
{
	return how == 0 ? F(malloc)(bytes) : how == 1 ? F(calloc)(1, bytes) : F(realloc)(F(malloc)(bytes / 2 + 1), bytes);
}

/* Each thread allocates, then frees three of four of what its neighbour has allocated. */
SITE void thread_main(unsigned number)
{
	struct truth *part = &parts[number];
	unsigned neighbour = (number + 1) % THREADS;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint32_t bytes = (number * 7919 + i * 104729) % (i % 64 ? 600 : 60000) + 1;

		handed[number][i] = thread_step(bytes, i % 3);
		sizes[number][i] = bytes;
		if (i % 3 == 2) {
			truth_book_allocation(part, ROW_THREAD, bytes / 2 + 1);
			truth_book_free(part, ROW_THREAD, bytes / 2 + 1);
		}
		truth_book_allocation(part, ROW_THREAD, bytes);
	}
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i % 4 == 3)
			continue;
		F(free)(handed[neighbour][i]);
		truth_book_free(part, ROW_THREAD, sizes[neighbour][i]);
	}
}

static void *thread(void *argument)
{
	pthread_barrier_wait(&barrier);         /* all are there */
	pthread_barrier_wait(&barrier);         /* go */
	thread_main((unsigned)(uintptr_t)argument);
	pthread_barrier_wait(&barrier);         /* done */
	for (;;)
		pause();
	return NULL;
}

/* Not traced: whatever the C library and the allocator make for a thread. */
static void start_threads(void)
{
	pthread_t thread_id;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (uintptr_t i = 1; i < THREADS; i++)
		pthread_create(&thread_id, NULL, thread, (void *)i);
	F(free)(F(malloc)(1));
	pthread_barrier_wait(&barrier);
}

static void run_threads(void)
{
	pthread_barrier_wait(&barrier);
	thread_main(0);
	pthread_barrier_wait(&barrier);
	for (unsigned i = 0; i < THREADS; i++)
		truth_add(&truth, &parts[i]);
}

SITE void make_older(void)
{
	for (unsigned i = 0; i < 4; i++) {
		older[i] = F(malloc)(1000);
		got(ROW_OLDER, older[i], 1000);
	}
}

int main(int argc, char **argv)
{
	bool threads = truth_has_option(argc, argv, "--threads"), from_start = truth_has_option(argc, argv, "--from-start");

	make_older();
	if (threads)
		start_threads();
	truth_print_pid();
	truth_wait();
	if (!from_start)
		truth_begin(&truth);
	if (threads)
		run_threads();
	else
		steps();
	truth_print(&truth, names, ROW_COUNT, "");
	truth_wait();
	_exit(0);               /* what ends a program frees blocks, too */
}
