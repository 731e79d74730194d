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

#define FORMAT_NAME "domtrace-snapshot"
#define FORMAT_VERSION 1

/* While one document is read. */
struct document {
	struct dt_document_notes notes;
	const char *table;              /* being read; NULL: none */
	uint64_t row;
	uint32_t *frames;               /* of the traceback being read */
	size_t frames_room;
	const char **words;             /* of the command being read, with a NULL behind them */
	size_t words_room;
};

static bool fail(struct dt_field_reader *reader, int error, const char *what)
{
	return dt_json_fail(reader->json, error, "%s", what);
}

/* Room for one more element behind `count`. */
static bool grow(struct dt_field_reader *reader, void *list, size_t *room, size_t count, size_t size)
{
	void *old, *grown;

	if (count < *room)
		return true;
	memcpy(&old, list, sizeof(old));
	grown = reallocarray(old, *room ? *room * 2 : 64, size);
	if (!grown)
		return fail(reader, -ENOMEM, "there is not enough memory for one of its lists");
	memcpy(list, &grown, sizeof(grown));
	*room = *room ? *room * 2 : 64;
	return true;
}

/* Whatever has no text of its own is looked up in a list of names. -1: it is none of them. */
static bool read_name(struct dt_field_reader *reader, const char *(*name_of)(unsigned), unsigned count, int *ret_index,
		      const char **ret_text)
{
	size_t size;

	if (!dt_json_text(reader->json, ret_text, &size))
		return false;
	*ret_index = -1;
	for (unsigned i = 0; i < count; i++)
		if (name_of(i) && !strcmp(name_of(i), *ret_text))
			*ret_index = (int)i;
	return true;
}

/* ---- processes ------------------------------------------------------------------------------------------------ */

static const struct dt_field memory_fields[] = {
	DT_FIELD(dt_snapshot_memory, after_ns, NEEDED),
	DT_FIELD(dt_snapshot_memory, resident_bytes, NEEDED),
	DT_FIELD(dt_snapshot_memory, heap_bytes, NEEDED),
	DT_FIELD(dt_snapshot_memory, anonymous_mapping_bytes, NEEDED),
	DT_FIELD(dt_snapshot_memory, file_mapping_bytes, NEEDED),
	DT_FIELD(dt_snapshot_memory, other_mapping_bytes, NEEDED),
	DT_FIELD(dt_snapshot_memory, private_bytes, NEEDED),
	DT_FIELD(dt_snapshot_memory, swap_bytes, NEEDED),
	DT_FIELD(dt_snapshot_memory, hugetlb_bytes, NEEDED),
};

static const struct dt_field layers_fields[] = {
	DT_FIELD(dt_snapshot_layers, exact, NEEDED),
	DT_FIELD(dt_snapshot_layers, after_ns, NEEDED),
	DT_FIELD(dt_snapshot_layers, libc_bytes, NEEDED),
	DT_FIELD(dt_snapshot_layers, claimed_bytes, NEEDED),
};

static bool read_memory(struct dt_field_reader *reader, void *row)
{
	struct dt_snapshot_memory *memory = &((struct dt_snapshot_process *)row)->memory;

	memory->known = true;
	return dt_field_read_object(reader, memory_fields, DT_ARRAY_SIZE(memory_fields), "'memory'", memory);
}

static bool read_layers(struct dt_field_reader *reader, void *row)
{
	struct dt_snapshot_layers *layers = &((struct dt_snapshot_process *)row)->layers;

	layers->known = true;
	return dt_field_read_object(reader, layers_fields, DT_ARRAY_SIZE(layers_fields), "'layers'", layers);
}

static bool read_command(struct dt_field_reader *reader, void *row)
{
	struct document *document = reader->context;
	size_t count = 0, size;
	bool first = true;

	if (!dt_json_open(reader->json, '['))
		return false;
	while (dt_json_next(reader->json, ']', &first)) {
		const char *word;

		if (!grow(reader, &document->words, &document->words_room, count + 1, sizeof(*document->words)) ||
		    !dt_json_text(reader->json, &word, &size))
			return false;
		document->words[count] = dt_snapshot_string(reader->snapshot, word);
		if (!document->words[count++])
			return fail(reader, -ENOMEM, "there is not enough memory for its names");
	}
	if (!grow(reader, &document->words, &document->words_room, count, sizeof(*document->words)))
		return false;
	document->words[count] = NULL;
	((struct dt_snapshot_process *)row)->command = document->words;
	return true;
}

