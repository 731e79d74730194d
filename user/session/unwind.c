/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/unwind.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uthash.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/extents.h"
#include "session/skeleton.h"

/* From a rule to its number. */
struct known_rule {
	struct dt_unwind_rule rule;     /* the key */
	uint32_t number;
	UT_hash_handle hh;
};

#define WORDS_MAX ((uint64_t)DT_UNWIND_CHUNKS_MAX * DT_UNWIND_CHUNK_WORDS)

struct dt_unwind {
	struct domtrace_bpf *bpf;
	struct dt_unwind_chunk *chunks[DT_UNWIND_CHUNKS_MAX]; /* NULL: no table needs it */
	uint32_t chunk_count;
	struct dt_extents words;        /* of each file's table */
	struct known_rule *rules;
	uint32_t rule_count;
	struct dt_extents mappings;     /* of each process, in `mappings` */
};

int dt_unwind_new(struct domtrace_bpf *bpf, struct dt_unwind **ret_unwind)
{
	struct dt_unwind *unwind = calloc(1, sizeof(*unwind));

	if (!unwind)
		return -ENOMEM;
	unwind->bpf = bpf;
	unwind->rule_count = DT_UNWIND_RULE_CHAIN + 1;
	bpf->bss->unwind_rules[DT_UNWIND_RULE_CHAIN].cfa = DT_CFA_CHAIN;
	*ret_unwind = unwind;
	return 0;
}

void dt_unwind_free(struct dt_unwind *unwind)
{
	struct known_rule *known, *next;

	if (!unwind)
		return;
	HASH_ITER(hh, unwind->rules, known, next) {
		HASH_DEL(unwind->rules, known);
		free(known);
	}
	for (uint32_t i = 0; i < DT_UNWIND_CHUNKS_MAX; i++)
		if (unwind->chunks[i])
			munmap(unwind->chunks[i], sizeof(*unwind->chunks[i]));
	dt_extents_clear(&unwind->words);
	dt_extents_clear(&unwind->mappings);
	free(unwind);
}

/* ---- words --------------------------------------------------------------------------------------------------------- */

uint64_t dt_unwind_bytes(const struct dt_unwind *unwind)
{
	return unwind->chunk_count * sizeof(*unwind->chunks[0]);
}

/* The kernel waits at each update of a map of maps until no program runs that saw the old one, so chunks are large. */
static int add_chunk(struct dt_unwind *unwind, uint32_t number)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	struct dt_unwind_chunk *chunk;
	DT_FD int fd = -1;

	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "unwind_chunk", sizeof(uint32_t), sizeof(*chunk), 1, &opts);
	if (fd < 0)
		return -errno;
	chunk = mmap(NULL, sizeof(*chunk), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (chunk == MAP_FAILED)
		return -errno;
	if (bpf_map_update_elem(bpf_map__fd(unwind->bpf->maps.unwind_chunks), &number, &fd, BPF_ANY)) {
		int error = -errno;

		munmap(chunk, sizeof(*chunk));
		return error;
	}
	unwind->chunks[number] = chunk;
	unwind->chunk_count++;
	return 0;
}

static int reserve_words(struct dt_unwind *unwind, const struct dt_extent *words)
{
	uint64_t end = words->first + words->count;
	int error = 0;

	for (uint64_t number = words->first / DT_UNWIND_CHUNK_WORDS; number * DT_UNWIND_CHUNK_WORDS < end && !error; number++)
		if (!unwind->chunks[number])
			error = add_chunk(unwind, (uint32_t)number);
	return error;
}

/* If the kernel refuses, it stays, and is used again. */
static void remove_chunk(struct dt_unwind *unwind, uint32_t number)
{
	if (bpf_map_delete_elem(bpf_map__fd(unwind->bpf->maps.unwind_chunks), &number))
		return;
	munmap(unwind->chunks[number], sizeof(*unwind->chunks[number]));
	unwind->chunks[number] = NULL;
	unwind->chunk_count--;
}

void dt_unwind_trim(struct dt_unwind *unwind)
{
	bool spare = false;

	for (uint32_t number = 0; number < DT_UNWIND_CHUNKS_MAX; number++) {
		const struct dt_extent words = { (uint64_t)number * DT_UNWIND_CHUNK_WORDS, DT_UNWIND_CHUNK_WORDS };

		if (!unwind->chunks[number] || !dt_extents_is_free(&unwind->words, words))
			continue;
		if (spare)
			remove_chunk(unwind, number);
		spare = true;
	}
}

