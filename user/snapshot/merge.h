/* SPDX-License-Identifier: BSD-2-Clause */
/* merge: one snapshot with the processes of several, such as of runs on several machines. */
#ifndef DT_SNAPSHOT_MERGE_H
#define DT_SNAPSHOT_MERGE_H

#include "snapshot/snapshot.h"

/*
 * Adds the tables of `from` to `into`, which must have been filled by this alone. Of what there is only one (label, time …) the latest
 * snapshot decides; counters add up. -EEXIST: a domain of the same process (number and start) is in both and would count twice;
 * *ret_process is its row in `from`. -ENOMEM, -EOVERFLOW: `into` is good for nothing then.
 */
int dt_merge_add(struct dt_snapshot *into, const struct dt_snapshot *from, uint32_t *ret_process);

#endif
