/* SPDX-License-Identifier: BSD-2-Clause */
/* The books: what is counted where, what a full table or a lost race leaves behind, halves and peaks. */
#include <stdio.h>

#include "books.h"

#define TOP (host_current->lowest + 2048)
#define CALLER 0x55550000123a
#define OTHER 0x55550000456b
#define A 0x55a000000010
#define B 0x55a000000020
#define C 0x55a000000030
#define NUMPY 389047

static void allocate_from(__u64 caller, __u64 address, __u64 bytes)
{
	host_enter(DT_SITE_malloc, TOP, caller, bytes, 0, 0);
	host_leave(TOP, address);
}

static void allocate(__u64 address, __u64 bytes)
{
	allocate_from(CALLER, address, bytes);
}

static void reallocate(__u64 from, __u64 bytes, __u64 to)
{
	host_enter(DT_SITE_realloc, TOP, OTHER, from, bytes, 0);
	host_leave(TOP, to);
}

static void release(__u64 address)
{
	host_free(TOP, OTHER, address);
}

static void test_frees(void **state)
{
	(void)state;
	allocate(A, 10);
	release(0);
	release(B);
	release(A);
	release(A);
	books_expect(DT_TRACEBACK_TOTAL, 1, 10, 1, 10, 10, 0);
	books_expect_counted(COUNTED(unmatched_frees, 2));
	/* Calls of free() from inside the allocator's own file, of blocks that it had back already. */
	host_process(HOST_TGID)->allocator_calls[0] = CALLER;
	host_process(HOST_TGID)->allocator_calls[1] = OTHER;
	release(A);
	host_free(TOP, OTHER + 1, A);
	host_range_count = 0;
	release(A);
	books_expect_counted(COUNTED(unmatched_frees, 4), COUNTED(allocator_frees, 1));
}

static void test_a_block_that_was_handed_out_again_was_freed(void **state)
{
	(void)state;
	allocate(A, 100);
	allocate_from(OTHER, A, 30);
	books_expect_block(A, 30, host_traceback(OTHER));
	books_expect(host_traceback(CALLER), 1, 100, 1, 100, 100, 0);
	books_expect(DT_TRACEBACK_TOTAL, 2, 130, 1, 100, 100, 30);
	books_expect_counted(COUNTED(missed_frees, 1));
	/* The same by a realloc that moves: two blocks end, one comes. */
	allocate(B, 500);
	reallocate(B, 200, A);
	books_expect(DT_TRACEBACK_TOTAL, 4, 830, 3, 630, 530, 200);
	books_expect_counted(COUNTED(missed_frees, 2));
	assert_int_equal(host_row_count(&live), 1);
}

static void test_a_block_of_an_earlier_generation_is_forgotten(void **state)
{
	(void)state;
	allocate(A, 100);
	allocate(B, 100);
	host_clear(HOST_TGID);
	allocate(A, 30);
	release(B);
	books_expect(DT_TRACEBACK_TOTAL, 1, 30, 0, 0, 30, 30);
	books_expect(host_traceback(CALLER), 1, 30, 0, 0, 30, 30);
	assert_int_equal(host_row_count(&live), 1);
	books_expect_counted(COUNTED(unmatched_frees, 1));
}

static void remove_trace(__u64 traceback)
{
	struct dt_trace_key key = { { host_slot_of(HOST_TGID), 0 }, traceback, 1, 0 };

	assert_int_equal(traceback < DT_TRACEBACK_FIRST ? bpf_map_delete_elem(&totals, &key) : bpf_map_delete_elem(&traces, &key), 0);
}

/* Userspace has removed their rows: then they are blocks from before the trace. */
static void test_a_block_whose_generation_is_gone(void **state)
{
	(void)state;
	allocate(A, 100);
	host_clear(HOST_TGID);
	for (__u64 number = 0; number < 2; number++)
		remove_trace(number);
	remove_trace(host_traceback(CALLER));
	release(A);
	assert_int_equal(host_row_count(&traces) + host_row_count(&totals), 0);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_counted(COUNTED(unmatched_frees, 1));
}

