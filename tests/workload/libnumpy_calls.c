/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Array memory as NumPy 2.5 and later handle it, told in the order of their calls (numpy/_core/src/multiarray/alloc.c, 2.5.2), for
 * scripts that call it through ctypes; and a memory handler with aligned blocks for any NumPy (NEP 49). NumPy is not needed.
 */
#include "libnumpy_calls.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int PyTraceMalloc_Track(unsigned int domain, uintptr_t address, size_t bytes);
int PyTraceMalloc_Untrack(unsigned int domain, uintptr_t address);
void *PyMem_RawMalloc(size_t bytes);
void *PyMem_RawCalloc(size_t count, size_t bytes);
void *PyMem_RawRealloc(void *block, size_t bytes);
void PyMem_RawFree(void *block);

#define NUMPY_DOMAIN 389047
#define RAW_DOMAIN 0
#define IS_OFF (-2)

/* ---- NumPy's own handler: untracks what CPython's allocator has told of ------------------------------------------- */

static void *own_malloc(void *context, size_t bytes)
{
	void *block = PyMem_RawMalloc(bytes);

	(void)context;
	if (block)
		PyTraceMalloc_Untrack(RAW_DOMAIN, (uintptr_t)block);
	return block;
}

static void *own_calloc(void *context, size_t count, size_t bytes)
{
	void *block = PyMem_RawCalloc(count, bytes);

	(void)context;
	if (block)
		PyTraceMalloc_Untrack(RAW_DOMAIN, (uintptr_t)block);
	return block;
}

static void *own_realloc(void *context, void *block, size_t bytes)
{
	void *next = PyMem_RawRealloc(block, bytes);

	(void)context;
	if (next)
		PyTraceMalloc_Untrack(RAW_DOMAIN, (uintptr_t)next);
	return next;
}

static void own_free(void *context, void *block, size_t bytes)
{
	(void)context;
	(void)bytes;
	PyMem_RawFree(block);
}

const struct handler own_handler = { "own", 1, NULL, own_malloc, own_calloc, own_realloc, own_free };

/* ---- a handler of a user: blocks begin at multiples of 64, somewhere in what malloc gave; it keeps books ------------- */

#define ALIGNMENT 64
#define HEADER sizeof(struct header)

struct header {
	void *base;
	size_t bytes;
};

static struct books books;
static bool tells_at_exit;

static struct header *header_of(void *block)
{
	return (struct header *)((char *)block - HEADER);
}

static void *aligned_malloc(void *context, size_t bytes)
{
	char *base = bytes < SIZE_MAX - ALIGNMENT - HEADER ? malloc(bytes + ALIGNMENT + HEADER) : NULL;
	char *block;

	(void)context;
	if (!base)
		return NULL;
	block = (char *)(((uintptr_t)base + HEADER + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1));
	*header_of(block) = (struct header){ base, bytes };
	books.allocations++;
	books.allocated_bytes += bytes;
	return block;
}

static void *aligned_calloc(void *context, size_t count, size_t bytes)
{
	void *block = aligned_malloc(context, count * bytes);

	return block ? memset(block, 0, count * bytes) : NULL;
}

static void aligned_free(void *context, void *block, size_t bytes)
{
	(void)context;
	(void)bytes;
	if (!block)
		return;
	books.frees++;
	books.freed_bytes += header_of(block)->bytes;
	free(header_of(block)->base);
}

/* Never in place. */
static void *aligned_realloc(void *context, void *block, size_t bytes)
{
	void *next = aligned_malloc(context, bytes);
	size_t old = block ? header_of(block)->bytes : 0;

	if (!next)
		return NULL;
	if (block)
		memcpy(next, block, old < bytes ? old : bytes);
	aligned_free(context, block, old);
	return next;
}

const struct handler aligned_handler = {
	"aligned", 1, NULL, aligned_malloc, aligned_calloc, aligned_realloc, aligned_free
};

void aligned_books(struct books *to)
{
	*to = books;
}

void aligned_tell_at_exit(void)
{
	tells_at_exit = true;
}

