/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/document.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "snapshot/field.h"
#include "snapshot/table.h"

#define FORMAT_NAME "domtrace-snapshot"
#define FORMAT_VERSION 1

/* While one document is read. */
struct document {
	struct dt_table_state tables;
	char loss[DT_DOCUMENT_LOSS_SIZE];
};

static bool fail(struct dt_field_reader *reader, int error, const char *what)
{
	return dt_json_fail(reader->json, error, "%s", what);
}

static bool read_format(struct dt_field_reader *reader, void *row)
{
	const char *text;
	size_t size;

	(void)row;
	if (!dt_json_text(reader->json, &text, &size))
		return false;
	return strcmp(text, FORMAT_NAME) ?
		dt_json_fail(reader->json, -EBADMSG, "its format is '%.64s', not '" FORMAT_NAME "': domtrace did not write it", text) : true;
}

static bool read_version(struct dt_field_reader *reader, void *row)
{
	uint64_t version;

	(void)row;
	if (!dt_json_u64(reader->json, UINT64_MAX, &version))
		return false;
	if (version > FORMAT_VERSION)
		return dt_json_fail(reader->json, -EPROTONOSUPPORT, "it is in version %" PRIu64 " of the format, and this domtrace reads "
				    "version 1: use the domtrace that wrote it, or a newer one", version);
	return version == FORMAT_VERSION ? true : fail(reader, -EBADMSG, "there is no version 0 of the format");
}

/* "2026-01-31T12:00:00.123456789Z" */
static bool read_time(struct dt_field_reader *reader, void *row)
{
	static const char form[] = "0000-00-00T00:00:00.000000000Z";
	struct dt_snapshot *snapshot = row;
	struct tm utc = { 0 };
	const char *text, *end;
	size_t size;
	bool good;

	if (!dt_json_text(reader->json, &text, &size))
		return false;
	good = size == sizeof(form) - 1;
	for (size_t i = 0; good && i < size; i++)
		good = form[i] == '0' ? isdigit((unsigned char)text[i]) != 0 : form[i] == text[i];
	end = good ? strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) : NULL;
	if (!end || *end != '.')
		return dt_json_fail(reader->json, -EBADMSG, "its time is '%.64s', not as in '2026-01-31T12:00:00.123456789Z'", text);
	snapshot->time.tv_sec = timegm(&utc);
	snapshot->time.tv_nsec = strtol(end + 1, NULL, 10);
	return true;
}

static int find_counter(const char *name)
{
	for (int i = 0; i < DT_COUNTER_COUNT; i++)
		if (!strcmp(dt_counter_name((enum dt_counter)i), name))
			return i;
	return -1;
}

/* Counters come and go with versions; one that is not there is 0. */
static bool read_counters(struct dt_field_reader *reader, struct dt_snapshot *snapshot, bool losses)
{
	struct document *document = reader->context;
	bool seen[DT_COUNTER_COUNT] = { false }, first = true;
	const char *name;
	uint64_t value;
	size_t size;

	if (!dt_json_open(reader->json, '{'))
		return false;
	while (dt_json_next(reader->json, '}', &first)) {
		char own[sizeof(document->loss)];
		int counter;

		if (!dt_json_key(reader->json, &name, &size))
			return false;
		snprintf(own, sizeof(own), "%s", name);
		counter = find_counter(own);
		if (!dt_json_u64(reader->json, UINT64_MAX, &value))
			return false;
		if (counter < 0 || dt_counter_is_loss((enum dt_counter)counter) != losses) {
			if (losses && value)
				memcpy(document->loss, own, sizeof(own));
			continue;
		}
		if (seen[counter])
			return dt_json_fail(reader->json, -EBADMSG, "'%s' is there twice", own);
		seen[counter] = true;
		snapshot->counters[counter] = value;
	}
	return !dt_json_error(reader->json);
}

static bool read_losses(struct dt_field_reader *reader, void *row)
{
	return read_counters(reader, row, true);
}

static bool read_counts(struct dt_field_reader *reader, void *row)
{
	return read_counters(reader, row, false);
}

static const struct dt_field ages_fields[] = {
	DT_FIELD(dt_snapshot_ages, older_than_ns, NEEDED),
	DT_FIELD(dt_snapshot_ages, age_ns, NULLABLE),
	DT_FIELD(dt_snapshot_ages, exact, NEEDED),
};

static bool read_ages(struct dt_field_reader *reader, void *row)
{
	return dt_field_read_object(reader, ages_fields, DT_ARRAY_SIZE(ages_fields), "'ages'", &((struct dt_snapshot *)row)->ages);
}

static const struct dt_field document_fields[] = {
	DT_FIELD_READ("format", read_format, NEEDED),
	DT_FIELD_READ("version", read_version, NEEDED),
	DT_FIELD(dt_snapshot, sequence, NEEDED),
	DT_FIELD(dt_snapshot, label, NEEDED),
	DT_FIELD_READ("time", read_time, NEEDED),
	DT_FIELD(dt_snapshot, elapsed_ns, NEEDED),
	DT_FIELD(dt_snapshot, traceback_limit, NEEDED),
	DT_FIELD_READ("ages", read_ages, OPTIONAL),
	DT_FIELD_READ("losses", read_losses, NEEDED),
	DT_FIELD_READ("counters", read_counts, NEEDED),
	DT_FIELD(dt_snapshot, kernel, NEEDED),
	DT_FIELD(dt_snapshot, architecture, NEEDED),
	DT_FIELD_READ("processes", dt_table_read_processes, NEEDED),
	DT_FIELD_READ("domains", dt_table_read_domains, NEEDED),
	DT_FIELD_READ("traces", dt_table_read_traces, NEEDED),
	DT_FIELD_READ("tracebacks", dt_table_read_tracebacks, NEEDED),
	DT_FIELD_READ("frames", dt_table_read_frames, NEEDED),
};

int dt_document_read(struct dt_json *json, struct dt_snapshot *snapshot, struct dt_document_notes *ret_notes,
		     char ret_place[DT_DOCUMENT_PLACE_SIZE])
{
	struct document document = { 0 };
	struct dt_field_reader reader = { json, snapshot, &document };
	bool good = dt_field_read_object(&reader, document_fields, DT_ARRAY_SIZE(document_fields), "the snapshot", snapshot);

	dt_table_state_clear(&document.tables);
	memcpy(ret_notes->loss, document.loss, sizeof(document.loss));
	memcpy(ret_notes->truncation, document.tables.truncation, sizeof(document.tables.truncation));
	ret_place[0] = '\0';
	if (document.tables.name)
		snprintf(ret_place, DT_DOCUMENT_PLACE_SIZE, "%s[%" PRIu64 "]", document.tables.name, document.tables.row);
	return good ? 0 : dt_json_error(json);
}
