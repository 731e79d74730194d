/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/filter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "snapshot/pattern.h"
#include "snapshot/place.h"
#include "snapshot/traces.h"

struct bounds {
	uint64_t minimum, maximum;
};

struct dt_filter {
	bool exclusive;
	struct dt_pattern *file, *function, *module; /* NULL: any */
	bool has_line, all_frames;
	uint64_t line;
	char *domain;                   /* NULL: any */
	enum dt_source source;          /* of a domain with a name that says so */
	uint32_t id;
	bool domain_known;
	struct dt_pattern *process;     /* by name; NULL: any */
	bool has_pid;
	uint64_t pid;
	struct bounds bytes, blocks;
};

void dt_filter_free(struct dt_filter *filter)
{
	if (!filter)
		return;
	dt_pattern_free(filter->file);
	dt_pattern_free(filter->function);
	dt_pattern_free(filter->module);
	dt_pattern_free(filter->process);
	free(filter->domain);
	free(filter);
}

static void cleanup_filter(struct dt_filter **filter)
{
	dt_filter_free(*filter);
}

/* ---- from text ------------------------------------------------------------------------------------------------ */

static const char pyc[] = ".pyc";

/* As tracemalloc normalises names of files: compiled code stands for its source. Returns the size that counts. */
static size_t normal_size(const char *name)
{
	size_t size = strlen(name);

	return size >= sizeof(pyc) - 1 && !strcmp(name + size - (sizeof(pyc) - 1), pyc) ? size - 1 : size;
}

static int set_pattern(struct dt_pattern **pattern, const char *text, size_t size)
{
	return *pattern ? -EEXIST : dt_pattern_new(text, size, pattern);
}

static int set_file(struct dt_filter *filter, const char *value)
{
	return set_pattern(&filter->file, value, normal_size(value));
}

static int set_function(struct dt_filter *filter, const char *value)
{
	return set_pattern(&filter->function, value, strlen(value));
}

static int set_module(struct dt_filter *filter, const char *value)
{
	return set_pattern(&filter->module, value, strlen(value));
}

static int set_line(struct dt_filter *filter, const char *value)
{
	if (filter->has_line)
		return -EEXIST;
	filter->has_line = true;
	return dt_parse_u64(value, 0, UINT64_MAX, &filter->line);
}

static int set_all(struct dt_filter *filter, const char *value)
{
	(void)value;
	filter->all_frames = true;
	return 0;
}

static int set_domain(struct dt_filter *filter, const char *value)
{
	if (filter->domain)
		return -EEXIST;
	filter->domain = strdup(value);
	filter->domain_known = !dt_domain_name_parse(value, &filter->source, &filter->id);
	return filter->domain ? 0 : -ENOMEM;
}

static int set_process(struct dt_filter *filter, const char *value)
{
	if (filter->has_pid || filter->process)
		return -EEXIST;
	filter->has_pid = !dt_parse_u64(value, 0, UINT64_MAX, &filter->pid);
	return filter->has_pid ? 0 : dt_pattern_new(value, strlen(value), &filter->process);
}

static int set_bytes_from(struct dt_filter *filter, const char *value)
{
	return dt_parse_bytes(value, &filter->bytes.minimum);
}

static int set_bytes_to(struct dt_filter *filter, const char *value)
{
	return dt_parse_bytes(value, &filter->bytes.maximum);
}

static int set_blocks_from(struct dt_filter *filter, const char *value)
{
	return dt_parse_u64(value, 0, UINT64_MAX, &filter->blocks.minimum);
}

static int set_blocks_to(struct dt_filter *filter, const char *value)
{
	return dt_parse_u64(value, 0, UINT64_MAX, &filter->blocks.maximum);
}

static const struct {
	const char *begin;              /* the value follows; none where it does not end with '=' */
	int (*set)(struct dt_filter *filter, const char *value);
	const char *wants;
} terms[] = {
	{ "file=", set_file, "a pattern for names of files" },
	{ "line=", set_line, "a line number" },
	{ "all", set_all, NULL },
	{ "function=", set_function, "a pattern for names of functions" },
	{ "module=", set_module, "a pattern for names of modules" },
	{ "domain=", set_domain, "a domain" },
	{ "process=", set_process, "a process number, or a pattern for names of processes" },
	{ "bytes>=", set_bytes_from, "a number of bytes (as 4096, 64K or 2M)" },
	{ "bytes<=", set_bytes_to, "a number of bytes (as 4096, 64K or 2M)" },
	{ "blocks>=", set_blocks_from, "a number of blocks" },
	{ "blocks<=", set_blocks_to, "a number of blocks" },
};

