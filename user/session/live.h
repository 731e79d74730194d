/* SPDX-License-Identifier: BSD-2-Clause */
/* live: the table of live blocks, which grows as it fills (bpf/rows.bpf.h). */
#ifndef DT_SESSION_LIVE_H
#define DT_SESSION_LIVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "session/table.h"

struct domtrace_bpf;

struct dt_live {
	struct domtrace_bpf *bpf;
	int fds[DT_LIVE_MORE_MAX];      /* of the maps after the first one */
	uint32_t count;
	uint64_t rows, rows_max;        /* that there is room for; that there may be */
};

/* Before load: there will be room for at most so many rows. Returns what libbpf says. */
int dt_live_prepare(struct domtrace_bpf *bpf, uint64_t rows_max, struct dt_live *ret_live);
/* After load. */
void dt_live_start(struct dt_live *live);
void dt_live_close(struct dt_live *live);

/* Makes room for more, if there may be. Returns what the kernel says of a new map. */
int dt_live_grow(struct dt_live *live);

/* The row of a block, also of one that has gone. */
bool dt_live_find(const struct dt_live *live, const struct dt_block_key *key, struct dt_block *ret_block);
/* Calls `fn` for each row, also those of blocks that have gone (struct dt_block_key, struct dt_block). */
int dt_live_each(const struct dt_live *live, dt_table_fn fn, void *context);
/* Removes the rows that `choose` chooses: of images that have ended. */
int dt_live_remove(const struct dt_live *live, dt_table_choose_fn choose, void *context);

#endif