/* The row of a block that has gone serves the next one at its address; no more than one of them is kept here. */
static void test_spare_rows(void **state)
{
	(void)state;
	spare_rows_max = 1;
	allocate(A, 100);
	allocate(B, 50);
	release(A);
	release(B);
	assert_int_equal(host_row_count(&live), 1);
	assert_int_equal(spare_rows, 1);
	release(A);                     /* spare rows are no blocks */
	books_expect(DT_TRACEBACK_TOTAL, 2, 150, 2, 150, 150, 0);
	books_expect_counted(COUNTED(unmatched_frees, 1));
	allocate(A, 30);
	assert_int_equal(host_row_count(&live), 1);
	assert_int_equal(spare_rows, 0);
	books_expect_block(A, 30, host_traceback(CALLER));
	books_expect(DT_TRACEBACK_TOTAL, 3, 180, 2, 150, 150, 30);
	reallocate(A, 0, 0);
	assert_int_equal(spare_rows, 1);
	books_expect(DT_TRACEBACK_TOTAL, 3, 180, 3, 180, 150, 0);
	allocate(A, 10);
	reallocate(A, ~0ull >> 1, 0);   /* fails: the block goes back into the row that it left */
	books_expect_block(A, 10, host_traceback(CALLER));
	assert_int_equal(spare_rows, 0);
	books_expect(DT_TRACEBACK_TOTAL, 4, 190, 3, 180, 150, 10);
}

static void test_live_full(void **state)
{
	(void)state;
	host_rows_max(&live) = 1;
	allocate(A, 100);
	allocate(B, 50);                /* full: counted, as if it were freed at once */
	books_expect(DT_TRACEBACK_TOTAL, 2, 150, 1, 50, 100, 100);
	books_expect(host_traceback(CALLER), 2, 150, 1, 50, 100, 100);
	allocate(A, 70);                /* replaces */
	books_expect(DT_TRACEBACK_TOTAL, 3, 220, 2, 150, 100, 70);
	host_trap = (struct host_trap){ HOST_UPDATE, &live, 1, -ENOMEM, NULL };
	reallocate(A, 90, B);           /* its old block has ended all the same */
	books_expect(DT_TRACEBACK_TOTAL, 4, 310, 4, 310, 100, 0);
	books_expect(host_traceback(OTHER), 1, 90, 1, 90, 0, 0);
	assert_int_equal(host_row_count(&live), 0);
	allocate(A, 20);
	host_trap = (struct host_trap){ HOST_UPDATE, &live, 1, -ENOMEM, NULL };
	allocate(A, 60);                /* what replaces takes the old one's row, and no memory */
	books_expect_block(A, 60, host_traceback(CALLER));
	books_expect(DT_TRACEBACK_TOTAL, 6, 390, 5, 330, 100, 60);
	/* No memory to put back what a failed realloc had taken out. */
	host_trap = (struct host_trap){ HOST_UPDATE, &live, 1, -ENOMEM, NULL };
	reallocate(A, 90, 0);
	books_expect(DT_TRACEBACK_TOTAL, 6, 390, 5, 330, 100, 60);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_counted(COUNTED(live_full, 3), COUNTED(missed_frees, 2), COUNTED(failed_allocations, 1));
}

static void test_traces_full(void **state)
{
	(void)state;
	host_rows_max(&traces) = 1;
	allocate(A, 100);
	allocate_from(OTHER, B, 50);
	books_expect_block(B, 50, DT_TRACEBACK_LOST);
	books_expect(DT_TRACEBACK_LOST, 1, 50, 0, 0, 50, 50);
	books_expect(DT_TRACEBACK_TOTAL, 2, 150, 0, 0, 150, 150);
	books_expect_counted(COUNTED(traces_full, 1));
	host_rows_max(&traces) = 2;
	allocate_from(OTHER, C, 5);     /* it is not tried again at once */
	books_expect(DT_TRACEBACK_LOST, 2, 55, 0, 0, 55, 55);
	books_expect_counted(COUNTED(traces_full, 2));
	host_time_ns += FULL_FOR_NS;
	allocate_from(OTHER, C, 6);
	books_expect(host_traceback(OTHER), 1, 6, 0, 0, 6, 6);
	release(B);
	books_expect(DT_TRACEBACK_LOST, 2, 55, 2, 55, 55, 0);
	books_expect_counted(COUNTED(traces_full, 2), COUNTED(missed_frees, 1));
}

