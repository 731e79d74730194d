/* SPDX-License-Identifier: BSD-2-Clause */
/* fold: tracebacks that end where memory was asked for, not in the functions that passed the request on. */
#ifndef DT_EXPORT_FOLD_H
#define DT_EXPORT_FOLD_H

#include "snapshot/snapshot.h"

/*
 * A copy in which every traceback ends with its first frame, from the most recent one on, that is no wrapper of an
 * allocator (or with its oldest). Frames lose what a report does not show of them, so that tracebacks that look
 * the same are the same; traces that become equal are one with the sums of their figures. Peaks of different moments have no
 * sum: a trace's is the most that it can have been. -ENOMEM, -EOVERFLOW.
 */
int dt_fold_new(const struct dt_snapshot *snapshot, struct dt_snapshot **ret_folded);

#endif
