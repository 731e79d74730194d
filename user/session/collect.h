/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * collect: reads the kernel's tables at one moment.
 *
 * Events write one half of each row. A snapshot turns the epoch, waits until no program runs that saw the old one, and
 * reads the half that nobody writes any more; the other half was read the same way at the turn before and has not
 * changed in between. Their sum is the table at the turn, exactly, and the target never waited.
 */
#ifndef DT_SESSION_COLLECT_H
#define DT_SESSION_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "session/domains.h"
#include "session/live.h"
#include "session/reading.h"
#include "session/traced.h"
#include "session/tracebacks.h"
#include "snapshot/snapshot.h"

struct dt_collect;
struct domtrace_bpf;

/* -ENOMEM, or what the kernel says of a new map. */
int dt_collect_new(struct domtrace_bpf *bpf, struct dt_live *live, struct dt_collect **ret_collect);
void dt_collect_free(struct dt_collect *collect);

/* Returns when every program that was running at the call has ended. */
int dt_collect_wait(struct dt_collect *collect);
/* Begins a new segment; returns the one before. */
uint32_t dt_collect_step(struct dt_collect *collect);
/*
 * Turns the epoch: what happens from now on is not in the tables that dt_collect_read() reads. *ret_segment is the last segment of
 * what they have, and what happened before *ret_turned_ns (CLOCK_MONOTONIC) is all in them; both also on failure. It waits for programs
 * that still write into them, which may take long.
 */
int dt_collect_turn(struct dt_collect *collect, uint32_t *ret_segment, uint64_t *ret_turned_ns);
/* Reads what was written before the last turn. */
int dt_collect_read(struct dt_collect *collect);
/*
 * Adds domains and traces of the processes (the first rows of the snapshot's, in this order), what was read of their blocks, and the counters. Of
 * domains that a program declares only those that are wanted by their names. `tracebacks` NULL: no traces.
 */
int dt_collect_fill(struct dt_collect *collect, struct dt_domains *domains, struct dt_traced *const *processes, size_t count,
		    struct dt_tracebacks *tracebacks, const struct dt_reading *reading, struct dt_snapshot *snapshot);
/*
 * The same in two steps, for tables that may be read again before the names are there: dt_fill_new() adds the domains and the counters, and
 * keeps what dt_fill_traces() needs for the rest. Processes, snapshot and `domains` must outlive it. `kept`: the tables may be read in
 * between; else dt_fill_traces() must come before that.
 */
struct dt_fill;
int dt_fill_new(struct dt_collect *collect, struct dt_domains *domains, struct dt_traced *const *processes, size_t count, bool kept,
		struct dt_snapshot *snapshot, struct dt_fill **ret_fill);
int dt_fill_traces(struct dt_fill *fill, struct dt_tracebacks *tracebacks, const struct dt_reading *reading);
void dt_fill_free(struct dt_fill *fill);
/*
 * Peaks start again from what is there: all that events see that begin later. Returns when those have ended that began before.
 * -EOVERFLOW: that has been done too often.
 */
int dt_collect_reset_peaks(struct dt_collect *collect);
/* Forgets all traces whose generation is not that of their image, here and in the kernel. */
int dt_collect_forget(struct dt_collect *collect);
/*
 * Takes all rows of images out that have ended and have no heirs: `gone`, by slot; and what was kept for heirs of others and died in
 * segment `settled` or before, by slot.
 */
int dt_collect_sweep(struct dt_collect *collect, const bool gone[DT_PROCESSES_MAX], const uint32_t settled[DT_PROCESSES_MAX]);
/* Of that only what was kept for heirs. */
int dt_collect_sweep_past(struct dt_collect *collect, const bool gone[DT_PROCESSES_MAX], const uint32_t settled[DT_PROCESSES_MAX]);
/* Counters start again from zero. */
int dt_collect_clear_counters(struct dt_collect *collect);

#endif
