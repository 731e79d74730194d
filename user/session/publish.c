/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/publish.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "session/images.h"
#include "session/skeleton.h"

/* What stands in a row of process_rows, and which rows of mappings it speaks of. */
struct shown {
	bool used;
	struct dt_known_maps *maps;
	uint32_t first, count;
};

struct dt_publish {
	struct domtrace_bpf *bpf;
	struct dt_unwind *unwind;
	struct shown rows[DT_PROCESS_ROWS];
	uint32_t free[DT_PROCESS_ROWS]; /* numbers of rows that nobody sees */
	uint32_t free_count;
	uint32_t *replaced;             /* rows that programs may still look at, or images that inherited them */
	size_t replaced_count, replaced_room;
	size_t fresh;                   /* of them, since the last look */
};

int dt_publish_new(struct domtrace_bpf *bpf, struct dt_unwind *unwind, struct dt_publish **ret_publish)
{
	struct dt_publish *publish = calloc(1, sizeof(*publish));

	if (!publish)
		return -ENOMEM;
	publish->bpf = bpf;
	publish->unwind = unwind;
	for (uint32_t row = DT_PROCESS_ROWS - 1; row > DT_PROCESS_ROW_NEW; row--) /* row 0 is that of no process */
		publish->free[publish->free_count++] = row;
	*ret_publish = publish;
	return 0;
}

void dt_publish_free(struct dt_publish *publish)
{
	if (!publish)
		return;
	for (size_t row = 0; row < DT_PROCESS_ROWS; row++)
		dt_known_maps_release(publish->rows[row].maps);
	free(publish->replaced);
	free(publish);
}

/* Before anything is changed, so that what is replaced can always be remembered. */
static int make_room(struct dt_publish *publish)
{
	size_t room = publish->replaced_room ? 2 * publish->replaced_room : 64;
	uint32_t *grown;

	if (publish->replaced_count < publish->replaced_room)
		return 0;
	grown = reallocarray(publish->replaced, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	publish->replaced = grown;
	publish->replaced_room = room;
	return 0;
}

static void replace(struct dt_publish *publish, uint32_t row)
{
	if (row <= DT_PROCESS_ROW_NEW)
		return;
	publish->replaced[publish->replaced_count++] = row;
	publish->fresh++;
}

int dt_publish_process(struct dt_publish *publish, struct dt_traced *traced)
{
	struct dt_process_state *state = dt_images_state(publish->bpf, traced->slot);
	int error = make_room(publish), no_room;
	uint32_t row, old = state->row;

	if (error)
		return error;
	if (!publish->free_count)
		return -EAGAIN;
	no_room = dt_unwind_add_mappings(publish->unwind, traced->mappings, traced->row.mapping_count, &traced->row.first_mapping);
	if (no_room && no_room != -ENOSPC)
		return no_room;
	if (no_room)
		traced->row.mapping_count = 0;
	row = publish->free[--publish->free_count];
	publish->rows[row] = (struct shown){ true, dt_known_maps_share(traced->maps), traced->row.first_mapping, traced->row.mapping_count };
	publish->bpf->bss->process_rows[row] = traced->row;
	__atomic_store_n(&state->row, row, __ATOMIC_RELEASE);
	replace(publish, old);
	if (!traced->shown)
		error = dt_images_enter(publish->bpf, traced->slot);
	traced->shown = traced->shown || !error;
	return error ? error : no_room;
}

void dt_publish_withdraw(struct dt_publish *publish, struct dt_traced *traced)
{
	uint32_t row = dt_images_state(publish->bpf, traced->slot)->row;

	dt_images_end(publish->bpf, traced->slot);
	traced->shown = false;
	if (!make_room(publish))        /* else the row is lost to the session */
		replace(publish, row);
}

const struct dt_maps *dt_publish_maps(const struct dt_publish *publish, uint32_t row)
{
	static const struct dt_maps none;

	return row < DT_PROCESS_ROWS && publish->rows[row].maps ? &publish->rows[row].maps->maps : &none;
}

struct dt_known_maps *dt_publish_known_maps(const struct dt_publish *publish, uint32_t row)
{
	return row < DT_PROCESS_ROWS ? publish->rows[row].maps : NULL;
}

void dt_publish_use_modules(const struct dt_publish *publish, struct dt_modules *modules)
{
	for (size_t row = 0; row < DT_PROCESS_ROWS; row++)
		dt_known_maps_use_modules(publish->rows[row].maps, modules);
}

size_t dt_publish_replaced(const struct dt_publish *publish)
{
	return publish->fresh;
}

/* Marks the rows that images have: also those that were forked off while the row was replaced. */
static void find_used(const struct dt_publish *publish, bool used[DT_PROCESS_ROWS])
{
	memset(used, 0, DT_PROCESS_ROWS * sizeof(*used));
	for (uint32_t slot = 0; slot < DT_PROCESSES_MAX; slot++)
		used[publish->bpf->bss->process_states[slot].row & (DT_PROCESS_ROWS - 1)] = true;
}

void dt_publish_reclaim(struct dt_publish *publish)
{
	bool used[DT_PROCESS_ROWS];
	size_t kept = 0;

	if (!publish->replaced_count)
		return;
	find_used(publish, used);
	for (size_t i = 0; i < publish->replaced_count; i++) {
		uint32_t row = publish->replaced[i];
		struct shown *shown = &publish->rows[row];

		if (used[row])
			publish->replaced[kept++] = row;
		if (used[row] || !shown->used)
			continue;       /* it may have been replaced for several images */
		publish->free[publish->free_count++] = row;
		dt_unwind_remove_mappings(publish->unwind, shown->first, shown->count);
		dt_known_maps_release(shown->maps);
		*shown = (struct shown){ 0 };
	}
	publish->replaced_count = kept;
	publish->fresh = 0;
}
