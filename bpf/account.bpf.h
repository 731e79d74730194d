/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * account: the books. A block is born (account_add), gone (account_remove), or succeeded by another (account_add
 * with the block it replaces); each is booked on the block's trace and on its domain's total in one half of one epoch.
 *
 * Blocks that were inherited are in no row of `traces` of the heir's: it begins with nothing, and userspace, which knows what was
 * inherited, adds that. So live_bytes may be negative, and a peak is above what was inherited.
 */

/* The books of an image. False: it is not traced any more. */
static __always_inline bool account_begin(struct account *account, __u32 slot, enum dt_source source, __u32 domain)
{
	__u64 began = epoch;

	account->owner.process = slot | (__u32)source << DT_OWNER_SOURCE_SHIFT;
	account->owner.domain = domain;
	account->half = DT_EPOCH_HALF(began);
	account->peak_zero = peak_zero;
	account->thread = NULL;
	account->scratch = NULL;
	account->state = image_state(slot);
	account->segments = image_segments(account->state, began);
	account->row = image_row(account->state);
	return account->row;
}

static const struct dt_trace trace_zero;

static __always_inline struct dt_trace_key trace_key(const struct account *account, __u64 traceback)
{
	return (struct dt_trace_key){
		.owner = account->owner,
		.traceback = traceback,
		.generation = DT_SEGMENTS_GENERATION(account->segments),
	};
}

static __always_inline struct dt_trace *trace_find(const struct account *account, __u64 traceback)
{
	struct dt_trace_key key = trace_key(account, traceback);

	return bpf_map_lookup_elem(&traces, &key);
}

#define FULL_FOR_NS 100000000           /* a full table is not tried again before: each try costs, and sends its traceback */

/* NULL: the table is full. */
static __always_inline struct dt_trace *trace_add(const struct account *account, __u64 traceback)
{
	struct dt_trace_key key = trace_key(account, traceback);

	/* Another CPU may have been first. */
	if (bpf_map_update_elem(&traces, &key, &trace_zero, BPF_NOEXIST) == -E2BIG)
		traces_full_ns = bpf_ktime_get_ns();
	return bpf_map_lookup_elem(&traces, &key);
}

static __always_inline bool traces_are_full(void)
{
	__u64 full_ns = traces_full_ns;

	return full_ns && bpf_ktime_get_ns() - full_ns < FULL_FOR_NS;
}

/* TOTAL or LOST; these rows have a table of their own, so that tracebacks leave them room. */
static __always_inline struct dt_trace *total_find(const struct account *account, __u64 traceback)
{
	struct dt_trace_key key = trace_key(account, traceback);

	return bpf_map_lookup_elem(&totals, &key);
}

static __always_inline struct dt_trace *total_add(const struct account *account, __u64 traceback)
{
	struct dt_trace_key key = trace_key(account, traceback);

	bpf_map_update_elem(&totals, &key, &trace_zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&totals, &key);
}

/* The domain's total. It is made together with the row for lost tracebacks, so that there is always one to fall back on. */
static __always_inline struct dt_trace *trace_total(const struct account *account)
{
	struct dt_trace *total = total_find(account, DT_TRACEBACK_TOTAL);

	if (total)
		return total;
	if (total_add(account, DT_TRACEBACK_LOST))
		total = total_add(account, DT_TRACEBACK_TOTAL);
	if (!total)
		count_add(DT_COUNTER_domains_full);
	return total;
}

/* The row of the event's traceback, sent to userspace when it is new; NULL: it cannot be had, which is counted. */
static __always_inline struct dt_trace *trace_of_walk(const struct account *account, __u64 traceback)
{
	struct dt_trace *trace = trace_find(account, traceback);

	if (trace)
		return trace;
	if (!traces_are_full()) {
		if (!traceback_send(account->scratch)) {
			count_add(DT_COUNTER_tracebacks_lost);
			return NULL;
		}
		trace = trace_add(account, traceback);
	}
	if (!trace)
		count_add(DT_COUNTER_traces_full);
	return trace;
}

