/* SPDX-License-Identifier: BSD-2-Clause */
/* statistics: groups of traces, as the library hands them out. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "snapshot/group.h"
#include "snapshot/info.h"

struct dt_statistics {
	struct dt_groups groups;
};

static int fail(const struct dt_log *log, int error, enum dt_group group)
{
	if (error == -EINVAL)
		return dt_log_error(log, error, "cumulative figures go with lineno and filename, not with %s", dt_group_name(group));
	if (error == -EOVERFLOW)
		return dt_log_error(log, error, "the sums of the snapshot are beyond 64 bits, which no machine has");
	return dt_log_error(log, error, "the statistics cannot be made: %s", strerror(-error));
}

int dt_snapshot_compare_to(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, const struct dt_grouping_opts *opts,
			   const struct dt_log *log, struct dt_statistics **ret_statistics)
{
	static const struct dt_grouping_opts defaults = { .size = sizeof(defaults), .group = DT_GROUP_TRACEBACK };
	struct dt_statistics *statistics;
	int error;

	opts = opts ? opts : &defaults;
	if (opts->size < sizeof(*opts) || (unsigned)opts->group >= DT_GROUP_COUNT_ || (unsigned)opts->sort >= DT_SORT_COUNT_)
		return dt_log_error(log, -EINVAL, "there is no such group or order of statistics, or their options have no size");
	statistics = calloc(1, sizeof(*statistics));
	error = statistics ? 0 : -ENOMEM;
	if (!error)
		error = dt_groups_make(snapshot, old, opts->group, opts->cumulative, opts->sort, &statistics->groups);
	if (error) {
		free(statistics);
		return fail(log, error, opts->group);
	}
	*ret_statistics = statistics;
	return 0;
}

int dt_snapshot_statistics(const struct dt_snapshot *snapshot, const struct dt_grouping_opts *opts, const struct dt_log *log,
			   struct dt_statistics **ret_statistics)
{
	return dt_snapshot_compare_to(snapshot, NULL, opts, log, ret_statistics);
}

void dt_statistics_free(struct dt_statistics *statistics)
{
	if (!statistics)
		return;
	dt_groups_clear(&statistics->groups);
	free(statistics);
}

size_t dt_statistics_count(const struct dt_statistics *statistics)
{
	return statistics->groups.row_count;
}

/* How many frames its key has: by what they are summed up. */
static uint32_t frame_count(const struct dt_keys *keys, const struct dt_key *key)
{
	switch (keys->group) {
	case DT_GROUP_DOMAIN:
	case DT_GROUP_PROCESS:
		return 0;
	case DT_GROUP_TRACEBACK:
		return key->place_count;
	default:
		return 1;
	}
}

int dt_statistics_get(const struct dt_statistics *statistics, size_t index, struct dt_statistic *statistic)
{
	const struct dt_keys *keys = &statistics->groups.keys;
	const struct dt_group_row *row = &statistics->groups.rows[index];
	const struct dt_key *key;
	const struct dt_place *place;
	struct dt_statistic filled;

	if (index >= statistics->groups.row_count)
		return -ERANGE;
	key = &keys->keys[row->key];
	place = &keys->places[key->places[keys->group == DT_GROUP_TRACEBACK ? key->place_count - 1 : 0]];
	filled = (struct dt_statistic){
		.name = place->name,
		.live_blocks = row->now->blocks,
		.live_bytes = row->now->bytes,
		.old_live_blocks = row->old->blocks,
		.old_live_bytes = row->old->bytes,
		.allocations = row->now->allocations,
		.allocated_bytes = row->now->allocated_bytes,
		.peak_bytes = row->now->peak_bytes,
		.peak_exact = row->now->traces <= 1,
		.is_new = !row->was_old,
		.is_gone = !row->is_now,
		.pid = keys->group == DT_GROUP_PROCESS ? (pid_t)place->number : 0,
		.frame_count = frame_count(keys, key),
	};
	return dt_info_fill(statistic, &filled, sizeof(filled));
}

/* The frame of the snapshot that a place of a key was made of. NULL: there is none. */
static const struct dt_snapshot_frame *find_frame(const struct dt_keys *keys, const struct dt_key *key, size_t number)
{
	if (key->example == UINT32_MAX)
		return NULL;
	if (keys->group != DT_GROUP_TRACEBACK)
		return &key->snapshot->frames[key->example];
	return &key->snapshot->frames[key->snapshot->tracebacks[key->example].frames[number]];
}

int dt_statistics_get_frame(const struct dt_statistics *statistics, size_t index, size_t frame, struct dt_frame_info *info)
{
	const struct dt_keys *keys = &statistics->groups.keys;
	const struct dt_snapshot_frame *found;
	const struct dt_key *key;
	struct dt_place place;

	if (index >= statistics->groups.row_count)
		return -ERANGE;
	key = &keys->keys[statistics->groups.rows[index].key];
	if (frame >= frame_count(keys, key))
		return -ERANGE;
	found = find_frame(keys, key, frame);
	place = keys->group == DT_GROUP_FUNCTION || keys->group == DT_GROUP_MODULE ? dt_place_of(found) : keys->places[key->places[frame]];
	return dt_info_fill_frame(found, place.name, place.number, info);
}