static int refuse_term(const struct dt_log *log, const char *filter, const char *value, const char *wants, int error)
{
	if (error == -ENOMEM)
		return dt_log_error(log, error, "not enough memory for the filter '%s'", filter);
	if (error == -EEXIST)
		return dt_log_error(log, -EINVAL, "the filter '%s' has %s twice: give two filters", filter, wants);
	return dt_log_error(log, -EINVAL, "the filter '%s': '%s' is not %s", filter, value, wants);
}

static int parse_term(struct dt_filter *filter, const char *text, const char *term, const struct dt_log *log)
{
	for (size_t i = 0; i < DT_ARRAY_SIZE(terms); i++) {
		size_t size = strlen(terms[i].begin);
		bool has_value = terms[i].begin[size - 1] == '=';
		int error;

		if (strncmp(term, terms[i].begin, size) || (!has_value && term[size]))
			continue;
		error = has_value && !term[size] ? -EINVAL : terms[i].set(filter, term + size);
		return error ? refuse_term(log, text, term + size, terms[i].wants, error) : 0;
	}
	return dt_log_error(log, -EINVAL, "the filter '%s': '%s' is none of file=, line=, all, function=, module=, domain=, process=, bytes>=, "
			    "bytes<=, blocks>= and blocks<=", text, term);
}

/* Cuts the next term off, in place: up to a comma, of which two in a row stand for one. NULL: there is none left. */
static char *next_term(char **rest)
{
	char *term = *rest, *to = *rest, *from = *rest;

	if (!term)
		return NULL;
	for (; *from && (*from != ',' || from[1] == ','); from++) {
		*to++ = *from;
		from += *from == ',';
	}
	*rest = *from ? from + 1 : NULL;
	*to = '\0';
	return term;
}

static int new_filter(bool exclusive, struct dt_filter **ret_filter)
{
	struct dt_filter *filter = calloc(1, sizeof(*filter));

	if (!filter)
		return -ENOMEM;
	filter->exclusive = exclusive;
	filter->bytes.maximum = filter->blocks.maximum = UINT64_MAX;
	*ret_filter = filter;
	return 0;
}

int dt_filter_parse(const char *text, const struct dt_log *log, struct dt_filter **ret_filter)
{
	DT_CLEANUP(cleanup_filter) struct dt_filter *filter = NULL;
	DT_FREE char *copy = strdup(*text == '!' ? text + 1 : text);
	char *rest = copy, *term;
	int error = copy ? new_filter(*text == '!', &filter) : -ENOMEM;

	if (error)
		return refuse_term(log, text, NULL, NULL, error);
	while (!error && (term = next_term(&rest)))
		error = parse_term(filter, text, term, log);
	if (!error)
		*ret_filter = DT_TAKE(filter);
	return error;
}

int dt_filter_parse_domain(const char *name, const struct dt_log *log, struct dt_filter **ret_filter)
{
	DT_CLEANUP(cleanup_filter) struct dt_filter *filter = NULL;
	int error = new_filter(*name == '!', &filter);

	name += *name == '!';
	if (!error)
		error = *name ? set_domain(filter, name) : -EINVAL;
	if (error)
		return refuse_term(log, "domain", name, "a domain", error);
	*ret_filter = DT_TAKE(filter);
	return 0;
}

/* ---- matching ------------------------------------------------------------------------------------------------- */

static bool text_matches(const struct dt_pattern *pattern, const char *text)
{
	return !pattern || (text && dt_pattern_matches(pattern, text, strlen(text)));
}

static bool frame_matches(const struct dt_filter *filter, const struct dt_snapshot_frame *frame)
{
	struct dt_place place = dt_place_of(frame);

	return (!filter->has_line || place.number == filter->line) &&
	       (!filter->file || dt_pattern_matches(filter->file, place.name, normal_size(place.name))) &&
	       text_matches(filter->function, frame ? frame->function : NULL) &&
	       text_matches(filter->module, frame ? frame->module : NULL);
}