/* The row that an event is booked on; the lost row where it has none of its own. */
static __always_inline struct dt_trace *trace_of_event(const struct account *account, __u64 *traceback)
{
	struct dt_trace *trace = NULL;

	if (account->scratch) {
		*traceback = account->scratch->traceback.traceback;
		trace = trace_of_walk(account, *traceback);
	}
	if (trace)
		return trace;
	*traceback = DT_TRACEBACK_LOST;
	return total_find(account, DT_TRACEBACK_LOST);
}

/* ---- figures ------------------------------------------------------------------------------------------------------ */

/*
 * Functions of their own to the verifier, which proves them once; so what they are given may be NULL for all that it knows. Before the
 * first reset a peak is not below zero: rows begin there.
 */
__noinline __u64 peak_make(__u64 peak_zero_then, __s64 live)
{
	__s64 lowest = peak_zero_then ? -DT_PEAK_BYTES_MAX : 0;

	live = live > DT_PEAK_BYTES_MAX ? DT_PEAK_BYTES_MAX : live; /* only what a program tells tracemalloc may be more */
	return peak_zero_then + (live < lowest ? lowest : live);
}

#define PEAK_TRIES 16

__noinline int peak_raise(struct dt_tally *tally, __u64 to)
{
	__u64 peak;

	if (!tally)
		return 0;
	peak = *(volatile __u64 *)&tally->peak;
	for (int i = 0; i < PEAK_TRIES; i++) {
		__u64 seen;

		if (to <= peak)
			return 0;
		seen = atomic_compare_and_swap(&tally->peak, peak, to);
		if (seen == peak)
			return 0;
		peak = seen;
	}
	count_add(DT_COUNTER_peaks_contended);
	return 0;
}

/*
 * live_bytes changes by the difference at once: a block and its successor never count both. Returns what it is then. Once peaks have
 * been reset, what was live before the first event that came after it is one, too.
 */
static __always_inline __s64 trace_change(const struct account *account, struct dt_trace *trace, __s64 bytes)
{
	__s64 live = atomic_fetch_and_add(&trace->live_bytes, bytes) + bytes;

	if (bytes > 0 || account->peak_zero)
		peak_raise(&trace->half[account->half & 1], peak_make(account->peak_zero, bytes > 0 ? live : live - bytes));
	return live;
}

static __always_inline __u64 total_peak(const struct dt_trace *total)
{
	__u64 first = *(volatile __u64 *)&total->half[0].peak, second = *(volatile __u64 *)&total->half[1].peak;

	return first > second ? first : second;
}

/*
 * Changes the live bytes of a domain, before its traces are changed. Returns the peak that the event comes after: what of the traces
 * was live then must be kept. 0: the event itself makes a new peak. Another thread may just be about to note the peak that it has
 * made; the live bytes before this event tell of it.
 */
static __always_inline __u64 total_change(const struct account *account, struct dt_trace *total, __s64 bytes)
{
	__u64 peak = total_peak(total), before;
	__s64 live = trace_change(account, total, bytes);

	if (bytes > 0 && peak_make(account->peak_zero, live) > peak)
		return 0;
	before = peak_make(account->peak_zero, live - bytes);
	return before > peak ? before : peak;
}

/*
 * Keeps what of a trace was live at a peak of its domain, before its first change after it. Of two threads that do so at once
 * each keeps the same: who sees the other's change sees also that it has kept it. (Should loads or stores be reordered, as they are
 * not on x86, the sum over the traces tells.)
 */
