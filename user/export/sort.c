/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <string.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"

static const char *const names[] = {
	[DT_SORT_LIVE] = "live",
	[DT_SORT_COUNT] = "count",
	[DT_SORT_ALLOCATED] = "allocated",
	[DT_SORT_ALLOCATIONS] = "allocations",
	[DT_SORT_PEAK] = "peak",
	[DT_SORT_AT_PEAK] = "at-peak",
	[DT_SORT_TEMPORARY] = "temporary",
	[DT_SORT_OLD] = "old",
};
_Static_assert(DT_ARRAY_SIZE(names) == DT_SORT_COUNT_, "an order has no name");

const char *dt_sort_name(enum dt_sort sort)
{
	return names[sort];
}

int dt_sort_parse(const char *name, enum dt_sort *ret_sort)
{
	for (enum dt_sort sort = 0; sort < DT_SORT_COUNT_; sort++)
		if (!strcmp(name, names[sort])) {
			*ret_sort = sort;
			return 0;
		}
	return -EINVAL;
}
