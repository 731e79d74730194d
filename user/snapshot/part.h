/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * part: some of a trace's live blocks, by size class and by being old.
 *
 * A row knows how many of its blocks are of each class (snapshot/sizes.h), and how many are old, but not which old ones are of which
 * class: where a part would need that, there is no exact answer.
 */
#ifndef DT_SNAPSHOT_PART_H
#define DT_SNAPSHOT_PART_H

#include <stdbool.h>
#include <stdint.h>

#include "snapshot/snapshot.h"

/* A bit for each size class, from the first on, of old blocks and of the others. */
struct dt_part {
	uint64_t old, young;
};

#define DT_PART_ALL ((struct dt_part){ UINT64_MAX, UINT64_MAX })

/* The classes up to a power of two, and those above it. */
uint64_t dt_part_up_to(uint64_t upper_bytes);

/* Is it known which blocks of a trace these are? */
bool dt_part_is_known(const struct dt_part *part, const struct dt_snapshot_trace *trace);
/*
 * Leaves of a trace these live blocks, as though they were all that it ever allocated. The memory of its sizes is cut in place. Only of
 * parts that are known.
 */
void dt_part_cut(const struct dt_part *part, struct dt_snapshot_trace *trace);

#endif
