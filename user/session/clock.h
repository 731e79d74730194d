/* SPDX-License-Identifier: BSD-2-Clause */
/* clock: how far the clock of all tables can count. */
#ifndef DT_SESSION_CLOCK_H
#define DT_SESSION_CLOCK_H

#include <stdint.h>

#include "base/log.h"

/*
 * Segments have 32 bits. A session ends this far before they begin anew, and old blocks would be taken for new ones: the last 16 million
 * are for the forks that come before the next look at the clock, at the latest with the next event or tick of the timer.
 */
#define DT_CLOCK_SEGMENTS_MAX (UINT32_MAX - (1u << 24))

/* -EOVERFLOW, said: the epoch (wire.h) is past that. */
int dt_clock_check(const struct dt_log *log, uint64_t epoch);

#endif
