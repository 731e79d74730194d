/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * key: what traces are grouped by: a list of places, the oldest first. Equal ones have one number, across snapshots.
 *
 *   traceback  a place for each frame             function  the function; the file or module that it is in
 *   lineno     the most recent frame              module    the module, or the file where there is none
 *   filename   its file, with line 0              domain    the name
 *                                                 process   name and pid; when it began
 * The first three are tracemalloc's.
 */
#ifndef DT_SNAPSHOT_KEY_H
#define DT_SNAPSHOT_KEY_H

#include <domtrace/domtrace.h>

#include "snapshot/arena.h"
#include "snapshot/interned.h"
#include "snapshot/place.h"

struct dt_key {
	const uint32_t *places;         /* numbers of places */
	uint32_t place_count;
	const struct dt_snapshot *snapshot; /* one that has it, and there … */
	uint32_t example;               /* … a traceback, a frame, a domain or a process; UINT32_MAX: a traceback without frames */
};

/* Snapshots whose keys are in it must live as long. */
struct dt_keys {
	enum dt_group group;
	struct dt_arena arena;
	struct dt_interned_table place_table, name_table, key_table;
	struct dt_place *places;
	struct dt_key *keys;
	uint32_t place_count, key_count;
	uint64_t seed;
};

void dt_keys_init(struct dt_keys *keys, enum dt_group group);
void dt_keys_clear(struct dt_keys *keys);
/*
 * Numbers of the keys of all tracebacks (or, where the group is by domain or process, of all domains) of a snapshot; *ret_frames: with `by_frame`, of
 * all frames instead, as cumulative figures need them, and one more behind them for a traceback without frames. The caller's to free. -ENOMEM.
 */
int dt_keys_of(struct dt_keys *keys, const struct dt_snapshot *snapshot, bool by_frame, uint32_t **ret_numbers);
/* As Python compares the tracebacks of statistics. */
int dt_keys_compare(const struct dt_keys *keys, uint32_t a, uint32_t b);

#endif