static void test_ring_buffer_full(void **state)
{
	(void)state;
	allocate(A, 100);
	host_ring_is_full = true;
	allocate(B, 50);                /* known already */
	allocate_from(OTHER, C, 5);
	books_expect_counted(COUNTED(tracebacks_lost, 1));
	books_expect(DT_TRACEBACK_LOST, 1, 5, 0, 0, 5, 5);
	assert_int_equal(host_row_count(&traces), 1);
	host_ring_is_full = false;
	allocate_from(OTHER, C, 6);     /* sent only now, so there was no row before */
	books_expect(host_traceback(OTHER), 1, 6, 0, 0, 6, 6);
	books_expect(DT_TRACEBACK_LOST, 1, 5, 1, 5, 5, 0);
	books_expect(DT_TRACEBACK_TOTAL, 4, 161, 1, 5, 156, 156);
	books_expect_counted(COUNTED(tracebacks_lost, 1), COUNTED(missed_frees, 1));
	assert_null(host_event(DT_EVENT_TRACEBACK, 2));
}

static void test_domains_full(void **state)
{
	(void)state;
	host_rows_max(&totals) = 0;
	allocate(A, 1);
	host_rows_max(&totals) = 1;     /* the lost row finds room, the total does not */
	allocate(A, 2);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_counted(COUNTED(domains_full, 2));
	host_rows_max(&totals) = 2;
	host_rows_max(&traces) = 0;
	allocate(A, 3);
	books_expect_block(A, 3, DT_TRACEBACK_LOST);
	books_expect(DT_TRACEBACK_TOTAL, 1, 3, 0, 0, 3, 3);
	host_track(TOP, CALLER, NUMPY, B, 1000);
	books_expect_counted(COUNTED(domains_full, 3), COUNTED(traces_full, 1));
}

static void test_all_scratches_busy(void **state)
{
	(void)state;
	host_cpu = DT_SCRATCHES_MIN / DT_SCRATCHES_PER_CPU - 1; /* the last one; behind its slots come the first */
	for (__u32 i = 0; i < DT_SCRATCHES_MIN; i++) {
		__u32 slot = (i + DT_SCRATCHES_MIN - DT_SCRATCHES_PER_CPU) % DT_SCRATCHES_MIN;

		assert_ptr_equal(scratch_claim(), bpf_map_lookup_elem(&scratches, &slot));
	}
	allocate(A, 100);
	books_expect_block(A, 100, DT_TRACEBACK_LOST);
	books_expect_counted(COUNTED(scratch_busy, 1));
	assert_null(host_event(DT_EVENT_TRACEBACK, 0));
	scratch_release(bpf_map_lookup_elem(&scratches, &(__u32){ 2 }));
	allocate(B, 50);
	books_expect_block(B, 50, host_traceback(CALLER));
	allocate(C, 50);                /* the slot was given back */
	books_expect_counted(COUNTED(scratch_busy, 1));
}

/* The epoch turns between an allocation and its end: each half holds its own events, and together they are exact. */
static void test_halves(void **state)
{
	const struct dt_trace *total;

	(void)state;
	allocate(A, 100);
	host_enter(DT_SITE_malloc, TOP, CALLER, 50, 0, 0);
	epoch += DT_EPOCH_TURN(epoch);
	host_leave(TOP, B);             /* booked in the half of its return */
	release(A);
	total = books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL);
	assert_memory_equal(&total->half[0], (&(struct dt_tally){ 1, 100, 0, 0, 100, 0, 0, 0 }), sizeof(struct dt_tally));
	assert_memory_equal(&total->half[1], (&(struct dt_tally){ 1, 50, 1, 100, 150, 0, 0, 0 }), sizeof(struct dt_tally));
	epoch += DT_EPOCH_TURN(epoch);
	reallocate(B, 10, C);
	assert_memory_equal(&total->half[0], (&(struct dt_tally){ 2, 110, 1, 50, 100, 0, 0, 1 }), sizeof(struct dt_tally));
	assert_memory_equal(&total->half[1], (&(struct dt_tally){ 1, 50, 1, 100, 150, 0, 0, 0 }), sizeof(struct dt_tally));
	books_expect(DT_TRACEBACK_TOTAL, 3, 160, 2, 150, 150, 10);
	books_expect(host_traceback(CALLER), 2, 150, 2, 150, 150, 0);
}

