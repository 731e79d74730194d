/* SPDX-License-Identifier: BSD-2-Clause */
/* allocators: files that the user names as allocators, and what their functions' names begin with. */
#ifndef DT_SESSION_ALLOCATORS_H
#define DT_SESSION_ALLOCATORS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"

struct dt_allocator {
	char *file;                     /* a pattern (fnmatch) for the whole path if it has a slash, otherwise for the name */
	char *prefix;                   /* may be empty */
	bool matched;                   /* by a file that was mapped */
};

struct dt_allocators {
	struct dt_allocator *list;
	size_t count;
};

/*
 * Reads a NULL-terminated list (NULL: empty) of "FILE" and "FILE:PREFIX"; what stands behind the last colon is the prefix if it
 * could be the beginning of a name in C. -EINVAL: one is not such a text, said in one sentence.
 */
int dt_allocators_parse(const char *const *texts, const struct dt_log *log, struct dt_allocators *ret_allocators);
void dt_allocators_clear(struct dt_allocators *allocators);
/* Does the allocator's pattern match a file, named as in /proc/PID/maps? */
bool dt_allocator_matches(const struct dt_allocator *allocator, const char *path);

#endif
