/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

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
	struct dt_table_state *state = reader->context;
	size_t count = 0, size;
	bool first = true;

	if (!dt_json_open(reader->json, '['))
		return false;
	while (dt_json_next(reader->json, ']', &first)) {
		const char *word;

		if (!grow(reader, &state->words, &state->words_room, count + 1, sizeof(*state->words)) ||
		    !dt_json_text(reader->json, &word, &size))
			return false;
		state->words[count] = dt_snapshot_string(reader->snapshot, word);
		if (!state->words[count++])
			return fail(reader, -ENOMEM, "there is not enough memory for its names");
	}
	if (!grow(reader, &state->words, &state->words_room, count, sizeof(*state->words)))
		return false;
	state->words[count] = NULL;
	((struct dt_snapshot_process *)row)->command = state->words;
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

/* [[upper_bytes, blocks, bytes], …] */
static bool read_sizes(struct dt_field_reader *reader, struct dt_snapshot_sizes *sizes)
{
	struct dt_table_state *state = reader->context;
	bool first = true;

	if (!dt_json_open(reader->json, '['))
		return false;
	for (sizes->count = 0; dt_json_next(reader->json, ']', &first); sizes->count++) {
		uint64_t numbers[3];
		bool first_number = true;

		if (sizes->count == DT_SIZE_CLASSES)
			return fail(reader, -EBADMSG, "there are more size classes than powers of two");
		if (!dt_json_open(reader->json, '['))
			return false;
		for (size_t i = 0; i < DT_ARRAY_SIZE(numbers); i++)
			if (!dt_json_next(reader->json, ']', &first_number) || !dt_json_u64(reader->json, UINT64_MAX, &numbers[i]))
				return fail(reader, -EBADMSG, "a size class has less than three numbers");
		if (dt_json_next(reader->json, ']', &first_number))
			return fail(reader, -EBADMSG, "a size class has more than three numbers");
		state->sizes[sizes->count] = (struct dt_snapshot_size){ numbers[0], numbers[1], numbers[2] };
	}
	sizes->rows = state->sizes;
	return !dt_json_error(reader->json);
}

static bool read_domain_sizes(struct dt_field_reader *reader, void *row)
{
	struct dt_snapshot_domain *domain = row;

	domain->sized = true;
	return read_sizes(reader, &domain->sizes);
}

static bool read_trace_sizes(struct dt_field_reader *reader, void *row)
{
	return read_sizes(reader, &((struct dt_snapshot_trace *)row)->sizes);
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
	DT_FIELD_READ("sizes", read_domain_sizes, OPTIONAL),
	DT_FIELD(dt_snapshot_domain, sizes_exact, OPTIONAL),
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
	DT_FIELD_READ("sizes", read_trace_sizes, OPTIONAL),
};

/* ---- tracebacks ----------------------------------------------------------------------------------------------- */

static bool read_frame_numbers(struct dt_field_reader *reader, void *row)
{
	struct dt_snapshot_traceback *traceback = row;
	struct dt_table_state *state = reader->context;
	bool first = true;
	size_t count = 0;
	uint64_t number;

	if (!dt_json_open(reader->json, '['))
		return false;
	while (dt_json_next(reader->json, ']', &first)) {
		if (!grow(reader, &state->frames, &state->frames_room, count, sizeof(*state->frames)) ||
		    !dt_json_u64(reader->json, UINT32_MAX, &number))
			return false;
		state->frames[count++] = (uint32_t)number;
		count += dt_json_take_elements(reader->json, state->frames + count, state->frames_room - count);
	}
	if (count > UINT32_MAX)
		return fail(reader, -EOVERFLOW, "a traceback has more frames than anyone can count");
	traceback->frames = state->frames;
	traceback->frame_count = (uint32_t)count;
	return !dt_json_error(reader->json);
}

static const char *truncation_name(unsigned truncation)
{
	return dt_truncation_name((enum dt_truncation)truncation);
}

static bool read_truncated(struct dt_field_reader *reader, void *row)
{
	struct dt_table_state *state = reader->context;
	const char *text;
	int truncation;

	if (!read_name(reader, truncation_name, DT_TRUNCATION_COUNT, &truncation, &text))
		return false;
	if (truncation < 0)
		snprintf(state->truncation, sizeof(state->truncation), "%s", text);
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
	struct dt_table_state *state = reader->context;
	bool first = true;
	union row row;
	int error;

	if (!dt_json_open(reader->json, '['))
		return false;
	state->name = table->name;
	for (state->row = 0; dt_json_next(reader->json, ']', &first); state->row++) {
		memset(&row, 0, table->row_size);
		if (!dt_field_read_object(reader, table->fields, table->field_count, table->what, &row))
			return false;
		error = table->add(reader, &row);
		if (error)
			return fail(reader, error, error == -ENOMEM ? "there is not enough memory for the snapshot" :
								      "the table has more than 4,294,967,295 rows");
	}
	if (!dt_json_error(reader->json))
		state->name = NULL;
	return !dt_json_error(reader->json);
}

#define READ_TABLE(function, ...) \
	bool function(struct dt_field_reader *reader, void *row) \
	{ \
		static const struct table table = TABLE(__VA_ARGS__); \
		(void)row; \
		return read_table(reader, &table); \
	}

READ_TABLE(dt_table_read_processes, "processes", "a process", process)
READ_TABLE(dt_table_read_domains, "domains", "a domain", domain)
READ_TABLE(dt_table_read_traces, "traces", "a trace", trace)
READ_TABLE(dt_table_read_tracebacks, "tracebacks", "a traceback", traceback)
READ_TABLE(dt_table_read_frames, "frames", "a frame", frame)

void dt_table_state_clear(struct dt_table_state *state)
{
	free(state->frames);
	free(state->words);
}
