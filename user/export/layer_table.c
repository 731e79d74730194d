/* SPDX-License-Identifier: BSD-2-Clause */
/*
 *   resident               126,418,944
 *     heap                  12,288,000
 *     anonymous mappings    98,000,000
 *     files and the rest    16,130,944
 *   live in libc            14,912,512
 *     under numpy           14,900,224
 *     unclaimed                 12,288
 */
#include "export/layer_table.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/figure.h"
#include "export/text.h"

#define INDENT 2u
#define NAME_COLUMNS_MAX 20u

struct table {
	const struct dt_page *page;
	const struct dt_snapshot *snapshot;
	uint32_t process;
	size_t name_columns, figure_columns;
	bool measures;                  /* only the two widths are looked for */
};

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* `about`: not exactly of the snapshot's moment. */
static void write_line(struct table *table, unsigned level, const char *name, uint64_t bytes, bool about)
{
	size_t room = table->name_columns - 2 * level;
	char text[DT_FIGURE_SIZE + 1] = "~";

	dt_figure_grouped(bytes, about ? text + 1 : text);
	if (table->measures) {
		table->name_columns = larger(table->name_columns, dt_text_width(name) + 2 * level);
		table->figure_columns = larger(table->figure_columns, strlen(text));
		return;
	}
	dt_page_print(table->page, DT_STYLE_PLAIN, "%*s", (int)(INDENT + 2 * level), "");
	dt_page_print(table->page, level ? DT_STYLE_PLAIN : DT_STYLE_STRONG, "%s", name);
	dt_page_print(table->page, DT_STYLE_PLAIN, "%*s   %*s\n", (int)(room - dt_text_width(name)), "", (int)table->figure_columns, text);
}

static void write_memory(struct table *table, const struct dt_snapshot_memory *memory)
{
	uint64_t rest = memory->resident_bytes - memory->heap_bytes - memory->anonymous_mapping_bytes;
	bool about = memory->after_ns < 0;

	write_line(table, 0, "resident", memory->resident_bytes, about);
	write_line(table, 1, "heap", memory->heap_bytes, about);
	write_line(table, 1, "anonymous mappings", memory->anonymous_mapping_bytes, about);
	write_line(table, 1, "files and the rest", rest, about);
	if (memory->swap_bytes)
		write_line(table, 0, "swapped out", memory->swap_bytes, about);
	if (memory->hugetlb_bytes)
		write_line(table, 0, "in huge pages set aside", memory->hugetlb_bytes, about);
}

static int write_domain(struct table *table, const struct dt_snapshot_domain *domain, bool about)
{
	DT_FREE char *safe = dt_text_fit(domain->name, strlen(domain->name), NAME_COLUMNS_MAX, DT_TEXT_CUT_MIDDLE), *line = NULL;

	if (!safe || asprintf(&line, "under %s", safe) < 0)
		return -ENOMEM;
	write_line(table, 1, line, domain->in_libc_bytes, about);
	return 0;
}

/* Where several domains lie in the same bytes, their lines add up to more than what is claimed. */
static int write_layers(struct table *table, const struct dt_snapshot_layers *layers)
{
	uint64_t sum = 0;
	int error = 0;

	write_line(table, 0, "live in libc", layers->libc_bytes, !layers->exact);
	for (uint32_t i = 0; i < table->snapshot->domain_count && !error; i++) {
		const struct dt_snapshot_domain *domain = &table->snapshot->domains[i];

		if (domain->process != table->process || !domain->compared || !domain->in_libc_bytes)
			continue;
		error = write_domain(table, domain, !layers->exact);
		sum += domain->in_libc_bytes;
	}
	if (sum != layers->claimed_bytes)
		write_line(table, 1, "under any of them", layers->claimed_bytes, !layers->exact);
	write_line(table, 1, "unclaimed", layers->libc_bytes - layers->claimed_bytes, !layers->exact);
	return error;
}

static int write_lines(struct table *table)
{
	const struct dt_snapshot_process *process = &table->snapshot->processes[table->process];

	if (process->memory.known)
		write_memory(table, &process->memory);
	return process->layers.known ? write_layers(table, &process->layers) : 0;
}

/* What "~" means here. */
static void write_notes(const struct table *table)
{
	const struct dt_snapshot_process *process = &table->snapshot->processes[table->process];
	const struct dt_snapshot_memory *memory = &process->memory;
	char words[160], seconds[DT_FIGURE_SIZE];

	if (memory->known && memory->after_ns < 0) {
		dt_figure_seconds(-(uint64_t)memory->after_ns, seconds);
		snprintf(words, sizeof(words), "What is resident was read %s before this snapshot.", seconds);
		dt_page_print(table->page, DT_STYLE_PLAIN, "%*s", (int)INDENT, "");
		dt_page_print_words(table->page, DT_STYLE_PLAIN, INDENT, INDENT, words);
	}
	if (process->layers.known && !process->layers.exact) {
		dt_page_print(table->page, DT_STYLE_PLAIN, "%*s", (int)INDENT, "");
		dt_page_print_words(table->page, DT_STYLE_PLAIN, INDENT, INDENT,
				    "Which blocks lie in which was read while the process went on.");
	}
}

int dt_layer_table_write(const struct dt_page *page, const struct dt_snapshot *snapshot, uint32_t process)
{
	const struct dt_snapshot_process *row = &snapshot->processes[process];
	struct table table = { .page = page, .snapshot = snapshot, .process = process, .measures = true };
	int error;

	if (!row->memory.known && !row->layers.known)
		return 0;
	error = write_lines(&table);
	if (error)
		return error;
	table.measures = false;
	dt_page_print(page, DT_STYLE_PLAIN, "\n");
	error = write_lines(&table);
	write_notes(&table);
	return error;
}
