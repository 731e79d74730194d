/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random histories against a second set of books, kept in plain arrays by the simplest rules there are: two processes of
 * four threads, three domains each, few addresses and callers, so that everything collides with everything. Tables are
 * too small at times, the ring buffer is full at times, epochs turn and generations end. The whole tables are compared.
 */
#include <stdio.h>

#include "books.h"

#define STEPS 100000
#define COMPARE_EVERY 50

#define PROCESSES 2
#define DOMAINS 3
#define OWNERS (PROCESSES * DOMAINS)
#define ADDRESSES 48
#define CALLERS 12
#define GENERATIONS 128
#define ROWS (2 + CALLERS)              /* TOTAL, LOST, one a caller */
#define LIVE_MAX 150
#define TRACES_MAX 80
#define TOTALS_MAX 15
#define NOTHING (-1)
#define INNER (HOST_ALLOCATOR + 0x789c) /* the allocator calls itself */

static const __u32 domains[DOMAINS] = { 0, 7, 389047 };

struct block {
	bool is_live, is_spare;         /* spare: not live, its row waits for the next block at its address */
	__u32 generation, segment;      /* in which it was born */
	int row;
	__u64 bytes;
};

struct tally {
	__u64 allocations, allocated_bytes, frees, freed_bytes;
};

struct row {
	bool exists;
	struct tally half[2];
	__s64 live_bytes, peak_bytes, at_peak_bytes;
	__u64 temporary[2];             /* by half */
};

/* The block that a thread got last from a source. */
struct last {
	bool is_there;
	int owner, address;
	struct block block;
};

struct pending {
	__u64 stack;                    /* 0: none */
	enum dt_site site;
	int caller, from;               /* from: what realloc was given, or NOTHING */
	__u32 generation, segment;      /* when it began: there it is booked */
	__u64 bytes;
	bool took, out_is_readable;
	struct block old;
};

static struct block blocks[OWNERS][ADDRESSES];
static struct row rows[OWNERS][GENERATIONS][ROWS];
static struct pending pendings[HOST_THREADS_MAX];
static struct last lasts[HOST_THREADS_MAX][2]; /* of libc, of tracemalloc */
static size_t row_count, total_count, live_count, spare_count, spare_max;
static __u32 generations[PROCESSES];
static __u32 first_segments[PROCESSES][GENERATIONS];
static __u64 counted[DT_COUNTER_COUNT];
static __u64 numbers[CALLERS];          /* of tracebacks, as they were sent */
static __u64 outs[HOST_THREADS_MAX];
static bool scratches_are_busy;
static bool traces_are_tried;           /* they were not found full just before */
static int sent_caller;                 /* by the step that is done; or NOTHING */
static __u64 random_state;

static __u32 random_below(__u32 limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (random_state >> 32) % limit;
}

static bool one_in(__u32 n)
{
	return !random_below(n);
}

static __u64 address_of(int index)
{
	return index == NOTHING ? 0 : 0x55a000000000 + (__u64)(index + 1) * 16;
}

static __u64 caller_of(int index)
{
	return 0x555500000123 + (__u64)index * 0x111;
}

/* ---- the model ------------------------------------------------------------------------------------------------- */

static __u32 generation_of(int owner)
{
	return generations[owner / DOMAINS];
}

static bool make_row(struct row *row)
{
	if (row_count == TRACES_MAX) {
		traces_are_tried = false;
		return false;
	}
	row_count++;
	return row->exists = true;
}

static bool make_total(struct row *row)
{
	if (!row->exists && total_count < TOTALS_MAX) {
		row->exists = true;
		total_count++;
	}
	return row->exists;
}

static bool has_total(int owner, __u32 generation)
{
	struct row *row = rows[owner][generation];

	if (row[0].exists || (make_total(&row[1]) && make_total(&row[0])))
		return true;
	counted[DT_COUNTER_domains_full]++;
	return false;
}

/* The segment that a process is in. */
static __u32 segment_now(int process)
{
	__u32 first = first_segments[process][generations[process]], now = DT_EPOCH_SEGMENT(epoch);

	return now < first ? first : now;
}

