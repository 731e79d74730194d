/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/place.h"

#include <string.h>

struct dt_place dt_place_of(const struct dt_snapshot_frame *frame)
{
	if (!frame)
		return (struct dt_place){ DT_PLACE_UNKNOWN, 0 };
	if (frame->file)
		return (struct dt_place){ frame->file, frame->line > 0 ? (uint64_t)frame->line : 0 };
	return (struct dt_place){ frame->module ? frame->module : DT_PLACE_UNKNOWN, frame->address };
}

int dt_place_compare(const struct dt_place *a, const struct dt_place *b)
{
	int by = a->name == b->name ? 0 : strcmp(a->name, b->name);

	return by ? by : (a->number > b->number) - (a->number < b->number);
}

const struct dt_snapshot_frame *dt_place_most_recent(const struct dt_snapshot *snapshot, uint32_t traceback)
{
	const struct dt_snapshot_traceback *row = &snapshot->tracebacks[traceback];

	return row->frame_count ? &snapshot->frames[row->frames[row->frame_count - 1]] : NULL;
}
