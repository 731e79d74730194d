/* SPDX-License-Identifier: BSD-2-Clause */
/* libnumpy_calls: what scripts call in it. */
#ifndef LIBNUMPY_CALLS_H
#define LIBNUMPY_CALLS_H

#include <stddef.h>
#include <stdint.h>

#pragma GCC visibility push(default)

/* PyDataMem_Handler (numpy/core/include/numpy/ndarraytypes.h, version 1). */
struct handler {
	char name[127];
	uint8_t version;
	void *context;
	void *(*malloc)(void *context, size_t bytes);
	void *(*calloc)(void *context, size_t count, size_t bytes);
	void *(*realloc)(void *context, void *block, size_t bytes);
	void (*free)(void *context, void *block, size_t bytes);
};

extern const struct handler own_handler, aligned_handler;

void *user_new(const struct handler *handler, size_t bytes);
void *user_zeroed(const struct handler *handler, size_t count, size_t bytes);
void *user_renew(const struct handler *handler, void *block, size_t bytes);
void user_free(const struct handler *handler, void *block, size_t bytes);
void *plain_new(size_t bytes);
void *plain_zeroed(size_t count, size_t bytes);
void *plain_renew(void *block, size_t bytes);
void plain_free(void *block);

/* What aligned_handler has counted. */
struct books {
	uint64_t allocations, allocated_bytes, frees, freed_bytes;
};

void aligned_books(struct books *to);
/* Told as a line of JSON when the process ends. */
void aligned_tell_at_exit(void);

#pragma GCC visibility pop

#endif
