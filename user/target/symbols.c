/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

struct entry {
	uint64_t start, end;            /* end exclusive; 0: not known yet */
	uint64_t reach;                 /* largest end of this and all entries before: where to stop looking back */
	const char *name;
	bool global;
};

struct dt_symbols {
	struct entry *entries;          /* by start; of one start the best name last */
	size_t count, room;
};

static int add_symbol(void *context, const struct dt_elf_symbol *symbol)
{
	struct dt_symbols *symbols = context;

	if (!symbol->function)
		return 0;
	if (symbols->count == symbols->room) {
		size_t room = symbols->room ? 2 * symbols->room : 1024;
		struct entry *grown = reallocarray(symbols->entries, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		symbols->entries = grown;
		symbols->room = room;
	}
	symbols->entries[symbols->count++] = (struct entry){
		.start = symbol->vaddr,
		.end = !symbol->size ? 0 : symbol->size > UINT64_MAX - symbol->vaddr ? UINT64_MAX : symbol->vaddr + symbol->size,
		.name = symbol->name,
		.global = symbol->global,
	};
	return 0;
}

static int compare_entries(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	size_t a_length, b_length;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->global != b->global)
		return a->global ? 1 : -1;
	a_length = strlen(a->name);
	b_length = strlen(b->name);
	if (a_length != b_length)
		return a_length < b_length ? 1 : -1;
	return strcmp(b->name, a->name);
}

/* Where the code that holds `vaddr` ends: the last function without a size goes on to there. */
static uint64_t find_text_end(const struct dt_elf *elf, uint64_t vaddr)
{
	const uint8_t *bytes;
	uint64_t start;
	size_t size;

	for (size_t i = 0; dt_elf_text(elf, i, &start, &bytes, &size); i++)
		if (vaddr >= start && vaddr - start < size)
			return start + size;
	return vaddr;
}

/* From the back, so that the next function is known; a function without a size does not leave its segment. */
static void set_ends(const struct dt_elf *elf, struct dt_symbols *symbols)
{
	uint64_t next = UINT64_MAX, start = UINT64_MAX, reach = 0;

	for (size_t i = symbols->count; i--;) {
		struct entry *entry = &symbols->entries[i];

		if (entry->start != start) {
			next = start;
			start = entry->start;
		}
		if (!entry->end) {
			uint64_t text_end = find_text_end(elf, start);

			entry->end = next < text_end ? next : text_end;
		}
	}
	for (size_t i = 0; i < symbols->count; i++) {
		if (symbols->entries[i].end > reach)
			reach = symbols->entries[i].end;
		symbols->entries[i].reach = reach;
	}
}

int dt_symbols_new(const struct dt_elf *elf, struct dt_symbols **ret_symbols)
{
	struct dt_symbols *symbols = calloc(1, sizeof(*symbols));
	int error;

	if (!symbols)
		return -ENOMEM;
	error = dt_elf_each_symbol(elf, add_symbol, symbols);
	if (error) {
		dt_symbols_free(symbols);
		return error;
	}
	if (symbols->count)
		qsort(symbols->entries, symbols->count, sizeof(*symbols->entries), compare_entries);
	set_ends(elf, symbols);
	*ret_symbols = symbols;
	return 0;
}

void dt_symbols_free(struct dt_symbols *symbols)
{
	if (!symbols)
		return;
	free(symbols->entries);
	free(symbols);
}

/*
 * Functions can lie within others (assembly with inner entries), so the nearest start need not be the one: look back
 * until one holds the address, or none before reaches that far. The first that is met starts nearest.
 */
const char *dt_symbols_find(const struct dt_symbols *symbols, uint64_t vaddr, uint64_t *ret_offset)
{
	size_t low = 0, high = symbols->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->entries[middle].start <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- && symbols->entries[low].reach > vaddr) {
		const struct entry *entry = &symbols->entries[low];

		if (vaddr >= entry->end)
			continue;
		*ret_offset = vaddr - entry->start;
		return entry->name;
	}
	return NULL;
}
