/* SPDX-License-Identifier: BSD-2-Clause */
/* collect_rows: the object behind collect.h, for the files that read rows, put them into snapshots and forget them. */
#ifndef DT_SESSION_COLLECT_ROWS_H
#define DT_SESSION_COLLECT_ROWS_H

#include <uthash.h>

#include "session/collect.h"

/* A row of the kernel's table of traces, as far as it has been read. */
struct dt_collect_row {
	struct dt_trace_key key;
	struct dt_tally half[2];
	UT_hash_handle hh;
};

struct dt_collect {
	struct domtrace_bpf *bpf;
	struct dt_live *live;
	struct dt_collect_row *rows;
	int barrier_fd, barrier_inner_fd;
	uint64_t counters_before[DT_COUNTER_COUNT];
	uint64_t peak_zero;             /* DT_PEAK() of no bytes, as the programs have it */
};

/* The slot that a key of a table speaks of. */
static inline uint32_t dt_owner_slot(const struct dt_owner *owner)
{
	return owner->process & DT_OWNER_SLOT_MASK & (DT_PROCESSES_MAX - 1);
}

int dt_collect_read_counters(struct dt_collect *collect, uint64_t counters[DT_COUNTER_COUNT]);
/*
 * The rows of processes, by slot, as they have been read: what is read later does not change them, and nothing else can be done with
 * the copy. -ENOMEM.
 */
int dt_collect_copy(const struct dt_collect *collect, struct dt_traced *const by_slot[DT_PROCESSES_MAX], struct dt_collect **ret_copy);
/* Of processes, by slot, that freed more than they had and are known to have inherited: adds that to what they inherited. -ENOMEM. */
int dt_collect_amend(const struct dt_collect *collect, struct dt_traced *const by_slot[DT_PROCESSES_MAX]);

#endif
