/* SPDX-License-Identifier: BSD-2-Clause */
/* traced: one traced process, from when it is added to the end of the session. */
#ifndef DT_SESSION_TRACED_H
#define DT_SESSION_TRACED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "session/attach.h"
#include "session/module.h"
#include "target/maps.h"
#include "target/process.h"

struct dt_old_maps {
	uint32_t version;
	struct dt_maps maps;
};

struct dt_traced {
	pid_t pid;
	int pidfd;                      /* readable when the process has ended; −1 afterwards */
	bool exited;
	struct dt_process_info info;
	const struct dt_python *python; /* owned by its module; NULL: none found */
	uint32_t interpreter;           /* its number (dt_interpreter.number); 0: it has none */
	uint64_t image;                 /* where its stack begins: another value means another program (exec) */
	struct dt_maps maps;            /* as last read: their version is row.mappings_version */
	struct dt_old_maps *old_maps;   /* those before, while tracebacks that were walked by them may still come */
	size_t old_count;
	const struct dt_module **attached; /* modules whose sites are attached */
	size_t attached_count;
	size_t sites[DT_SOURCE_COUNT];  /* attached sites by source */
	struct dt_links links;
	struct dt_process row;          /* as the programs see it */
	struct dt_mapping_row *mappings; /* its executable mappings, row.mapping_count of them */
	uint32_t shown_row, shown_first, shown_count; /* which row, and which rows of mappings, the programs see; 0: none yet */
};

/* `slot` is its alone in the session, below DT_PROCESSES_MAX. NULL: no memory. */
struct dt_traced *dt_traced_new(pid_t pid, int pidfd, uint32_t slot);
void dt_traced_free(struct dt_traced *traced);

/*
 * Reads its mappings anew and says whether code came or went: they are `version` then, which no other mappings of any process
 * have, and `old_maps` keeps those before. -ESRCH: it has gone, the old
 * ones stay.
 */
int dt_traced_read_maps(struct dt_traced *traced, uint32_t version, bool *ret_changed);
/* The mappings of a version that tracebacks speak of; empty ones if they are not known any more. */
const struct dt_maps *dt_traced_maps(const struct dt_traced *traced, uint32_t version);
/* No traceback of an earlier version will come any more. */
void dt_traced_settle(struct dt_traced *traced);
/* Attaches what is mapped and not yet attached, and brings `row` and `mappings` up to date, but for where those are stored. */
int dt_traced_attach(struct dt_traced *traced, struct dt_modules *modules, const struct domtrace_bpf *bpf,
		     enum dt_attach_method method, const struct dt_attach_filter *filter, const struct dt_log *log);
/* Another program runs in it: a new generation, nothing known of it yet. */
void dt_traced_forget_image(struct dt_traced *traced);
/* Where the stack of its program begins (/proc/PID/stat, startstack). -ESRCH. */
int dt_traced_read_image(pid_t pid, uint64_t *ret_image);

#endif
