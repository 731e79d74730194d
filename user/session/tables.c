/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/tables.h"

#include <errno.h>
#include <string.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "base/parse.h"

static const struct {
	const char *name;
	uint64_t row_bytes, rows;
	const char *help;
} tables[] = {
#define DT_TABLE(name, row_bytes, rows, help) { #name, row_bytes, rows, help },
#include <domtrace/tables.def>
#undef DT_TABLE
};

#define ROWS_MAX (1ull << 31)           /* of a hash map: its buckets are a power of two that 32 bits hold */

const char *dt_table_name(size_t index, uint64_t *ret_bytes, const char **ret_help)
{
	if (index >= DT_ARRAY_SIZE(tables))
		return NULL;
	*ret_bytes = tables[index].rows * tables[index].row_bytes;
	*ret_help = tables[index].help;
	return tables[index].name;
}

static int refuse(const struct dt_log *log, const char *text)
{
	return dt_log_error(log, -EINVAL, "there is no such size of a table: '%s'; give NAME=BYTES, as live=400M; "
			    "'domtrace --help' lists the names", text);
}

static int parse_one(const char *text, const struct dt_log *log, struct dt_tables *sizes)
{
	size_t length = strcspn(text, "=");

	for (size_t i = 0; i < DT_ARRAY_SIZE(tables); i++) {
		uint64_t bytes;

		if (strlen(tables[i].name) != length || strncmp(tables[i].name, text, length))
			continue;
		if (!text[length] || dt_parse_bytes(text + length + 1, &bytes))
			return refuse(log, text);
		if (bytes / tables[i].row_bytes < 1 || bytes / tables[i].row_bytes > ROWS_MAX)
			return dt_log_error(log, -EINVAL, "table %s cannot have %s bytes: a row takes %llu, and it has 1 to %llu of them",
					    tables[i].name, text + length + 1, (unsigned long long)tables[i].row_bytes, ROWS_MAX);
		sizes->rows[i] = bytes / tables[i].row_bytes;
		return 0;
	}
	return refuse(log, text);
}

/* The kernel's ring buffers are a power of two, and whole pages (kernel/bpf/ringbuf.c). */
static int check_events(uint64_t bytes, const struct dt_log *log)
{
	if (bytes >= 65536 && bytes <= 1u << 30 && !(bytes & (bytes - 1)))
		return 0;
	return dt_log_error(log, -EINVAL, "table events cannot have %llu bytes: it is a power of two from 64K to 1G", (unsigned long long)bytes);
}

int dt_tables_parse(const char *const *texts, const struct dt_log *log, struct dt_tables *ret_tables)
{
	struct dt_tables sizes;
	int error = 0;

	for (size_t i = 0; i < DT_ARRAY_SIZE(tables); i++)
		sizes.rows[i] = tables[i].rows;
	for (; texts && *texts && !error; texts++)
		error = parse_one(*texts, log, &sizes);
	if (!error)
		error = check_events(sizes.rows[DT_TABLE_events], log);
	if (!error)
		*ret_tables = sizes;
	return error;
}