static __always_inline void trace_keep(struct dt_trace *trace, __u32 half, __u64 peak)
{
	__s64 live = *(volatile __s64 *)&trace->live_bytes;
	struct dt_tally *tally = &trace->half[half & 1];

	if (*(volatile __u64 *)&trace->half[0].at_peak_of >= peak || *(volatile __u64 *)&trace->half[1].at_peak_of >= peak)
		return;
	*(volatile __s64 *)&tally->at_peak_bytes = live;
	*(volatile __u64 *)&tally->at_peak_of = peak;
}

/* Changes the live bytes of a trace; `peak` is from total_change(). */
static __always_inline void trace_change_after(const struct account *account, struct dt_trace *trace, __s64 bytes, __u64 peak)
{
	trace_keep(trace, account->half, peak);
	trace_change(account, trace, bytes);
}

static __always_inline void trace_book_allocation(struct dt_trace *trace, __u32 half, __u64 bytes)
{
	struct dt_tally *tally = &trace->half[half & 1];

	atomic_add(&tally->allocations, 1);
	atomic_add(&tally->allocated_bytes, bytes);
}

static __always_inline void trace_book_free(struct dt_trace *trace, __u32 half, __u64 bytes, bool temporary)
{
	struct dt_tally *tally = &trace->half[half & 1];

	atomic_add(&tally->frees, 1);
	atomic_add(&tally->freed_bytes, bytes);
	if (temporary)
		atomic_add(&tally->temporary, 1);
}

/* ---- temporary blocks -------------------------------------------------------------------------------------------- */

static __always_inline struct dt_last *account_last(const struct account *account)
{
	__u64 source = account->owner.process >> DT_OWNER_SOURCE_SHIFT;

	asm volatile("" : "+r"(source)); /* else the optimiser takes the mask away, which is what the verifier believes */
	return account->thread ? &account->thread->lasts[source & (LAST_ROWS - 1)] : NULL;
}

/* Functions of their own to the verifier, which proves them once; so their arguments may be NULL for all that it knows. */
__noinline int last_take(struct dt_last *last, __u32 domain, __u64 address, const struct dt_block *block)
{
	if (!last || !block || last->address != address || last->domain != domain || last->bytes != block_bytes(block) ||
	    last->traceback != block->traceback || last->born != DT_SPAN_BORN(block->span))
		return 0;
	last->address = 0;
	return 1;
}

/* A block goes: is it the one that the thread got last from this source? */
static __always_inline bool account_take_last(const struct account *account, __u64 address, const struct dt_block *block)
{
	struct dt_last *last = account_last(account);

	return last && last_take(last, account->owner.domain, address, block);
}

__noinline int last_set(struct dt_last *last, __u32 domain, __u64 address, const struct dt_block *block)
{
	if (!last || !block)
		return 0;
	last->address = address;
	last->bytes = block_bytes(block);
	last->traceback = block->traceback;
	last->domain = domain;
	last->born = DT_SPAN_BORN(block->span);
	return 0;
}

static __always_inline void account_set_last(const struct account *account, __u64 address, const struct dt_block *block)
{
	struct dt_last *last = account_last(account);

	if (last)
		last_set(last, account->owner.domain, address, block);
}

/* ---- blocks come and go ------------------------------------------------------------------------------------------ */

/* The row of a block's traceback. An heir may have none for what it inherited. NULL: the rows were cleared away meanwhile. */
static __always_inline struct dt_trace *trace_of_block(const struct account *account, const struct dt_block *block)
{
	struct dt_trace *trace;

	if (block->traceback == DT_TRACEBACK_LOST)
		return total_find(account, DT_TRACEBACK_LOST);
	trace = trace_find(account, block->traceback);
	if (trace || DT_SPAN_BORN(block->span))
		return trace;
	trace = traces_are_full() ? NULL : trace_add(account, block->traceback);
	if (trace)
		return trace;
	count_add(DT_COUNTER_traces_full);
	return total_find(account, DT_TRACEBACK_LOST);
}

