/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/field.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

/* Which of the table's members there were. */
struct object {
	const struct dt_field *fields;
	size_t count, next;             /* the next: what would follow in the order of the table */
	const char *what;
	uint64_t seen;
};

static bool read_number(struct dt_json *json, const struct dt_field *field, void *member)
{
	int64_t number;
	uint64_t index;

	switch (field->kind) {
	case DT_FIELD_U64:
		return dt_json_u64(json, UINT64_MAX, member);
	case DT_FIELD_U32:
		if (!dt_json_u64(json, UINT32_MAX, &index))
			return false;
		*(uint32_t *)member = (uint32_t)index;
		return true;
	case DT_FIELD_I64:
		return dt_json_i64(json, INT64_MIN, INT64_MAX, member);
	default:
		if (!dt_json_i64(json, INT_MIN, INT_MAX, &number))
			return false;
		*(int *)member = (int)number;
		return true;
	}
}

static bool read_text(struct dt_field_reader *reader, const char **member)
{
	const char *text;
	size_t size;

	if (!dt_json_text(reader->json, &text, &size))
		return false;
	text = dt_snapshot_string(reader->snapshot, text);
	if (!text)
		return dt_json_fail(reader->json, -ENOMEM, "there is not enough memory for its names");
	*member = text;
	return true;
}

static bool read_value(struct dt_field_reader *reader, const struct dt_field *field, void *row)
{
	void *member = (char *)row + field->offset;
	bool may_be_null = field->need == DT_FIELD_NULLABLE || field->need == DT_FIELD_MAYBE;

	if (may_be_null && dt_json_take_null(reader->json))
		return true;
	if (field->known_offset != DT_FIELD_UNTOLD)
		*(bool *)((char *)row + field->known_offset) = true;
	switch (field->kind) {
	case DT_FIELD_BOOL:
		return dt_json_bool(reader->json, member);
	case DT_FIELD_TEXT:
		return read_text(reader, member);
	case DT_FIELD_CUSTOM:
		return field->read(reader, row);
	default:
		return read_number(reader->json, field, member);
	}
}

/* The member whose key is next: nearly always the one that follows in the table. NULL: none of ours, or an error. */
static const struct dt_field *take_field(struct dt_json *json, struct object *object)
{
	const struct dt_field *field = &object->fields[object->next];
	const char *key;
	size_t size;

	if (object->next < object->count && dt_json_take_key(json, field->name, field->name_size))
		return field;
	if (!dt_json_key(json, &key, &size))
		return NULL;
	for (size_t i = 0; i < object->count; i++)
		if (object->fields[i].name_size == size && !memcmp(object->fields[i].name, key, size))
			return &object->fields[i];
	return NULL;
}

static bool read_member(struct dt_field_reader *reader, struct object *object, void *row)
{
	const struct dt_field *field = take_field(reader->json, object);
	size_t index;

	if (!field)
		return dt_json_skip(reader->json);
	index = (size_t)(field - object->fields);
	if (object->seen & 1ull << index)
		return dt_json_fail(reader->json, -EBADMSG, "%s has '%s' twice", object->what, field->name);
	object->seen |= 1ull << index;
	object->next = index + 1;
	return read_value(reader, field, row);
}

/* Numbers that follow in the order of the table, as domtrace writes them: most of a large file. */
static void take_numbers(struct dt_json *json, struct object *object, void *row)
{
	for (; object->next < object->count; object->next++) {
		const struct dt_field *field = &object->fields[object->next];
		bool wide = field->kind == DT_FIELD_U64;
		void *member = (char *)row + field->offset;
		uint64_t value;

		if ((!wide && field->kind != DT_FIELD_U32) || object->seen & 1ull << object->next || field->known_offset != DT_FIELD_UNTOLD ||
		    !dt_json_take_member(json, field->member, field->name_size + strlen(",\"\":"), wide ? UINT64_MAX : UINT32_MAX, &value))
			return;
		if (wide)
			*(uint64_t *)member = value;
		else
			*(uint32_t *)member = (uint32_t)value;
		object->seen |= 1ull << object->next;
	}
}

static bool is_needed(const struct dt_field *field)
{
	return field->need == DT_FIELD_NEEDED || field->need == DT_FIELD_NULLABLE;
}

bool dt_field_read_object(struct dt_field_reader *reader, const struct dt_field *fields, size_t count, const char *what, void *row)
{
	struct object object = { .fields = fields, .count = count, .what = what };
	bool first = true;

	if (!dt_json_open(reader->json, '{'))
		return false;
	while (dt_json_next(reader->json, '}', &first)) {
		if (!read_member(reader, &object, row))
			return false;
		take_numbers(reader->json, &object, row);
	}
	if (dt_json_error(reader->json))
		return false;
	for (size_t i = 0; i < count; i++)
		if (is_needed(&fields[i]) && !(object.seen & 1ull << i))
			return dt_json_fail(reader->json, -EBADMSG, "%s has no '%s'", what, fields[i].name);
	return true;
}
