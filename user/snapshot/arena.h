/* SPDX-License-Identifier: BSD-2-Clause */
/* arena: memory that is given back all at once. A snapshot has millions of small strings and vectors. */
#ifndef DT_SNAPSHOT_ARENA_H
#define DT_SNAPSHOT_ARENA_H

#include <stddef.h>

struct dt_arena_chunk;

/* All zero is an empty arena. */
struct dt_arena {
	struct dt_arena_chunk *chunks;  /* the one being filled first */
	size_t used;                    /* of its bytes */
};

/* Aligned for any object, not cleared; NULL: no memory. */
void *dt_arena_alloc(struct dt_arena *arena, size_t size);
void dt_arena_clear(struct dt_arena *arena);

#endif
