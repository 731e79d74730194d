/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tracebacks: what the programs sent about tracebacks and code objects, with names.
 *
 * Python frames are named when a record arrives. Of native ones only the places are noted then (session/resolve.h); their names are
 * found between the records, and the last of them before a snapshot.
 */
#ifndef DT_SESSION_TRACEBACKS_H
#define DT_SESSION_TRACEBACKS_H

#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "session/resolve.h"
#include "session/traced.h"
#include "snapshot/snapshot.h"

struct dt_tracebacks;

/* `opts` is copied, what it points to must outlive it. -ENOMEM. */
int dt_tracebacks_new(const struct dt_resolve_opts *opts, struct dt_tracebacks **ret_tracebacks);
void dt_tracebacks_free(struct dt_tracebacks *tracebacks);

/* Takes a record of the ring buffer in. -ENOMEM, -EBADMSG (a record of the wrong size). */
int dt_tracebacks_add_code(struct dt_tracebacks *tracebacks, const struct dt_traced *traced, const struct dt_code_event *event, size_t size);
/* The same; `maps` are those that the traceback was walked by. */
int dt_tracebacks_add(struct dt_tracebacks *tracebacks, const struct dt_traced *traced, const struct dt_maps *maps,
		      const struct dt_traceback_event *event, size_t size);
/* A process is traced from now on. */
void dt_tracebacks_add_process(struct dt_tracebacks *tracebacks, const struct dt_traced *traced);
/* It maps other code than before: where the names of code of no file will stand is opened while the process is there to lead to it. */
void dt_tracebacks_reach_names(struct dt_tracebacks *tracebacks, const struct dt_traced *traced);
/* Before some are forgotten: the last look at what their JIT compilers say. */
void dt_tracebacks_look_again(struct dt_tracebacks *tracebacks);
/* Forgets it: no event of it will come any more, and it is in no snapshot any more. */
void dt_tracebacks_remove_process(struct dt_tracebacks *tracebacks, const struct dt_traced *traced);
/*
 * Forgets what only those had that have been forgotten: now, or when there is more of it. Not between dt_tracebacks_begin() and the
 * copies. -ENOMEM: nothing has been forgotten.
 */
int dt_tracebacks_prune(struct dt_tracebacks *tracebacks);
/* Names the modules that are needed to find names as being in use; the last to do so. */
void dt_tracebacks_use_modules(struct dt_tracebacks *tracebacks);
/* The blocks that a child inherits have the tracebacks that its parent gave them. -ENOMEM. */
int dt_tracebacks_inherit(struct dt_tracebacks *tracebacks, uint32_t image, uint32_t parent, uint64_t traceback);

/* Finds names for at most so long. -EAGAIN: some are still to be found. */
int dt_tracebacks_name(struct dt_tracebacks *tracebacks, uint64_t budget_ns);
/* Readable when a name is there that dt_tracebacks_name() waited for in vain; the same descriptor always. */
int dt_tracebacks_fd(const struct dt_tracebacks *tracebacks);
/* Of the process that finds names; 0: none runs. */
pid_t dt_tracebacks_helper(const struct dt_tracebacks *tracebacks);
/* How many native places there are; and have the first so many their names? */
size_t dt_tracebacks_places(const struct dt_tracebacks *tracebacks);
bool dt_tracebacks_are_named(const struct dt_tracebacks *tracebacks, size_t places);

/*
 * Copies tracebacks into snapshots: begin, then any number of copies for that snapshot. A traceback that was lost
 * becomes an empty one that says so. *ret_cut: it is one that the programs have not counted as truncated, yet is.
 */
int dt_tracebacks_begin(struct dt_tracebacks *tracebacks);
int dt_tracebacks_copy(struct dt_tracebacks *tracebacks, uint32_t image, uint64_t traceback, struct dt_snapshot *to,
		       uint32_t *ret_index, bool *ret_cut);

#endif
