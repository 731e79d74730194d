/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int insert(struct dt_extents *extents, size_t at, struct dt_extent extent)
{
	if (extents->count == extents->room) {
		size_t room = extents->room ? 2 * extents->room : 16;
		struct dt_extent *grown = reallocarray(extents->rows, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		extents->rows = grown;
		extents->room = room;
	}
	memmove(extents->rows + at + 1, extents->rows + at, (extents->count++ - at) * sizeof(*extents->rows));
	extents->rows[at] = extent;
	return 0;
}

/* Do they fit between two places? */
static bool fits(const struct dt_extents_need *need, uint64_t first, uint64_t end, uint64_t *ret_count)
{
	if (end - first < need->least)
		return false;
	*ret_count = need->find ? need->find(need->context, first) : need->least;
	return *ret_count <= end - first;
}

int dt_extents_take(struct dt_extents *extents, uint64_t limit, const struct dt_extents_need *need, struct dt_extent *ret_extent)
{
	struct dt_extent extent = { 0 };
	size_t at = 0;
	int error;

	while (at < extents->count && !fits(need, extent.first, extents->rows[at].first, &extent.count)) {
		extent.first = extents->rows[at].first + extents->rows[at].count;
		at++;
	}
	if (at == extents->count && (extent.first > limit || !fits(need, extent.first, limit, &extent.count)))
		return -ENOSPC;
	error = insert(extents, at, extent);
	if (!error)
		*ret_extent = extent;
	return error;
}

/* The first that begins there or later. */
static size_t find(const struct dt_extents *extents, uint64_t first)
{
	size_t low = 0, high = extents->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (extents->rows[middle].first < first)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void dt_extents_give(struct dt_extents *extents, uint64_t first)
{
	size_t low = find(extents, first);

	if (low < extents->count && extents->rows[low].first == first)
		memmove(extents->rows + low, extents->rows + low + 1, (--extents->count - low) * sizeof(*extents->rows));
}

bool dt_extents_is_free(const struct dt_extents *extents, struct dt_extent places)
{
	size_t next = find(extents, places.first);
	const struct dt_extent *before = next ? &extents->rows[next - 1] : NULL;

	return (next == extents->count || extents->rows[next].first >= places.first + places.count) &&
	       (!before || before->first + before->count <= places.first);
}

void dt_extents_clear(struct dt_extents *extents)
{
	free(extents->rows);
	*extents = (struct dt_extents){ 0 };
}
