/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/clock.h"

#include <errno.h>

#include <linux/types.h>

#include <domtrace/wire.h>

int dt_clock_check(const struct dt_log *log, uint64_t epoch)
{
	/* In 64 bits: an epoch that is past the end of the numbers is past this, too. */
	return epoch / DT_EPOCH_STEP < DT_CLOCK_SEGMENTS_MAX ? 0 :
	       dt_log_error(log, -EOVERFLOW, "cannot trace any longer: there have been four thousand million forks, clears and "
			    "snapshots, which is as far as this trace can count; start domtrace again");
}