static bool domain_matches(const struct dt_filter *filter, const struct dt_snapshot *snapshot, uint32_t index)
{
	const struct dt_snapshot_domain *domain = &snapshot->domains[index];
	const struct dt_snapshot_process *process = &snapshot->processes[domain->process];
	bool same_id = domain->source != DT_SOURCE_TRACEMALLOC || domain->id == filter->id;

	if (filter->domain && strcmp(filter->domain, domain->name) &&
	    !(filter->domain_known && domain->source == filter->source && same_id))
		return false;
	if (filter->has_pid && (uint64_t)process->pid != filter->pid)
		return false;
	return text_matches(filter->process, process->comm);
}

/* What a filter thinks of each row of each table, found out once. */
struct verdict {
	bool *frames, *tracebacks, *domains;
};

static void clear_verdict(struct verdict *verdict)
{
	free(verdict->frames);
	free(verdict->tracebacks);
	free(verdict->domains);
}

static bool traceback_matches(const struct dt_filter *filter, const struct dt_snapshot_traceback *row, const bool *frames)
{
	if (!row->frame_count)
		return frame_matches(filter, NULL);
	if (!filter->all_frames)
		return frames[row->frames[row->frame_count - 1]];
	for (uint32_t i = 0; i < row->frame_count; i++)
		if (frames[row->frames[i]])
			return true;
	return false;
}

static int find_verdict(const struct dt_filter *filter, const struct dt_snapshot *snapshot, struct verdict *verdict)
{
	verdict->frames = malloc(snapshot->frame_count + 1ul);
	verdict->tracebacks = malloc(snapshot->traceback_count + 1ul);
	verdict->domains = malloc(snapshot->domain_count + 1ul);
	if (!verdict->frames || !verdict->tracebacks || !verdict->domains)
		return -ENOMEM;
	for (uint32_t i = 0; i < snapshot->frame_count; i++)
		verdict->frames[i] = frame_matches(filter, &snapshot->frames[i]);
	for (uint32_t i = 0; i < snapshot->traceback_count; i++)
		verdict->tracebacks[i] = traceback_matches(filter, &snapshot->tracebacks[i], verdict->frames);
	for (uint32_t i = 0; i < snapshot->domain_count; i++)
		verdict->domains[i] = domain_matches(filter, snapshot, i);
	return 0;
}

static bool is_within(const struct bounds *bounds, uint64_t value)
{
	return value >= bounds->minimum && value <= bounds->maximum;
}

static bool trace_matches(const struct dt_filter *filter, const struct verdict *verdict, const struct dt_snapshot_trace *trace)
{
	return verdict->tracebacks[trace->traceback] && verdict->domains[trace->domain] && is_within(&filter->bytes, trace->bytes) &&
	       is_within(&filter->blocks, trace->blocks);
}

/* ---- all filters ----------------------------------------------------------------------------------------------- */

/* Marks in `marks` the traces that match. */
static int mark(const struct dt_filter *filter, const struct dt_snapshot *snapshot, bool *marks)
{
	DT_CLEANUP(clear_verdict) struct verdict verdict = { 0 };
	int error = find_verdict(filter, snapshot, &verdict);

	for (uint32_t i = 0; i < snapshot->trace_count && !error; i++)
		if (trace_matches(filter, &verdict, &snapshot->traces[i]))
			marks[i] = true;
	return error;
}

int dt_filter_apply(struct dt_filter *const filters[], size_t count, struct dt_snapshot *snapshot)
{
	DT_FREE bool *included = calloc(snapshot->trace_count + 1ul, 1), *excluded = calloc(snapshot->trace_count + 1ul, 1);
	bool inclusive = false;
	int error = included && excluded ? 0 : -ENOMEM;

	for (size_t i = 0; i < count && !error; i++) {
		inclusive |= !filters[i]->exclusive;
		error = mark(filters[i], snapshot, filters[i]->exclusive ? excluded : included);
	}
	if (error || !count)
		return error;
	for (uint32_t i = 0; i < snapshot->trace_count; i++)
		included[i] = (!inclusive || included[i]) && !excluded[i];
	return dt_traces_keep(snapshot, included);
}
