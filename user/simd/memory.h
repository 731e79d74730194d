/* SPDX-License-Identifier: BSD-2-Clause */
/* memory: where the elements of an array are. */
#ifndef DT_SIMD_MEMORY_H
#define DT_SIMD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct dt_memory {
	void *block;                    /* what malloc gave */
	void *data;                     /* in it, at a multiple of 64 */
	size_t bytes;                   /* from there on */
};

/* -EOVERFLOW, -ENOMEM. */
int dt_memory_new(size_t bytes, bool zeroed, struct dt_memory *ret_memory);
/* Keeps what fits into both sizes; bytes that are new are 0. On failure nothing has changed. */
int dt_memory_resize(struct dt_memory *memory, size_t bytes);
void dt_memory_free(struct dt_memory *memory);

#endif
