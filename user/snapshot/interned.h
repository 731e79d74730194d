/* SPDX-License-Identifier: BSD-2-Clause */
/* interned: byte sequences stored once, found again in constant time. */
#ifndef DT_SNAPSHOT_INTERNED_H
#define DT_SNAPSHOT_INTERNED_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/arena.h"

struct dt_interned {
	uint32_t size;                  /* of `bytes` */
	uint32_t index;                 /* the owner's: which row it stands for */
	alignas(8) unsigned char bytes[];
};

/* All 0: none. Its slots are its own, its entries in an arena. */
struct dt_interned_table {
	struct dt_interned_slot *slots;
	size_t room, count;             /* of slots, a power of two; of entries */
};

/* The entry of equal bytes, or NULL. *ret_hash is for dt_interned_add. */
struct dt_interned *dt_interned_find(const struct dt_interned_table *table, uint64_t seed, const void *bytes, size_t size,
				     uint32_t *ret_hash);
/* Adds bytes that are not there yet, in memory of the arena. NULL: no memory, or too long. */
struct dt_interned *dt_interned_add(struct dt_interned_table *table, struct dt_arena *arena, const void *bytes, size_t size,
				    uint32_t hash, uint32_t index);
void dt_interned_clear(struct dt_interned_table *table);

#endif
