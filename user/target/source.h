/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * source: what debug information (DWARF, read with libdw) says of an address: source file and line, and which functions were
 * inlined there. From the file itself, or from its separate debug file.
 *
 * libdw has crashed on forged files, and has not ended on others: this runs where that does no harm (session/namer.h).
 */
#ifndef DT_TARGET_SOURCE_H
#define DT_TARGET_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#define DT_SOURCE_DEPTH_MAX 32          /* functions inlined into each other at one address */

struct dt_source_frame {
	const char *function;           /* linkage name where there is one; NULL: unknown. Owned by the source */
	const char *file;               /* absolute, or as the compiler was told; NULL: unknown */
	int line;                       /* 0: unknown */
	uint64_t start;                 /* of the part of the function that holds the address; 0 for one that was inlined */
};

struct dt_source;

/* Takes the descriptor of a file with DWARF over, also on failure. -ENODATA: it has none. -ENOMEM. */
int dt_source_open(int fd, struct dt_source **ret_source);
void dt_source_close(struct dt_source *source);
/*
 * The frames at an address, innermost first; the last one is the function that really is there, the others are inlined into
 * it. *ret_count is 0 where nothing is known. Of more than DT_SOURCE_DEPTH_MAX the innermost and the last are given.
 */
int dt_source_find(struct dt_source *source, uint64_t vaddr, struct dt_source_frame frames[DT_SOURCE_DEPTH_MAX], size_t *ret_count);

#endif
