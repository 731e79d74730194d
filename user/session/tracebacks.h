/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tracebacks: what the programs sent about tracebacks and code objects, with names.
 *
 * Names are found when a record arrives: the process still maps the files then, and the target does not wait for it.
 */
#ifndef DT_SESSION_TRACEBACKS_H
#define DT_SESSION_TRACEBACKS_H

#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "session/module.h"
#include "session/traced.h"
#include "snapshot/snapshot.h"

struct dt_tracebacks;

/* `modules` must outlive it. -ENOMEM. */
int dt_tracebacks_new(struct dt_modules *modules, struct dt_tracebacks **ret_tracebacks);
void dt_tracebacks_free(struct dt_tracebacks *tracebacks);

/* Takes a record of the ring buffer in. -ENOMEM, -EBADMSG (a record of the wrong size). */
int dt_tracebacks_add_code(struct dt_tracebacks *tracebacks, const struct dt_code_event *event, size_t size);
int dt_tracebacks_add(struct dt_tracebacks *tracebacks, struct dt_traced *traced,
		      const struct dt_traceback_event *event, size_t size);
/* Forgets a process: another program runs in it now. */
void dt_tracebacks_remove_process(struct dt_tracebacks *tracebacks, pid_t pid);

/*
 * Copies tracebacks into snapshots: begin, then any number of copies for that snapshot. A traceback that was lost
 * becomes an empty one that says so. *ret_cut: it is one that the programs have not counted as truncated, yet is.
 */
int dt_tracebacks_begin(struct dt_tracebacks *tracebacks);
int dt_tracebacks_copy(struct dt_tracebacks *tracebacks, pid_t pid, uint64_t traceback, struct dt_snapshot *to,
		       uint32_t *ret_index, bool *ret_cut);

#endif
