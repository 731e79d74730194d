/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/live.h"

#include <errno.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/skeleton.h"

#define GROWTH 4
#define SPARE_SHARE 8                   /* at most one in so many rows is spare … */
#define SPARE_MAX 65536                 /* … and so many in all */

/* So early that there is room until the new map is there, even at a million new blocks a second. */
static void ask_early(struct dt_live *live)
{
	uint64_t spare = live->rows / SPARE_SHARE;
	bool can_grow = live->count < DT_LIVE_MORE_MAX && live->rows < live->rows_max;

	live->bpf->bss->spare_rows_max = (long long)(spare < SPARE_MAX ? spare : SPARE_MAX);
	live->bpf->bss->rows_ask = can_grow ? (long long)(live->rows / 4 * 3) : DT_ROWS_ASKED;
}

int dt_live_prepare(struct domtrace_bpf *bpf, uint64_t rows_max, struct dt_live *ret_live)
{
	struct dt_live live = { .bpf = bpf, .rows_max = rows_max };
	int error;

	live.rows = live.rows_max < DT_LIVE_ROWS_FIRST ? live.rows_max : DT_LIVE_ROWS_FIRST;
	error = bpf_map__set_max_entries(bpf->maps.live, (uint32_t)live.rows);
	if (!error)
		*ret_live = live;
	return error;
}

void dt_live_start(struct dt_live *live)
{
	ask_early(live);
}

void dt_live_close(struct dt_live *live)
{
	while (live->count)
		close(live->fds[--live->count]);
}

int dt_live_grow(struct dt_live *live)
{
	/* Of the same types as the first one: 6.1 takes no others into live_more (kernel/bpf/map_in_map.c, bpf_map_meta_equal()). */
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_NO_PREALLOC, .btf_fd = (uint32_t)bpf_object__btf_fd(live->bpf->obj),
		    .btf_key_type_id = bpf_map__btf_key_type_id(live->bpf->maps.live),
		    .btf_value_type_id = bpf_map__btf_value_type_id(live->bpf->maps.live));
	uint64_t wanted = (uint64_t)DT_LIVE_ROWS_FIRST * GROWTH, rest = live->rows_max - live->rows;
	DT_FD int fd = -1;

	if (live->count == DT_LIVE_MORE_MAX || !rest)
		return 0;
	for (uint32_t i = 0; i < live->count; i++)
		wanted *= GROWTH;
	/* The last one takes all that is left. */
	if (wanted > rest || live->count + 1 == DT_LIVE_MORE_MAX)
		wanted = rest;
	fd = bpf_map_create(BPF_MAP_TYPE_HASH, "live_more", sizeof(struct dt_block_key), sizeof(struct dt_block), (uint32_t)wanted, &opts);
	if (fd < 0 || bpf_map_update_elem(bpf_map__fd(live->bpf->maps.live_more), &live->count, &fd, BPF_ANY))
		return -errno;
	live->rows += wanted;
	live->fds[live->count++] = DT_TAKE_FD(fd);
	__atomic_store_n(&live->bpf->bss->live_more_count, live->count, __ATOMIC_RELEASE);
	ask_early(live);
	return 0;
}

bool dt_live_find(const struct dt_live *live, const struct dt_block_key *key, struct dt_block *ret_block)
{
	bool found = !bpf_map_lookup_elem(bpf_map__fd(live->bpf->maps.live), key, ret_block);

	for (uint32_t i = 0; i < live->count && !found; i++)
		found = !bpf_map_lookup_elem(live->fds[i], key, ret_block);
	return found;
}

int dt_live_each(const struct dt_live *live, dt_table_fn fn, void *context)
{
	int error = dt_table_each(bpf_map__fd(live->bpf->maps.live), sizeof(struct dt_block_key), sizeof(struct dt_block), fn, context);

	for (uint32_t i = 0; i < live->count && !error; i++)
		error = dt_table_each(live->fds[i], sizeof(struct dt_block_key), sizeof(struct dt_block), fn, context);
	return error;
}

int dt_live_remove(const struct dt_live *live, dt_table_choose_fn choose, void *context)
{
	size_t removed = 0;
	int error = dt_table_remove(bpf_map__fd(live->bpf->maps.live), sizeof(struct dt_block_key), sizeof(struct dt_block),
				    choose, context, &removed);

	for (uint32_t i = 0; i < live->count && !error; i++)
		error = dt_table_remove(live->fds[i], sizeof(struct dt_block_key), sizeof(struct dt_block), choose, context, &removed);
	__atomic_sub_fetch(&live->bpf->bss->rows_made, (long long)removed, __ATOMIC_SEQ_CST);
	return error;
}
