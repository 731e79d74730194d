/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * heaps: blocks that are dropped with their heap or arena, which only their allocator knows. The truth has them live on, as a table of one
 * who looks at calls; "dropped" among its facts is how often that may be so.
 */
#if defined(WITH_JEMALLOC)
#include <jemalloc/jemalloc.h>
#else
#include <mimalloc.h>
#endif
#include <stdio.h>

#include "../truth.h"

#define BLOCKS 10
#define TEXT(number) TEXT_(number)
#define TEXT_(number) #number

enum row {
	ROW_HEAP,
	ROW_OTHER,
	ROW_COUNT,
};

static const struct truth_name names[ROW_COUNT] = {
	[ROW_HEAP] = { .function = "heap_malloc", .caller = "fill" },
	[ROW_OTHER] = { .function = "other_malloc", .caller = "main" },
};

static struct truth truth;

SITE void other_malloc(size_t bytes)
{
	truth_allocated(&truth, ROW_OTHER, (uintptr_t)malloc(bytes), bytes);
}

#if defined(WITH_JEMALLOC)
#define DROPPED 5

SITE void *heap_malloc(unsigned arena, size_t bytes)
{
	void *block = mallocx(bytes, MALLOCX_ARENA(arena) | MALLOCX_TCACHE_NONE);

	truth_allocated(&truth, ROW_HEAP, (uintptr_t)block, bytes);
	return block;
}

SITE void fill(unsigned arena)
{
	for (size_t i = 1; i <= BLOCKS; i++)
		heap_malloc(arena, 100 * i);
}

static unsigned make(void)
{
	size_t size = sizeof(unsigned);
	unsigned arena;

	if (mallctl("arenas.create", &arena, &size, NULL, 0))
		truth_stop("heaps: no arena\n");
	return arena;
}

/* Each of them is another arena, so that none of its blocks has an address that another block had. */
static void control(const char *what)
{
	unsigned arena = make();
	char name[64];

	snprintf(name, sizeof(name), "arena.%u.%s", arena, what);
	fill(arena);
	if (mallctl(name, NULL, NULL, NULL, 0))
		truth_stop("heaps: mallctl\n");
}

/* By number: what it is, is seen when the number is asked for. */
static void control_by_number(const char *name, size_t at)
{
	size_t number[4], length = 4;

	if (mallctlnametomib(name, number, &length))
		truth_stop("heaps: mallctlnametomib\n");
	for (int i = 0; i < 2; i++) {
		number[at] = make();
		fill((unsigned)number[at]);
		if (mallctlbymib(number, length, NULL, NULL, NULL, 0))
			truth_stop("heaps: mallctlbymib\n");
	}
}

static void prepare(void)
{
}

static void steps(void)
{
	uint64_t epoch = 1;
	size_t size = sizeof(epoch);

	control("reset");
	control("destroy");
	control("reset");
	control_by_number("arena.0.reset", 1);
	control_by_number("arena.0.destroy", 1);
	/* None of these drops a block. */
	control("purge");
	control("decay");
	control_by_number("arena.0.purge", 1);
	mallctl("epoch", &epoch, &size, &epoch, sizeof(epoch));
	mallctl("arenas.narenas", &epoch, &(size_t){ sizeof(unsigned) }, NULL, 0);
	mallctl("there.is.no.such.thing.whose.name.has.more.characters.than.are.looked.at.reset", NULL, NULL, NULL, 0);
}

#else
#define DROPPED 3

SITE void *heap_malloc(mi_heap_t *heap, size_t bytes)
{
	void *block = mi_heap_malloc(heap, bytes);

	truth_allocated(&truth, ROW_HEAP, (uintptr_t)block, bytes);
	return block;
}

/* The last one. */
SITE void *fill(mi_heap_t *heap)
{
	void *block = NULL;

	for (size_t i = 1; i <= BLOCKS; i++)
		block = heap_malloc(heap, 100 * i);
	return block;
}

static mi_heap_t *heaps[DROPPED], *deleted;

/* What describes a heap is a block, too: older than the trace. */
static void prepare(void)
{
	deleted = mi_heap_new();
	for (int i = 0; i < DROPPED; i++)
		heaps[i] = mi_heap_new();
}

/* What is left when a heap is deleted goes on in another one, and is freed there. */
static void steps(void)
{
	void *block = fill(deleted);

	for (int i = 0; i < DROPPED; i++)
		fill(heaps[i]);
	mi_heap_delete(deleted);
	truth_freed(&truth, (uintptr_t)block);
	mi_free(block);
	for (int i = 0; i < DROPPED; i++)
		mi_heap_destroy(heaps[i]);
	truth.unmatched_frees += DROPPED + 1;
}

#endif

int main(void)
{
	prepare();
	truth_print_pid();
	truth_wait();
	other_malloc(1000);
	steps();
	truth_print(&truth, names, ROW_COUNT, "\"dropped\": " TEXT(DROPPED));
	truth_wait();
	return 0;
}
