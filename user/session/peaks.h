/* SPDX-License-Identifier: BSD-2-Clause */
/* peaks: what rows of the kernel's tables say of the most that was live, and of whose it was then. */
#ifndef DT_SESSION_PEAKS_H
#define DT_SESSION_PEAKS_H

#include <stdint.h>

#include "session/collect_rows.h"
#include "snapshot/snapshot.h"

/*
 * The figures of both halves, but for what was live at the domain's peak. `peak` is bytes there, those since peaks were reset last, and
 * below 0 (as all that has 64 bits here) where more of it was inherited.
 */
struct dt_tally dt_collect_row_sum(const struct dt_collect *collect, const struct dt_collect_row *row);
/* A block that was booked in the old epoch may have met, in live_bytes, a free that belongs to the new one. */
uint64_t dt_tally_peak(const struct dt_tally *tally);
/*
 * What of a trace was live when its domain was at its peak: what was kept of it then, or what it has, if it has not changed since.
 * That may be less than nothing, as far as it was inherited.
 */
int64_t dt_peaks_row(const struct dt_collect *collect, const struct dt_collect_row *row);
/* Do the traces of each domain add up to its peak? Where threads have raced at that very moment, they may not. -ENOMEM. */
int dt_peaks_check(struct dt_snapshot *snapshot);

#endif