static void test_a_block_and_its_successor_are_no_peak(void **state)
{
	(void)state;
	allocate(A, 1000);
	reallocate(A, 1001, B);
	books_expect(DT_TRACEBACK_TOTAL, 2, 2001, 1, 1000, 1001, 1001);
	reallocate(B, 1002, B);
	books_expect(host_traceback(OTHER), 2, 2003, 1, 1001, 1002, 1002);
	books_expect(DT_TRACEBACK_TOTAL, 3, 3003, 2, 2001, 1002, 1002);
}

/* What each trace had when the sum of all was largest, for the first time. */
static void test_at_peak(void **state)
{
	__u64 own, other;

	(void)state;
	allocate_from(CALLER, A, 100);
	allocate_from(OTHER, B, 50);
	own = host_traceback(CALLER);
	other = host_traceback(OTHER);
	books_expect_at_peak(own, 100);
	books_expect_at_peak(other, 50);
	release(A);                     /* after the peak: is kept */
	books_expect_at_peak(own, 100);
	books_expect_at_peak(other, 50);
	allocate_from(OTHER, A, 100);   /* the same sum again is no other peak */
	epoch++;
	release(B);
	books_expect_at_peak(own, 100);
	books_expect_at_peak(other, 50);
	allocate_from(CALLER, C, 51);   /* a new one: what was kept is void */
	books_expect_at_peak(own, 51);
	books_expect_at_peak(other, 100);
	reallocate(A, 20, A);
	epoch++;
	reallocate(A, 90, A);
	release(C);
	books_expect_at_peak(own, 51);
	books_expect_at_peak(other, 100);
	allocate_from(OTHER, B, 0);
	books_expect_at_peak(other, 100);
	books_expect(DT_TRACEBACK_TOTAL, 7, 411, 5, 321, 151, 90);
}

/* A trace that comes after the peak had nothing then; one whose blocks have no row either. */
static void test_at_peak_of_others(void **state)
{
	(void)state;
	allocate_from(CALLER, A, 1000);
	release(A);
	allocate_from(OTHER, B, 10);
	books_expect_at_peak(host_traceback(CALLER), 1000);
	books_expect_at_peak(host_traceback(OTHER), 0);
	host_rows_max(&traces) = 2;
	allocate_from(OTHER + 0x100, C, 990);
	books_expect_at_peak(DT_TRACEBACK_LOST, 0);
	allocate_from(OTHER + 0x100, A, 1);
	books_expect_at_peak(DT_TRACEBACK_LOST, 991);
	books_expect_at_peak(host_traceback(OTHER), 10);
	books_expect_at_peak(host_traceback(CALLER), 0);
}

/* After a reset the first thing to count is what was there then, also where there is only less of it from then on. */
static void test_reset_peaks(void **state)
{
	const struct dt_trace *total;

	(void)state;
	allocate_from(CALLER, A, 1000);
	allocate_from(OTHER, B, 10);
	release(A);
	allocate_from(CALLER, A, 100);
	peak_zero += DT_PEAK(1, 0);
	total = books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL);
	assert_int_equal(books_peak(total), 110);
	books_expect_at_peak(host_traceback(CALLER), 100);
	books_expect_at_peak(host_traceback(OTHER), 10);
	epoch += DT_EPOCH_TURN(epoch);
	release(A);
	assert_int_equal(books_peak(total), 110);
	assert_int_equal(books_peak(books_row(DT_SOURCE_LIBC, 0, host_traceback(CALLER))), 100);
	books_expect_at_peak(host_traceback(CALLER), 100);
	allocate_from(OTHER, C, 101);
	books_expect(DT_TRACEBACK_TOTAL, 4, 1211, 2, 1100, 111, 111);
	books_expect_at_peak(host_traceback(CALLER), 0);
	books_expect_at_peak(host_traceback(OTHER), 111);
	peak_zero = DT_PEAK(DT_PEAK_RESETS_MAX, 0);
	release(B);
	release(C);
	assert_int_equal(books_peak(total), 111);
}

