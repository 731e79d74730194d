/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/part.h"

#include "snapshot/sizes.h"

uint64_t dt_part_up_to(uint64_t upper_bytes)
{
	unsigned number = dt_size_class(upper_bytes);

	return number < DT_SIZE_CLASSES - 1 ? (2ull << number) - 1 : UINT64_MAX;
}

/* The classes that a trace has blocks of. Of one without sizes all: it was seen to that no part asks for some of them. */
static uint64_t present(const struct dt_snapshot_trace *trace)
{
	uint64_t classes = 0;

	for (uint32_t i = 0; i < trace->sizes.count; i++)
		classes |= 1ull << dt_size_class(trace->sizes.rows[i].upper_bytes);
	return classes ? classes : UINT64_MAX;
}

enum way { WAY_BY_SIZE, WAY_OLD, WAY_YOUNG, WAY_NONE };

/* How a part is taken; *ret_classes: of which classes. */
static enum way find_way(const struct dt_part *part, const struct dt_snapshot_trace *trace, uint64_t *ret_classes)
{
	uint64_t all = present(trace), old = part->old & all, young = part->young & all;

	/* Where all blocks are old, or none is, it does not matter what of the others is wanted. */
	if (!trace->old_blocks)
		old = young;
	else if (trace->old_blocks == trace->blocks)
		young = old;
	*ret_classes = old;
	if (old == young)
		return WAY_BY_SIZE;
	if (old == all && !young)
		return WAY_OLD;
	return young == all && !old ? WAY_YOUNG : WAY_NONE;
}

bool dt_part_is_known(const struct dt_part *part, const struct dt_snapshot_trace *trace)
{
	uint64_t classes;

	return find_way(part, trace, &classes) != WAY_NONE;
}

/* Sums up the classes that are left, and moves them to the front. */
static void cut_sizes(struct dt_snapshot_trace *trace, uint64_t classes)
{
	struct dt_snapshot_size *rows = (struct dt_snapshot_size *)trace->sizes.rows; /* the snapshot's own, and of this trace alone */
	uint32_t count = 0;

	trace->blocks = trace->bytes = 0;
	for (uint32_t i = 0; i < trace->sizes.count; i++) {
		if (!(classes >> dt_size_class(rows[i].upper_bytes) & 1))
			continue;
		trace->blocks += rows[i].blocks;
		trace->bytes += rows[i].bytes;
		rows[count++] = rows[i];
	}
	trace->sizes.count = count;
}

void dt_part_cut(const struct dt_part *part, struct dt_snapshot_trace *trace)
{
	uint64_t classes;
	enum way way = find_way(part, trace, &classes);

	if (way == WAY_OLD) {
		trace->blocks = trace->old_blocks;
		trace->bytes = trace->old_bytes;
	} else if (way == WAY_YOUNG) {
		trace->blocks -= trace->old_blocks;
		trace->bytes -= trace->old_bytes;
	} else if (!classes) {
		trace->blocks = trace->bytes = 0;
	} else if (trace->sizes.count) {
		cut_sizes(trace, classes);
	}
	trace->allocations = trace->blocks;
	trace->allocated_bytes = trace->peak_bytes = trace->at_peak_bytes = trace->bytes;
	trace->temporary = trace->old_blocks = trace->old_bytes = 0;
}