static void put_word(struct dt_unwind *unwind, uint64_t word, uint32_t value)
{
	unwind->chunks[word / DT_UNWIND_CHUNK_WORDS]->words[word % DT_UNWIND_CHUNK_WORDS] = value;
}

/* ---- tables -------------------------------------------------------------------------------------------------------- */

/* -ENOSPC: there are more different rules than a row can name. */
static int number_rule(struct dt_unwind *unwind, const struct dt_unwind_rule *rule, uint32_t *ret_number)
{
	struct known_rule *known;

	if (rule->cfa == DT_CFA_NONE || rule->cfa == DT_CFA_CHAIN) {
		*ret_number = rule->cfa == DT_CFA_NONE ? DT_UNWIND_RULE_NONE : DT_UNWIND_RULE_CHAIN;
		return 0;
	}
	HASH_FIND(hh, unwind->rules, rule, sizeof(*rule), known);
	if (!known) {
		if (unwind->rule_count == DT_UNWIND_RULES_MAX)
			return -ENOSPC;
		known = calloc(1, sizeof(*known));
		if (!known)
			return -ENOMEM;
		known->rule = *rule;
		known->number = unwind->rule_count++;
		unwind->bpf->bss->unwind_rules[known->number] = *rule;
		HASH_ADD(hh, unwind->rules, rule, sizeof(known->rule), known);
	}
	*ret_number = known->number;
	return 0;
}

/* A table, page by page. */
struct layout {
	const struct dt_unwind_table *table;
	uint64_t vaddr;                 /* of the first page */
	uint32_t *counts;               /* rows of each page: the rule that holds at its start, and the table's own that are above that */
	uint32_t page_count;
};

static void count_rows(const struct layout *layout)
{
	const struct dt_unwind_table *table = layout->table;
	size_t next = 0;

	for (uint32_t page = 0; page < layout->page_count; page++) {
		uint64_t start = layout->vaddr + (uint64_t)page * DT_UNWIND_PAGE_BYTES;

		while (next < table->count && table->rows[next].vaddr <= start)
			next++;
		for (layout->counts[page] = 1; next < table->count && table->rows[next].vaddr < start + DT_UNWIND_PAGE_BYTES; next++)
			layout->counts[page]++;
	}
}

/* Where `count` rows of a page can stand from `word` on: in one chunk. */
static uint64_t place_rows(uint64_t word, uint32_t count)
{
	uint64_t in_chunk = word % DT_UNWIND_CHUNK_WORDS;

	return in_chunk + count > DT_UNWIND_CHUNK_WORDS ? word - in_chunk + DT_UNWIND_CHUNK_WORDS : word;
}

/* The words of a table that begins at `first`: rows of pages, then, at an even word, the index of pages. */
static uint64_t find_size(const void *context, uint64_t first)
{
	const struct layout *layout = context;
	uint64_t word = first;

	for (uint32_t page = 0; page < layout->page_count; page++)
		word = place_rows(word, layout->counts[page]) + layout->counts[page];
	return word + (word & 1) + 2 * (uint64_t)layout->page_count - first;
}

/* One row; `offset` in its page. */
static int put_row(struct dt_unwind *unwind, uint64_t word, uint64_t offset, const struct dt_unwind_rule *rule)
{
	uint32_t number;
	int error = number_rule(unwind, rule, &number);

	if (!error)
		put_word(unwind, word, DT_UNWIND_ROW(offset, number));
	return error;
}

/* The rows of one page from `word` on. *next: the first row of the table that is above its start. */
static int put_page(struct dt_unwind *unwind, const struct layout *layout, uint32_t page, uint64_t word, size_t *next)
{
	static const struct dt_unwind_rule none, chain = { .cfa = DT_CFA_CHAIN };
	uint64_t start = layout->vaddr + (uint64_t)page * DT_UNWIND_PAGE_BYTES;
	const struct dt_unwind_row *rows = layout->table->rows;
	const struct dt_unwind_rule *first;
	uint32_t count = layout->counts[page];
	int error;

	while (*next < layout->table->count && rows[*next].vaddr <= start)
		(*next)++;
	first = *next ? &rows[*next - 1].rule : &none;
	error = put_row(unwind, word, 0, count == 1 && first->cfa == DT_CFA_NONE ? &chain : first);
	for (uint32_t i = 0; i < count - 1 && !error; i++)
		error = put_row(unwind, word + 1 + i, rows[*next + i].vaddr - start, &rows[*next + i].rule);
	return error;
}

