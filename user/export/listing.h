/* SPDX-License-Identifier: BSD-2-Clause */
/* listing: lines of source files, as they are on this machine's disk now. */
#ifndef DT_EXPORT_LISTING_H
#define DT_EXPORT_LISTING_H

#include <stddef.h>

struct dt_listing;

/* -ENOMEM. */
int dt_listing_new(struct dt_listing **ret_listing);
void dt_listing_free(struct dt_listing *listing);
/*
 * The line (1 is the first) without space around it, not NUL-terminated, valid until the listing is freed. NULL: no such
 * file or line, an empty line, or a file that is not to be read: its name comes from the traced process.
 */
const char *dt_listing_find(struct dt_listing *listing, const char *path, int line, size_t *ret_size);

#endif
