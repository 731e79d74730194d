/* SPDX-License-Identifier: BSD-2-Clause */
/* markers: where in a file a snapshot is wanted: the lines that it declares (DT_SNAPSHOT), and functions that the user names. */
#ifndef DT_SESSION_MARKERS_H
#define DT_SESSION_MARKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "target/elf.h"
#include "target/notes.h"

/* A function that the user names. */
struct dt_marker_function {
	char *file;                     /* a pattern (fnmatch) for the whole path if it has a slash, otherwise for the name */
	char *symbol;
	bool matched;                   /* `file`, by a file that was mapped */
};

struct dt_markers {
	struct dt_marker_function *list;
	size_t count;
};

/* One instruction of a file. */
struct dt_marker_place {
	uint64_t offset;                /* in the file */
	uint64_t cookie;                /* DT_MARKER_DECLARED, or the number of the function in the list, from 1 */
};

#define DT_MARKER_PLACES_MAX 512        /* of a file */

/*
 * Reads a NULL-terminated list (NULL: empty) of "FILE:SYMBOL" and "MODULE!SYMBOL". A path that leads to a file here is followed, and the file
 * must have the function. -EINVAL: one is not such a text. -ENOENT: no such function. Both are said in one sentence.
 */
int dt_markers_parse(const char *const *texts, const struct dt_log *log, struct dt_markers *ret_markers);
void dt_markers_clear(struct dt_markers *markers);
/* Finds the places of a file with these notes, named as in /proc/PID/maps, and says which of the functions asked for it has not. -ENOMEM. */
int dt_markers_plan(const struct dt_markers *markers, const struct dt_elf *elf, const struct dt_notes *notes, const char *path,
		    const struct dt_log *log, struct dt_marker_place **ret_places, size_t *ret_count);

#endif