static const struct dt_field process_fields[] = {
	DT_FIELD(dt_snapshot_process, pid, NEEDED),
	DT_FIELD(dt_snapshot_process, ppid, NEEDED),
	DT_FIELD(dt_snapshot_process, start_time_ns, NEEDED),
	DT_FIELD(dt_snapshot_process, comm, NULLABLE),
	DT_FIELD(dt_snapshot_process, exe, NULLABLE),
	DT_FIELD_READ("command", read_command, NEEDED),
	DT_FIELD(dt_snapshot_process, python, NULLABLE),
	DT_FIELD(dt_snapshot_process, exited, NEEDED),
	DT_FIELD(dt_snapshot_process, from_start, OPTIONAL),
	DT_FIELD(dt_snapshot_process, rss_bytes, NEEDED),
	DT_FIELD_READ("memory", read_memory, MAYBE),
	DT_FIELD_READ("layers", read_layers, MAYBE),
};

/* ---- domains -------------------------------------------------------------------------------------------------- */

static const char *source_name(unsigned source)
{
	return dt_source_name((enum dt_source)source);
}

static bool read_source(struct dt_field_reader *reader, void *row)
{
	const char *text;
	int source;

	if (!read_name(reader, source_name, DT_SOURCE_COUNT, &source, &text))
		return false;
	if (source < 0)
		return dt_json_fail(reader->json, -EBADMSG, "a domain has the source '%.64s', which this version of domtrace does not know",
				    text);
	((struct dt_snapshot_domain *)row)->source = (enum dt_source)source;
	return true;
}

static const struct dt_field domain_fields[] = {
	DT_FIELD(dt_snapshot_domain, process, NEEDED),
	DT_FIELD(dt_snapshot_domain, name, NEEDED),
	DT_FIELD_READ("source", read_source, NEEDED),
	DT_FIELD(dt_snapshot_domain, id, NULLABLE),
	DT_FIELD(dt_snapshot_domain, live_blocks, NEEDED),
	DT_FIELD(dt_snapshot_domain, live_bytes, NEEDED),
	DT_FIELD(dt_snapshot_domain, peak_bytes, NEEDED),
	DT_FIELD(dt_snapshot_domain, allocations, NEEDED),
	DT_FIELD(dt_snapshot_domain, allocated_bytes, NEEDED),
	DT_FIELD(dt_snapshot_domain, frees, NEEDED),
	DT_FIELD(dt_snapshot_domain, freed_bytes, NEEDED),
	DT_FIELD(dt_snapshot_domain, temporary, OPTIONAL),
	DT_FIELD(dt_snapshot_domain, at_peak_exact, OPTIONAL),
	DT_FIELD(dt_snapshot_domain, old_blocks, OPTIONAL),
	DT_FIELD(dt_snapshot_domain, old_bytes, OPTIONAL),
	DT_FIELD_KNOWN(dt_snapshot_domain, in_libc_bytes, compared, MAYBE),
	DT_FIELD_KNOWN(dt_snapshot_domain, outside_libc_bytes, compared, MAYBE),
};

static const struct dt_field trace_fields[] = {
	DT_FIELD(dt_snapshot_trace, domain, NEEDED),
	DT_FIELD(dt_snapshot_trace, traceback, NEEDED),
	DT_FIELD(dt_snapshot_trace, blocks, NEEDED),
	DT_FIELD(dt_snapshot_trace, bytes, NEEDED),
	DT_FIELD(dt_snapshot_trace, allocations, NEEDED),
	DT_FIELD(dt_snapshot_trace, allocated_bytes, NEEDED),
	DT_FIELD(dt_snapshot_trace, peak_bytes, OPTIONAL),
	DT_FIELD(dt_snapshot_trace, at_peak_bytes, OPTIONAL),
	DT_FIELD(dt_snapshot_trace, temporary, OPTIONAL),
	DT_FIELD(dt_snapshot_trace, old_blocks, OPTIONAL),
	DT_FIELD(dt_snapshot_trace, old_bytes, OPTIONAL),
};

/* ---- tracebacks ----------------------------------------------------------------------------------------------- */

