/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * reading: the live blocks at the moment of a snapshot, row by row: how old and of which size they are.
 *
 * The rows are read while the processes go on. A snapshot is an heir of all images that is forked off at its moment: what dies
 * later is kept until it has been read, and what was live at that moment is read exactly.
 */
#ifndef DT_SESSION_READING_H
#define DT_SESSION_READING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

struct dt_session;
struct dt_traced;

/* Blocks of one traceback and one size class (snapshot/sizes.h). */
struct dt_blocks {
	struct dt_owner owner;
	uint64_t traceback;
	unsigned size_class;            /* 0 where sizes are not asked for */
	uint64_t blocks, bytes;         /* 0 where sizes are not asked for */
	uint64_t old_blocks, old_bytes;
};

struct dt_reading {
	bool ages, sizes;               /* what is asked for */
	bool begun;                     /* and not ended: what dies is kept */
	bool exact;                     /* no old block could be missed */
	uint32_t born_until, moment;    /* segments: the last one of old blocks (0: none), the last one of the snapshot */
	uint64_t age_ns;                /* how long before the turn the first of them ended; 0: there is none */
	uint64_t kept_before, lost_before;
	struct dt_blocks *blocks;
	size_t count;
};

/* Before the turn of the epoch: from now on what dies is kept. `marker`: has turned, what has died since is kept; NULL: none. */
void dt_reading_begin(struct dt_session *session, const struct dt_marker *marker, struct dt_reading *reading);
/* Behind it, which has filled in `moment`: what is born later need not be kept. */
void dt_reading_turn(struct dt_session *session, const struct dt_reading *reading);
/* Then. The processes know what they inherited. -ENOMEM, or what the kernel says of the tables. */
int dt_reading_read(struct dt_session *session, struct dt_traced *const *processes, size_t count, struct dt_reading *reading);
/* Nothing is kept any more. To be called in any case, once or more. */
int dt_reading_end(struct dt_session *session, struct dt_reading *reading);
/* How many blocks there was no room to keep for those that read, ever. */
uint64_t dt_reading_lost(const struct dt_session *session);
/* Forgets what was read. */
void dt_reading_clear(struct dt_reading *reading);

#endif
