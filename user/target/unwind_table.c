/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/unwind_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "target/code_call.h"
#include "target/code_frame.h"
#include "target/context_start.h"
#include "target/eh_frame.h"
#include "target/rule_ranges.h"

/* Programs have one or two executable segments. A file that claims to have thousands is not searched for all of them. */
#define TEXT_SEGMENTS_MAX 64

/*
 * Between two functions up to 15 bytes may be unused. The smallest piece of code that matters here has 10: what the kernel
 * returns to from a signal handler, and the byte before.
 */
#define GAP_BYTES_MIN 10

#define RANGES_OWNED DT_CLEANUP(dt_rule_ranges_clear) struct dt_rule_ranges

static int add_range(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	return dt_rule_ranges_add(context, start, end, rule);
}

/* Where the file has code: a table that speaks of other addresses would only cost memory. */
static int read_text(const struct dt_elf *elf, struct dt_rule_ranges *text)
{
	static const struct dt_unwind_rule none;
	uint64_t start, end;
	int error = 0;

	for (size_t i = 0; i < TEXT_SEGMENTS_MAX && !error && dt_elf_text_range(elf, i, &start, &end); i++)
		error = dt_rule_ranges_add(text, start, end, &none);
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

/* ---- code that no table describes ---------------------------------------------------------------------------- */

struct parts {
	struct dt_code_part *items;
	size_t count;
	uint8_t *bytes;                 /* of all of them */
};

static void free_parts(struct parts *parts)
{
	free(parts->items);
	free(parts->bytes);
}

/* `gaps` are sorted. Those that cannot be read are left out. */
static int read_parts(const struct dt_elf *elf, const struct dt_rule_ranges *gaps, struct parts *parts)
{
	size_t size = 0;

	for (size_t i = 0; i < gaps->count; i++)
		size += gaps->items[i].end - gaps->items[i].start;
	if (!size || size > DT_CODE_BYTES_MAX)
		return 0;
	parts->items = reallocarray(NULL, gaps->count, sizeof(*parts->items));
	parts->bytes = malloc(size);
	if (!parts->items || !parts->bytes)
		return -ENOMEM;
	size = 0;
	for (size_t i = 0; i < gaps->count; i++) {
		const struct dt_rule_range *gap = &gaps->items[i];
		struct dt_code_part part = { gap->start, parts->bytes + size, gap->end - gap->start };

		if (dt_elf_read(elf, part.vaddr, parts->bytes + size, part.size))
			continue;
		parts->items[parts->count++] = part;
		size += part.size;
	}
	return 0;
}

static int find_gaps(const struct dt_rule_ranges *text, const struct dt_rule_ranges *known, struct dt_rule_ranges *gaps)
{
	static const struct dt_unwind_rule none;
	size_t index = 0;
	int error = 0;

	for (size_t i = 0; i < text->count && !error; i++) {
		uint64_t open = text->items[i].start, end = text->items[i].end;

		while (open < end && !error) {
			bool is_last = index == known->count || known->items[index].start >= end;
			uint64_t to = is_last ? end : known->items[index].start;

			if (to > open && to - open >= GAP_BYTES_MIN)
				error = dt_rule_ranges_add(gaps, open, to, &none);
			open = is_last ? end : known->items[index++].end;
		}
	}
	return error;
}

static void free_starts(struct dt_code_starts *starts)
{
	free(starts->vaddrs);
}

static int add_start(void *context, uint64_t target)
{
	struct dt_code_starts *starts = context;

	if (starts->count == starts->space) {
		size_t space = 2 * starts->space + 64;
		uint64_t *vaddrs = reallocarray(starts->vaddrs, space, sizeof(*vaddrs));

		if (!vaddrs)
			return -ENOMEM;
		starts->vaddrs = vaddrs;
		starts->space = space;
	}
	starts->vaddrs[starts->count++] = target;
	return 0;
}

static int add_derived(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	struct dt_unwind_rule derived = *rule;

	derived.frame_pointer |= DT_SAVED_DERIVED;
	return dt_rule_ranges_add(context, start, end, &derived);
}

/*
 * Of so much code without tables rules are derived. Each MiB of it takes up to a second and 50 MiB
 * (what is known at each byte), and a forged file could be all code; libraries without tables are smaller (musl: 0.6 MiB).
 */
#define DERIVED_BYTES_MAX (4u << 20)

static bool is_too_much(const struct dt_rule_ranges *gaps)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < gaps->count; i++)
		bytes += gaps->items[i].end - gaps->items[i].start;
	return bytes > DERIVED_BYTES_MAX;
}

static int add_code(struct dt_elf *elf, const struct dt_rule_ranges *text, struct dt_rule_ranges *known)
{
	DT_CLEANUP(free_parts) struct parts parts = { 0 };
	DT_CLEANUP(free_starts) struct dt_code_starts starts = { 0 };
	RANGES_OWNED gaps = { 0 };
	RANGES_OWNED ranges = { 0 };
	int error = find_gaps(text, known, &gaps);

	if (!error && is_too_much(&gaps))
		return 0;
	if (!error)
		error = read_parts(elf, &gaps, &parts);
	if (!error && parts.count)
		error = dt_code_call_each(elf, text, known, &gaps, add_start, &starts);
	if (!error && parts.count)
		error = dt_code_frame_each(elf, parts.items, parts.count, &starts, add_derived, &ranges);
	if (!error)
		error = dt_rule_ranges_sort(&ranges);
	return error ? error : dt_rule_ranges_cover(known, &ranges);
}

/* ---- coroutines ---------------------------------------------------------------------------------------------- */

/* Is it the start of something that is described? */
static bool is_start(const struct dt_rule_ranges *known, uint64_t vaddr)
{
	for (size_t i = 0; i < known->count; i++)
		if (known->items[i].start == vaddr)
			return true;
	return false;
}

static int add_context_starts(const struct dt_elf *elf, struct dt_rule_ranges *known)
{
	static const struct dt_unwind_rule end = { .cfa = DT_CFA_END };
	uint64_t starts[DT_CONTEXT_STARTS_MAX];
	RANGES_OWNED ranges = { 0 };
	size_t count = dt_context_start_find(elf, starts);
	int error = 0;

	for (size_t i = 0; i < count && !error; i++)
		if (starts[i] && is_start(known, starts[i]))
			error = dt_rule_ranges_add(&ranges, starts[i] - 1, starts[i], &end);
	if (!error)
		error = dt_rule_ranges_sort(&ranges);
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
	if (table.count) {
		struct dt_unwind_row *rows = reallocarray(table.rows, table.count, sizeof(*rows));

		table.rows = rows ? rows : table.rows;
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
	if (!error)
		error = add_context_starts(elf, &known);
	if (!error)
		error = add_code(elf, &text, &known);
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