static bool read_frame_numbers(struct dt_field_reader *reader, void *row)
{
	struct dt_snapshot_traceback *traceback = row;
	struct document *document = reader->context;
	bool first = true;
	size_t count = 0;
	uint64_t number;

	if (!dt_json_open(reader->json, '['))
		return false;
	while (dt_json_next(reader->json, ']', &first)) {
		if (!grow(reader, &document->frames, &document->frames_room, count, sizeof(*document->frames)) ||
		    !dt_json_u64(reader->json, UINT32_MAX, &number))
			return false;
		document->frames[count++] = (uint32_t)number;
	}
	if (count > UINT32_MAX)
		return fail(reader, -EOVERFLOW, "a traceback has more frames than anyone can count");
	traceback->frames = document->frames;
	traceback->frame_count = (uint32_t)count;
	return !dt_json_error(reader->json);
}

static const char *truncation_name(unsigned truncation)
{
	return dt_truncation_name((enum dt_truncation)truncation);
}

static bool read_truncated(struct dt_field_reader *reader, void *row)
{
	struct document *document = reader->context;
	const char *text;
	int truncation;

	if (!read_name(reader, truncation_name, DT_TRUNCATION_COUNT, &truncation, &text))
		return false;
	if (truncation < 0)
		snprintf(document->notes.truncation, sizeof(document->notes.truncation), "%s", text);
	((struct dt_snapshot_traceback *)row)->truncation = truncation < 0 ? DT_TRUNCATION_lost : (enum dt_truncation)truncation;
	return true;
}

static const struct dt_field traceback_fields[] = {
	DT_FIELD_READ("frames", read_frame_numbers, NEEDED),
	DT_FIELD(dt_snapshot_traceback, total_frames, NEEDED),
	DT_FIELD_READ("truncated", read_truncated, NULLABLE),
};

/* ---- frames --------------------------------------------------------------------------------------------------- */

static bool read_kind(struct dt_field_reader *reader, void *row)
{
	struct dt_snapshot_frame *frame = row;
	const char *text;
	size_t size;

	if (!dt_json_text(reader->json, &text, &size))
		return false;
	frame->kind = strcmp(text, "python") ? DT_FRAME_NATIVE : DT_FRAME_PYTHON;
	if (frame->kind == DT_FRAME_NATIVE && strcmp(text, "native"))
		return dt_json_fail(reader->json, -EBADMSG, "a frame is of the kind '%.64s', which this version of domtrace does not know",
				    text);
	return true;
}

/* Either kind has only some of them; what is missing is not known. */
static const struct dt_field frame_fields[] = {
	DT_FIELD_READ("kind", read_kind, NEEDED),
	DT_FIELD(dt_snapshot_frame, module, MAYBE),
	DT_FIELD(dt_snapshot_frame, build_id, MAYBE),
	DT_FIELD(dt_snapshot_frame, address, OPTIONAL),
	DT_FIELD(dt_snapshot_frame, function, MAYBE),
	DT_FIELD(dt_snapshot_frame, function_offset, MAYBE),
	DT_FIELD(dt_snapshot_frame, file, MAYBE),
	DT_FIELD(dt_snapshot_frame, line, MAYBE),
	DT_FIELD(dt_snapshot_frame, inlined, OPTIONAL),
	DT_FIELD(dt_snapshot_frame, first_line, OPTIONAL),
};

/* ---- tables --------------------------------------------------------------------------------------------------- */

union row {
	struct dt_snapshot_process process;
	struct dt_snapshot_domain domain;
	struct dt_snapshot_trace trace;
	struct dt_snapshot_traceback traceback;
	struct dt_snapshot_frame frame;
};

static int add_process(struct dt_field_reader *reader, union row *row)
{
	uint32_t index;

	return dt_snapshot_add_process(reader->snapshot, &row->process, &index);
}

static int add_domain(struct dt_field_reader *reader, union row *row)
{
	uint32_t index;

	return dt_snapshot_add_domain(reader->snapshot, &row->domain, &index);
}