static int row_of_event(int owner, __u32 generation, int caller)
{
	struct row *row = &rows[owner][generation][2 + caller];

	if (scratches_are_busy)
		return 1;
	if (row->exists)
		return 2 + caller;
	if (host_ring_is_full && traces_are_tried) {
		counted[DT_COUNTER_tracebacks_lost]++;
		return 1;
	}
	if (traces_are_tried) {
		sent_caller = caller;
		if (make_row(row))
			return 2 + caller;
	}
	counted[DT_COUNTER_traces_full]++;
	return 1;
}

static void book_birth(struct row *row, __u64 bytes)
{
	row->half[epoch & 1].allocations++;
	row->half[epoch & 1].allocated_bytes += bytes;
	row->live_bytes += (__s64)bytes;
}

static void book_lost(struct row *row, __u64 bytes)
{
	struct tally *half = &row->half[epoch & 1];

	half->allocations++;
	half->allocated_bytes += bytes;
	half->frees++;
	half->freed_bytes += bytes;
}

static struct last *last_of(int owner)
{
	return &lasts[host_current - host_threads][owner % DOMAINS != 0];
}

static bool take_last(int owner, int address, const struct block *block)
{
	struct last *last = last_of(owner);

	if (!last->is_there || last->owner != owner || last->address != address || last->block.bytes != block->bytes ||
	    last->block.row != block->row || last->block.generation != block->generation)
		return false;
	last->is_there = false;
	return true;
}

static void book_end(int owner, const struct block *block, bool temporary)
{
	struct row *both[] = { &rows[owner][block->generation][0], &rows[owner][block->generation][block->row] };

	for (int i = 0; i < 2; i++) {
		if (!both[i]->exists)   /* of a generation that userspace has removed: nobody reads the total either */
			continue;
		both[i]->half[epoch & 1].frees++;
		both[i]->half[epoch & 1].freed_bytes += block->bytes;
		both[i]->temporary[epoch & 1] += temporary;
		both[i]->live_bytes -= (__s64)block->bytes;
	}
}

static bool take(int owner, int address, struct block *block)
{
	struct block *at = &blocks[owner][address];

	*block = *at;
	if (block->is_live) {
		at->is_live = false;
		at->is_spare = spare_count < spare_max;
		live_count--;
		spare_count += at->is_spare;
	}
	return block->is_live && block->generation == generation_of(owner);
}

static bool has_row(const struct block *block)
{
	return block->is_live || block->is_spare || live_count + spare_count < LIVE_MAX;
}

static void put_back(int owner, int address, const struct block *block)
{
	struct block *at = &blocks[owner][address];

	if (at->is_live || !has_row(at)) {
		counted[DT_COUNTER_live_full]++;
		return;
	}
	spare_count -= at->is_spare;
	live_count++;
	*at = *block;
}

/* `segment`: when the call began; what was not cleared away since is born when it returns. */
static void add(int owner, __u32 generation, __u32 segment, int address, __u64 bytes, int caller, const struct block *replaced, bool temporary)
{
	struct block *block = &blocks[owner][address], old = *block;
	int row;

	counted[DT_COUNTER_scratch_busy] += scratches_are_busy;
	if (!has_total(owner, generation))
		return;
	row = row_of_event(owner, generation, caller);
	if (replaced)
		book_end(owner, replaced, temporary);
	if (!has_row(&old)) {
		last_of(owner)->is_there = false;
		counted[DT_COUNTER_live_full]++;
		book_lost(&rows[owner][generation][0], bytes);
		book_lost(&rows[owner][generation][row], bytes);
		return;
	}
	live_count += !old.is_live;
	spare_count -= old.is_spare;
	if (old.is_live && old.generation >= generation) { /* later: the call began before a clear, the block did not */
		book_end(owner, &old, owner % DOMAINS && take_last(owner, address, &old));
		counted[DT_COUNTER_missed_frees] += owner % DOMAINS == 0; /* Track of a live block is in order */
	}
	if (generation == generation_of(owner))
		segment = segment_now(owner / DOMAINS);
	*block = (struct block){ true, false, generation, segment, row, bytes };
	*last_of(owner) = (struct last){ true, owner, address, *block };
	book_birth(&rows[owner][generation][0], bytes);
	book_birth(&rows[owner][generation][row], bytes);
}

