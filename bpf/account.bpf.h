/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * account: the books. A block is born (account_add), gone (account_remove), or succeeded by another (account_add
 * with the block it replaces); each is booked on the block's trace and on its domain's total in one half of one epoch.
 *
 * live holds each block once, so whoever takes its row out books its end, and nobody else does.
 */

struct account {
	struct dt_owner owner;
	__u32 generation;               /* of the process when the event began */
	__u32 half;                     /* of the epoch in which the event began: all of it is booked there */
	struct dt_scratch *scratch;     /* holds the traceback of the event; NULL: there is none */
	const struct dt_process *process; /* NULL where only the books are touched, or it runs no Python */
};

static const struct dt_trace trace_zero;

static __always_inline struct dt_trace *trace_find(const struct account *account, __u64 traceback)
{
	struct dt_trace_key key = {
		.owner = account->owner,
		.traceback = traceback,
		.generation = account->generation,
	};

	return bpf_map_lookup_elem(&traces, &key);
}

static __always_inline struct dt_trace *trace_add(const struct account *account, __u64 traceback)
{
	struct dt_trace_key key = {
		.owner = account->owner,
		.traceback = traceback,
		.generation = account->generation,
	};

	bpf_map_update_elem(&traces, &key, &trace_zero, BPF_NOEXIST); /* another CPU may have been first */
	return bpf_map_lookup_elem(&traces, &key);
}

/* The domain's total. It is made together with the row for lost tracebacks, so that there is always one to fall back on. */
static __always_inline struct dt_trace *trace_total(const struct account *account)
{
	struct dt_trace *total = trace_find(account, DT_TRACEBACK_TOTAL);

	if (total)
		return total;
	if (trace_add(account, DT_TRACEBACK_LOST))
		total = trace_add(account, DT_TRACEBACK_TOTAL);
	if (!total)
		count_add(DT_COUNTER_domains_full);
	return total;
}

/* The row of the event's traceback, sent to userspace when it is new; the lost row where that fails. */
static __always_inline struct dt_trace *trace_of_event(const struct account *account, __u64 *traceback)
{
	struct dt_scratch *scratch = account->scratch;
	struct dt_trace *trace;

	if (scratch) {
		*traceback = scratch->traceback.traceback;
		trace = trace_find(account, *traceback);
		if (trace)
			return trace;
		if (traceback_send(scratch)) {
			trace = trace_add(account, *traceback);
			if (trace)
				return trace;
			count_add(DT_COUNTER_traces_full);
		} else {
			count_add(DT_COUNTER_tracebacks_lost);
		}
	}
	*traceback = DT_TRACEBACK_LOST;
	return trace_find(account, DT_TRACEBACK_LOST);
}

#define PEAK_TRIES 16

static __always_inline void trace_raise_peak(struct dt_tally *tally, __u64 bytes)
{
	__u64 peak = *(volatile __u64 *)&tally->peak_bytes;

	for (int i = 0; i < PEAK_TRIES; i++) {
		__u64 seen;

		if (bytes <= peak)
			return;
		seen = __sync_val_compare_and_swap(&tally->peak_bytes, peak, bytes);
		if (seen == peak)
			return;
		peak = seen;
	}
	count_add(DT_COUNTER_peaks_contended);
}

/* live_bytes changes by the difference at once: a block and its successor never count both. */
static __always_inline void trace_change(struct dt_trace *trace, __u32 half, __s64 bytes)
{
	__s64 live = __sync_fetch_and_add(&trace->live_bytes, bytes) + bytes;

	if (bytes > 0 && live > 0)
		trace_raise_peak(&trace->half[half & 1], live);
}

static __always_inline void trace_book_allocation(struct dt_trace *trace, __u32 half, __u64 bytes)
{
	struct dt_tally *tally = &trace->half[half & 1];

	__sync_fetch_and_add(&tally->allocations, 1);
	__sync_fetch_and_add(&tally->allocated_bytes, bytes);
}

static __always_inline void trace_book_free(struct dt_trace *trace, __u32 half, __u64 bytes)
{
	struct dt_tally *tally = &trace->half[half & 1];

	__sync_fetch_and_add(&tally->frees, 1);
	__sync_fetch_and_add(&tally->freed_bytes, bytes);
}

/* Books the end of a block on its trace; its domain's live bytes are the caller's. */
static __always_inline void account_book_end(const struct account *account, struct dt_trace *total, const struct dt_block *block)
{
	__u32 half = account->half;
	struct dt_trace *trace = trace_find(account, block->traceback);

	trace_book_free(total, half, block->bytes);
	if (!trace)                     /* the call began before a clear, whose rows are gone */
		return;
	trace_book_free(trace, half, block->bytes);
	trace_change(trace, half, -(__s64)block->bytes);
}

/*
 * Allocators soon hand out again what they got back, and a row costs less to find than to delete and to make. So the row
 * of a block that has gone stays, spare, for the next block at its address, while there are not too many of them.
 */
#define BLOCK_SPARE DT_TRACEBACK_TOTAL

