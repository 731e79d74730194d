/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)64 << 10)

struct dt_arena_chunk {
	struct dt_arena_chunk *next;
	size_t size;                    /* of `data` */
	alignas(max_align_t) unsigned char data[];
};

static struct dt_arena_chunk *chunk_new(size_t size)
{
	struct dt_arena_chunk *chunk;

	if (size > (size_t)-1 - sizeof(*chunk))
		return NULL;
	chunk = malloc(sizeof(*chunk) + size);
	if (chunk)
		chunk->size = size;
	return chunk;
}

/* What does not fit well gets a chunk of its own, behind the one being filled, which keeps its free space. */
static void *alloc_large(struct dt_arena *arena, size_t size)
{
	struct dt_arena_chunk *chunk = chunk_new(size);

	if (!chunk)
		return NULL;
	if (arena->chunks) {
		chunk->next = arena->chunks->next;
		arena->chunks->next = chunk;
	} else {
		chunk->next = NULL;
		arena->chunks = chunk;
		arena->used = size;
	}
	return chunk->data;
}

void *dt_arena_alloc(struct dt_arena *arena, size_t size)
{
	size_t align = alignof(max_align_t);
	struct dt_arena_chunk *chunk = arena->chunks;
	void *memory;

	if (size > CHUNK_BYTES / 4)
		return alloc_large(arena, size);
	size = (size + align - 1) & ~(align - 1);
	if (!chunk || arena->used > chunk->size || chunk->size - arena->used < size) {
		chunk = chunk_new(CHUNK_BYTES);
		if (!chunk)
			return NULL;
		chunk->next = arena->chunks;
		arena->chunks = chunk;
		arena->used = 0;
	}
	memory = chunk->data + arena->used;
	arena->used += size;
	return memory;
}

void dt_arena_clear(struct dt_arena *arena)
{
	while (arena->chunks) {
		struct dt_arena_chunk *chunk = arena->chunks;

		arena->chunks = chunk->next;
		free(chunk);
	}
	arena->used = 0;
}