static void end(int owner, int address)
{
	struct block block;

	if (take(owner, address, &block))
		book_end(owner, &block, take_last(owner, address, &block));
	else
		counted[DT_COUNTER_unmatched_frees]++;
}

/* Nothing happens inside of one step, so the live bytes after each are all there ever are. */
static void raise_peaks(void)
{
	for (int owner = 0; owner < OWNERS; owner++)
		for (__u32 i = 0; i < (generation_of(owner) + 1) * ROWS; i++) {
			struct row *row = &rows[owner][i / ROWS][i % ROWS];

			if (row->live_bytes <= row->peak_bytes)
				continue;
			row->peak_bytes = row->live_bytes;
			for (int number = 1; i % ROWS == 0 && number < ROWS; number++)
				row[number].at_peak_bytes = row[number].live_bytes;
		}
}

static void reset_peaks(void)
{
	peak_zero += DT_PEAK(1, 0);
	for (int owner = 0; owner < OWNERS; owner++)
		for (__u32 i = 0; i < (generation_of(owner) + 1) * ROWS; i++) {
			struct row *row = &rows[owner][i / ROWS][i % ROWS];

			row->peak_bytes = row->at_peak_bytes = row->live_bytes;
		}
}

/* ---- steps: the same thing to the programs and to the model --------------------------------------------------------- */

struct actor {
	int thread, owner;              /* of libc's blocks */
	struct pending *pending;
};

static __u64 slot(const struct actor *actor, __u32 depth)
{
	return HOST_STACK((__u64)actor->thread) + 2048 - depth * 64;
}

static __u32 depth_of(const struct actor *actor)
{
	return (__u32)(slot(actor, 0) - actor->pending->stack) / 64;
}

static void abandon(const struct actor *actor)
{
	struct pending *pending = actor->pending;

	counted[DT_COUNTER_calls_abandoned]++;
	if (pending->took)
		put_back(actor->owner, pending->from, &pending->old);
	pending->stack = 0;
}

/* A call from this depth that does not belong to the one that may be pending. */
static void begin(const struct actor *actor, __u32 depth)
{
	static const enum dt_site choice[] = { DT_SITE_malloc, DT_SITE_calloc, DT_SITE_realloc, DT_SITE_realloc,
					       DT_SITE_reallocarray, DT_SITE_posix_memalign };
	struct pending next = { .stack = slot(actor, depth), .site = choice[random_below(6)], .caller = (int)random_below(CALLERS),
				.from = NOTHING, .generation = generation_of(actor->owner),
				.segment = segment_now(actor->owner / DOMAINS), .out_is_readable = !one_in(8) };
	__u64 size = one_in(10) ? 0 : 1 + random_below(1000), a = 0, b = 0, c = 0;

	if (actor->pending->stack)
		abandon(actor);
	next.bytes = size;
	switch (next.site) {
	case DT_SITE_calloc:
		a = 3;
		b = size;
		next.bytes = 3 * size;
		break;
	case DT_SITE_posix_memalign:
		a = next.out_is_readable ? 0x7000 + 8 * (__u64)actor->thread : 0x9000;
		c = size;
		break;
	case DT_SITE_realloc:
	case DT_SITE_reallocarray:
		next.from = one_in(5) ? NOTHING : (int)random_below(ADDRESSES);
		a = address_of(next.from);
		b = size;
		if (next.site == DT_SITE_reallocarray) {
			c = 2;
			next.bytes = 2 * size;
		}
		next.took = next.from != NOTHING && take(actor->owner, next.from, &next.old);
		break;
	default:
		a = size;
	}
	*actor->pending = next;
	host_enter(next.site, next.stack, caller_of(next.caller), a, b, c);
}

