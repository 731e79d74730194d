/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"

#define PLACES_MAX 2                    /* of a key that is no traceback */

static const char *const group_names[DT_GROUP_COUNT_] = {
	[DT_GROUP_TRACEBACK] = "traceback",
	[DT_GROUP_LINENO] = "lineno",
	[DT_GROUP_FILENAME] = "filename",
	[DT_GROUP_FUNCTION] = "function",
	[DT_GROUP_MODULE] = "module",
	[DT_GROUP_DOMAIN] = "domain",
	[DT_GROUP_PROCESS] = "process",
};

const char *dt_group_name(enum dt_group group)
{
	return group_names[group];
}

int dt_group_parse(const char *name, enum dt_group *ret_group)
{
	for (enum dt_group group = 0; group < DT_GROUP_COUNT_; group++)
		if (!strcmp(name, group_names[group])) {
			*ret_group = group;
			return 0;
		}
	return -EINVAL;
}

void dt_keys_init(struct dt_keys *keys, enum dt_group group)
{
	*keys = (struct dt_keys){ .group = group };
	/* As in snapshot.c: an address is the best secret there is while there are no random bytes. */
	if (getrandom(&keys->seed, sizeof(keys->seed), GRND_NONBLOCK) < 0)
		keys->seed = (uintptr_t)keys;
}

void dt_keys_clear(struct dt_keys *keys)
{
	dt_interned_clear(&keys->place_table);
	dt_interned_clear(&keys->name_table);
	dt_interned_clear(&keys->key_table);
	dt_arena_clear(&keys->arena);
	free(keys->places);
	free(keys->keys);
	*keys = (struct dt_keys){ 0 };
}

/* Room for one more row; it doubles whenever the count reaches a power of two. */
static int reserve(void *rows, uint32_t count, size_t size)
{
	void *grown;

	if (count & (count - 1) || count == UINT32_MAX)
		return count == UINT32_MAX ? -ENOMEM : 0;
	memcpy(&grown, rows, sizeof(grown));
	grown = reallocarray(grown, count ? (size_t)count * 2 : 1, size);
	if (!grown)
		return -ENOMEM;
	memcpy(rows, &grown, sizeof(grown));
	return 0;
}

/* ---- places --------------------------------------------------------------------------------------------------- */

/* One pointer for equal names, whichever snapshot they come from. NULL: no memory. */
static const char *intern_name(struct dt_keys *keys, const char *name)
{
	size_t size = strlen(name) + 1;
	uint32_t hash;
	struct dt_interned *entry = dt_interned_find(&keys->name_table, keys->seed, name, size, &hash);

	if (!entry)
		entry = dt_interned_add(&keys->name_table, &keys->arena, name, size, hash, 0);
	return entry ? (const char *)entry->bytes : NULL;
}

static int intern_place(struct dt_keys *keys, struct dt_place place, uint32_t *ret_number)
{
	struct { const char *name; uint64_t number; } own = { intern_name(keys, place.name), place.number };
	struct dt_interned *entry;
	uint32_t hash;
	int error;

	if (!own.name)
		return -ENOMEM;
	entry = dt_interned_find(&keys->place_table, keys->seed, &own, sizeof(own), &hash);
	if (!entry) {
		error = reserve(&keys->places, keys->place_count, sizeof(*keys->places));
		if (error)
			return error;
		entry = dt_interned_add(&keys->place_table, &keys->arena, &own, sizeof(own), hash, keys->place_count);
		if (!entry)
			return -ENOMEM;
		keys->places[keys->place_count++] = (struct dt_place){ own.name, own.number };
	}
	*ret_number = entry->index;
	return 0;
}

/* ---- keys ----------------------------------------------------------------------------------------------------- */

static int intern_key(struct dt_keys *keys, const uint32_t *places, uint32_t count, const struct dt_snapshot *snapshot,
		      uint32_t example, uint32_t *ret_number)
{
	uint32_t hash;
	struct dt_interned *entry = dt_interned_find(&keys->key_table, keys->seed, places, count * sizeof(*places), &hash);
	int error;

	if (!entry) {
		error = reserve(&keys->keys, keys->key_count, sizeof(*keys->keys));
		if (error)
			return error;
		entry = dt_interned_add(&keys->key_table, &keys->arena, places, count * sizeof(*places), hash, keys->key_count);
		if (!entry)
			return -ENOMEM;
		keys->keys[keys->key_count++] = (struct dt_key){ (const uint32_t *)entry->bytes, count, snapshot, example };
	}
	*ret_number = entry->index;
	return 0;
}

static const char *text_or_unknown(const char *text)
{
	return text ? text : DT_PLACE_UNKNOWN;
}

/* The key of a frame, or of none (NULL), where one frame decides. Returns how many places it has. */
static uint32_t describe_frame(enum dt_group group, const struct dt_snapshot_frame *frame, struct dt_place places[PLACES_MAX])
{
	places[0] = dt_place_of(frame);
	switch (group) {
	case DT_GROUP_FILENAME:
		places[0].number = 0;
		return 1;
	case DT_GROUP_MODULE:
		places[0] = (struct dt_place){ frame && frame->module ? frame->module : places[0].name, 0 };
		return 1;
	case DT_GROUP_FUNCTION:
		places[1] = (struct dt_place){ places[0].name, 0 };
		places[0] = (struct dt_place){ text_or_unknown(frame ? frame->function : NULL), 0 };
		return 2;
	default:
		return 1;
	}
}

static uint32_t describe_domain(enum dt_group group, const struct dt_snapshot *snapshot, uint32_t index,
				struct dt_place places[PLACES_MAX])
{
	const struct dt_snapshot_domain *domain = &snapshot->domains[index];
	const struct dt_snapshot_process *process = &snapshot->processes[domain->process];

