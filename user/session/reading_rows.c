/* SPDX-License-Identifier: BSD-2-Clause */
/* reading_rows: the live blocks at the moment of a snapshot, summed up by traceback and size class. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "base/room.h"
#include "session/images.h"
#include "session/inherit.h"
#include "session/reading.h"
#include "session/session.h"
#include "session/skeleton.h"
#include "session/table.h"
#include "snapshot/sizes.h"

/* A row of a block that is known by its address and the segment of its birth. */
struct row {
	struct dt_block_key key;
	struct dt_block block;
	bool counted;
};

struct rows {
	struct row *rows;
	size_t count, room;
};

/* A block that was counted: rows of it that are found later are the same. */
struct counted {
	struct dt_block_key key;
	uint32_t born;
};

struct sum {
	struct {
		struct dt_owner owner;
		uint64_t traceback, size_class;
	} key;
	uint64_t blocks, bytes, old_blocks, old_bytes;
	UT_hash_handle hh;
};

struct read {
	const struct dt_reading *reading;
	const struct dt_traced *by_slot[DT_PROCESSES_MAX]; /* NULL: none of those that are read */
	struct counted *counted;
	size_t counted_count, counted_room;
	struct rows own;                /* of heirs: they decide of what was inherited */
	struct rows moved;              /* from `live` to `past`: may have been counted already */
	struct sum *sums, *last;
};

static void read_clear(struct read *read)
{
	struct sum *sum, *next;

	HASH_ITER(hh, read->sums, sum, next) {
		HASH_DEL(read->sums, sum);
		free(sum);
	}
	free(read->counted);
	free(read->own.rows);
	free(read->moved.rows);
	free(read);
}

void dt_reading_clear(struct dt_reading *reading)
{
	free(reading->blocks);
	reading->blocks = NULL;
	reading->count = 0;
}

/* ---- counting ---------------------------------------------------------------------------------------------------- */

static bool is_old(const struct read *read, uint64_t span)
{
	return DT_SPAN_BORN(span) <= read->reading->born_until;
}

static int add_row(struct rows *rows, const struct dt_block_key *key, const struct dt_block *block)
{
	if (dt_room_make(&rows->rows, rows->count, &rows->room, sizeof(*rows->rows)))
		return -ENOMEM;
	rows->rows[rows->count++] = (struct row){ .key = *key, .block = *block };
	return 0;
}

