/* SPDX-License-Identifier: BSD-2-Clause */
/* namer_wire: what a namer and its helper process say to each other over a socket of packets. */
#ifndef DT_SESSION_NAMER_WIRE_H
#define DT_SESSION_NAMER_WIRE_H

#include <stdint.h>

#include "target/debug_file.h"
#include "target/names.h"

enum dt_namer_verb {
	DT_NAMER_OPEN,                  /* with the descriptors of the file and its debug files */
	DT_NAMER_ASK,
};

struct dt_namer_request {
	uint32_t verb;
	uint32_t file;
	uint64_t vaddr;
	uint32_t no_lines;
	uint32_t reserved;
};

#define DT_NAMER_FDS_MAX (1 + 2 * DT_DEBUG_FILES_MAX + 1)

#define DT_NAMER_NO_STRING UINT32_MAX

struct dt_namer_row {
	uint64_t offset;
	int32_t line;
	uint32_t inlined;
	uint32_t function, file;        /* where in `strings` */
};

struct dt_namer_reply {
	int32_t error;
	uint32_t has_lines;
	uint32_t count;                 /* of rows */
	uint32_t string_bytes;
	struct dt_namer_row rows[DT_NAMES_DEPTH_MAX];
	char strings[];                 /* each ends with a NUL */
};

/* One packet: below what a socket takes unless told otherwise (net.core.wmem_default: 212,992). */
#define DT_NAMER_STRINGS_MAX (128u * 1024)

/* The helper: answers until the other end is closed, and never returns. */
void dt_namer_serve(int socket, const struct dt_names_opts *opts) __attribute__((noreturn));

#endif
