/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/snapshot.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "snapshot/arena.h"
#include "snapshot/interned.h"
#include "snapshot/sizes.h"

#define ROWS_FIRST 16u                  /* a table's first room; a power of two */

struct dt_snapshot_store {
	struct dt_arena arena;
	struct dt_interned_table strings, frames, tracebacks;
	uint64_t seed;
	uint32_t *key;                  /* of the traceback that is looked for */
	size_t key_words;               /* room in it */
};

/* A traceback's key: these words, then its frames. */
enum { KEY_FRAME_COUNT, KEY_TOTAL_FRAMES, KEY_TRUNCATION, KEY_FRAMES };

int dt_snapshot_new(struct dt_snapshot **ret_snapshot)
{
	struct dt_snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return -ENOMEM;
	snapshot->store = calloc(1, sizeof(*snapshot->store));
	if (!snapshot->store) {
		dt_snapshot_free(snapshot);
		return -ENOMEM;
	}
	/* Early in boot there may be no random bytes yet; an address is then the best secret at hand. */
	if (getrandom(&snapshot->store->seed, sizeof(snapshot->store->seed), GRND_NONBLOCK) < 0)
		snapshot->store->seed = (uintptr_t)snapshot->store;
	*ret_snapshot = snapshot;
	return 0;
}

void dt_snapshot_free(struct dt_snapshot *snapshot)
{
	if (!snapshot)
		return;
	if (snapshot->store) {
		dt_interned_clear(&snapshot->store->strings);
		dt_interned_clear(&snapshot->store->frames);
		dt_interned_clear(&snapshot->store->tracebacks);
		dt_arena_clear(&snapshot->store->arena);
		free(snapshot->store->key);
		free(snapshot->store);
	}
	free(snapshot->processes);
	free(snapshot->domains);
	free(snapshot->traces);
	free(snapshot->tracebacks);
	free(snapshot->frames);
	free(snapshot);
}

const char *dt_snapshot_string(struct dt_snapshot *snapshot, const char *string)
{
	struct dt_snapshot_store *store = snapshot->store;
	struct dt_interned *entry;
	uint32_t hash;
	size_t size;

	if (!string)
		return NULL;
	size = strlen(string) + 1;
	entry = dt_interned_find(&store->strings, store->seed, string, size, &hash);
	if (!entry)
		entry = dt_interned_add(&store->strings, &store->arena, string, size, hash, 0);
	return entry ? (const char *)entry->bytes : NULL;
}

void *dt_snapshot_bytes(struct dt_snapshot *snapshot, size_t size)
{
	return dt_arena_alloc(&snapshot->store->arena, size);
}

/* Replaces *text by the snapshot's own copy. */
static int own_string(struct dt_snapshot *snapshot, const char **text)
{
	const char *own = dt_snapshot_string(snapshot, *text);

	if (*text && !own)
		return -ENOMEM;
	*text = own;
	return 0;
}

/* Makes room for one more row. The room follows from the count: it doubles whenever that reaches a power of two. */
static int reserve_row(void *table, uint32_t count, size_t row_size)
{
	void *rows;

	if (count == UINT32_MAX)
		return -EOVERFLOW;
	if (count && (count < ROWS_FIRST || (count & (count - 1))))
		return 0;
	memcpy(&rows, table, sizeof(rows));
	rows = reallocarray(rows, count ? (size_t)count * 2 : ROWS_FIRST, row_size);
	if (!rows)
		return -ENOMEM;
	memcpy(table, &rows, sizeof(rows));
	return 0;
}

#define RESERVE_ROW(rows, count) reserve_row(&(rows), count, sizeof(*(rows)))

static int own_command(struct dt_snapshot *snapshot, const char *const **command)
{
	size_t count = 0;
	const char **own;

	while (*command && (*command)[count])
		count++;
	own = dt_arena_alloc(&snapshot->store->arena, (count + 1) * sizeof(*own));
	if (!own)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		own[i] = dt_snapshot_string(snapshot, (*command)[i]);
		if (!own[i])
			return -ENOMEM;
	}
	own[count] = NULL;
	*command = own;
	return 0;
}

int dt_snapshot_add_process(struct dt_snapshot *snapshot, const struct dt_snapshot_process *row, uint32_t *ret_index)
{
	struct dt_snapshot_process own = *row;

	if (own_string(snapshot, &own.comm) || own_string(snapshot, &own.exe) || own_string(snapshot, &own.python) ||
	    own_command(snapshot, &own.command))
		return -ENOMEM;
	int error = RESERVE_ROW(snapshot->processes, snapshot->process_count);

	if (error)
		return error;
	*ret_index = snapshot->process_count++;
	snapshot->processes[*ret_index] = own;
	return 0;
}

int dt_snapshot_add_domain(struct dt_snapshot *snapshot, const struct dt_snapshot_domain *row, uint32_t *ret_index)
{
	struct dt_snapshot_domain own = *row;
	int error = own_string(snapshot, &own.name);

	error = error ? error : dt_sizes_own(snapshot, &own.sizes);
	if (!error)
		error = RESERVE_ROW(snapshot->domains, snapshot->domain_count);
	if (error)
		return error;
	*ret_index = snapshot->domain_count++;
	snapshot->domains[*ret_index] = own;
	return 0;
}

