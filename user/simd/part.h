/* SPDX-License-Identifier: BSD-2-Clause */
/* part: load_part() for instruction sets without masks. */
#ifndef DT_SIMD_PART_H
#define DT_SIMD_PART_H

#include <stddef.h>
#include <string.h>

typedef long long bytes __attribute__((vector_size(VECTOR_BYTES)));

static inline bytes load_part(const void *x, size_t first, size_t count, size_t size, bytes rest)
{
	memcpy(&rest, (const char *)x + first * size, (count - first) * size);
	return rest;
}

#endif
