/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * inherit: what forked children had in their memory when they began.
 *
 * A fork copies nothing: the rows of the parent tell in which of its segments each block lived, and stay while a child may look
 * for it (bpf/live.bpf.h). So what was live at a fork can be read at any time later, and is the same each time.
 */
#ifndef DT_SESSION_INHERIT_H
#define DT_SESSION_INHERIT_H

#include <stddef.h>

#include "session/traced.h"
#include "session/tracebacks.h"

struct domtrace_bpf;
struct dt_live;

/*
 * Finds what each of these processes inherited, where that is not known yet, and lets it have the tracebacks of it. -ENOMEM, or what
 * the kernel says of the maps.
 */
int dt_inherit_find(struct domtrace_bpf *bpf, const struct dt_live *live, struct dt_traced *const *processes, size_t count,
		    struct dt_tracebacks *tracebacks);

/*
 * Calls `fn` for each block that one of these processes inherited, under the key that it has there, or would have, with the segment in
 * which it was born (where that is not known any more: one by which it was there); until that returns what is not 0, which is returned then.
 */
typedef int (*dt_inherit_fn)(void *context, const struct dt_block_key *key, const struct dt_block *block);
int dt_inherit_each(struct domtrace_bpf *bpf, const struct dt_live *live, struct dt_traced *const *processes, size_t count,
		    dt_inherit_fn fn, void *context);

#endif