/* Peaks have 47 bits. More is not in the memory of a process; the other figures say it. */
static void test_peaks_that_cannot_be(void **state)
{
	(void)state;
	for (__u64 resets = 0; resets <= DT_PEAK_RESETS_MAX; resets += DT_PEAK_RESETS_MAX) {
		static const __s64 bytes[] = { 0, 1, -1, DT_PEAK_BYTES_MAX, -DT_PEAK_BYTES_MAX };

		for (size_t i = 0; i < sizeof(bytes) / sizeof(*bytes); i++) {
			__u64 zero = DT_PEAK(resets, 0), peak = peak_make(zero, bytes[i]);

			assert_int_equal(DT_PEAK_RESETS(peak), resets);
			assert_int_equal(DT_PEAK_BYTES(peak), bytes[i] < 0 && !resets ? 0 : bytes[i]);
			assert_true(peak_make(zero, INT64_MAX) == DT_PEAK(resets, DT_PEAK_BYTES_MAX));
			assert_true(peak_make(zero, INT64_MIN) == DT_PEAK(resets, resets ? -DT_PEAK_BYTES_MAX : 0));
		}
	}
}

#define EXPECT_TEMPORARY(caller, count) books_expect_temporary(DT_SOURCE_LIBC, 0, host_traceback(caller), count)

/* Blocks that the thread frees which got them last. */
static void test_temporary(void **state)
{
	(void)state;
	allocate_from(CALLER, A, 10);
	release(A);
	EXPECT_TEMPORARY(CALLER, 1);
	allocate_from(CALLER, A, 10);
	allocate_from(OTHER, B, 10);
	release(A);                     /* another came after it */
	EXPECT_TEMPORARY(CALLER, 1);
	release(B);                     /* none did, though another went */
	EXPECT_TEMPORARY(OTHER, 1);
	release(B);                     /* it is none any more */
	allocate_from(CALLER, A, 10);
	reallocate(A, 20, B);           /* a new block, for which the old one goes */
	EXPECT_TEMPORARY(CALLER, 2);
	reallocate(B, 30, 0);           /* fails */
	EXPECT_TEMPORARY(OTHER, 1);
	reallocate(B, 0, 0);            /* frees */
	EXPECT_TEMPORARY(OTHER, 2);
	books_expect_temporary(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL, 4);
	books_expect_counted(COUNTED(unmatched_frees, 1), COUNTED(failed_allocations, 1));
}

/* Other threads, and other sources, do not matter. */
static void test_temporary_is_of_a_thread_and_source(void **state)
{
	(void)state;
	allocate_from(CALLER, A, 10);
	host_current = &host_threads[1];
	allocate_from(CALLER, B, 10);
	release(A);                     /* not its own */
	host_current = &host_threads[0];
	host_track(TOP, CALLER, 7, A, 10);
	host_track(TOP, CALLER, 7, B, 10);
	host_track(TOP, CALLER, 8, C, 10);
	host_untrack(TOP, CALLER, 7, B); /* another of the same source came after it */
	host_untrack(TOP, CALLER, 8, C);
	host_track(TOP, CALLER, 7, A, 20); /* it was resized, and is not the last one any more */
	host_track(TOP, CALLER, 7, A, 30);
	allocate_from(CALLER, C, 10);
	host_untrack(TOP, CALLER, 7, A);
	release(C);
	host_current = &host_threads[1];
	release(B);
	EXPECT_TEMPORARY(CALLER, 2);
	books_expect_temporary(DT_SOURCE_TRACEMALLOC, 7, host_traceback(CALLER), 2);
	books_expect_temporary(DT_SOURCE_TRACEMALLOC, 7, DT_TRACEBACK_TOTAL, 2);
	books_expect_temporary(DT_SOURCE_TRACEMALLOC, 8, DT_TRACEBACK_TOTAL, 1);
}

