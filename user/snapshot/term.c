/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/term.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

void dt_filter_free(struct dt_filter *filter)
{
	if (!filter)
		return;
	dt_pattern_free(filter->file);
	dt_pattern_free(filter->function);
	dt_pattern_free(filter->module);
	dt_pattern_free(filter->process);
	free(filter->domain);
	free(filter->age);
	free(filter->text);
	free(filter);
}

static void cleanup_filter(struct dt_filter **filter)
{
	dt_filter_free(*filter);
}

/* ---- from text ------------------------------------------------------------------------------------------------ */

static const char pyc[] = ".pyc";

size_t dt_term_file_size(const char *name)
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
	return set_pattern(&filter->file, value, dt_term_file_size(value));
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

/* Bounds between two classes. All terms hold at a time. */
static int set_size(struct dt_filter *filter, const char *value, bool above)
{
	uint64_t bytes, classes;
	int error = dt_parse_bytes(value, &bytes);

	if (error || !bytes || bytes & (bytes - 1))
		return -EINVAL;
	classes = above ? ~dt_part_up_to(bytes) : dt_part_up_to(bytes);
	filter->has_size = true;
	filter->part.old &= classes;
	filter->part.young &= classes;
	return 0;
}

static int set_size_above(struct dt_filter *filter, const char *value)
{
	return set_size(filter, value, true);
}

static int set_size_to(struct dt_filter *filter, const char *value)
{
	return set_size(filter, value, false);
}

static int set_age(struct dt_filter *filter, const char *value)
{
	if (filter->age)
		return -EEXIST;
	if (dt_parse_duration(value, &filter->age_ns))
		return -EINVAL;
	filter->age = strdup(value);
	return filter->age ? 0 : -ENOMEM;
}

static int set_age_from(struct dt_filter *filter, const char *value)
{
	filter->part.young = 0;
	return set_age(filter, value);
}

static int set_age_below(struct dt_filter *filter, const char *value)
{
	filter->part.old = 0;
	return set_age(filter, value);
}

static const struct {
	const char *begin;              /* the value follows, but for "all" */
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
	{ "size>", set_size_above, "a power of two of bytes (as 64, 4K or 1M), between which sizes are told apart" },
	{ "size<=", set_size_to, "a power of two of bytes (as 64, 4K or 1M), between which sizes are told apart" },
	{ "age>=", set_age_from, "a duration (as 500ms, 60s, 5m or 1h)" },
	{ "age<", set_age_below, "a duration (as 500ms, 60s, 5m or 1h)" },
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
		bool has_value = terms[i].wants;
		int error;

		if (strncmp(term, terms[i].begin, size) || (!has_value && term[size]))
			continue;
		error = has_value && !term[size] ? -EINVAL : terms[i].set(filter, term + size);
		return error ? refuse_term(log, text, term + size, terms[i].wants, error) : 0;
	}
	return dt_log_error(log, -EINVAL, "the filter '%s': '%s' is none of file=, line=, all, function=, module=, domain=, process=, bytes>=, "
			    "bytes<=, blocks>=, blocks<=, size>, size<=, age>= and age<", text, term);
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
	filter->part = DT_PART_ALL;
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
	filter->text = strdup(text);
	if (!filter->text)
		return refuse_term(log, text, NULL, NULL, -ENOMEM);
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
