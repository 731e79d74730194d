/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * rows: the rows of live blocks, in one table that grows.
 *
 * A hash map of the kernel has all its buckets from the beginning. So there is a small one, and userspace adds larger ones when rows
 * grow scarce. New rows go into the latest one; a row stays where it is. They are looked for from the latest one on: most blocks
 * are freed soon. What is passed over costs a look into one bucket each.
 */

/* Asks for another map, once; userspace sets rows_ask anew. */
static __always_inline void rows_count(__s64 change)
{
	struct dt_event event = { .type = DT_EVENT_ROWS };
	__s64 rows = atomic_fetch_and_add(&rows_made, change) + change, ask = rows_ask;

	if (rows <= ask || atomic_compare_and_swap(&rows_ask, ask, DT_ROWS_ASKED) != ask)
		return;
	if (bpf_ringbuf_output(&events, &event, sizeof(event), 0))
		rows_ask = ask;
}

struct rows_search {
	struct dt_block_key key;
	const struct dt_block *block;   /* rows_make(): what is entered */
	struct dt_block *found;
	__u32 count;                    /* of maps in live_more */
	__u32 table;                    /* 0: `live`; else that of live_more that is before */
	__s32 error;
	__u32 reserved;
};

/* The maps of live_more from the last on. */
static __always_inline struct live_table *rows_map(struct rows_search *search, __u32 index)
{
	__u32 number = search->count - 1 - index;

	search->table = number + 1;
	return bpf_map_lookup_elem(&live_more, &number);
}

static long rows_find_step(__u32 index, void *context)
{
	struct rows_search *search = context;
	struct live_table *map = rows_map(search, index);

	if (map)
		search->found = bpf_map_lookup_elem(map, &search->key);
	return search->found != NULL;
}

/* The row of a key, and which map has it. */
static __always_inline struct dt_block *rows_find(const struct dt_block_key *key, __u32 *table)
{
	struct rows_search search = { .count = live_more_count };

	*table = 0;
	if (!search.count)
		return bpf_map_lookup_elem(&live, key);
	search.key = *key;
	bpf_loop(search.count, rows_find_step, &search, 0);
	if (!search.found)
		return bpf_map_lookup_elem(&live, key);
	*table = search.table;
	return search.found;
}

/* The same, where it is rare: a function of its own, for the room that it takes on the stack. */
static __noinline struct dt_block *rows_find_rarely(const struct dt_block_key *key, __u32 *table)
{
	return rows_find(key, table);
}

static long rows_make_step(__u32 index, void *context)
{
	struct rows_search *search = context;
	struct live_table *map = rows_map(search, index);

	if (map)
		search->error = bpf_map_update_elem(map, &search->key, search->block, BPF_NOEXIST);
	return search->error != -E2BIG;
}

/* Makes a row for a key that has none. 0 or -errno: -E2BIG where all maps are full. */
static __noinline int rows_make(const struct dt_block_key *key, const struct dt_block *block)
{
	struct rows_search search = { .key = *key, .block = block, .count = live_more_count, .error = -E2BIG };

	if (search.count)
		bpf_loop(search.count, rows_make_step, &search, 0);
	if (search.error == -E2BIG)
		search.error = bpf_map_update_elem(&live, key, block, BPF_NOEXIST);
	if (!search.error)
		rows_count(1);
	return search.error;
}

/* Puts another block into a row at once: who reads it sees one or the other. */
static __noinline int rows_replace(const struct dt_block_key *key, __u32 table, const struct dt_block *block)
{
	__u32 number = table - 1;
	struct live_table *map;

	if (!table)
		return bpf_map_update_elem(&live, key, block, BPF_ANY);
	map = bpf_map_lookup_elem(&live_more, &number);
	return map ? bpf_map_update_elem(map, key, block, BPF_ANY) : -ENOENT;
}

static __noinline int rows_remove(const struct dt_block_key *key, __u32 table)
{
	__u32 number = table - 1;
	struct live_table *map;
	int error;

	if (table) {
		map = bpf_map_lookup_elem(&live_more, &number);
		error = map ? bpf_map_delete_elem(map, key) : -ENOENT;
	} else {
		error = bpf_map_delete_elem(&live, key);
	}
	if (!error)
		rows_count(-1);
	return error;
}