/* Another block at the same address, of another thread's, is told from it by its size, or by where it came from. */
static void test_temporary_is_not_another_block(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		host_current = &host_threads[0];
		allocate_from(CALLER, A, 10);
		host_current = &host_threads[1];
		release(A);
		allocate_from(i ? OTHER : CALLER, A, i ? 10 : 11);
		host_current = &host_threads[0];
		release(A);
	}
	allocate_from(CALLER, A, 10);
	host_clear(HOST_TGID);
	allocate_from(CALLER, B, 10);
	release(B);
	EXPECT_TEMPORARY(CALLER, 1);
	books_expect_temporary(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL, 1);
}

static void test_tracemalloc_domains(void **state)
{
	(void)state;
	host_track(TOP, CALLER, NUMPY, A, 100);
	host_track(TOP, CALLER, 424242, A, 10);
	allocate(A, 1);                 /* the same address, three domains */
	books_expect_of(DT_SOURCE_TRACEMALLOC, NUMPY, DT_TRACEBACK_TOTAL, (struct books){ 1, 100, 0, 0, 100, 100 });
	books_expect_of(DT_SOURCE_TRACEMALLOC, 424242, DT_TRACEBACK_TOTAL, (struct books){ 1, 10, 0, 0, 10, 10 });
	books_expect(DT_TRACEBACK_TOTAL, 1, 1, 0, 0, 1, 1);
	host_track(TOP, OTHER, NUMPY, A, 70); /* a second Track replaces, and misses nothing */
	books_expect_of(DT_SOURCE_TRACEMALLOC, NUMPY, DT_TRACEBACK_TOTAL, (struct books){ 2, 170, 1, 100, 100, 70 });
	books_expect_of(DT_SOURCE_TRACEMALLOC, NUMPY, host_traceback(OTHER), (struct books){ 1, 70, 0, 0, 70, 70 });
	host_untrack(TOP, OTHER, NUMPY, A);
	books_expect_of(DT_SOURCE_TRACEMALLOC, NUMPY, DT_TRACEBACK_TOTAL, (struct books){ 2, 170, 2, 170, 100, 0 });
	books_expect_nothing_counted();
	host_untrack(TOP, OTHER, NUMPY, A);
	host_track(TOP, CALLER, 0, B, 100);
	host_untrack(TOP, CALLER, 0, B);
	host_track(TOP, CALLER, NUMPY, 0, 100);
	host_untrack(TOP, CALLER, NUMPY, 0);
	assert_int_equal(host_row_count(&live), 2);
	assert_int_equal(host_row_count(&traces), 1 + 2 + 1);
	assert_int_equal(host_row_count(&totals), 2 * 3);
	books_expect_counted(COUNTED(unmatched_frees, 1));
}

static void expect_wanted(bool one, bool two, bool three)
{
	assert_int_equal(domain_is_wanted(1), one);
	assert_int_equal(domain_is_wanted(2), two);
	assert_int_equal(domain_is_wanted(3), three);
}

static void test_domain_filter(void **state)
{
	struct dt_config *settings = host_config();

	(void)state;
	expect_wanted(true, true, true);
	settings->domain_count = 2;
	settings->domains[0] = 1;
	settings->domains[1] = 3;
	expect_wanted(true, false, true);
	settings->domains_excluded = 1;
	expect_wanted(false, true, false);
	host_track(TOP, CALLER, 1, A, 10);
	host_untrack(TOP, CALLER, 3, B);
	books_expect_nothing_counted();
	assert_int_equal(host_row_count(&live), 0);
	settings->domain_count = DT_DOMAIN_FILTER_MAX + 1;
	settings->domains_excluded = 0;
	settings->domains[DT_DOMAIN_FILTER_MAX - 1] = 2;
	expect_wanted(true, true, true);
	assert_false(domain_is_wanted(4));
}

/* ---- races, played at the moment between two operations of a program -------------------------------------------- */

static void free_at_once(void)
{
	struct host_thread *was = host_current;

	host_current = &host_threads[1];
	host_free(HOST_STACK(1) + 512, OTHER, A);
	host_current = was;
}

