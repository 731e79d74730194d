/* SPDX-License-Identifier: BSD-2-Clause */
/* extents: which parts of a row of places are taken. What is given back is taken again, the lowest that fits first. */
#ifndef DT_SESSION_EXTENTS_H
#define DT_SESSION_EXTENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dt_extent {
	uint64_t first, count;
};

struct dt_extents {
	struct dt_extent *rows;         /* by place */
	size_t count, room;
};

/* How much is needed where it begins at `first`, if that depends on it; never less than `least`. */
struct dt_extents_need {
	uint64_t least;
	uint64_t (*find)(const void *context, uint64_t first); /* NULL: always as much */
	const void *context;
};

/* Takes some of the first `limit` places, side by side; at least one. -ENOSPC, -ENOMEM. */
int dt_extents_take(struct dt_extents *extents, uint64_t limit, const struct dt_extents_need *need, struct dt_extent *ret_extent);
/* Gives back what begins there; nothing if nothing does. */
void dt_extents_give(struct dt_extents *extents, uint64_t first);
/* Is nothing of these places taken? */
bool dt_extents_is_free(const struct dt_extents *extents, struct dt_extent places);
void dt_extents_clear(struct dt_extents *extents);

#endif