/* Books the end of a block on its trace; its domain's live bytes, for which it has `peak` from total_change(), are the caller's. */
static __always_inline void account_book_end(const struct account *account, struct dt_trace *total, const struct dt_block *block,
					     __u64 peak, bool temporary)
{
	struct dt_trace *trace = trace_of_block(account, block);
	__u64 bytes = block_bytes(block);

	trace_book_free(total, account->half, bytes, temporary);
	if (!trace)                     /* the call began before a clear, whose rows are gone */
		return;
	trace_book_free(trace, account->half, bytes, temporary);
	trace_change_after(account, trace, -(__s64)bytes, peak);
}

/* Books the end of a block that live_take() took. */
static __always_inline void account_end(const struct account *account, const struct dt_block *block, bool temporary)
{
	struct dt_trace *total = trace_total(account);
	__u64 peak;

	if (!total)
		return;
	peak = total_change(account, total, -(__s64)block_bytes(block));
	account_book_end(account, total, block, peak, temporary);
}

/*
 * Books the end of a block whose address was handed out again: its free was missed, or a Track tells of a block that was resized. The
 * call that got it may have begun before a clear, and the block after it.
 */
static __noinline void account_end_missed(const struct account *account, __u64 address, const struct dt_block *block)
{
	bool is_resized = account->owner.process >> DT_OWNER_SOURCE_SHIFT >= DT_SOURCES_CALLED;
	struct account own = *account;

	own.segments = image_segments(account->state, epoch);
	if (!block_is_known(&own, block))
		own.segments = account->segments;
	account_end(&own, block, is_resized && account_take_last(account, address, block));
}

/* A block goes. False: it was not known, or a clear has forgotten it. */
static __always_inline bool account_remove(const struct account *account, __u64 address)
{
	struct dt_block block;

	if (!live_take(account, address, &block))
		return false;
	account_end(account, &block, account_take_last(account, address, &block));
	return true;
}

/* A block that there is no room for: what is allocated is counted all the same; its free will not be known as such. */
static __always_inline void account_book_lost(struct dt_trace *total, struct dt_trace *trace, __u32 half, __u64 bytes)
{
	count_add(DT_COUNTER_live_full);
	trace_book_allocation(total, half, bytes);
	trace_book_free(total, half, bytes, false);
	trace_book_allocation(trace, half, bytes);
	trace_book_free(trace, half, bytes, false);
}

/*
 * A block comes. `replaced`, if any, is the block it succeeds: taken out already, not yet booked, perhaps a temporary one. Returns
 * true if a live block stood at its address. A function of its own for the room that it takes on the stack.
 */
static __always_inline bool account_add(const struct account *account, __u64 address, __u64 bytes, const struct dt_block *replaced,
				   bool temporary)
{
	__u32 half = account->half;
	struct dt_block block = { .bytes = bytes, .span = DT_SPAN(DT_SEGMENTS_NOW(account->segments), 0) };
	struct dt_trace *total = trace_total(account), *trace;
	struct dt_block old = { 0 };    /* the verifier does not know that the kernel returns no error above 0 */
	__u64 peak;
	int error;

	if (!total)
		return false;
	trace = trace_of_event(account, &block.traceback);
	if (!trace)
		return false;           /* cannot be: the lost row stands beside the total */
	error = live_add(account, address, &block, &old);
	if (error < 0) {
		account_book_lost(total, trace, half, bytes);
		if (replaced)
			account_end(account, replaced, temporary);
		account_set_last(account, 0, &block);
		return false;
	}
	if (error == 1)
		account_end_missed(account, address, &old);
	peak = total_change(account, total, (__s64)bytes - (replaced ? (__s64)block_bytes(replaced) : 0));
	if (replaced)
		account_book_end(account, total, replaced, peak, temporary);
	trace_book_allocation(total, half, bytes);
	trace_book_allocation(trace, half, bytes);
	trace_change_after(account, trace, bytes, peak);
	account_set_last(account, address, &block);
	return error == 1;
}
