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
#include "session/skeleton.h"

/* From a rule to its number. */
struct known_rule {
	struct dt_unwind_rule rule;     /* the key */
	uint32_t number;
	UT_hash_handle hh;
};

/* Rows of `mappings` that a process uses. */
struct extent {
	uint32_t first, count;
};

struct dt_unwind {
	struct domtrace_bpf *bpf;
	struct dt_unwind_chunk *chunks[DT_UNWIND_CHUNKS_MAX];
	uint32_t chunk_count;
	uint64_t next_word;
	struct known_rule *rules;
	uint32_t rule_count;
	struct extent *extents;         /* by address */
	size_t extent_count;
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
	for (uint32_t i = 0; i < unwind->chunk_count; i++)
		munmap(unwind->chunks[i], sizeof(*unwind->chunks[i]));
	free(unwind->extents);
	free(unwind);
}

/* ---- words --------------------------------------------------------------------------------------------------------- */

/* The kernel waits at each update of a map of maps until no program runs that saw the old one, so chunks are large. */
static int add_chunk(struct dt_unwind *unwind)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	uint32_t number = unwind->chunk_count;
	struct dt_unwind_chunk *chunk;
	DT_FD int fd = -1;

	if (number == DT_UNWIND_CHUNKS_MAX)
		return -ENOSPC;
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
	unwind->chunks[unwind->chunk_count++] = chunk;
	return 0;
}

/* Makes room for `count` words from the next one on. */
static int reserve_words(struct dt_unwind *unwind, uint64_t count)
{
	if (unwind->next_word + count > (uint64_t)DT_UNWIND_CHUNKS_MAX * DT_UNWIND_CHUNK_WORDS)
		return -ENOSPC;
	while (unwind->next_word + count > (uint64_t)unwind->chunk_count * DT_UNWIND_CHUNK_WORDS) {
		int error = add_chunk(unwind);

		if (error)
			return error;
	}
	return 0;
}

static void put_word(struct dt_unwind *unwind, uint32_t value)
{
	uint64_t word = unwind->next_word++;

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

/* One row; `offset` in its page. */
static int put_row(struct dt_unwind *unwind, uint64_t offset, const struct dt_unwind_rule *rule)
{
	uint32_t number;
	int error = number_rule(unwind, rule, &number);

	if (!error)
		put_word(unwind, DT_UNWIND_ROW(offset, number));
	return error;
}

/* The rows of one page: first the rule that holds at its start. *next: the first row of the table that is above that start. */
static int put_page(struct dt_unwind *unwind, const struct dt_unwind_table *table, uint64_t page, size_t *next, uint32_t entry[2])
{
	static const struct dt_unwind_rule none, chain = { .cfa = DT_CFA_CHAIN };
	const struct dt_unwind_rule *first;
	size_t count = 1;
	int error;

	while (*next < table->count && table->rows[*next].vaddr <= page)
		(*next)++;
	while (*next + count - 1 < table->count && table->rows[*next + count - 1].vaddr < page + DT_UNWIND_PAGE_BYTES)
		count++;
	if (unwind->next_word % DT_UNWIND_CHUNK_WORDS + count > DT_UNWIND_CHUNK_WORDS)
		unwind->next_word += DT_UNWIND_CHUNK_WORDS - unwind->next_word % DT_UNWIND_CHUNK_WORDS;
	error = reserve_words(unwind, count);
	if (error)
		return error;
	entry[0] = (uint32_t)unwind->next_word;
	entry[1] = (uint32_t)count;
	first = *next ? &table->rows[*next - 1].rule : &none;
	error = put_row(unwind, 0, count == 1 && first->cfa == DT_CFA_NONE ? &chain : first);
	for (size_t i = 0; i < count - 1 && !error; i++)
		error = put_row(unwind, table->rows[*next + i].vaddr - page, &table->rows[*next + i].rule);
	return error;
}

static int put_table(struct dt_unwind *unwind, const struct dt_unwind_table *table, uint64_t first, uint32_t page_count,
		     uint32_t *entries)
{
	size_t next = 0;
	int error = 0;

	for (uint32_t i = 0; i < page_count && !error; i++)
		error = put_page(unwind, table, first + (uint64_t)i * DT_UNWIND_PAGE_BYTES, &next, entries + 2 * (size_t)i);
	if (error)
		return error;
	unwind->next_word += unwind->next_word & 1;
	return reserve_words(unwind, 2 * (uint64_t)page_count);
}

int dt_unwind_add_table(struct dt_unwind *unwind, const struct dt_unwind_table *table, struct dt_unwind_place *ret_place)
{
	DT_FREE uint32_t *entries = NULL;
	uint64_t first, last, before = unwind->next_word;
	uint32_t page_count;
	int error;

	if (!table->count) {
		*ret_place = (struct dt_unwind_place){ 0 };
		return 0;
	}
	first = table->rows[0].vaddr / DT_UNWIND_PAGE_BYTES * DT_UNWIND_PAGE_BYTES;
	last = table->rows[table->count - 1].vaddr;
	if ((last - first) / DT_UNWIND_PAGE_BYTES >= (uint64_t)DT_UNWIND_CHUNKS_MAX * DT_UNWIND_CHUNK_WORDS / 4)
		return -ENOSPC;
	page_count = (uint32_t)((last - first) / DT_UNWIND_PAGE_BYTES) + 1;
	entries = calloc(page_count, 2 * sizeof(*entries));
	if (!entries)
		return -ENOMEM;
	error = put_table(unwind, table, first, page_count, entries);
	if (error) {
		unwind->next_word = before;
		return error;
	}
	*ret_place = (struct dt_unwind_place){ .vaddr = first, .pages = (uint32_t)unwind->next_word, .page_count = page_count };
	for (size_t i = 0; i < 2 * (size_t)page_count; i++)
		put_word(unwind, entries[i]);
	return 0;
}

/* ---- mappings ------------------------------------------------------------------------------------------------------- */

static int insert_extent(struct dt_unwind *unwind, size_t at, struct extent extent)
{
	struct extent *grown = reallocarray(unwind->extents, unwind->extent_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	memmove(grown + at + 1, grown + at, (unwind->extent_count - at) * sizeof(*grown));
	grown[at] = extent;
	unwind->extents = grown;
	unwind->extent_count++;
	return 0;
}

int dt_unwind_add_mappings(struct dt_unwind *unwind, const struct dt_mapping_row *rows, uint32_t count, uint32_t *ret_first)
{
	uint32_t first = 0;
	size_t at = 0;
	int error;

	if (!count) {
		*ret_first = 0;
		return 0;
	}
	for (; at < unwind->extent_count && unwind->extents[at].first - first < count; at++)
		first = unwind->extents[at].first + unwind->extents[at].count;
	if (count > DT_MAPPINGS_MAX - first)
		return -ENOSPC;
	error = insert_extent(unwind, at, (struct extent){ first, count });
	if (error)
		return error;
	memcpy(unwind->bpf->bss->mappings + first, rows, count * sizeof(*rows));
	*ret_first = first;
	return 0;
}

void dt_unwind_remove_mappings(struct dt_unwind *unwind, uint32_t first, uint32_t count)
{
	for (size_t i = 0; i < unwind->extent_count; i++) {
		if (unwind->extents[i].first != first || !count)
			continue;
		memmove(unwind->extents + i, unwind->extents + i + 1, (--unwind->extent_count - i) * sizeof(*unwind->extents));
		return;
	}
}
