/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * collect_amend: blocks that an heir has freed, and so had inherited, and that were found nowhere when it was read what it inherited:
 * in the table of past blocks there was no room for them, which is counted. What was inherited is at the least what has gone.
 */
#include "session/collect_rows.h"

#include <errno.h>
#include <stdlib.h>

/* What the process inherited of what is booked on a row: the one without a traceback takes the ends of blocks that have one, too. */
static struct dt_inherited sum_inherited(const struct dt_traced *traced, const struct dt_trace_key *key)
{
	struct dt_inherited sum = { .owner = key->owner, .traceback = key->traceback };

	for (size_t i = 0; i < traced->inherited_count; i++) {
		const struct dt_inherited *row = &traced->inherited[i];

		if (row->owner.process != key->owner.process || row->owner.domain != key->owner.domain ||
		    (row->traceback != key->traceback && key->traceback != DT_TRACEBACK_LOST))
			continue;
		sum.blocks += row->blocks;
		sum.bytes += row->bytes;
	}
	return sum;
}

/* A traceback may stand there twice: they are added up. */
static int add_inherited(struct dt_traced *traced, const struct dt_inherited *added)
{
	struct dt_inherited *grown = reallocarray(traced->inherited, traced->inherited_count + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	grown[traced->inherited_count++] = *added;
	traced->inherited = grown;
	return 0;
}

static uint64_t missing(uint64_t gone, uint64_t came)
{
	return gone > came ? gone - came : 0;
}

static int amend(struct dt_traced *traced, const struct dt_collect_row *row)
{
	const struct dt_tally *a = &row->half[0], *b = &row->half[1];
	struct dt_inherited lacks = sum_inherited(traced, &row->key);

	lacks.blocks = missing(a->frees + b->frees, a->allocations + b->allocations + lacks.blocks);
	lacks.bytes = missing(a->freed_bytes + b->freed_bytes, a->allocated_bytes + b->allocated_bytes + lacks.bytes);
	return lacks.blocks || lacks.bytes ? add_inherited(traced, &lacks) : 0;
}

int dt_collect_amend(const struct dt_collect *collect, struct dt_traced *const by_slot[DT_PROCESSES_MAX])
{
	for (const struct dt_collect_row *row = collect->rows; row; row = row->hh.next) {
		struct dt_traced *traced = by_slot[dt_owner_slot(&row->key.owner)];
		int error;

		if (!traced || !traced->inherited_known || traced->generation != 1 || row->key.generation != 1 ||
		    row->key.traceback == DT_TRACEBACK_TOTAL)
			continue;
		error = amend(traced, row);
		if (error)
			return error;
	}
	return 0;
}
