/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * layers: the live blocks of a snapshot's processes, read to see which of them lie in which.
 *
 * Events go on meanwhile. Afterwards, when every program has ended that ran before, the totals tell whether any of a process's
 * domains had one since the snapshot's moment, and the sums of the blocks whether all were there (that of a call of realloc
 * is not, while it lasts): if none had and all were, the figures are exact.
 */
#ifndef DT_SESSION_LAYERS_H
#define DT_SESSION_LAYERS_H

#include "session/session.h"

/*
 * Fills in the layers of these processes (the first rows of the snapshot's, in this order), whose domains it has; those of a process without a libc
 * domain are not known. The cost grows with the number of live blocks: with `spared`, nothing is read where there are very
 * many, and those processes' layers are not known. -ENOMEM, or what the kernel says.
 */
int dt_layers_read(struct dt_session *session, struct dt_traced *const *processes, size_t count, bool spared, uint64_t moment_ns,
		   struct dt_snapshot *snapshot);

#endif
