/* SPDX-License-Identifier: BSD-2-Clause */
/* traces: fewer of them, and domains that are the sums of what is left. */
#ifndef DT_SNAPSHOT_TRACES_H
#define DT_SNAPSHOT_TRACES_H

#include <stdbool.h>

#include "snapshot/snapshot.h"

/*
 * Drops each trace whose flag in `kept` is false. Domains that lose some are what the others sum up to; of their peaks only an upper
 * bound is known then. -ENOMEM, and nothing has changed.
 */
int dt_traces_keep(struct dt_snapshot *snapshot, const bool *kept);

#endif