/* Puts a block into the spare row of its address. False: there is none. */
static __always_inline bool live_reuse(const struct dt_block_key *key, const struct dt_block *block)
{
	struct dt_block *found = bpf_map_lookup_elem(&live, key);

	if (!found || found->traceback != BLOCK_SPARE)
		return false;
	found->bytes = block->bytes;    /* the address is its caller's alone: nobody else touches the row now */
	found->generation = block->generation;
	if (__sync_val_compare_and_swap(&found->traceback, BLOCK_SPARE, block->traceback) != BLOCK_SPARE)
		return false;
	__sync_fetch_and_add(&spare_rows, -1);
	return true;
}

static __always_inline int live_make(const struct dt_block_key *key, const struct dt_block *block)
{
	return live_reuse(key, block) ? 0 : bpf_map_update_elem(&live, key, block, BPF_NOEXIST);
}

/* Takes a block out of the live table without booking anything. False: there is none. */
static __always_inline bool live_take(const struct account *account, __u64 address, struct dt_block *block)
{
	struct dt_block_key key = { .owner = account->owner, .address = address };
	struct dt_block *found = bpf_map_lookup_elem(&live, &key);

	if (!found)
		return false;
	*block = *found;
	if (block->traceback == BLOCK_SPARE ||
	    __sync_val_compare_and_swap(&found->traceback, block->traceback, BLOCK_SPARE) != block->traceback)
		return false;           /* another thread freed it at the same time, and books that */
	/* The allocator does not have the block back yet, so nobody is given its address: the row is still ours. */
	if (spare_rows < config.spare_rows_max)
		__sync_fetch_and_add(&spare_rows, 1);
	else
		bpf_map_delete_elem(&live, &key);
	return true;
}

/* The same; false also for a block of an earlier generation, which is forgotten. */
static __always_inline bool account_take(const struct account *account, __u64 address, struct dt_block *block)
{
	return live_take(account, address, block) && block->generation == account->generation;
}

/* Puts a block back that account_take() took: its realloc failed. */
static __always_inline void account_put_back(const struct account *account, __u64 address, const struct dt_block *block)
{
	struct dt_block_key key = { .owner = account->owner, .address = address };

	if (live_make(&key, block))
		count_add(DT_COUNTER_live_full);
}

/* Books the end of a block that account_take() took. */
static __always_inline void account_end(const struct account *account, const struct dt_block *block)
{
	struct dt_trace *total = trace_total(account);

	if (!total)
		return;
	account_book_end(account, total, block);
	trace_change(total, account->half, -(__s64)block->bytes);
}

/*
 * A block goes. False: it was not known, or a clear has forgotten it. Its own generation says where it is booked, so that
 * the process need not be looked up: the rows of a generation that is forgotten are gone, or nobody reads them any more.
 */
static __always_inline bool account_remove(struct account *account, __u64 address)
{
	struct dt_trace *total, *trace;
	struct dt_block block;

	if (!live_take(account, address, &block))
		return false;
	account->generation = block.generation;
	total = trace_find(account, DT_TRACEBACK_TOTAL);
	trace = trace_find(account, block.traceback);
	if (!total || !trace)
		return false;
	trace_book_free(total, account->half, block.bytes);
	trace_change(total, account->half, -(__s64)block.bytes);
	trace_book_free(trace, account->half, block.bytes);
	trace_change(trace, account->half, -(__s64)block.bytes);
	return true;
}

/* Enters a block; one that already stands at its address is handed out through `old`. 0, 1: replaced one, or -errno. */
static __always_inline int live_add(const struct account *account, __u64 address, const struct dt_block *block, struct dt_block *old)
{
	struct dt_block_key key = { .owner = account->owner, .address = address };
	const struct dt_block *found;
	int error = live_make(&key, block);

	if (error != -EEXIST)
		return error;
	found = bpf_map_lookup_elem(&live, &key);
	if (!found || found->traceback == BLOCK_SPARE) /* freed in between: only a program that races with itself does that */
		return live_make(&key, block);
	*old = *found;
	error = bpf_map_update_elem(&live, &key, block, BPF_ANY);
	return error ? error : old->generation == block->generation;
}

/*
 * A block comes. `replaced`, if any, is the block it succeeds: taken out already, not yet booked. Returns true if a live
 * block stood at its address.
 */
static __always_inline bool account_add(const struct account *account, __u64 address, __u64 bytes, const struct dt_block *replaced)
{
	__u32 half = account->half;
	struct dt_block block = { .bytes = bytes, .generation = account->generation };
	struct dt_trace *total = trace_total(account), *trace;
	__s64 change = bytes;
	struct dt_block old;
	int error;

	if (!total)
		return false;
	trace = trace_of_event(account, &block.traceback);
	if (!trace)
		return false;           /* cannot be: the lost row stands beside the total */
	if (replaced) {
		account_book_end(account, total, replaced);
		change -= replaced->bytes;
	}
	error = live_add(account, address, &block, &old);
	if (error < 0) {
		count_add(DT_COUNTER_live_full);
		if (replaced)
			trace_change(total, half, -(__s64)replaced->bytes);
		return false;
	}
	if (error == 1) {
		account_book_end(account, total, &old);
		change -= old.bytes;
	}
	trace_book_allocation(total, half, bytes);
	trace_change(total, half, change);
	trace_book_allocation(trace, half, bytes);
	trace_change(trace, half, bytes);
	return error == 1;
}
