/* SPDX-License-Identifier: BSD-2-Clause */
/* field: a table of the members of a JSON object and of where they go in a struct. A new member is one line. */
#ifndef DT_SNAPSHOT_FIELD_H
#define DT_SNAPSHOT_FIELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/json_reader.h"
#include "snapshot/snapshot.h"

/* Where values are read from, and what owns the text. */
struct dt_field_reader {
	struct dt_json *json;
	struct dt_snapshot *snapshot;
	void *context;                  /* of the functions in the table */
};

enum dt_field_kind {
	DT_FIELD_U64, DT_FIELD_U32, DT_FIELD_I64, DT_FIELD_INT, DT_FIELD_BOOL, DT_FIELD_TEXT,
	DT_FIELD_CUSTOM,                /* `read` takes the value */
};

enum dt_field_need {
	DT_FIELD_OPTIONAL,              /* need not be there */
	DT_FIELD_NEEDED,
	DT_FIELD_NULLABLE,              /* must be there, and may be null: the member stays as it was */
	DT_FIELD_MAYBE,                 /* need not be there, and may be null */
};

struct dt_field {
	const char *name, *member;      /* `,"name":` */
	uint32_t name_size;
	uint32_t offset;                /* of the member in the row */
	uint16_t known_offset;          /* of a bool that becomes true where there is a value, or DT_FIELD_UNTOLD */
	uint8_t kind, need;
	bool (*read)(struct dt_field_reader *reader, void *row);
};

#define DT_FIELD_UNTOLD UINT16_MAX
#define DT_FIELDS_MAX 64                /* in one table */

/* The kind follows from the type of the member. */
#define DT_FIELD_KIND(type, member) _Generic(((struct type *)0)->member, uint64_t: DT_FIELD_U64, uint32_t: DT_FIELD_U32, \
	int64_t: DT_FIELD_I64, int: DT_FIELD_INT, bool: DT_FIELD_BOOL, const char *: DT_FIELD_TEXT)
#define DT_FIELD_NAMED(type, name, member, need) \
	{ name, ",\"" name "\":", sizeof(name) - 1, offsetof(struct type, member), DT_FIELD_UNTOLD, DT_FIELD_KIND(type, member), DT_FIELD_##need, NULL }
#define DT_FIELD(type, member, need) DT_FIELD_NAMED(type, #member, member, need)
/* null where the value is not known, which `known` tells */
#define DT_FIELD_KNOWN(type, member, known, need) \
	{ #member, ",\"" #member "\":", sizeof(#member) - 1, offsetof(struct type, member), offsetof(struct type, known), DT_FIELD_KIND(type, member), \
	  DT_FIELD_##need, NULL }
#define DT_FIELD_READ(name, read, need) { name, ",\"" name "\":", sizeof(name) - 1, 0, DT_FIELD_UNTOLD, DT_FIELD_CUSTOM, DT_FIELD_##need, read }

/*
 * Reads one object into a row. What the table does not know is skipped. False, and the reader of JSON says why: a member that is
 * needed is missing, is there twice, or is not what it should be. `what` names the object in that sentence.
 */
bool dt_field_read_object(struct dt_field_reader *reader, const struct dt_field *fields, size_t count, const char *what, void *row);

#endif