	if (group == DT_GROUP_DOMAIN) {
		places[0] = (struct dt_place){ domain->name, 0 };
		return 1;
	}
	places[0] = (struct dt_place){ text_or_unknown(process->comm), (uint64_t)process->pid };
	places[1] = (struct dt_place){ "", process->start_time_ns };
	return 2;
}

static int intern_described(struct dt_keys *keys, const struct dt_place places[], uint32_t count,
			    const struct dt_snapshot *snapshot, uint32_t example, uint32_t *ret_number)
{
	uint32_t numbers[PLACES_MAX];
	int error = 0;

	for (uint32_t i = 0; i < count && !error; i++)
		error = intern_place(keys, places[i], &numbers[i]);
	return error ? error : intern_key(keys, numbers, count, snapshot, example, ret_number);
}

/* Keys of single frames, and one behind them for none. */
static int number_frames(struct dt_keys *keys, const struct dt_snapshot *snapshot, uint32_t *numbers)
{
	struct dt_place places[PLACES_MAX];
	int error = 0;

	for (uint32_t i = 0; i < snapshot->frame_count && !error; i++)
		error = intern_described(keys, places, describe_frame(keys->group, &snapshot->frames[i], places), snapshot, i, &numbers[i]);
	return error;
}

static int number_no_frame(struct dt_keys *keys, const struct dt_snapshot *snapshot, uint32_t *number)
{
	struct dt_place places[PLACES_MAX];

	return intern_described(keys, places, describe_frame(keys->group, NULL, places), snapshot, UINT32_MAX, number);
}

static int number_domains(struct dt_keys *keys, const struct dt_snapshot *snapshot, uint32_t *numbers)
{
	struct dt_place places[PLACES_MAX];
	int error = 0;

	for (uint32_t i = 0; i < snapshot->domain_count && !error; i++) {
		uint32_t example = keys->group == DT_GROUP_DOMAIN ? i : snapshot->domains[i].process;

		error = intern_described(keys, places, describe_domain(keys->group, snapshot, i, places), snapshot, example, &numbers[i]);
	}
	return error;
}

/* ---- tracebacks ----------------------------------------------------------------------------------------------- */

static uint32_t longest(const struct dt_snapshot *snapshot)
{
	uint32_t most = 1;

	for (uint32_t i = 0; i < snapshot->traceback_count; i++)
		if (snapshot->tracebacks[i].frame_count > most)
			most = snapshot->tracebacks[i].frame_count;
	return most;
}

/* By all frames, which are places here. */
static int number_whole_tracebacks(struct dt_keys *keys, const struct dt_snapshot *snapshot, uint32_t *numbers)
{
	DT_FREE uint32_t *places = calloc(snapshot->frame_count + 1ul, sizeof(*places));
	DT_FREE uint32_t *line = calloc(longest(snapshot), sizeof(*line));
	int error = places && line ? 0 : -ENOMEM;

	for (uint32_t i = 0; i < snapshot->frame_count && !error; i++)
		error = intern_place(keys, dt_place_of(&snapshot->frames[i]), &places[i]);
	for (uint32_t i = 0; i < snapshot->traceback_count && !error; i++) {
		const struct dt_snapshot_traceback *row = &snapshot->tracebacks[i];

		for (uint32_t k = 0; k < row->frame_count; k++)
			line[k] = places[row->frames[k]];
		error = row->frame_count ? intern_key(keys, line, row->frame_count, snapshot, i, &numbers[i]) :
					   number_no_frame(keys, snapshot, &numbers[i]);
	}
	return error;
}

/* By the most recent frame. */
static int number_tracebacks(struct dt_keys *keys, const struct dt_snapshot *snapshot, uint32_t *numbers)
{
	DT_FREE uint32_t *frames = NULL;
	int error = dt_keys_of(keys, snapshot, true, &frames);

	for (uint32_t i = 0; i < snapshot->traceback_count && !error; i++) {
		const struct dt_snapshot_traceback *row = &snapshot->tracebacks[i];

		numbers[i] = frames[row->frame_count ? row->frames[row->frame_count - 1] : snapshot->frame_count];
	}
	return error;
}

int dt_keys_of(struct dt_keys *keys, const struct dt_snapshot *snapshot, bool by_frame, uint32_t **ret_numbers)
{
	bool by_domain = keys->group == DT_GROUP_DOMAIN || keys->group == DT_GROUP_PROCESS;
	size_t count = by_domain ? snapshot->domain_count : by_frame ? snapshot->frame_count : snapshot->traceback_count;
	DT_FREE uint32_t *numbers = calloc(count + 1, sizeof(*numbers));
	int error = numbers ? 0 : -ENOMEM;

	if (error)
		return error;
	if (by_domain)
		error = number_domains(keys, snapshot, numbers);
	else if (by_frame)
		error = number_frames(keys, snapshot, numbers);
	else if (keys->group == DT_GROUP_TRACEBACK)
		error = number_whole_tracebacks(keys, snapshot, numbers);
	else
		error = number_tracebacks(keys, snapshot, numbers);
	if (!error && by_frame && !by_domain)
		error = number_no_frame(keys, snapshot, &numbers[count]);
	if (!error)
		*ret_numbers = DT_TAKE(numbers);
	return error;
}

int dt_keys_compare(const struct dt_keys *keys, uint32_t a, uint32_t b)
{
	const struct dt_key *one = &keys->keys[a], *other = &keys->keys[b];

	for (uint32_t i = 0; i < one->place_count && i < other->place_count; i++)
		if (one->places[i] != other->places[i])
			return dt_place_compare(&keys->places[one->places[i]], &keys->places[other->places[i]]);
	return (one->place_count > other->place_count) - (one->place_count < other->place_count);
}
