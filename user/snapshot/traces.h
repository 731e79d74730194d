/* SPDX-License-Identifier: BSD-2-Clause */
/* traces: fewer of them, and domains that are the sums of what is left. */
#ifndef DT_SNAPSHOT_TRACES_H
#define DT_SNAPSHOT_TRACES_H

#include <stdbool.h>

#include "snapshot/part.h"
#include "snapshot/snapshot.h"

/*
 * Drops each trace whose flag in `kept` is false. Domains that lose some are what the others sum up to; of their peaks only an upper
 * bound is known then. -ENOMEM, and nothing has changed.
 */
int dt_traces_keep(struct dt_snapshot *snapshot, const bool *kept);
/*
 * Leaves of each trace the part that belongs to it, which is known, and drops traces without live blocks. Domains are the sums of what
 * is left, as though nothing else had been allocated. Ages are forgotten, and sizes, too, unless `keep_sizes`. -ENOMEM.
 */
int dt_traces_cut(struct dt_snapshot *snapshot, const struct dt_part *parts, bool keep_sizes);

#endif
