/* SPDX-License-Identifier: BSD-2-Clause */
/* statistic: the traces of a snapshot in the order of a report. */
#ifndef DT_SNAPSHOT_STATISTIC_H
#define DT_SNAPSHOT_STATISTIC_H

#include <domtrace/domtrace.h>

#include "snapshot/snapshot.h"

/*
 * Indexes into snapshot->traces of one domain, the largest by `sort` first; ties: the other sizes, then the traceback's
 * text order, so that the same tables always give the same report. Rows in which the key is 0 are left out.
 * *ret_indexes is the caller's to free. -ENOMEM.
 */
int dt_statistic_order(const struct dt_snapshot *snapshot, uint32_t domain, enum dt_sort sort,
		       uint32_t **ret_indexes, size_t *ret_count);
/*
 * Indexes of all processes, the largest by `sort`, summed over their domains, first; of equal ones that with the lower number.
 * *ret_indexes is the caller's to free. -ENOMEM.
 */
int dt_statistic_order_processes(const struct dt_snapshot *snapshot, enum dt_sort sort, uint32_t **ret_indexes);
/* The figure of a trace that `sort` orders by. */
uint64_t dt_statistic_key(const struct dt_snapshot_trace *trace, enum dt_sort sort);

#endif