/* The pending call returns. */
static void finish(const struct actor *actor)
{
	struct pending done = *actor->pending;
	bool is_realloc = done.site == DT_SITE_realloc || done.site == DT_SITE_reallocarray, fails = one_in(8);
	bool replaces = done.took;
	int to = (int)random_below(ADDRESSES);

	if (done.from != NOTHING && one_in(3))
		to = done.from;
	else
		for (int i = 0; i < 6 && blocks[actor->owner][to].is_live; i++)
			to = (int)random_below(ADDRESSES);
	bool temporary = false;

	actor->pending->stack = 0;
	if (replaces && !(fails && (!is_realloc || done.bytes)))
		temporary = take_last(actor->owner, done.from, &done.old);
	outs[actor->thread] = address_of(to);
	if (is_realloc && done.from != NOTHING && !done.bytes && fails) {
		if (!replaces)
			counted[DT_COUNTER_unmatched_frees]++;
		else if (has_total(actor->owner, done.generation))
			book_end(actor->owner, &done.old, temporary);
	} else if (fails) {
		counted[DT_COUNTER_failed_allocations]++;
		if (done.took)
			put_back(actor->owner, done.from, &done.old);
	} else if (done.site == DT_SITE_posix_memalign && !done.out_is_readable) {
		counted[DT_COUNTER_arguments_unreadable]++;
	} else {
		counted[DT_COUNTER_unmatched_frees] += done.from != NOTHING && !replaces;
		add(actor->owner, done.generation, done.segment, to, done.bytes, done.caller, replaces ? &done.old : NULL, temporary);
	}
	if (done.site == DT_SITE_posix_memalign)
		host_leave(done.stack, fails ? ENOMEM : 0);
	else
		host_leave(done.stack, fails ? 0 : address_of(to));
}

/* A free in a call: of the block that it was called with, or of a block of the program's (a signal handler's), or of the allocator's own. */
static void end_inside(const struct actor *actor, int address)
{
	struct block block;

	if (address != actor->pending->from && take(actor->owner, address, &block))
		book_end(actor->owner, &block, take_last(actor->owner, address, &block));
}

/* What goes on while a call is pending: most of it is the allocator's own. */
static void step_inside(const struct actor *actor)
{
	__u32 depth = depth_of(actor);
	int address = (int)random_below(ADDRESSES);

	switch (random_below(10)) {
	case 0:                         /* a nested call, which may return or be left */
		host_enter(DT_SITE_malloc, slot(actor, depth + 1), INNER, 10, 0, 0);
		if (one_in(2))
			host_leave(slot(actor, depth + 1), address_of(address));
		break;
	case 1:
		host_enter(DT_SITE_memalign, slot(actor, depth), 0, 16, 10, 0);
		break;
	case 2:
		end_inside(actor, address);
		host_free(slot(actor, depth + 2), INNER, address_of(address));
		break;
	case 3:
		end_inside(actor, address);
		host_free(slot(actor, depth), 0, address_of(address));
		break;
	case 4:                         /* it was left: another call from the same place, or from further up */
		begin(actor, random_below(depth + 1));
		break;
	case 5:
		if (depth) {
			end(actor->owner, address);
			host_free(slot(actor, random_below(depth)), caller_of(0), address_of(address));
		}
		break;
	default:
		finish(actor);
	}
}

static void step_outside(const struct actor *actor)
{
	int owner = actor->owner + 1 + (int)random_below(DOMAINS - 1), address = (int)random_below(ADDRESSES);
	int caller = (int)random_below(CALLERS);
	__u64 stack = slot(actor, random_below(8)), bytes = random_below(1000);

	switch (random_below(4)) {
	case 0:
		end(actor->owner, address);
		host_free(stack, caller_of(caller), address_of(address));
		break;
	case 1:
		end(owner, address);
		host_untrack(stack, caller_of(caller), domains[owner % DOMAINS], address_of(address));
		break;
	case 2:
		add(owner, generation_of(owner), 0, address, bytes, caller, NULL, false);
		host_track(stack, caller_of(caller), domains[owner % DOMAINS], address_of(address), bytes);
		break;
	default:
		begin(actor, random_below(8));
	}
}

