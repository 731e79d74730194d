/* SPDX-License-Identifier: BSD-2-Clause */
/* interned: byte sequences stored once, found again in constant time. */
#ifndef DT_SNAPSHOT_INTERNED_H
#define DT_SNAPSHOT_INTERNED_H

#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>

/* Without memory an entry is not added and the caller hears of it; the default would end the program. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(entry) ((entry)->size = DT_INTERNED_NOT_ADDED)
#include <uthash.h>

#include "snapshot/arena.h"

#define DT_INTERNED_NOT_ADDED UINT32_MAX

struct dt_interned {
	UT_hash_handle hh;
	uint32_t size;                  /* of `bytes` */
	uint32_t index;                 /* the owner's: which row it stands for */
	alignas(8) unsigned char bytes[];
};

/* The entry of equal bytes, or NULL. *ret_hash is for dt_interned_add. */
struct dt_interned *dt_interned_find(struct dt_interned *table, uint64_t seed, const void *bytes, size_t size,
				     uint32_t *ret_hash);
/* Adds bytes that are not there yet, in memory of the arena. NULL: no memory, or too long. */
struct dt_interned *dt_interned_add(struct dt_interned **table, struct dt_arena *arena, const void *bytes, size_t size,
				    uint32_t hash, uint32_t index);
void dt_interned_clear(struct dt_interned **table);

#endif
