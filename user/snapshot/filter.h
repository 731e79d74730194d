/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * filter: which traces are to be looked at, as tracemalloc's Filter and DomainFilter choose them, and by more than they know.
 *
 * As text: terms with commas between them, all of which must hold: file=, function=, module= (patterns as in fnmatch), line=N: of
 * the most recent frame, or with `all` of any one frame; domain=NAME, process=PID or a pattern for its name, bytes>=N, bytes<=N,
 * blocks>=N, blocks<=N (live). With "!" in front the filter leaves those traces out. A comma in a pattern is written twice.
 *
 * size>N, size<=N (N a power of two), age>=DURATION, age<DURATION: those of a trace's live blocks. It is cut to them, where the snapshot
 * tells them exactly; one that does not is not filtered. What is left then is of live blocks alone, in all traces, as though nothing else had been
 * allocated: of blocks that are gone neither size nor age is known.
 */
#ifndef DT_SNAPSHOT_FILTER_H
#define DT_SNAPSHOT_FILTER_H

#include <stddef.h>

#include "base/log.h"
#include "snapshot/snapshot.h"

struct dt_filter;

/* -EINVAL: said in one sentence. -ENOMEM. */
int dt_filter_parse(const char *text, const struct dt_log *log, struct dt_filter **ret_filter);
/* Of one domain, or ("!NAME") of all others. */
int dt_filter_parse_domain(const char *name, const struct dt_log *log, struct dt_filter **ret_filter);
void dt_filter_free(struct dt_filter *filter);

/*
 * Keeps the traces that one of the inclusive filters lets pass, if there are any, and all of the exclusive ones. Domains then have the
 * figures of their traces that are left: of peaks that is an upper bound where some are gone. What was known of layers is
 * forgotten then. Behind a filter by sizes or ages nothing is known of ages, and behind one by ages nothing of sizes. -ENODATA: what is
 * asked for is not known exactly; nothing has changed. -ENOMEM. Either was said.
 */
int dt_filter_apply(struct dt_filter *const filters[], size_t count, struct dt_snapshot *snapshot, const struct dt_log *log);

#endif