static __u32 tgid_of(int process)
{
	return HOST_TGID + (__u32)process;
}

static void clear(int process)
{
	generations[process]++;
	assert_true(generations[process] < GENERATIONS);
	host_clear(tgid_of(process));
	first_segments[process][generations[process]] = host_image(tgid_of(process))->generation;
}

/* Userspace removes what earlier generations have left behind. */
static void sweep(int process)
{
	for (int owner = process * DOMAINS; owner < (process + 1) * DOMAINS; owner++) {
		struct dt_owner key = { host_slot_of(tgid_of(process)) | (owner % DOMAINS ? DT_SOURCE_TRACEMALLOC << DT_OWNER_SOURCE_SHIFT : 0), domains[owner % DOMAINS] };

		for (int i = 0; i < ADDRESSES; i++) {
			struct dt_block_key block = { key, address_of(i) };

			if (!blocks[owner][i].is_live || blocks[owner][i].generation == generations[process])
				continue;
			blocks[owner][i].is_live = false;
			live_count--;
			assert_int_equal(bpf_map_delete_elem(&live, &block), 0);
		}
		for (__u32 generation = 0; generation < generations[process]; generation++)
			for (int number = 0; number < ROWS; number++) {
				struct dt_trace_key trace = { key, number < 2 ? (__u64)number : numbers[number - 2], first_segments[process][generation], 0 };

				if (!rows[owner][generation][number].exists)
					continue;
				rows[owner][generation][number] = (struct row){ 0 };
				if (number < 2) {
					total_count--;
					assert_int_equal(bpf_map_delete_elem(&totals, &trace), 0);
				} else {
					row_count--;
					assert_int_equal(bpf_map_delete_elem(&traces, &trace), 0);
				}
			}
	}
}

static void hold_scratches(bool busy)
{
	scratches_are_busy = busy;
	for (__u32 i = 0; i < DT_SCRATCHES_MIN; i++)
		((struct dt_scratch *)bpf_map_lookup_elem(&scratches, &i))->busy = busy;
}

static void step(void)
{
	int thread = (int)random_below(HOST_THREADS_MAX), process = thread / (HOST_THREADS_MAX / PROCESSES);
	struct actor actor = { thread, process * DOMAINS, &pendings[thread] };

	host_current = &host_threads[thread];
	host_ring_is_full = one_in(20);
	hold_scratches(one_in(60));
	sent_caller = NOTHING;
	if (one_in(100))
		epoch += one_in(2) ? DT_EPOCH_TURN(epoch) : DT_EPOCH_STEP;
	if (one_in(200)) {
		host_time_ns += FULL_FOR_NS;
		traces_are_tried = true;
	}
	if (one_in(500))
		reset_peaks();
	if (one_in(3000))
		clear(process);
	if (one_in(1000))
		sweep(process);
	if (actor.pending->stack)
		step_inside(&actor);
	else
		step_outside(&actor);
	raise_peaks();
}

/* ---- comparison ------------------------------------------------------------------------------------------------------ */

/* A traceback is sent exactly when it is new in its domain; it has always the same number, and no other has it. */
static void compare_sent(void)
{
	const struct dt_traceback_event *event = host_event(DT_EVENT_TRACEBACK, 0);

	assert_int_equal(!event, sent_caller == NOTHING);
	if (!event)
		return;
	assert_null(host_event(DT_EVENT_TRACEBACK, 1));
	assert_int_equal(event->event.slot, host_slot_of(host_current->tgid));
	assert_int_equal(event->frame_count, 1);
	assert_int_equal(event->frames[0].where, caller_of(sent_caller));
	assert_true(event->traceback >= DT_TRACEBACK_FIRST);
	for (int i = 0; i < CALLERS; i++)
		if (i != sent_caller)
			assert_int_not_equal(event->traceback, numbers[i]);
		else if (numbers[i])
			assert_int_equal(event->traceback, numbers[i]);
	numbers[sent_caller] = event->traceback;
	host_drain();
}

