/* SPDX-License-Identifier: BSD-2-Clause */
/* term: what a filter asks for, as its text says (snapshot/filter.h). */
#ifndef DT_SNAPSHOT_TERM_H
#define DT_SNAPSHOT_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/filter.h"
#include "snapshot/part.h"
#include "snapshot/pattern.h"

struct dt_bounds {
	uint64_t minimum, maximum;
};

struct dt_filter {
	bool exclusive;
	struct dt_pattern *file, *function, *module; /* NULL: any */
	bool has_line, all_frames;
	uint64_t line;
	char *domain;                   /* NULL: any */
	enum dt_source source;          /* of a domain with a name that says so */
	uint32_t id;
	bool domain_known;
	struct dt_pattern *process;     /* by name; NULL: any */
	bool has_pid;
	uint64_t pid;
	struct dt_bounds bytes, blocks;
	bool has_size;
	char *age;                      /* as it was written; NULL: any */
	uint64_t age_ns;
	struct dt_part part;            /* of the live blocks of such traces */
	char *text;
};

/* As tracemalloc normalises names of files: compiled code stands for its source. The size that counts. */
size_t dt_term_file_size(const char *name);

#endif
