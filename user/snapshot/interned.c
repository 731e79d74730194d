/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/interned.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_FIRST ((size_t)16)

/* Mixes a word in by a full multiplication, both halves of which are kept. */
static uint64_t mix(uint64_t state, uint64_t word)
{
	unsigned __int128 product = (unsigned __int128)(state ^ word) * 0x9e3779b97f4a7c15u;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/*
 * The bytes come from traced processes, which may have chosen them to collide under a hash that they know: hence the
 * secret seed.
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

/* A slot says enough of its entry that others are rarely looked at: their memory is far apart. */
struct dt_interned_slot {
	struct dt_interned *entry;      /* NULL: it is free */
	uint32_t hash, size;
};

/* The slot of equal bytes, or the free one where they belong. There is always a free one. */
static struct dt_interned_slot *find_slot(const struct dt_interned_table *table, const void *bytes, size_t size, uint32_t hash)
{
	size_t mask = table->room - 1;

	for (size_t at = hash & mask;; at = (at + 1) & mask) {
		struct dt_interned_slot *slot = &table->slots[at];

		if (!slot->entry || (slot->hash == hash && slot->size == size && !memcmp(slot->entry->bytes, bytes, size)))
			return slot;
	}
}

struct dt_interned *dt_interned_find(const struct dt_interned_table *table, uint64_t seed, const void *bytes, size_t size,
				     uint32_t *ret_hash)
{
	*ret_hash = hash_bytes(seed, bytes, size);
	return table->room ? find_slot(table, bytes, size, *ret_hash)->entry : NULL;
}

/* So many slots that at most half of them are taken. False: no memory. */
static bool make_room(struct dt_interned_table *table)
{
	size_t room = table->room ? table->room * 2 : SLOTS_FIRST;
	struct dt_interned_slot *slots;

	if (table->count < table->room / 2)
		return true;
	slots = reallocarray(NULL, room, sizeof(*slots));
	if (!slots)
		return false;
	/* Not calloc(): a page of its that is read before it is written costs two faults. */
	memset(slots, 0, room * sizeof(*slots));
	for (size_t i = 0; i < table->room; i++) {
		size_t at = table->slots[i].hash & (room - 1);

		if (!table->slots[i].entry)
			continue;
		while (slots[at].entry)
			at = (at + 1) & (room - 1);
		slots[at] = table->slots[i];
	}
	free(table->slots);
	table->slots = slots;
	table->room = room;
	return true;
}

struct dt_interned *dt_interned_add(struct dt_interned_table *table, struct dt_arena *arena, const void *bytes, size_t size,
				    uint32_t hash, uint32_t index)
{
	struct dt_interned *entry;

	if (size > UINT32_MAX || !make_room(table))
		return NULL;
	entry = dt_arena_alloc(arena, sizeof(*entry) + size);
	if (!entry)
		return NULL;
	entry->size = (uint32_t)size;
	entry->index = index;
	memcpy(entry->bytes, bytes, size);
	*find_slot(table, bytes, size, hash) = (struct dt_interned_slot){ entry, hash, entry->size };
	table->count++;
	return entry;
}

void dt_interned_clear(struct dt_interned_table *table)
{
	free(table->slots);
	*table = (struct dt_interned_table){ 0 };
}
