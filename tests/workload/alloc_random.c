// SPDX-License-Identifier: BSD-2-Clause
/*
 * Random calls of the whole family: --seed N, --ops N, --slots N. One thread, so that its peak is exact. The same seed
 * makes the same calls everywhere.
 */
#include "calls.h"

#define SLOTS_MAX 65536

#define ROWS(R) \
	R(MALLOC, "call_malloc", "random_allocation") \
	R(CALLOC, "call_calloc", "random_allocation") \
	R(REALLOC_NULL, "call_realloc", "random_allocation") \
	R(ARRAY_NULL, "call_reallocarray", "random_allocation") \
	R(POSIX_MEMALIGN, "call_posix_memalign", "random_allocation") \
	R(ALIGNED_ALLOC, "call_aligned_alloc", "random_allocation") \
	R(MEMALIGN, "call_memalign", "random_allocation") \
	R(VALLOC, "call_valloc", "random_allocation") \
	R(PVALLOC, "call_pvalloc", "random_allocation") \
	R(REALLOC, "call_realloc", "random_reallocation") \
	R(ARRAY, "call_reallocarray", "random_reallocation")

enum row {
#define R(id, function, caller) ROW_##id,
	ROWS(R)
#undef R
	ROW_COUNT
};

static const struct truth_name names[ROW_COUNT] = {
#define R(id, function_, caller_) [ROW_##id] = {.function = function_, .caller = caller_},
	ROWS(R)
#undef R
};

static uint64_t state;
static void *slots[SLOTS_MAX];

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" */
static uint64_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dull;
}

static uint64_t below(uint64_t bound)
{
	return (next() >> 33) % bound;
}

/* Mostly small, some of pages, a few with mappings of their own, some of 0 bytes, and rarely one that is refused. */
static size_t random_bytes(void)
{
	uint64_t kind = below(1000);

	if (kind < 800)
		return below(512);
	if (kind < 985)
		return below(20000);
	if (kind < 998)
		return below(300000);
	return kind == 998 ? 0 : (size_t)1 << 63;
}

SITE void *random_allocation(void)
{
	size_t bytes = random_bytes();
	size_t alignment = (size_t)8 << below(8);

	switch (below(20)) {
	case 0:
		return call_realloc(ROW_REALLOC_NULL, NULL, bytes);
	case 1:
		return call_reallocarray(ROW_ARRAY_NULL, NULL, 1 + below(4), bytes);
	case 2:
		return call_posix_memalign(ROW_POSIX_MEMALIGN, below(16) ? alignment : 12, bytes);
	case 3:
		return call_aligned_alloc(ROW_ALIGNED_ALLOC, alignment, bytes);
	case 4:
		return call_memalign(ROW_MEMALIGN, alignment, bytes);
	case 5:
		return below(8) ? call_malloc(ROW_MALLOC, bytes) : call_valloc(ROW_VALLOC, bytes);
	case 6:
		return below(8) ? call_malloc(ROW_MALLOC, bytes) : call_pvalloc(ROW_PVALLOC, bytes);
	case 7:
	case 8:
	case 9:
	case 10:
		return call_calloc(ROW_CALLOC, 1 + below(4), bytes);
	default:
		return call_malloc(ROW_MALLOC, bytes);
	}
}

SITE void *random_reallocation(void *block)
{
	size_t count = 1 + below(3);
	size_t bytes = below(64) ? random_bytes() : 0;
	void *moved;

	if (below(2))
		count = 1, moved = call_realloc(ROW_REALLOC, block, bytes);
	else
		moved = call_reallocarray(ROW_ARRAY, block, count, bytes);
	return moved || !bytes ? moved : block;
}

static void operation(void **slot)
{
	if (!*slot) {
		*slot = random_allocation();
	} else if (below(4) == 0) {
		*slot = random_reallocation(*slot);
	} else {
		call_free(*slot);
		*slot = NULL;
	}
}

int main(int argc, char **argv)
{
	uint64_t ops = truth_number_option(argc, argv, "--ops", 1000000);
	uint64_t slot_count = truth_number_option(argc, argv, "--slots", 4096);

	state = truth_number_option(argc, argv, "--seed", 1) * 2 + 1;
	if (slot_count < 1 || slot_count > SLOTS_MAX)
		truth_stop("alloc_random: --slots is 1 to 65536\n");
	truth_print_pid();
	truth_wait();
	for (uint64_t i = 0; i < ops; i++)
		operation(&slots[below(slot_count)]);
	truth_print(&truth, names, ROW_COUNT, "");
	truth_wait();
	return 0;
}
