/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * place: a frame as tracemalloc sees it: a file name and a line number.
 *
 * A native frame of which no source line is known is its module, with the address in it for the line; tools/to_tracemalloc.py does
 * the same. A traceback without frames is one frame of tracemalloc's: ("<unknown>", 0).
 */
#ifndef DT_SNAPSHOT_PLACE_H
#define DT_SNAPSHOT_PLACE_H

#include "snapshot/snapshot.h"

#define DT_PLACE_UNKNOWN "<unknown>"

struct dt_place {
	const char *name;
	uint64_t number;
};

/* NULL: no frame. */
struct dt_place dt_place_of(const struct dt_snapshot_frame *frame);
/* By name, then by number, as Python compares such tuples: UTF-8 has the order of its characters. */
int dt_place_compare(const struct dt_place *a, const struct dt_place *b);
/* The frame that allocated, or NULL. */
const struct dt_snapshot_frame *dt_place_most_recent(const struct dt_snapshot *snapshot, uint32_t traceback);

#endif
