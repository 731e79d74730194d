/* SPDX-License-Identifier: BSD-2-Clause */
/* table: the five tables of a snapshot, as rows of JSON. The tables of their members are here, one line each. */
#ifndef DT_SNAPSHOT_TABLE_H
#define DT_SNAPSHOT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/field.h"
#include "snapshot/sizes.h"

#define DT_TABLE_TRUNCATION_SIZE 64

/* While the tables of one document are read; all 0 before. The first member of what the reader of fields has as its context. */
struct dt_table_state {
	const char *name;               /* of the table being read; NULL: none */
	uint64_t row;
	uint32_t *frames;               /* of the traceback being read */
	size_t frames_room;
	const char **words;             /* of the command being read, with a NULL behind them */
	size_t words_room;
	struct dt_snapshot_size sizes[DT_SIZE_CLASSES]; /* of the row being read */
	char truncation[DT_TABLE_TRUNCATION_SIZE]; /* why a traceback ends early, as nothing here is called; "" for none */
};

void dt_table_state_clear(struct dt_table_state *state);

/* Functions of a table of fields: each reads a whole table into the reader's snapshot. */
bool dt_table_read_processes(struct dt_field_reader *reader, void *row);
bool dt_table_read_domains(struct dt_field_reader *reader, void *row);
bool dt_table_read_traces(struct dt_field_reader *reader, void *row);
bool dt_table_read_tracebacks(struct dt_field_reader *reader, void *row);
bool dt_table_read_frames(struct dt_field_reader *reader, void *row);

#endif