static int add_trace(struct dt_field_reader *reader, union row *row)
{
	const struct dt_snapshot_trace *trace = &row->trace;
	uint32_t index;

	/* Otherwise domains could not be made of some of their traces, as filters do. */
	if (trace->blocks > trace->allocations || trace->bytes > trace->allocated_bytes ||
	    trace->temporary > trace->allocations - trace->blocks || trace->old_blocks > trace->blocks || trace->old_bytes > trace->bytes) {
		fail(reader, -EBADMSG, "a trace has more that is live, or was freed at once, than it ever allocated");
		return -EBADMSG;
	}
	return dt_snapshot_add_trace(reader->snapshot, &row->trace, &index);
}

static int add_traceback(struct dt_field_reader *reader, union row *row)
{
	return dt_snapshot_append_traceback(reader->snapshot, &row->traceback);
}

static int add_frame(struct dt_field_reader *reader, union row *row)
{
	if (row->frame.kind == DT_FRAME_PYTHON && !row->frame.file) {
		fail(reader, -EBADMSG, "a Python frame has no 'file'");
		return -EBADMSG;
	}
	return dt_snapshot_append_frame(reader->snapshot, &row->frame);
}

struct table {
	const char *name, *what;
	const struct dt_field *fields;
	size_t field_count, row_size;
	int (*add)(struct dt_field_reader *reader, union row *row);
};

#define TABLE(name, what, row) \
	{ name, what, row##_fields, DT_ARRAY_SIZE(row##_fields), sizeof(struct dt_snapshot_##row), add_##row }

static bool read_table(struct dt_field_reader *reader, const struct table *table)
{
	struct document *document = reader->context;
	bool first = true;
	union row row;
	int error;

	if (!dt_json_open(reader->json, '['))
		return false;
	document->table = table->name;
	for (document->row = 0; dt_json_next(reader->json, ']', &first); document->row++) {
		memset(&row, 0, table->row_size);
		if (!dt_field_read_object(reader, table->fields, table->field_count, table->what, &row))
			return false;
		error = table->add(reader, &row);
		if (error)
			return fail(reader, error, error == -ENOMEM ? "there is not enough memory for the snapshot" :
								      "the table has more than 4,294,967,295 rows");
	}
	if (!dt_json_error(reader->json))
		document->table = NULL;
	return !dt_json_error(reader->json);
}

#define READ_TABLE(function, ...) \
	static bool function(struct dt_field_reader *reader, void *row) \
	{ \
		static const struct table table = TABLE(__VA_ARGS__); \
		(void)row; \
		return read_table(reader, &table); \
	}

READ_TABLE(read_processes, "processes", "a process", process)
READ_TABLE(read_domains, "domains", "a domain", domain)
READ_TABLE(read_traces, "traces", "a trace", trace)
READ_TABLE(read_tracebacks, "tracebacks", "a traceback", traceback)
READ_TABLE(read_frames, "frames", "a frame", frame)

/* ---- the head ------------------------------------------------------------------------------------------------- */

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
		char own[64];
		int counter;

		if (!dt_json_key(reader->json, &name, &size))
			return false;
		snprintf(own, sizeof(own), "%s", name);
		counter = find_counter(own);
		if (!dt_json_u64(reader->json, UINT64_MAX, &value))
			return false;
		if (counter < 0 || dt_counter_is_loss((enum dt_counter)counter) != losses) {
			if (losses && value)
				memcpy(document->notes.loss, own, sizeof(own));
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
	DT_FIELD_READ("processes", read_processes, NEEDED),
	DT_FIELD_READ("domains", read_domains, NEEDED),
	DT_FIELD_READ("traces", read_traces, NEEDED),
	DT_FIELD_READ("tracebacks", read_tracebacks, NEEDED),
	DT_FIELD_READ("frames", read_frames, NEEDED),
};

int dt_document_read(struct dt_json *json, struct dt_snapshot *snapshot, struct dt_document_notes *ret_notes,
		     char ret_place[DT_DOCUMENT_PLACE_SIZE])
{
	struct document document = { 0 };
	struct dt_field_reader reader = { json, snapshot, &document };
	bool good = dt_field_read_object(&reader, document_fields, DT_ARRAY_SIZE(document_fields), "the snapshot", snapshot);

	free(document.frames);
	free(document.words);
	*ret_notes = document.notes;
	ret_place[0] = '\0';
	if (document.table)
		snprintf(ret_place, DT_DOCUMENT_PLACE_SIZE, "%s[%" PRIu64 "]", document.table, document.row);
	return good ? 0 : dt_json_error(json);
}
