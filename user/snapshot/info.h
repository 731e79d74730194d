/* SPDX-License-Identifier: BSD-2-Clause */
/* info: rows handed out to callers whose structs may be shorter or longer than ours: they begin with their size. */
#ifndef DT_SNAPSHOT_INFO_H
#define DT_SNAPSHOT_INFO_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include <domtrace/snapshot.h>

#include "snapshot/snapshot.h"

/* What the caller has no room for is left out, what we know nothing of is 0. -EINVAL: there is no size. */
static inline int dt_info_fill(void *info, const void *filled, size_t filled_size)
{
	size_t size;

	memcpy(&size, info, sizeof(size));
	if (size < sizeof(size))
		return -EINVAL;
	memset((char *)info + sizeof(size), 0, size - sizeof(size));
	memcpy((char *)info + sizeof(size), (const char *)filled + sizeof(size), (size < filled_size ? size : filled_size) - sizeof(size));
	return 0;
}

/* `frame` NULL: there is none. */
int dt_info_fill_frame(const struct dt_snapshot_frame *frame, const char *filename, uint64_t lineno, struct dt_frame_info *info);

#endif