int dt_snapshot_add_trace(struct dt_snapshot *snapshot, const struct dt_snapshot_trace *row, uint32_t *ret_index)
{
	struct dt_snapshot_trace own = *row;
	int error = dt_sizes_own(snapshot, &own.sizes);

	error = error ? error : RESERVE_ROW(snapshot->traces, snapshot->trace_count);
	if (error)
		return error;
	*ret_index = snapshot->trace_count++;
	snapshot->traces[*ret_index] = own;
	return 0;
}

/* Writes the traceback's key; words are counted in *ret_words. */
static int build_key(struct dt_snapshot_store *store, const struct dt_snapshot_traceback *row, size_t *ret_words)
{
	size_t words = KEY_FRAMES + (size_t)row->frame_count;

	if (words > store->key_words) {
		uint32_t *key = reallocarray(store->key, words * 2, sizeof(*key));

		if (!key)
			return -ENOMEM;
		store->key = key;
		store->key_words = words * 2;
	}
	store->key[KEY_FRAME_COUNT] = row->frame_count;
	store->key[KEY_TOTAL_FRAMES] = row->total_frames;
	store->key[KEY_TRUNCATION] = row->truncation;
	if (row->frame_count)
		memcpy(store->key + KEY_FRAMES, row->frames, row->frame_count * sizeof(*row->frames));
	*ret_words = words;
	return 0;
}

int dt_snapshot_add_traceback(struct dt_snapshot *snapshot, const struct dt_snapshot_traceback *row, uint32_t *ret_index)
{
	struct dt_snapshot_store *store = snapshot->store;
	struct dt_interned *entry;
	size_t words;
	uint32_t hash;
	int error = build_key(store, row, &words);

	if (error)
		return error;
	entry = dt_interned_find(&store->tracebacks, store->seed, store->key, words * sizeof(*store->key), &hash);
	if (entry) {
		*ret_index = entry->index;
		return 0;
	}
	error = RESERVE_ROW(snapshot->tracebacks, snapshot->traceback_count);
	if (error)
		return error;
	entry = dt_interned_add(&store->tracebacks, &store->arena, store->key, words * sizeof(*store->key), hash,
				snapshot->traceback_count);
	if (!entry)
		return -ENOMEM;
	*ret_index = snapshot->traceback_count++;
	snapshot->tracebacks[*ret_index] = *row;
	snapshot->tracebacks[*ret_index].frames = (const uint32_t *)entry->bytes + KEY_FRAMES;
	return 0;
}

/* Copies field by field into cleared memory, so that equal frames are equal bytes, padding included. */
static int own_frame(struct dt_snapshot *snapshot, const struct dt_snapshot_frame *row, struct dt_snapshot_frame *own)
{
	memset(own, 0, sizeof(*own));
	own->kind = row->kind;
	own->function = row->function;
	own->file = row->file;
	own->line = row->line;
	own->first_line = row->first_line;
	own->module = row->module;
	own->build_id = row->build_id;
	own->address = row->address;
	own->function_offset = row->function_offset;
	own->inlined = row->inlined;
	if (own_string(snapshot, &own->function) || own_string(snapshot, &own->file) ||
	    own_string(snapshot, &own->module) || own_string(snapshot, &own->build_id))
		return -ENOMEM;
	return 0;
}

int dt_snapshot_add_frame(struct dt_snapshot *snapshot, const struct dt_snapshot_frame *row, uint32_t *ret_index)
{
	struct dt_snapshot_store *store = snapshot->store;
	struct dt_snapshot_frame own;
	struct dt_interned *entry;
	uint32_t hash;
	int error = own_frame(snapshot, row, &own);

	if (error)
		return error;
	entry = dt_interned_find(&store->frames, store->seed, &own, sizeof(own), &hash);
	if (entry) {
		*ret_index = entry->index;
		return 0;
	}
	error = RESERVE_ROW(snapshot->frames, snapshot->frame_count);
	if (error)
		return error;
	if (!dt_interned_add(&store->frames, &store->arena, &own, sizeof(own), hash, snapshot->frame_count))
		return -ENOMEM;
	*ret_index = snapshot->frame_count++;
	memcpy(&snapshot->frames[*ret_index], &own, sizeof(own));
	return 0;
}

int dt_snapshot_append_traceback(struct dt_snapshot *snapshot, const struct dt_snapshot_traceback *row)
{
	size_t bytes = row->frame_count * sizeof(*row->frames);
	uint32_t *frames = dt_arena_alloc(&snapshot->store->arena, bytes ? bytes : 1);
	int error = frames ? RESERVE_ROW(snapshot->tracebacks, snapshot->traceback_count) : -ENOMEM;

	if (error)
		return error;
	if (bytes)
		memcpy(frames, row->frames, bytes);
	snapshot->tracebacks[snapshot->traceback_count] = *row;
	snapshot->tracebacks[snapshot->traceback_count++].frames = frames;
	return 0;
}

int dt_snapshot_append_frame(struct dt_snapshot *snapshot, const struct dt_snapshot_frame *row)
{
	struct dt_snapshot_frame own;
	int error = own_frame(snapshot, row, &own);

	error = error ? error : RESERVE_ROW(snapshot->frames, snapshot->frame_count);
	if (!error)
		snapshot->frames[snapshot->frame_count++] = own;
	return error;
}

bool dt_snapshot_is_complete(const struct dt_snapshot *snapshot)
{
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++)
		if (dt_counter_is_loss(i) && snapshot->counters[i])
			return false;
	return true;
}