static void compare_tally(const struct dt_tally *is, const struct tally *want)
{
	assert_memory_equal(is, want, sizeof(*want)); /* all but the peak */
}

static void add_tally(struct tally *sum, const struct dt_tally *tally)
{
	sum->allocations += tally->allocations;
	sum->allocated_bytes += tally->allocated_bytes;
	sum->frees += tally->frees;
	sum->freed_bytes += tally->freed_bytes;
}

static void compare_rows(int owner, struct dt_owner key)
{
	for (__u32 generation = 0; generation <= generations[owner / DOMAINS]; generation++) {
		const struct dt_trace *total = NULL;
		struct tally sums[2] = { 0 };
		__s64 live_sum = 0, at_peak_sum = 0;
		__u64 temporary_sum = 0;

		for (int number = 0; number < ROWS; number++) {
			struct dt_trace_key trace_key = { key, number < 2 ? (__u64)number : numbers[number - 2],
							  first_segments[owner / DOMAINS][generation], 0 };
			const struct row *want = &rows[owner][generation][number];
			const struct dt_trace *is;

			if (!want->exists)
				continue;
			is = number < 2 ? bpf_map_lookup_elem(&totals, &trace_key) : bpf_map_lookup_elem(&traces, &trace_key);
			assert_non_null(is);
			compare_tally(&is->half[0], &want->half[0]);
			compare_tally(&is->half[1], &want->half[1]);
			assert_int_equal(is->live_bytes, want->live_bytes);
			assert_int_equal(books_peak(is), want->peak_bytes);
			assert_int_equal(is->half[0].temporary, want->temporary[0]);
			assert_int_equal(is->half[1].temporary, want->temporary[1]);
			if (!number) {
				total = is;
				continue;
			}
			add_tally(&sums[0], &is->half[0]);
			add_tally(&sums[1], &is->half[1]);
			live_sum += is->live_bytes;
			temporary_sum += want->temporary[0] + want->temporary[1];
			if (total) {
				assert_int_equal(books_at_peak(total, is), want->at_peak_bytes);
				at_peak_sum += want->at_peak_bytes;
			}
		}
		/* What a call books in a generation whose rows were removed meanwhile is not whole, and nobody reads it. */
		if (!total || generation != generations[owner / DOMAINS])
			continue;
		compare_tally(&total->half[0], &sums[0]);
		compare_tally(&total->half[1], &sums[1]);
		assert_int_equal(total->live_bytes, live_sum);
		assert_int_equal(rows[owner][generation][0].peak_bytes, at_peak_sum);
		assert_int_equal(total->half[0].temporary + total->half[1].temporary, temporary_sum);
	}
}

static void compare(void)
{
	assert_int_equal(host_row_count(&live), live_count + spare_count);
	assert_int_equal(spare_rows, spare_count);
	assert_int_equal(host_row_count(&traces), row_count);
	assert_int_equal(host_row_count(&totals), total_count);
	for (enum dt_counter counter = 0; counter < DT_COUNTER_COUNT; counter++)
		if (host_counter(counter) != counted[counter])
			fail_msg("counter %d is %llu, not %llu", (int)counter, (unsigned long long)host_counter(counter),
				 (unsigned long long)counted[counter]);
	for (int owner = 0; owner < OWNERS; owner++) {
		struct dt_owner key = { host_slot_of(tgid_of(owner / DOMAINS)) | (owner % DOMAINS ? DT_SOURCE_TRACEMALLOC << DT_OWNER_SOURCE_SHIFT : 0),
					domains[owner % DOMAINS] };

		for (int i = 0; i < ADDRESSES; i++) {
			const struct block *want = &blocks[owner][i];
			struct dt_block_key block_key = { key, address_of(i) };
			const struct dt_block *is = bpf_map_lookup_elem(&live, &block_key);

			assert_int_equal(!is, !want->is_live && !want->is_spare);
			if (is)
				assert_int_equal(!DT_SPAN_DIED(is->span), want->is_live);
			if (!want->is_live)
				continue;
			assert_int_equal(is->bytes, want->bytes);
			assert_int_equal(DT_SPAN_BORN(is->span), want->segment);
			assert_int_equal(is->traceback, want->row < 2 ? (__u64)want->row : numbers[want->row - 2]);
		}
		compare_rows(owner, key);
	}
}