static void test_a_block_that_two_threads_free_ends_once(void **state)
{
	(void)state;
	allocate(A, 100);
	host_trap = (struct host_trap){ HOST_DELETE, &live, 1, 0, free_at_once };
	release(A);
	books_expect(DT_TRACEBACK_TOTAL, 1, 100, 1, 100, 100, 0);
	books_expect_counted(COUNTED(unmatched_frees, 1));
}

/* At each look-up that the replacement makes, with and without a spare row left behind. */
static void test_a_block_that_goes_while_it_is_replaced(void **state)
{
	for (__u64 spare = 0; spare < 2; spare++)
		for (unsigned int nth = 1; nth <= 2; nth++) {
			spare_rows_max = spare;
			allocate(A, 100);
			host_trap = (struct host_trap){ HOST_LOOKUP, &live, nth, 0, free_at_once };
			allocate(A, 30);
			books_expect_block(A, 30, host_traceback(CALLER));
			books_expect(DT_TRACEBACK_TOTAL, 2, 130, 1, 100, 100, 30);
			books_expect_nothing_counted();
			assert_int_equal(host_row_count(&live), 1);
			assert_int_equal(spare_rows, 0);
			host_teardown(state);
			host_setup(state);
		}
}

/* ---- random books against sums and maxima ------------------------------------------------------------------------ */

static void test_peaks_are_maxima(void **state)
{
	__u64 bytes[16] = { 0 }, sum = 0, peak = 0, own = 0, own_peak = 0, random = 42;
	bool owns[16] = { 0 };

	(void)state;
	for (int step = 0; step < 20000; step++) {
		random = random * 6364136223846793005ull + 1442695040888963407ull;
		unsigned int slot = random >> 60, is_own = random >> 59 & 1;
		__u64 size = random >> 33 & 0xfff;

		if (bytes[slot]) {
			release(A + slot * 16);
			sum -= bytes[slot];
			own -= owns[slot] ? bytes[slot] : 0;
			bytes[slot] = 0;
		} else if (size) {
			allocate_from(is_own ? CALLER : OTHER, A + slot * 16, size);
			sum += bytes[slot] = size;
			owns[slot] = is_own;
			own += is_own ? size : 0;
		}
		peak = sum > peak ? sum : peak;
		own_peak = own > own_peak ? own : own_peak;
		epoch += random >> 20 & 31 ? 0 : DT_EPOCH_TURN(epoch);
		const struct dt_trace *total = books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL);
		__u64 a = total->half[0].peak, b = total->half[1].peak;

		assert_int_equal(total->live_bytes, sum);
		assert_int_equal(a > b ? a : b, peak);
	}
	const struct dt_trace *row = books_row(DT_SOURCE_LIBC, 0, host_traceback(CALLER));
	assert_int_equal(row->live_bytes, own);
	assert_int_equal(row->half[0].peak > row->half[1].peak ? row->half[0].peak : row->half[1].peak, own_peak);
	books_expect_nothing_counted();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		host_test(test_frees),
		host_test(test_a_block_that_was_handed_out_again_was_freed),
		host_test(test_a_block_of_an_earlier_generation_is_forgotten),
		host_test(test_a_block_whose_generation_is_gone),
		host_test(test_spare_rows),
		host_test(test_live_full),
		host_test(test_traces_full),
		host_test(test_ring_buffer_full),
		host_test(test_domains_full),
		host_test(test_all_scratches_busy),
		host_test(test_halves),
		host_test(test_a_block_and_its_successor_are_no_peak),
		host_test(test_at_peak),
		host_test(test_at_peak_of_others), host_test(test_reset_peaks), host_test(test_peaks_that_cannot_be),
		host_test(test_temporary),
		host_test(test_temporary_is_of_a_thread_and_source),
		host_test(test_temporary_is_not_another_block),
		host_test(test_tracemalloc_domains),
		host_test(test_domain_filter),
		host_test(test_a_block_that_two_threads_free_ends_once),
		host_test(test_a_block_that_goes_while_it_is_replaced),
		host_test(test_peaks_are_maxima),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
