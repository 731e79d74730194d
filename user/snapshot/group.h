/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * group: the traces of a snapshot summed up by a key, in tracemalloc's order: Snapshot.statistics() and .compare_to().
 *
 * What tracemalloc calls size and count are live bytes and blocks here. Ordered by live bytes (DT_SORT_LIVE), rows are the same, in the
 * same order, as those of CPython's Lib/tracemalloc.py; for other figures the order is made in the same way from them.
 */
#ifndef DT_SNAPSHOT_GROUP_H
#define DT_SNAPSHOT_GROUP_H

#include "snapshot/key.h"

struct dt_figures {
	uint64_t blocks, bytes, allocations, allocated_bytes;
	uint64_t peak_bytes;            /* the sum of those of `traces` traces: what they can have had at most, or exact, for one */
	uint64_t at_peak_bytes;         /* each at the peak of its own domain */
	uint64_t temporary;
	uint64_t old_blocks, old_bytes;
	uint32_t traces;
};

struct dt_group_row {
	const struct dt_figures *now, *old; /* old: all 0 in statistics */
	uint32_t key;                   /* number */
	bool is_now, was_old;           /* whether it is, and was, there at all */
};

struct dt_groups {
	struct dt_keys keys;
	struct dt_group_row *rows;
	size_t row_count;
	struct dt_figures *now, *old;   /* by the number of the key: what rows point to */
	enum dt_sort sort;
};

/*
 * `cumulative`: a trace counts for every frame of its traceback, as often as the key is in it, as tracemalloc counts; only by lineno and
 * filename (-EINVAL). Traces without the figure that `sort` asks for, such as live blocks, are left out.
 * `old`: NULL, or what to compare with: then the differences decide the order. -ENOMEM, -EOVERFLOW: sums beyond 64 bits.
 * The snapshots must live as long as the groups.
 */
int dt_groups_make(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, enum dt_group group, bool cumulative,
		   enum dt_sort sort, struct dt_groups *ret_groups);
void dt_groups_clear(struct dt_groups *groups);

/* The figure of an order. */
uint64_t dt_figures_get(const struct dt_figures *figures, enum dt_sort sort);

#endif
