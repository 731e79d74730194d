/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/unwind_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "target/eh_frame.h"
#include "target/rule_ranges.h"

/* Programs have one or two executable segments. A file that claims to have thousands is not searched for all of them. */
#define TEXT_SEGMENTS_MAX 64

#define RANGES_OWNED DT_CLEANUP(dt_rule_ranges_clear) struct dt_rule_ranges

static int add_range(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	return dt_rule_ranges_add(context, start, end, rule);
}

/* Where the file has code: a table that speaks of other addresses would only cost memory. */
static int read_text(const struct dt_elf *elf, struct dt_rule_ranges *text)
{
	static const struct dt_unwind_rule none;
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;
	int error = 0;

	for (size_t i = 0; i < TEXT_SEGMENTS_MAX && !error && dt_elf_text(elf, i, &vaddr, &bytes, &size); i++)
		error = dt_rule_ranges_add(text, vaddr, vaddr + size, &none);
	return error ? error : dt_rule_ranges_sort(text);
}

/* Adds what a section of call frame information says about code of which nothing is known yet. */
static int add_section(struct dt_elf *elf, const char *name, bool debug, const struct dt_rule_ranges *text,
		       struct dt_rule_ranges *known)
{
	struct dt_eh_frame frame = { .debug = debug };
	RANGES_OWNED ranges = { 0 };
	const uint8_t *bytes;
	size_t size;
	int error;

	error = dt_elf_section(elf, name, &frame.bytes, &frame.size, &frame.vaddr);
	if (error)
		return error == -ENOMEM ? error : 0;
	if (dt_elf_section(elf, ".text", &bytes, &size, &frame.text_vaddr))
		frame.text_vaddr = 0;
	/* Addresses relative to data are so to the global offset table (AMD64 supplement, 4.2.4), which ld calls .got or .got.plt. */
	if (dt_elf_section(elf, ".got.plt", &bytes, &size, &frame.data_vaddr) &&
	    dt_elf_section(elf, ".got", &bytes, &size, &frame.data_vaddr))
		frame.data_vaddr = 0;
	error = dt_eh_frame_each(&frame, add_range, &ranges);
	if (error != -ENOMEM)
		error = dt_rule_ranges_sort(&ranges);
	if (!error)
		error = dt_rule_ranges_cut(&ranges, text);
	return error ? error : dt_rule_ranges_cover(known, &ranges);
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static void add_row(struct dt_unwind_table *table, uint64_t vaddr, const struct dt_unwind_rule *rule)
{
	static const struct dt_unwind_rule none;

	if (!memcmp(table->count ? &table->rows[table->count - 1].rule : &none, rule, sizeof(*rule)))
		return;
	table->rows[table->count++] = (struct dt_unwind_row){ vaddr, *rule };
}

static int make_rows(const struct dt_rule_ranges *known, struct dt_unwind_table *ret_table)
{
	static const struct dt_unwind_rule none;
	struct dt_unwind_table table = { 0 };

	if (known->count) {
		/* At most one row for each range and one for the gap behind it. */
		table.rows = reallocarray(NULL, known->count, 2 * sizeof(*table.rows));
		if (!table.rows)
			return -ENOMEM;
	}
	for (size_t i = 0; i < known->count; i++) {
		const struct dt_rule_range *item = &known->items[i];

		add_row(&table, item->start, &item->rule);
		if (i + 1 == known->count || known->items[i + 1].start != item->end)
			add_row(&table, item->end, &none);
	}
	*ret_table = table;
	return 0;
}

int dt_unwind_table_read(struct dt_elf *elf, struct dt_unwind_table *ret_table)
{
	RANGES_OWNED text = { 0 };
	RANGES_OWNED known = { 0 };
	int error = read_text(elf, &text);

	if (!error)
		error = add_section(elf, ".eh_frame", false, &text, &known);
	if (!error)
		error = add_section(elf, ".debug_frame", true, &text, &known);
	return error ? error : make_rows(&known, ret_table);
}

void dt_unwind_table_clear(struct dt_unwind_table *table)
{
	free(table->rows);
	*table = (struct dt_unwind_table){ 0 };
}

struct dt_unwind_rule dt_unwind_table_find(const struct dt_unwind_table *table, uint64_t vaddr)
{
	size_t low = 0, high = table->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->rows[middle].vaddr <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	return low ? table->rows[low - 1].rule : (struct dt_unwind_rule){ .cfa = DT_CFA_NONE };
}
