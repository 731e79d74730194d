/* SPDX-License-Identifier: BSD-2-Clause */
/* kind: tracebacks with only one kind of frames, such as those that tracemalloc has. */
#ifndef DT_SNAPSHOT_KIND_H
#define DT_SNAPSHOT_KIND_H

#include "snapshot/snapshot.h"

/*
 * Takes the frames of the other kind out of all tracebacks; of those beyond the limit nobody knows the kind, so total_frames counts
 * them still. Tracebacks that become equal stay apart.
 */
void dt_kind_keep(struct dt_snapshot *snapshot, enum dt_frame_kind kind);

#endif
