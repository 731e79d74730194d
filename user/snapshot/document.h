/* SPDX-License-Identifier: BSD-2-Clause */
/* document: one snapshot as JSON (FORMAT.md) becomes tables (table.h). What else it has is here, one line a member. */
#ifndef DT_SNAPSHOT_DOCUMENT_H
#define DT_SNAPSHOT_DOCUMENT_H

#include "base/log.h"
#include "snapshot/json_reader.h"
#include "snapshot/snapshot.h"
#include "snapshot/table.h"

#define DT_DOCUMENT_LOSS_SIZE 64

/* What it did not understand, which a newer domtrace may have written within the same version of the format. */
struct dt_document_notes {
	char loss[DT_DOCUMENT_LOSS_SIZE]; /* a loss above 0 that has no name here; "" for none */
	char truncation[DT_TABLE_TRUNCATION_SIZE]; /* why a traceback ends early, as nothing here is called; it counts as lost */
};

/*
 * Fills an empty snapshot. -errno, and the reader of JSON has the reason; *ret_place is then the row it was in ("traces[17]"), or "".
 * What must hold between the tables is for dt_snapshot_check.
 */
#define DT_DOCUMENT_PLACE_SIZE 48
int dt_document_read(struct dt_json *json, struct dt_snapshot *snapshot, struct dt_document_notes *ret_notes,
		     char ret_place[DT_DOCUMENT_PLACE_SIZE]);

#endif
