/* SPDX-License-Identifier: BSD-2-Clause */
/* A library with functions in each other. Comments like @this mark the line of the call that the case expects in that function. */
#include <stddef.h>
#include <stdlib.h>

void *names_library(size_t size);

static inline __attribute__((always_inline)) void *library_inner(size_t size)
{
	char *block = malloc(size); /* @library_inner */

	if (block)
		*block = 1;
	return block;
}

static inline __attribute__((always_inline)) void *library_middle(size_t size)
{
	return library_inner(size); /* @library_middle */
}

void *names_library(size_t size)
{
	void *block = library_middle(size); /* @names_library */

	__asm__ volatile("" :: "r"(block) : "memory");
	return block;
}