static void start(__u64 seed, bool sessions)
{
	__u32 tgid = tgid_of(1);
	struct dt_process process = { .mapping_count = 2, .mappings_version = 1 };

	host_setup(NULL);
	host_put_process(tgid_of(1), &process);
	for (int i = HOST_THREADS_MAX / PROCESSES; i < HOST_THREADS_MAX; i++)
		host_threads[i].tgid = tgid;
	host_memory(0x7000, outs, sizeof(outs));
	host_rows_max(&live) = LIVE_MAX;
	host_rows_max(&traces) = TRACES_MAX;
	host_rows_max(&totals) = TOTALS_MAX;
	host_has_sessions = sessions;
	memset(blocks, 0, sizeof(blocks));
	memset(rows, 0, sizeof(rows));
	memset(pendings, 0, sizeof(pendings));
	memset(lasts, 0, sizeof(lasts));
	for (int i = 0; i < PROCESSES; i++)
		generations[i] = first_segments[i][1] = 1;
	memset(counted, 0, sizeof(counted));
	memset(numbers, 0, sizeof(numbers));
	traces_are_tried = true;
	row_count = total_count = live_count = spare_count = 0;
	spare_max = seed % 3 * 20;
	spare_rows_max = (__s64)spare_max;
	random_state = seed;
	epoch = seed % 4 == 0 ? DT_EPOCH_STEP * HOST_LATE_SEGMENT : 0;
	peak_zero = seed % 2 ? DT_PEAK(DT_PEAK_RESETS_MAX - STEPS, 0) : 0;
}

static void run(__u64 seed, bool sessions)
{
	start(seed, sessions);
	for (int i = 1; i <= STEPS; i++) {
		step();
		compare_sent();
		if (i % COMPARE_EVERY == 0)
			compare();
	}
	/* The history was one in which everything happened. */
	for (enum dt_counter counter = 0; counter < DT_COUNTER_COUNT; counter++)
		switch (counter) {
#define DT_TRUNCATION(name, help) case DT_COUNTER_truncated_##name:
#include <domtrace/truncations.def>
#undef DT_TRUNCATION
		case DT_COUNTER_code_lost:
		case DT_COUNTER_code_unreadable:
		case DT_COUNTER_vforks_unseen:
		case DT_COUNTER_heaps_dropped:
		case DT_COUNTER_calls_full:
		case DT_COUNTER_peaks_contended:
		case DT_COUNTER_mappings_lost:
		case DT_COUNTER_allocator_frees:
		case DT_COUNTER_processes_full:
		case DT_COUNTER_past_full:
		case DT_COUNTER_inherited_unknown:
		case DT_COUNTER_python_unseen:
		case DT_COUNTER_blocks_untold:
		case DT_COUNTER_ancestors_lost:
		case DT_COUNTER_callers_unknown:
		case DT_COUNTER_names_lost:
		case DT_COUNTER_forks_with_threads:
		case DT_COUNTER_markers_missed:
		case DT_COUNTER_markers_late:
			assert_int_equal(counted[counter], 0);
			break;
		default:
			if (!counted[counter])
				fail_msg("counter %d never moved", (int)counter);
		}
	host_teardown(NULL);
}

static void test_entry_and_return(void **state)
{
	(void)state;
	for (__u64 seed = 1; seed <= 3; seed++)
		run(seed * 0x9e3779b97f4a7c15, false);
}

static void test_sessions(void **state)
{
	(void)state;
	for (__u64 seed = 4; seed <= 6; seed++)
		run(seed * 0x9e3779b97f4a7c15, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entry_and_return),
		cmocka_unit_test(test_sessions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
