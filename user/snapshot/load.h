/* SPDX-License-Identifier: BSD-2-Clause */
/* load: a snapshot out of a file of snapshots. */
#ifndef DT_SNAPSHOT_LOAD_H
#define DT_SNAPSHOT_LOAD_H

#include <domtrace/domtrace.h>

#include "snapshot/input.h"

/*
 * The number-th whole snapshot of an input, 0: the last. `name` is for messages. Its tables have been checked (dt_snapshot_check).
 * -ENODATA: there is none; -EBADMSG, -EILSEQ, -ERANGE, -EFBIG, -EPROTONOSUPPORT: it is not what it should be; -ENOMEM, or what
 * reading says.
 */
int dt_load_input(struct dt_input *input, const char *name, uint64_t number, const struct dt_log *log,
		  struct dt_snapshot **ret_snapshot);

#endif