/* When Python has ended, and freed what it frees then. */
__attribute__((destructor)) static void tell(void)
{
	if (tells_at_exit)
		dprintf(1, "{\"allocations\": %" PRIu64 ", \"allocated_bytes\": %" PRIu64 ", \"frees\": %" PRIu64 ", \"freed_bytes\": %" PRIu64 "}\n",
			books.allocations, books.allocated_bytes, books.frees, books.freed_bytes);
}

/* ---- arrays, with a handler -------------------------------------------------------------------------------------- */

void *user_new(const struct handler *handler, size_t bytes)
{
	void *block = handler->malloc(handler->context, bytes);

	if (!block)
		return NULL;
	if (PyTraceMalloc_Track(NUMPY_DOMAIN, (uintptr_t)block, bytes) == -1) {
		handler->free(handler->context, block, bytes);
		return NULL;
	}
	return block;
}

void *user_zeroed(const struct handler *handler, size_t count, size_t bytes)
{
	void *block = handler->calloc(handler->context, count, bytes);

	if (!block)
		return NULL;
	if (PyTraceMalloc_Track(NUMPY_DOMAIN, (uintptr_t)block, count * bytes) == -1) {
		handler->free(handler->context, block, count * bytes);
		return NULL;
	}
	return block;
}

void *user_renew(const struct handler *handler, void *block, size_t bytes)
{
	void *next = handler->realloc(handler->context, block, bytes);
	int answer;

	if (!next)
		return NULL;
	answer = PyTraceMalloc_Untrack(NUMPY_DOMAIN, (uintptr_t)block);
	if (answer == IS_OFF)
		return next;
	answer = PyTraceMalloc_Track(NUMPY_DOMAIN, (uintptr_t)next, bytes);
	if (answer == -1) {
		handler->free(handler->context, next, bytes);
		return NULL;
	}
	return next;
}

void user_free(const struct handler *handler, void *block, size_t bytes)
{
	PyTraceMalloc_Untrack(NUMPY_DOMAIN, (uintptr_t)block);
	handler->free(handler->context, block, bytes);
}

/* ---- buffers, without one: PyDataMem_NEW and its kin ---------------------------------------------------------------- */

void *plain_new(size_t bytes)
{
	void *block = PyMem_RawMalloc(bytes);
	int answer;

	if (!block)
		return NULL;
	answer = PyTraceMalloc_Untrack(RAW_DOMAIN, (uintptr_t)block);
	if (answer == IS_OFF)
		return block;
	answer = PyTraceMalloc_Track(NUMPY_DOMAIN, (uintptr_t)block, bytes);
	if (answer == -1) {
		PyMem_RawFree(block);
		return NULL;
	}
	return block;
}

void *plain_zeroed(size_t count, size_t bytes)
{
	void *block = PyMem_RawCalloc(count, bytes);
	int answer;

	if (!block)
		return NULL;
	answer = PyTraceMalloc_Untrack(RAW_DOMAIN, (uintptr_t)block);
	if (answer == IS_OFF)
		return block;
	answer = PyTraceMalloc_Track(NUMPY_DOMAIN, (uintptr_t)block, count * bytes);
	if (answer == -1) {
		PyMem_RawFree(block);
		return NULL;
	}
	return block;
}

void *plain_renew(void *block, size_t bytes)
{
	void *next = PyMem_RawRealloc(block, bytes);
	int answer;

	if (!next)
		return NULL;
	answer = PyTraceMalloc_Untrack(NUMPY_DOMAIN, (uintptr_t)block);
	if (answer == IS_OFF)
		return next;
	PyTraceMalloc_Untrack(RAW_DOMAIN, (uintptr_t)next);
	answer = PyTraceMalloc_Track(NUMPY_DOMAIN, (uintptr_t)next, bytes);
	if (answer == -1) {
		PyMem_RawFree(next);
		return NULL;
	}
	return next;
}

void plain_free(void *block)
{
	PyTraceMalloc_Untrack(NUMPY_DOMAIN, (uintptr_t)block);
	PyMem_RawFree(block);
}
