/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/kind.h"

void dt_kind_keep(struct dt_snapshot *snapshot, enum dt_frame_kind kind)
{
	for (uint32_t i = 0; i < snapshot->traceback_count; i++) {
		struct dt_snapshot_traceback *row = &snapshot->tracebacks[i];
		uint32_t *frames = (uint32_t *)row->frames; /* the snapshot's own, and each belongs to one traceback */
		uint32_t count = 0;

		for (uint32_t k = 0; k < row->frame_count; k++)
			if (snapshot->frames[frames[k]].kind == kind)
				frames[count++] = frames[k];
		row->total_frames -= row->frame_count - count;
		row->frame_count = count;
	}
}
