/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/inherit.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/images.h"
#include "session/live.h"
#include "session/skeleton.h"
#include "session/table.h"

/* A row of `live` or `past`. */
struct row {
	struct dt_block_key key;
	struct dt_block block;
};

/* An image whose blocks a process inherited, or that one's own parent, and so on; as it was at the fork. */
struct ancestor {
	uint32_t slot, image;
	uint32_t segment, generation;
};

/* An address of which it is known what was there. */
struct decided {
	struct {
		uint32_t source_bits, domain;
		uint64_t address;
	} key;
	UT_hash_handle hh;
};

struct sum {
	struct {
		uint32_t source_bits, domain;
		uint64_t traceback;
	} key;
	uint64_t blocks, bytes;
	UT_hash_handle hh;
};

struct inherit {
	struct domtrace_bpf *bpf;
	const struct dt_live *live;
	bool wanted[DT_PROCESSES_MAX];  /* by slot: somebody inherited from it */
	struct row *rows;
	size_t count, room;
};

static size_t find_ancestors(struct domtrace_bpf *bpf, const struct dt_traced *traced, struct ancestor ancestors[DT_ANCESTORS_MAX])
{
	const struct dt_process_state *state = dt_images_state(bpf, traced->slot);
	uint32_t generation = 1;
	size_t count = 0;

	/* What an image had before it cleared its blocks away is not there for those that it forks off later. */
	while (count < DT_ANCESTORS_MAX && state->parent_segment && generation == 1) {
		generation = state->parent_generation;
		ancestors[count++] = (struct ancestor){
			.slot = state->parent,
			.image = dt_images_state(bpf, state->parent)->image,
			.segment = state->parent_segment,
			.generation = generation,
		};
		state = dt_images_state(bpf, state->parent);
	}
	return count;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static int add_row(void *context, const void *key, const void *value)
{
	struct inherit *inherit = context;
	const struct dt_block_key *block_key = key;

	if (!inherit->wanted[block_key->owner.process & DT_OWNER_SLOT_MASK & (DT_PROCESSES_MAX - 1)])
		return 0;
	if (inherit->count == inherit->room) {
		size_t room = inherit->room ? 2 * inherit->room : 4096;
		struct row *grown = reallocarray(inherit->rows, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		inherit->rows = grown;
		inherit->room = room;
	}
	inherit->rows[inherit->count++] = (struct row){ *block_key, *(const struct dt_block *)value };
	return 0;
}

static uint64_t row_slot(const struct row *row)
{
	return row->key.owner.process & DT_OWNER_SLOT_MASK;
}

#define COMPARE(left, right) do { if ((left) != (right)) return (left) < (right) ? -1 : 1; } while (0)

static int compare_places(const struct row *left, const struct row *right)
{
	COMPARE(row_slot(left), row_slot(right));
	COMPARE(left->key.owner.process, right->key.owner.process);
	COMPARE(left->key.owner.domain, right->key.owner.domain);
	COMPARE(left->key.address, right->key.address);
	return 0;
}

static int compare_rows(const void *left, const void *right)
{
	const struct row *a = left, *b = right;
	int order = compare_places(a, b);

	if (order)
		return order;
	COMPARE(DT_SPAN_BORN(a->block.span), DT_SPAN_BORN(b->block.span));
	return 0;
}

/*
 * In this order: a row that is moved from the first to the second meanwhile is then read at least once. It may be read twice; the
 * segment in which its block was born tells that it is one.
 */
static int read_rows(struct inherit *inherit)
{
	int error = dt_live_each(inherit->live, add_row, inherit);

	if (!error)
		error = dt_table_each(bpf_map__fd(inherit->bpf->maps.past), sizeof(struct dt_past_key), sizeof(struct dt_block),
				      add_row, inherit);
	if (!error && inherit->count)
		qsort(inherit->rows, inherit->count, sizeof(*inherit->rows), compare_rows);
	return error;
}

/* Number of the first row of a slot, or of those behind it. */
static size_t find_first(const struct inherit *inherit, uint32_t slot)
{
	size_t low = 0, high = inherit->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (row_slot(&inherit->rows[middle]) < slot)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- one process ------------------------------------------------------------------------------------------------- */

struct heir {
	const struct inherit *inherit;
	struct dt_traced *traced;
	dt_inherit_fn fn;               /* is given the blocks; NULL: they are summed up */
	void *context;
	struct dt_tracebacks *tracebacks;
	struct ancestor ancestors[DT_ANCESTORS_MAX];
	size_t ancestor_count;
	struct decided *decided;
	struct sum *sums;
};

static uint32_t source_bits(const struct row *row)
{
	return row->key.owner.process & ~DT_OWNER_SLOT_MASK;
}

static int decide(struct heir *heir, const struct row *row)
{
	struct decided *decided = calloc(1, sizeof(*decided));

	if (!decided)
		return -ENOMEM;
	decided->key.source_bits = source_bits(row);
	decided->key.domain = row->key.owner.domain;
	decided->key.address = row->key.address;
	HASH_ADD(hh, heir->decided, key, sizeof(decided->key), decided);
	return 0;
}

static bool is_decided(const struct heir *heir, const struct row *row)
{
	struct decided *found, probe = { .key = { source_bits(row), row->key.owner.domain, row->key.address } };

	HASH_FIND(hh, heir->decided, &probe.key, sizeof(probe.key), found);
	return found;
}

/* The first row of a place, or of those behind it. */
static size_t find_place(const struct inherit *inherit, const struct row *place)
{
	size_t low = 0, high = inherit->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_places(&inherit->rows[middle], place) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* When the block of an ancestor was born that it had when it was forked off from; 0: it has no row of that. */
static uint32_t find_birth(const struct inherit *inherit, const struct ancestor *ancestor, const struct row *row)
{
	struct row place = *row;
	uint32_t born = 0;

	place.key.owner.process = source_bits(row) | ancestor->slot;
	for (size_t i = find_place(inherit, &place); i < inherit->count && !compare_places(&inherit->rows[i], &place); i++)
		if (DT_SPAN_BORN(inherit->rows[i].block.span) <= ancestor->segment)
			born = DT_SPAN_BORN(inherit->rows[i].block.span);
	return born;
}

/*
 * When a block was born that was found in a row of an ancestor: that may have inherited it itself, and so on. Where it is not known any
 * more, it was when the first of those forks was made that are known.
 */
static uint32_t birth_of(const struct heir *heir, size_t level, const struct row *row)
{
	uint32_t born = DT_SPAN_BORN(row->block.span);

	for (size_t i = level + 1; i < heir->ancestor_count && !born; i++)
		born = find_birth(heir->inherit, &heir->ancestors[i], row);
	return born ? born : heir->ancestors[heir->ancestor_count - 1].segment;
}

static int tell_block(const struct heir *heir, size_t level, const struct row *row)
{
	struct dt_block block = row->block;
	struct dt_block_key key = row->key;

	key.owner.process = source_bits(row) | heir->traced->slot;
	block.span = DT_SPAN(birth_of(heir, level, row), 0);
	return heir->fn(heir->context, &key, &block);
}

/* The heir has the block. */
static int count_block(struct heir *heir, size_t level, const struct row *row)
{
	struct sum *sum, probe = { .key = { source_bits(row), row->key.owner.domain, row->block.traceback } };
	int error = 0;

	if (heir->fn)
		return tell_block(heir, level, row);
	HASH_FIND(hh, heir->sums, &probe.key, sizeof(probe.key), sum);
	if (!sum) {
		sum = calloc(1, sizeof(*sum));
		if (!sum)
			return -ENOMEM;
		sum->key = probe.key;
		HASH_ADD(hh, heir->sums, key, sizeof(sum->key), sum);
		/* Whoever allocated it knows its traceback: the image that has the row, or one that it inherited the block from. */
		for (size_t i = level; i < heir->ancestor_count && !error; i++)
			error = dt_tracebacks_inherit(heir->tracebacks, heir->traced->image, heir->ancestors[i].image, row->block.traceback);
	}
	sum->blocks++;
	sum->bytes += row->block.bytes & DT_BLOCK_BYTES_MASK;
	return error;
}

/* The rows of one address in one image, from the oldest on: which of them was there at the fork? */
static int take_address(struct heir *heir, size_t level, const struct row *rows, size_t count)
{
	const struct ancestor *ancestor = &heir->ancestors[level];
	const struct row *last = NULL;
	uint32_t born, died;
	int error;

	if (level && is_decided(heir, rows))
		return 0;
	for (size_t i = 0; i < count && DT_SPAN_BORN(rows[i].block.span) <= ancestor->segment; i++)
		last = &rows[i];
	if (!last && !(rows[0].block.bytes & DT_BLOCK_HIDES))
		return 0;               /* what was there is what it inherited itself */
	error = level + 1 < heir->ancestor_count ? decide(heir, rows) : 0;
	if (error || !last)
		return error;
	born = DT_SPAN_BORN(last->block.span);
	died = DT_SPAN_DIED(last->block.span);
	if ((died && died <= ancestor->segment) || (born ? born : 1) < ancestor->generation)
		return 0;
	return count_block(heir, level, last);
}

static int take_level(const struct inherit *inherit, struct heir *heir, size_t level)
{
	uint32_t slot = heir->ancestors[level].slot;
	int error = 0;

	for (size_t i = find_first(inherit, slot), count; i < inherit->count && row_slot(&inherit->rows[i]) == slot && !error; i += count) {
		for (count = 1; i + count < inherit->count && !compare_places(&inherit->rows[i], &inherit->rows[i + count]);)
			count++;
		error = take_address(heir, level, &inherit->rows[i], count);
	}
	return error;
}

static int keep_sums(struct heir *heir)
{
	struct dt_traced *traced = heir->traced;
	struct dt_inherited *rows = calloc(HASH_COUNT(heir->sums) + 1, sizeof(*rows));
	size_t count = 0;

	if (!rows)
		return -ENOMEM;
	for (const struct sum *sum = heir->sums; sum; sum = sum->hh.next)
		rows[count++] = (struct dt_inherited){
			.owner = { traced->slot | sum->key.source_bits, sum->key.domain },
			.traceback = sum->key.traceback,
			.blocks = sum->blocks,
			.bytes = sum->bytes,
		};
	traced->inherited = rows;
	traced->inherited_count = count;
	traced->inherited_known = true;
	return 0;
}

static void heir_clear(struct heir *heir)
{
	struct decided *decided, *next_decided;
	struct sum *sum, *next_sum;

	HASH_ITER(hh, heir->decided, decided, next_decided) {
		HASH_DEL(heir->decided, decided);
		free(decided);
	}
	HASH_ITER(hh, heir->sums, sum, next_sum) {
		HASH_DEL(heir->sums, sum);
		free(sum);
	}
}

static int take_levels(const struct inherit *inherit, struct heir *heir)
{
	int error = 0;

	heir->inherit = inherit;
	heir->ancestor_count = find_ancestors(inherit->bpf, heir->traced, heir->ancestors);
	for (size_t level = 0; level < heir->ancestor_count && !error; level++)
		error = take_level(inherit, heir, level);
	return error;
}

static int find_for(const struct inherit *inherit, struct dt_traced *traced, struct dt_tracebacks *tracebacks)
{
	struct heir heir = { .traced = traced, .tracebacks = tracebacks };
	int error = take_levels(inherit, &heir);

	if (!error)
		error = keep_sums(&heir);
	heir_clear(&heir);
	return error;
}

/* The rows of those it inherited from will be read. False: it inherited nothing. */
static bool want(struct inherit *inherit, const struct dt_traced *traced)
{
	struct ancestor ancestors[DT_ANCESTORS_MAX];
	size_t levels = find_ancestors(inherit->bpf, traced, ancestors);

	for (size_t i = 0; i < levels; i++)
		inherit->wanted[ancestors[i].slot & (DT_PROCESSES_MAX - 1)] = true;
	return levels;
}

int dt_inherit_find(struct domtrace_bpf *bpf, const struct dt_live *live, struct dt_traced *const *processes, size_t count,
		    struct dt_tracebacks *tracebacks)
{
	struct inherit *inherit = calloc(1, sizeof(*inherit));
	bool any = false;
	int error = 0;

	if (!inherit)
		return -ENOMEM;
	inherit->bpf = bpf;
	inherit->live = live;
	for (size_t i = 0; i < count; i++)
		any = (!processes[i]->inherited_known && want(inherit, processes[i])) || any;
	if (any)
		error = read_rows(inherit);
	for (size_t i = 0; i < count && any && !error; i++)
		if (!processes[i]->inherited_known)
			error = find_for(inherit, processes[i], tracebacks);
	free(inherit->rows);
	free(inherit);
	return error;
}

int dt_inherit_each(struct domtrace_bpf *bpf, const struct dt_live *live, struct dt_traced *const *processes, size_t count,
		    dt_inherit_fn fn, void *context)
{
	struct inherit *inherit = calloc(1, sizeof(*inherit));
	int error;

	if (!inherit)
		return -ENOMEM;
	inherit->bpf = bpf;
	inherit->live = live;
	for (size_t i = 0; i < count; i++)
		want(inherit, processes[i]);
	error = read_rows(inherit);
	for (size_t i = 0; i < count && !error; i++) {
		struct heir heir = { .traced = processes[i], .fn = fn, .context = context };

		error = take_levels(inherit, &heir);
		heir_clear(&heir);
	}
	free(inherit->rows);
	free(inherit);
	return error;
}
