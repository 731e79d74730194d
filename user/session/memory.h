/* SPDX-License-Identifier: BSD-2-Clause */
/* memory: what the kernel says of the memory of a traced process, as often as the process can bear it. */
#ifndef DT_SESSION_MEMORY_H
#define DT_SESSION_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "session/traced.h"
#include "snapshot/snapshot.h"

/*
 * Reads it anew and brings rss_bytes up to date. If that cannot be done (it has ended, or is another user's), or if it is
 * `spared` because the last time is not long enough ago for what it took, then what was read last is handed out; nothing is
 * known before the first time. `moment_ns`: of the snapshot, as CLOCK_MONOTONIC has it.
 */
void dt_memory_read(struct dt_traced *traced, bool spared, uint64_t moment_ns, struct dt_snapshot_memory *ret_memory);

#endif
