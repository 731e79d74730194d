/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * resolve: from the addresses of native frames to what is shown of them.
 *
 * An address becomes a place at once, while its process still has what it maps: the file and where in it. Names follow later, a
 * little at a time; each place is named once, and files of one build id are read once. Places that nobody needs any more can go.
 */
#ifndef DT_SESSION_RESOLVE_H
#define DT_SESSION_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/log.h"
#include "session/module.h"
#include "session/traced.h"
#include "snapshot/snapshot.h"

struct dt_resolve_opts {
	struct dt_modules *modules;
	const struct dt_log *log;
	bool raw_names;                 /* as the linker knows them */
	bool debuginfod;                /* ask servers for debug files that are not on this machine */
	uint64_t answer_ns;             /* how long reading of one address may take; 0: 20 seconds */
};

struct dt_resolve;

struct dt_resolve_place {
	uint32_t number;
	bool called;                    /* a call instruction stands before the address, as far as can be known */
};

/* `opts` is copied, what it points to must outlive it. -ENOMEM. */
int dt_resolve_new(const struct dt_resolve_opts *opts, struct dt_resolve **ret_resolve);
void dt_resolve_free(struct dt_resolve *resolve);

/* A process is traced from now on: takes in where its files and names are found, before it ends. */
void dt_resolve_add_process(struct dt_resolve *resolve, const struct dt_traced *traced);
/* It maps other code than before: opens the names of code of no file, where they are there by now. */
void dt_resolve_reach_names(struct dt_resolve *resolve, const struct dt_traced *traced);
/*
 * The place of an address by the mappings that it was met with: of the call before a return address, or, `exact`, of the
 * instruction itself. Equal ones have the same number. -ENOMEM.
 */
int dt_resolve_add(struct dt_resolve *resolve, const struct dt_traced *traced, const struct dt_maps *maps, uint64_t address, bool exact,
		   struct dt_resolve_place *ret_place);
/* The same by the number of a module and an offset in its file. Without code there it is the place of address 0. -ENOMEM. */
int dt_resolve_add_in_file(struct dt_resolve *resolve, const struct dt_traced *traced, uint32_t number, uint64_t offset, bool exact,
			   struct dt_resolve_place *ret_place);
/* No event of it will come any more. */
void dt_resolve_remove_process(struct dt_resolve *resolve, const struct dt_traced *traced);

/* Names the modules of places that are still to be named as being in use; then, before others go, forgets those. */
void dt_resolve_use_modules(struct dt_resolve *resolve);
void dt_resolve_forget_modules(struct dt_resolve *resolve);
/*
 * What number each place will have when only those are kept that `kept` says, by number; one more may have to be, which is then said
 * there, too. And keeps them, and what they need, alone. -ENOMEM: nothing has changed.
 */
void dt_resolve_number(const struct dt_resolve *resolve, bool *kept, uint32_t *ret_numbers);
int dt_resolve_keep(struct dt_resolve *resolve, const bool *kept);

/* Names places for at most so long; -EAGAIN: some are left. -ENOMEM. */
int dt_resolve_work(struct dt_resolve *resolve, uint64_t budget_ns);
/* Looks again for functions of JIT compilers that were not known when their addresses came. */
void dt_resolve_look_again(struct dt_resolve *resolve);
/* Of the process that finds names; 0: none runs. */
pid_t dt_resolve_helper(const struct dt_resolve *resolve);
/* Readable when there is what dt_resolve_work() waited for in vain; the same descriptor always. */
int dt_resolve_fd(const struct dt_resolve *resolve);
/* Have the first so many places been named, as far as that is possible? */
bool dt_resolve_is_named(const struct dt_resolve *resolve, size_t count);

/* What is known of a place by now, innermost first; always at least one frame. Owned by `resolve`. */
const struct dt_snapshot_frame *dt_resolve_find(const struct dt_resolve *resolve, uint32_t number, size_t *ret_count);
size_t dt_resolve_count(const struct dt_resolve *resolve);

#endif