/* A block that was there at the moment: its span tells when it was born, or, if it was inherited, when it was in an ancestor. */
static int add_sum(struct read *read, const struct dt_block_key *key, const struct dt_block *block)
{
	uint64_t bytes = block->bytes & DT_BLOCK_BYTES_MASK;
	struct sum *sum, probe = { .key = { key->owner, block->traceback, read->reading->sizes ? dt_size_class(bytes) : 0 } };

	if (!read->last || memcmp(&read->last->key, &probe.key, sizeof(probe.key))) {
		HASH_FIND(hh, read->sums, &probe.key, sizeof(probe.key), sum);
		if (!sum) {
			sum = calloc(1, sizeof(*sum));
			if (!sum)
				return -ENOMEM;
			sum->key = probe.key;
			HASH_ADD(hh, read->sums, key, sizeof(sum->key), sum);
		}
		read->last = sum;
	}
	if (read->reading->sizes) {
		read->last->blocks++;
		read->last->bytes += bytes;
	}
	if (is_old(read, block->span)) {
		read->last->old_blocks++;
		read->last->old_bytes += bytes;
	}
	return 0;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static const struct dt_traced *owner_of(const struct read *read, const struct dt_block_key *key)
{
	return read->by_slot[key->owner.process & DT_OWNER_SLOT_MASK & (DT_PROCESSES_MAX - 1)];
}

/* Has it blocks that are found in the rows of those it was forked off? */
static bool is_heir(const struct dt_traced *traced)
{
	return traced->inherited_count && traced->generation == 1;
}

/* Was a block of the process's own there at the moment, and is it wanted? A clear has forgotten what was born before. */
static bool is_wanted(const struct read *read, const struct dt_traced *traced, uint64_t span)
{
	uint32_t born = DT_SPAN_BORN(span), died = DT_SPAN_DIED(span);

	return born && born <= read->reading->moment && born >= traced->generation && (!died || died > read->reading->moment) &&
	       (read->reading->sizes || is_old(read, span));
}

static int take_live(void *context, const void *row_key, const void *value)
{
	const struct dt_block_key *key = row_key;
	const struct dt_block *block = value;
	struct read *read = context;
	const struct dt_traced *traced = owner_of(read, key);
	int error = 0;

	if (!traced)
		return 0;
	if (is_heir(traced))
		error = add_row(&read->own, key, block);
	if (error || !is_wanted(read, traced, block->span))
		return error;
	error = dt_room_make(&read->counted, read->counted_count, &read->counted_room, sizeof(*read->counted));
	if (error)
		return error;
	read->counted[read->counted_count++] = (struct counted){ *key, DT_SPAN_BORN(block->span) };
	return add_sum(read, key, block);
}

static int take_past(void *context, const void *row_key, const void *value)
{
	const struct dt_past_key *key = row_key;
	const struct dt_block *block = value;
	struct read *read = context;
	const struct dt_traced *traced = owner_of(read, &key->block);
	int error = 0;

	if (!traced)
		return 0;
	if (is_heir(traced))
		error = add_row(&read->own, &key->block, block);
	return error || !is_wanted(read, traced, block->span) ? error : add_row(&read->moved, &key->block, block);
}

#define COMPARE(left, right) do { if ((left) != (right)) return (left) < (right) ? -1 : 1; } while (0)

static int compare_keys(const struct dt_block_key *a, const struct dt_block_key *b)
{
	COMPARE(a->owner.process, b->owner.process);
	COMPARE(a->owner.domain, b->owner.domain);
	COMPARE(a->address, b->address);
	return 0;
}

static int compare_rows(const void *left, const void *right)
{
	const struct row *a = left, *b = right;
	int order = compare_keys(&a->key, &b->key);

	if (order)
		return order;
	COMPARE(DT_SPAN_BORN(a->block.span), DT_SPAN_BORN(b->block.span));
	return 0;
}

static void sort_rows(struct rows *rows)
{
	if (rows->count)
		qsort(rows->rows, rows->count, sizeof(*rows->rows), compare_rows);
}

/* Those that were read in `live` before they were moved are counted; the others not yet. Mostly there are none at all. */
static int count_moved(struct read *read)
{
	int error = 0;

	sort_rows(&read->moved);
	for (size_t i = 0; i < read->counted_count && read->moved.count; i++) {
		struct row probe = { .key = read->counted[i].key, .block.span = DT_SPAN(read->counted[i].born, 0) };
		struct row *row = bsearch(&probe, read->moved.rows, read->moved.count, sizeof(probe), compare_rows);

		if (row)
			row->counted = true;
	}
	for (size_t i = 0; i < read->moved.count && !error; i++)
		if (!read->moved.rows[i].counted)
			error = add_sum(read, &read->moved.rows[i].key, &read->moved.rows[i].block);
	return error;
}

/* ---- what was inherited ------------------------------------------------------------------------------------------ */

static size_t find_first(const struct rows *rows, const struct dt_block_key *key)
{
	size_t low = 0, high = rows->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_keys(&rows->rows[middle].key, key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * Had the heir the block still at the moment? A row of its own without a birth says when it went; any other that was there by then
 * has taken its place.
 */
static bool is_there(const struct read *read, const struct dt_block_key *key)
{
	const struct rows *own = &read->own;
	bool there = true;

	for (size_t i = find_first(own, key); i < own->count && !compare_keys(&own->rows[i].key, key); i++) {
		const struct dt_block *block = &own->rows[i].block;

		if (!DT_SPAN_BORN(block->span))         /* the first, if there is one; a realloc that failed may have put it back */
			return !DT_SPAN_DIED(block->span) || DT_SPAN_DIED(block->span) > read->reading->moment;
		if (block->bytes & DT_BLOCK_HIDES || DT_SPAN_BORN(block->span) <= read->reading->moment)
			there = false;
	}
	return there;
}

static int take_inherited(void *context, const struct dt_block_key *key, const struct dt_block *block)
{
	struct read *read = context;

	return (read->reading->sizes || is_old(read, block->span)) && is_there(read, key) ? add_sum(read, key, block) : 0;
}

/* An exec lets go of what the program before it had inherited, before that is taken out. */
static bool has_let_go(const struct dt_session *session, const struct dt_traced *traced)
{
	return !__atomic_load_n(&dt_images_state(session->bpf, traced->slot)->parent_segment, __ATOMIC_SEQ_CST);
}

static int read_inherited(struct dt_session *session, struct dt_traced *const *processes, size_t count, struct read *read, bool *exact)
{
	DT_FREE struct dt_traced **heirs = calloc(count + 1, sizeof(*heirs));
	size_t heir_count = 0;
	int error;

	if (!heirs)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (is_heir(processes[i]))
			heirs[heir_count++] = processes[i];
	if (!heir_count)
		return 0;
	sort_rows(&read->own);
	error = dt_inherit_each(session->bpf, &session->live, heirs, heir_count, take_inherited, read);
	for (size_t i = 0; i < heir_count; i++)
		*exact = *exact && !has_let_go(session, heirs[i]);
	return error;
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static int keep_sums(const struct read *read, struct dt_reading *reading)
{
	reading->blocks = calloc(HASH_COUNT(read->sums) + 1, sizeof(*reading->blocks));
	if (!reading->blocks)
		return -ENOMEM;
	for (const struct sum *sum = read->sums; sum; sum = sum->hh.next)
		reading->blocks[reading->count++] = (struct dt_blocks){
			.owner = sum->key.owner,
			.traceback = sum->key.traceback,
			.size_class = (unsigned)sum->key.size_class,
			.blocks = sum->blocks,
			.bytes = sum->bytes,
			.old_blocks = sum->old_blocks,
			.old_bytes = sum->old_bytes,
		};
	return 0;
}

/* In this order: what is moved from `live` to `past` meanwhile is read at least once. */
static int read_rows(struct dt_session *session, struct dt_traced *const *processes, size_t count, struct read *read, bool *exact)
{
	int error = dt_live_each(&session->live, take_live, read);

	if (!error)
		error = dt_table_each(bpf_map__fd(session->bpf->maps.past), sizeof(struct dt_past_key), sizeof(struct dt_block), take_past, read);
	if (!error)
		error = count_moved(read);
	return error ? error : read_inherited(session, processes, count, read, exact);
}

int dt_reading_read(struct dt_session *session, struct dt_traced *const *processes, size_t count, struct dt_reading *reading)
{
	struct read *read;
	int error = 0;

	if (!reading->begun)
		return 0;
	read = calloc(1, sizeof(*read));
	if (!read)
		return -ENOMEM;
	reading->exact = true;
	read->reading = reading;
	for (size_t i = 0; i < count; i++)
		read->by_slot[processes[i]->slot & (DT_PROCESSES_MAX - 1)] = processes[i];
	if (reading->sizes || reading->born_until)
		error = read_rows(session, processes, count, read, &reading->exact);
	if (!error)
		error = keep_sums(read, reading);
	if (dt_reading_lost(session) != reading->lost_before)
		reading->exact = false;
	read_clear(read);
	return error;
}
