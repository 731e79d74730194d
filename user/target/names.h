/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names: all that is known of an address in one file: its function by the symbol tables and DWARF, file and line, and the
 * functions that were inlined there, in names that people can read.
 */
#ifndef DT_TARGET_NAMES_H
#define DT_TARGET_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DT_NAMES_DEPTH_MAX 32           /* functions inlined into each other at one address */

struct dt_name {
	const char *function;           /* NULL: unknown */
	const char *file;               /* NULL: unknown */
	int line;                       /* 0: unknown */
	uint64_t offset;                /* of the address in the function; 0 for one that was inlined */
	bool inlined;
};

struct dt_names_opts {
	bool raw;                       /* as the linker knows them */
	bool no_lines;                  /* leave DWARF alone */
};

struct dt_names;

/*
 * From a file and what may be its separate debug files; takes the descriptors over, also on failure. What has no names at all is
 * no error. -ENOEXEC, -EBADMSG: it is no ELF file. -ENOMEM.
 */
int dt_names_open(int fd, const int *debug_fds, size_t debug_count, const struct dt_names_opts *opts, struct dt_names **ret_names);
void dt_names_close(struct dt_names *names);
/* Is there DWARF? */
bool dt_names_have_lines(const struct dt_names *names);
/*
 * The functions at an address, innermost first; the last one is the one that really is there. *ret_count is at least 1. They
 * are owned by `names` until the next call. -ENOMEM.
 */
int dt_names_find(struct dt_names *names, uint64_t vaddr, const struct dt_name **ret_found, size_t *ret_count);

#endif
