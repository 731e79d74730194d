/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/domain_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/figure.h"
#include "export/text.h"

#define INDENT 2u
#define NAME_COLUMNS_MAX 20u

static const struct {
	const char *head;
	size_t offset;                  /* of the figure in struct dt_snapshot_domain */
	bool is_bytes;
} columns[] = {
	{ "live blocks", offsetof(struct dt_snapshot_domain, live_blocks), false },
	{ "live bytes", offsetof(struct dt_snapshot_domain, live_bytes), true },
	{ "peak bytes", offsetof(struct dt_snapshot_domain, peak_bytes), true },
	{ "allocations", offsetof(struct dt_snapshot_domain, allocations), false },
	{ "frees", offsetof(struct dt_snapshot_domain, frees), false },
};

typedef void (*format_fn)(uint64_t value, char text[DT_FIGURE_SIZE]);

/* From the finest to the shortest: the first that fits the page is taken for the whole table. */
static const struct {
	format_fn count, bytes;
} forms[] = {
	{ dt_figure_grouped, dt_figure_grouped },
	{ dt_figure_plain, dt_figure_plain },
	{ dt_figure_plain, dt_figure_bytes },
	{ dt_figure_count, dt_figure_bytes },
};

static void format_cell(const struct dt_snapshot_domain *domain, size_t column, size_t form, char text[DT_FIGURE_SIZE])
{
	uint64_t value;

	memcpy(&value, (const char *)domain + columns[column].offset, sizeof(value));
	(columns[column].is_bytes ? forms[form].bytes : forms[form].count)(value, text);
}

/* Widths of all columns, the gap before each included; the sum is returned. */
static size_t measure(const struct dt_snapshot *snapshot, uint32_t process, size_t form, size_t gap,
		      size_t widths[DT_ARRAY_SIZE(columns)])
{
	char text[DT_FIGURE_SIZE];
	size_t sum = 0;

	for (size_t column = 0; column < DT_ARRAY_SIZE(columns); column++) {
		widths[column] = strlen(columns[column].head) + gap;
		for (uint32_t i = 0; i < snapshot->domain_count; i++) {
			if (snapshot->domains[i].process != process)
				continue;
			format_cell(&snapshot->domains[i], column, form, text);
			if (strlen(text) + gap > widths[column])
				widths[column] = strlen(text) + gap;
		}
		sum += widths[column];
	}
	return sum;
}

static int write_row(const struct dt_page *page, const struct dt_snapshot_domain *domain, size_t form, size_t name_columns,
		     const size_t widths[DT_ARRAY_SIZE(columns)])
{
	DT_FREE char *name = dt_text_fit(domain->name, strlen(domain->name), name_columns, DT_TEXT_CUT_MIDDLE);
	char text[DT_FIGURE_SIZE];

	if (!name)
		return -ENOMEM;
	dt_page_print(page, DT_STYLE_PLAIN, "%*s", (int)INDENT, "");
	dt_page_print(page, DT_STYLE_STRONG, "%s", name);
	dt_page_print(page, DT_STYLE_PLAIN, "%*s", (int)(name_columns - dt_text_width(name)), "");
	for (size_t column = 0; column < DT_ARRAY_SIZE(columns); column++) {
		format_cell(domain, column, form, text);
		dt_page_print(page, DT_STYLE_PLAIN, "%*s", (int)widths[column], text);
	}
	dt_page_print(page, DT_STYLE_PLAIN, "\n");
	return 0;
}

/* Columns of the longest name; 0: the process has no domain. */
static size_t measure_names(const struct dt_snapshot *snapshot, uint32_t process)
{
	size_t widest = 0;

	for (uint32_t i = 0; i < snapshot->domain_count; i++) {
		size_t width = snapshot->domains[i].process == process ? strlen(snapshot->domains[i].name) : 0;

		if (width > widest)
			widest = width;
	}
	if (widest && widest < strlen("domain"))
		widest = strlen("domain");
	return widest < NAME_COLUMNS_MAX ? widest : NAME_COLUMNS_MAX;
}

int dt_domain_table_write(const struct dt_page *page, const struct dt_snapshot *snapshot, uint32_t process)
{
	size_t name_columns = measure_names(snapshot, process), widths[DT_ARRAY_SIZE(columns)], form = 0, gap = 3;
	int error = 0;

	if (!name_columns) {
		dt_page_print(page, DT_STYLE_PLAIN, "%*sNothing was allocated in the traced domains.\n", (int)INDENT, "");
		return 0;
	}
	/* First the columns move together, then the figures give up digits. */
	while (INDENT + name_columns + measure(snapshot, process, form, gap, widths) > page->columns) {
		if (gap > 2)
			gap--;
		else if (form + 1 < DT_ARRAY_SIZE(forms))
			form++;
		else if (gap > 1)
			gap--;
		else if (name_columns > strlen("domain"))
			name_columns--;
		else
			break;
	}
	dt_page_print(page, DT_STYLE_WEAK, "%*s%-*s", (int)INDENT, "", (int)name_columns, "domain");
	for (size_t column = 0; column < DT_ARRAY_SIZE(columns); column++)
		dt_page_print(page, DT_STYLE_WEAK, "%*s", (int)widths[column], columns[column].head);
	dt_page_print(page, DT_STYLE_PLAIN, "\n");
	for (uint32_t i = 0; i < snapshot->domain_count && !error; i++)
		if (snapshot->domains[i].process == process)
			error = write_row(page, &snapshot->domains[i], form, name_columns, widths);
	return error;
}
