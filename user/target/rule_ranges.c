/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/rule_ranges.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

void dt_rule_ranges_clear(struct dt_rule_ranges *ranges)
{
	free(ranges->items);
	*ranges = (struct dt_rule_ranges){ 0 };
}

int dt_rule_ranges_add(struct dt_rule_ranges *ranges, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	if (ranges->count == ranges->space) {
		size_t space = 2 * ranges->space + 64;
		struct dt_rule_range *items = reallocarray(ranges->items, space, sizeof(*items));

		if (!items)
			return -ENOMEM;
		ranges->items = items;
		ranges->space = space;
	}
	ranges->items[ranges->count++] = (struct dt_rule_range){ start, end, *rule };
	return 0;
}

/* ---- order --------------------------------------------------------------------------------------------------- */

/* Where the ascending run ends that begins at an index. */
static size_t find_run_end(const struct dt_rule_range *items, size_t count, size_t begin)
{
	size_t end = begin + 1;

	while (end < count && items[end].start >= items[end - 1].start)
		end++;
	return end < count ? end : count;
}

static void merge(const struct dt_rule_range *from, size_t begin, size_t middle, size_t end, struct dt_rule_range *to)
{
	size_t left = begin, right = middle;

	while (left < middle || right < end) {
		bool take_right = left == middle || (right < end && from[right].start < from[left].start);

		*to++ = from[take_right ? right++ : left++];
	}
}

/* Merges runs two by two; true when one is left. A linker writes tables mostly in order, so that there are few runs. */
static bool merge_runs(const struct dt_rule_range *from, size_t count, struct dt_rule_range *to)
{
	size_t pairs = 0;

	for (size_t begin = 0, end; begin < count; begin = end, pairs++) {
		size_t middle = find_run_end(from, count, begin);

		end = middle < count ? find_run_end(from, count, middle) : count;
		merge(from, begin, middle, end, to + begin);
	}
	return pairs <= 1;
}

static void resolve_overlaps(struct dt_rule_ranges *ranges)
{
	size_t kept = 0;

	for (size_t i = 0; i < ranges->count; i++) {
		struct dt_rule_range item = ranges->items[i];

		if (item.start >= item.end || (kept && ranges->items[kept - 1].start == item.start))
			continue;
		if (kept && ranges->items[kept - 1].end > item.start)
			ranges->items[kept - 1].end = item.start;
		ranges->items[kept++] = item;
	}
	ranges->count = kept;
}

int dt_rule_ranges_sort(struct dt_rule_ranges *ranges)
{
	struct dt_rule_range *other;
	bool sorted = ranges->count ? find_run_end(ranges->items, ranges->count, 0) == ranges->count : true;

	if (!sorted) {
		other = reallocarray(NULL, ranges->count, sizeof(*other));
		if (!other)
			return -ENOMEM;
		while (!sorted) {
			struct dt_rule_range *from = ranges->items;

			sorted = merge_runs(from, ranges->count, other);
			ranges->items = other;
			other = from;
		}
		free(other);
		ranges->space = ranges->count;
	}
	resolve_overlaps(ranges);
	return 0;
}

/* ---- one over another ---------------------------------------------------------------------------------------- */

static void replace(struct dt_rule_ranges *ranges, struct dt_rule_ranges *by)
{
	dt_rule_ranges_clear(ranges);
	*ranges = *by;
	*by = (struct dt_rule_ranges){ 0 };
}

#define RANGES_OWNED DT_CLEANUP(dt_rule_ranges_clear) struct dt_rule_ranges

static int add_range(struct dt_rule_ranges *ranges, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	return start < end ? dt_rule_ranges_add(ranges, start, end, rule) : 0;
}

/* What of `below` lies in [start, end), from the one at *index on, which is the first that ends behind `start`. */
static int add_between(struct dt_rule_ranges *ranges, const struct dt_rule_ranges *below, size_t *index, uint64_t start,
		       uint64_t end)
{
	int error = 0;

	while (*index < below->count && below->items[*index].end <= start)
		++*index;
	for (size_t i = *index; i < below->count && below->items[i].start < end && !error; i++) {
		const struct dt_rule_range *item = &below->items[i];

		*index = i;
		error = add_range(ranges, item->start > start ? item->start : start, item->end < end ? item->end : end, &item->rule);
	}
	return error;
}

int dt_rule_ranges_cover(struct dt_rule_ranges *ranges, const struct dt_rule_ranges *below)
{
	RANGES_OWNED all = { 0 };
	uint64_t open = 0;
	size_t index = 0;
	int error = 0;

	if (!below->count)
		return 0;
	for (size_t i = 0; i < ranges->count && !error; i++) {
		const struct dt_rule_range *item = &ranges->items[i];

		error = add_between(&all, below, &index, open, item->start);
		if (!error)
			error = dt_rule_ranges_add(&all, item->start, item->end, &item->rule);
		open = item->end;
	}
	if (!error)
		error = add_between(&all, below, &index, open, UINT64_MAX);
	if (!error)
		replace(ranges, &all);
	return error;
}

int dt_rule_ranges_cut(struct dt_rule_ranges *ranges, const struct dt_rule_ranges *mask)
{
	RANGES_OWNED parts = { 0 };
	size_t index = 0;
	int error = 0;

	for (size_t i = 0; i < mask->count && !error; i++)
		error = add_between(&parts, ranges, &index, mask->items[i].start, mask->items[i].end);
	if (!error)
		replace(ranges, &parts);
	return error;
}
