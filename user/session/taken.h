/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * taken: a snapshot on its way: first all is read that is of its moment, then names are found for it, which may take long.
 *
 * Between the two other snapshots may be read, whose threads wait for no more than that.
 */
#ifndef DT_SESSION_TAKEN_H
#define DT_SESSION_TAKEN_H

#include <stddef.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "session/collect.h"
#include "session/reading.h"
#include "session/traced.h"
#include "snapshot/snapshot.h"

struct dt_session;

/* What of the tables is taken. */
enum dt_part {
	DT_PART_RUNNING,
	DT_PART_ENDED,                  /* of processes that have ended, and that no such snapshot has shown */
	DT_PART_LAST,                   /* both */
	DT_PART_TOTALS,                 /* no traces: this is no snapshot, and has the number of the last one */
};

struct dt_taken {
	enum dt_part part;
	struct dt_snapshot *snapshot;   /* all of it but for traces and its number */
	struct dt_traced **processes;   /* that it shows: the session keeps them */
	size_t count;
	struct dt_reading reading;
	struct dt_fill *fill;
	struct dt_taken *next;
};

/*
 * Reads what is of its moment: now, or when `marker` turned the epoch (NULL: none has). The right to turn is ours, and is given back.
 * Says what is wrong.
 */
int dt_taken_read(struct dt_session *session, const char *label, enum dt_part part, const struct dt_marker *marker, struct dt_taken **ret_taken);
/* Finds names, and adds traces. Frees `taken` in any case. Says what is wrong. */
int dt_taken_finish(struct dt_session *session, struct dt_taken *taken, struct dt_snapshot **ret_snapshot);
/* NULL does nothing. */
void dt_taken_free(struct dt_taken *taken);

#endif
