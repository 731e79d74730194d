// SPDX-License-Identifier: BSD-2-Clause
/* A library that alloc_dlopen.c loads while it is traced: its allocations are booked by the program. */
#include <stdlib.h>

#include "liballoc_late.h"

__attribute__((noipa, visibility("default"))) void *late_library_malloc(size_t bytes)
{
	void *volatile block = malloc(bytes);

	return block;
}

__attribute__((noipa, visibility("default"))) void *late_library_calloc(size_t count, size_t bytes)
{
	void *volatile block = calloc(count, bytes);

	return block;
}

__attribute__((noipa, visibility("default"))) void late_library_free(void *block)
{
	free(block);
}
