/* SPDX-License-Identifier: BSD-2-Clause */
/* rule_ranges: ranges of addresses with an unwind rule each, put in order and laid over one another. */
#ifndef DT_TARGET_RULE_RANGES_H
#define DT_TARGET_RULE_RANGES_H

#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

struct dt_rule_range {
	uint64_t start, end;            /* end exclusive */
	struct dt_unwind_rule rule;
};

/* A zeroed one is empty. */
struct dt_rule_ranges {
	struct dt_rule_range *items;
	size_t count, space;
};

void dt_rule_ranges_clear(struct dt_rule_ranges *ranges);
/* Behind all others. 0, -ENOMEM. */
int dt_rule_ranges_add(struct dt_rule_ranges *ranges, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule);
/*
 * By address and without overlaps: where ranges overlap, the one that begins last counts, as it does for those who look
 * addresses up in the sorted table of .eh_frame_hdr (LSB 5.0, 10.6.2); of two that begin together the one that was added
 * first. -ENOMEM leaves them as they were.
 */
int dt_rule_ranges_sort(struct dt_rule_ranges *ranges);
/* Of two that are sorted: `ranges`, and what of `below` they leave open. -ENOMEM leaves them as they were. */
int dt_rule_ranges_cover(struct dt_rule_ranges *ranges, const struct dt_rule_ranges *below);
/* Of two that are sorted: the parts of `ranges` that are in `mask`. -ENOMEM leaves them as they were. */
int dt_rule_ranges_cut(struct dt_rule_ranges *ranges, const struct dt_rule_ranges *mask);

#endif
