/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pattern: names with *, ? and [sets] in them, as Python's fnmatch module understands them (CPython 3.11, Lib/fnmatch.py): by
 * characters, not bytes; a slash and a leading dot are like any other; nothing quotes but brackets; in a set, ranges that run
 * backwards are empty.
 */
#ifndef DT_SNAPSHOT_PATTERN_H
#define DT_SNAPSHOT_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

struct dt_pattern;

/* -EILSEQ: the text is not UTF-8. -ENOMEM. */
int dt_pattern_new(const char *text, size_t size, struct dt_pattern **ret_pattern);
void dt_pattern_free(struct dt_pattern *pattern);
/* Whether all of a name matches. One that is not UTF-8 matches nothing. */
bool dt_pattern_matches(const struct dt_pattern *pattern, const char *name, size_t size);

#endif
