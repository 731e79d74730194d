/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/publish.h"

#include <errno.h>
#include <stdlib.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "session/skeleton.h"

/* A row, and rows of mappings, that programs may still look at. */
struct replaced {
	uint32_t row;
	uint32_t first, count;
};

struct dt_publish {
	struct domtrace_bpf *bpf;
	struct dt_unwind *unwind;
	uint32_t free[DT_PROCESS_ROWS]; /* numbers of rows that nobody sees */
	uint32_t free_count;
	struct replaced *replaced;
	size_t replaced_count, replaced_room;
};

int dt_publish_new(struct domtrace_bpf *bpf, struct dt_unwind *unwind, struct dt_publish **ret_publish)
{
	struct dt_publish *publish = calloc(1, sizeof(*publish));

	if (!publish)
		return -ENOMEM;
	publish->bpf = bpf;
	publish->unwind = unwind;
	for (uint32_t row = DT_PROCESS_ROWS - 1; row; row--) /* row 0 is that of no process */
		publish->free[publish->free_count++] = row;
	*ret_publish = publish;
	return 0;
}

void dt_publish_free(struct dt_publish *publish)
{
	if (!publish)
		return;
	free(publish->replaced);
	free(publish);
}

/* Before anything is changed, so that what is replaced can always be remembered. */
static int make_room(struct dt_publish *publish)
{
	size_t room = publish->replaced_room ? 2 * publish->replaced_room : 64;
	struct replaced *grown;

	if (publish->replaced_count < publish->replaced_room)
		return 0;
	grown = reallocarray(publish->replaced, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	publish->replaced = grown;
	publish->replaced_room = room;
	return 0;
}

/* The process is found by its id; once it is, its slot does not change. */
static int enter_process(const struct dt_publish *publish, const struct dt_traced *traced)
{
	uint32_t tgid = (uint32_t)traced->pid;

	return bpf_map_update_elem(bpf_map__fd(publish->bpf->maps.processes), &tgid, &traced->row.slot, BPF_ANY) ? -errno : 0;
}

int dt_publish_process(struct dt_publish *publish, struct dt_traced *traced)
{
	struct replaced old = { traced->shown_row, traced->shown_first, traced->shown_count };
	struct dt_process_state *state = &publish->bpf->bss->process_states[traced->row.slot];
	int error = make_room(publish), no_room;
	uint32_t row;

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
	publish->bpf->bss->process_rows[row] = traced->row;
	__atomic_store_n(&state->row, row, __ATOMIC_RELEASE);
	traced->shown_row = row;
	traced->shown_first = traced->row.first_mapping;
	traced->shown_count = traced->row.mapping_count;
	if (old.row)
		publish->replaced[publish->replaced_count++] = old;
	else
		error = enter_process(publish, traced);
	return error ? error : no_room;
}

void dt_publish_withdraw(struct dt_publish *publish, struct dt_traced *traced)
{
	uint32_t tgid = (uint32_t)traced->pid;

	__atomic_store_n(&publish->bpf->bss->process_states[traced->row.slot].row, 0, __ATOMIC_RELEASE);
	bpf_map_delete_elem(bpf_map__fd(publish->bpf->maps.processes), &tgid);
	if (traced->shown_row && !make_room(publish))
		publish->replaced[publish->replaced_count++] =
			(struct replaced){ traced->shown_row, traced->shown_first, traced->shown_count };
	traced->shown_row = traced->shown_first = traced->shown_count = 0;
}

size_t dt_publish_replaced(const struct dt_publish *publish)
{
	return publish->replaced_count;
}

void dt_publish_reclaim(struct dt_publish *publish)
{
	for (size_t i = 0; i < publish->replaced_count; i++) {
		const struct replaced *replaced = &publish->replaced[i];

		publish->free[publish->free_count++] = replaced->row;
		dt_unwind_remove_mappings(publish->unwind, replaced->first, replaced->count);
	}
	publish->replaced_count = 0;
}
