/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/interned.h"

#include <string.h>

/* Mixes a word in by a full multiplication, both halves of which are kept. */
static uint64_t mix(uint64_t state, uint64_t word)
{
	unsigned __int128 product = (unsigned __int128)(state ^ word) * 0x9e3779b97f4a7c15u;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * The bytes come from traced processes, which may have chosen them to collide under a hash that they know: hence the
 * secret seed, and no use of uthash's own functions, which have none.
 */
static uint32_t hash_bytes(uint64_t seed, const unsigned char *bytes, size_t size)
{
	uint64_t state = mix(seed, size ^ 0xd1b54a32d192ed03u), word;

	for (; size >= sizeof(word); bytes += sizeof(word), size -= sizeof(word)) {
		memcpy(&word, bytes, sizeof(word));
		state = mix(state, word) + seed;
	}
	word = 0;
	memcpy(&word, bytes, size);
	return (uint32_t)mix(mix(state, word), seed);
}

struct dt_interned *dt_interned_find(struct dt_interned *table, uint64_t seed, const void *bytes, size_t size,
				     uint32_t *ret_hash)
{
	struct dt_interned *entry = NULL;

	*ret_hash = hash_bytes(seed, bytes, size);
	HASH_FIND_BYHASHVALUE(hh, table, bytes, size, *ret_hash, entry);
	return entry;
}

struct dt_interned *dt_interned_add(struct dt_interned **table, struct dt_arena *arena, const void *bytes, size_t size,
				    uint32_t hash, uint32_t index)
{
	struct dt_interned *entry;

	if (size >= DT_INTERNED_NOT_ADDED)
		return NULL;
	entry = dt_arena_alloc(arena, sizeof(*entry) + size);
	if (!entry)
		return NULL;
	memset(&entry->hh, 0, sizeof(entry->hh));
	entry->size = (uint32_t)size;
	entry->index = index;
	memcpy(entry->bytes, bytes, size);
	HASH_ADD_KEYPTR_BYHASHVALUE(hh, *table, entry->bytes, entry->size, hash, entry);
	return entry->size == DT_INTERNED_NOT_ADDED ? NULL : entry;
}

void dt_interned_clear(struct dt_interned **table)
{
	HASH_CLEAR(hh, *table);
}