static int put_table(struct dt_unwind *unwind, const struct layout *layout, const struct dt_extent *words)
{
	uint64_t word = words->first, index = words->first + words->count - 2 * (uint64_t)layout->page_count;
	size_t next = 0;
	int error = reserve_words(unwind, words);

	for (uint32_t page = 0; page < layout->page_count && !error; page++) {
		word = place_rows(word, layout->counts[page]);
		put_word(unwind, index++, (uint32_t)word);
		put_word(unwind, index++, layout->counts[page]);
		error = put_page(unwind, layout, page, word, &next);
		word += layout->counts[page];
	}
	return error;
}

int dt_unwind_add_table(struct dt_unwind *unwind, const struct dt_unwind_table *table, struct dt_unwind_place *ret_place)
{
	DT_FREE uint32_t *counts = NULL;
	struct layout layout = { .table = table };
	struct dt_extents_need need = { .find = find_size, .context = &layout };
	struct dt_extent words;
	uint64_t last;
	int error;

	if (!table->count) {
		*ret_place = (struct dt_unwind_place){ 0 };
		return 0;
	}
	layout.vaddr = table->rows[0].vaddr / DT_UNWIND_PAGE_BYTES * DT_UNWIND_PAGE_BYTES;
	last = table->rows[table->count - 1].vaddr;
	if ((last - layout.vaddr) / DT_UNWIND_PAGE_BYTES >= WORDS_MAX / 4)
		return -ENOSPC;
	layout.page_count = (uint32_t)((last - layout.vaddr) / DT_UNWIND_PAGE_BYTES) + 1;
	layout.counts = counts = calloc(layout.page_count, sizeof(*counts));
	if (!counts)
		return -ENOMEM;
	count_rows(&layout);
	need.least = 3 * (uint64_t)layout.page_count;   /* at the least a row and its place in the index */
	error = dt_extents_take(&unwind->words, WORDS_MAX, &need, &words);
	if (error)
		return error;
	error = put_table(unwind, &layout, &words);
	if (error) {
		dt_extents_give(&unwind->words, words.first);
		return error;
	}
	*ret_place = (struct dt_unwind_place){
		.vaddr = layout.vaddr,
		.pages = (uint32_t)(words.first + words.count - 2 * (uint64_t)layout.page_count),
		.page_count = layout.page_count,
		.words = words.first,
	};
	return 0;
}

void dt_unwind_remove_table(struct dt_unwind *unwind, const struct dt_unwind_place *place)
{
	if (place->page_count)
		dt_extents_give(&unwind->words, place->words);
}

void dt_unwind_show_file(struct dt_unwind *unwind, const struct dt_file_key *key, const struct dt_file_row *row)
{
	bpf_map_update_elem(bpf_map__fd(unwind->bpf->maps.files), key, row, BPF_ANY);
}

void dt_unwind_hide_file(struct dt_unwind *unwind, const struct dt_file_key *key)
{
	bpf_map_delete_elem(bpf_map__fd(unwind->bpf->maps.files), key);
}

/* ---- mappings ------------------------------------------------------------------------------------------------------- */

int dt_unwind_add_mappings(struct dt_unwind *unwind, const struct dt_mapping_row *rows, uint32_t count, uint32_t *ret_first)
{
	struct dt_extents_need need = { .least = count };
	struct dt_extent extent = { 0 };
	int error = count ? dt_extents_take(&unwind->mappings, DT_MAPPINGS_MAX, &need, &extent) : 0;

	if (error)
		return error;
	if (count)
		memcpy(unwind->bpf->bss->mappings + extent.first, rows, count * sizeof(*rows));
	*ret_first = (uint32_t)extent.first;
	return 0;
}

void dt_unwind_remove_mappings(struct dt_unwind *unwind, uint32_t first, uint32_t count)
{
	if (count)
		dt_extents_give(&unwind->mappings, first);
}
