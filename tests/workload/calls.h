/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * calls.h: one named function for each member of the malloc family, which calls it and books the outcome.
 *
 * They are the immediate callers that a trace must name; who calls them is the second frame, told by `row`. Sizes that must
 * fail go through parameters of functions that the compiler cannot look into.
 */
#ifndef DT_WORKLOAD_CALLS_H
#define DT_WORKLOAD_CALLS_H

#include <malloc.h>

#include "truth.h"

static struct truth truth;

SITE void *call_malloc(unsigned row, size_t bytes)
{
	void *block = malloc(bytes);

	truth_allocated(&truth, row, (uintptr_t)block, bytes);
	return block;
}

SITE void *call_calloc(unsigned row, size_t count, size_t bytes)
{
	void *block = calloc(count, bytes);

	truth_allocated(&truth, row, (uintptr_t)block, count * bytes);
	return block;
}

SITE void *call_realloc(unsigned row, void *old, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old; /* volatile: a copy that no warning follows */
	void *block = realloc(old, bytes);

	/* glibc: realloc(block, 0) frees, realloc(NULL, 0) allocates (manual, "Changing Block Size") */
	truth_reallocated(&truth, row, old_address, (uintptr_t)block, bytes, old_address && !bytes);
	return block;
}

SITE void *call_reallocarray(unsigned row, void *old, size_t count, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old; /* volatile: a copy that no warning follows */
	void *block = reallocarray(old, count, bytes);

	truth_reallocated(&truth, row, old_address, (uintptr_t)block, count * bytes, old_address && (!count || !bytes));
	return block;
}

SITE void *call_posix_memalign(unsigned row, size_t alignment, size_t bytes)
{
	void *block = NULL;

	if (posix_memalign(&block, alignment, bytes))
		block = NULL;
	truth_allocated(&truth, row, (uintptr_t)block, bytes);
	return block;
}

SITE void *call_aligned_alloc(unsigned row, size_t alignment, size_t bytes)
{
	void *block = aligned_alloc(alignment, bytes);

	truth_allocated(&truth, row, (uintptr_t)block, bytes);
	return block;
}

SITE void *call_memalign(unsigned row, size_t alignment, size_t bytes)
{
	void *block = memalign(alignment, bytes);

	truth_allocated(&truth, row, (uintptr_t)block, bytes);
	return block;
}

SITE void *call_valloc(unsigned row, size_t bytes)
{
	void *block = valloc(bytes);

	truth_allocated(&truth, row, (uintptr_t)block, bytes);
	return block;
}

SITE void *call_pvalloc(unsigned row, size_t bytes)
{
	void *block = pvalloc(bytes);

	truth_allocated(&truth, row, (uintptr_t)block, bytes);
	return block;
}

SITE void call_free(void *block)
{
	truth_freed(&truth, (uintptr_t)block);
	free(block);
}

#endif
