/* SPDX-License-Identifier: BSD-2-Clause */
/* books: what the tables are expected to say. Comparisons are whole: every field of a row, every counter. */
#ifndef TEST_BOOKS_H
#define TEST_BOOKS_H

#include "host.h"

struct books {
	__u64 allocations, allocated_bytes, frees, freed_bytes, peak_bytes;
	__s64 live_bytes;
};

static inline struct dt_trace *books_row_in(__u32 tgid, enum dt_source source, __u32 domain, __u64 traceback)
{
	struct dt_trace_key key = {
		.owner = { host_slot_of(tgid) | (__u32)source << DT_OWNER_SOURCE_SHIFT, domain },
		.traceback = traceback,
		.generation = host_image(tgid)->generation,
	};

	return traceback < DT_TRACEBACK_FIRST ? bpf_map_lookup_elem(&totals, &key) : bpf_map_lookup_elem(&traces, &key);
}

static inline struct dt_trace *books_row(enum dt_source source, __u32 domain, __u64 traceback)
{
	return books_row_in(HOST_TGID, source, domain, traceback);
}

/* What was seen since peaks were reset last; without any event since then, what is there. */
static inline __s64 books_peak(const struct dt_trace *row)
{
	__u64 a = row->half[0].peak, b = row->half[1].peak, peak = a > b ? a : b;

	return DT_PEAK_RESETS(peak) == DT_PEAK_RESETS(peak_zero) ? DT_PEAK_BYTES(peak) : row->live_bytes;
}

/* Both halves together, as a snapshot adds them up. */
static inline void books_expect_row(const struct dt_trace *row, struct books want)
{
	const struct dt_tally *a, *b;

	assert_non_null(row);
	a = &row->half[0];
	b = &row->half[1];
	assert_int_equal(a->allocations + b->allocations, want.allocations);
	assert_int_equal(a->allocated_bytes + b->allocated_bytes, want.allocated_bytes);
	assert_int_equal(a->frees + b->frees, want.frees);
	assert_int_equal(a->freed_bytes + b->freed_bytes, want.freed_bytes);
	assert_int_equal(books_peak(row), want.peak_bytes);
	assert_int_equal(row->live_bytes, want.live_bytes);
}

/* What of a row was live at the peak of its domain, as a snapshot finds it. */
static inline __s64 books_at_peak(const struct dt_trace *total, const struct dt_trace *row)
{
	__u64 a = total->half[0].peak, b = total->half[1].peak, peak = a > b ? a : b;

	for (int i = 0; i < 2 && DT_PEAK_RESETS(peak) == DT_PEAK_RESETS(peak_zero); i++)
		if (row->half[i].at_peak_of == peak)
			return row->half[i].at_peak_bytes;
	return row->live_bytes;
}

static inline void books_expect_at_peak(__u64 traceback, __s64 bytes)
{
	assert_int_equal(books_at_peak(books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL), books_row(DT_SOURCE_LIBC, 0, traceback)), bytes);
}

static inline void books_expect_temporary(enum dt_source source, __u32 domain, __u64 traceback, __u64 count)
{
	const struct dt_trace *row = books_row(source, domain, traceback);

	assert_non_null(row);
	assert_int_equal(row->half[0].temporary + row->half[1].temporary, count);
}

static inline void books_expect_of(enum dt_source source, __u32 domain, __u64 traceback, struct books want)
{
	books_expect_row(books_row(source, domain, traceback), want);
}

#define books_expect(traceback, ...) books_expect_of(DT_SOURCE_LIBC, 0, traceback, (struct books){ __VA_ARGS__ })

/* The row of a block, live or dead; NULL: there is none. */
static inline const struct dt_block *books_block_row(__u32 tgid, enum dt_source source, __u32 domain, __u64 address)
{
	struct dt_block_key key = { { host_slot_of(tgid) | (__u32)source << DT_OWNER_SOURCE_SHIFT, domain }, address };

	return bpf_map_lookup_elem(&live, &key);
}

/* The live block at an address; NULL: there is none. */
static inline const struct dt_block *books_block(enum dt_source source, __u32 domain, __u64 address)
{
	const struct dt_block *block = books_block_row(HOST_TGID, source, domain, address);

	return block && !DT_SPAN_DIED(block->span) ? block : NULL;
}

/* A block that was allocated in the segment that there is now. */
static inline void books_expect_block_of(enum dt_source source, __u64 address, __u64 bytes, __u64 traceback)
{
	const struct dt_block *block = books_block(source, 0, address);

	assert_non_null(block);
	assert_int_equal(block->bytes, bytes);
	assert_int_equal(block->traceback, traceback);
	assert_int_equal(block->span, DT_SPAN(DT_SEGMENTS_NOW(host_segments(HOST_TGID)), 0));
}

static inline void books_expect_block(__u64 address, __u64 bytes, __u64 traceback)
{
	books_expect_block_of(DT_SOURCE_LIBC, address, bytes, traceback);
}

/* All counters: pairs of counter and value, the others are 0. */
static inline void books_expect_counters(const __u64 (*pairs)[2], size_t count)
{
	for (enum dt_counter counter = 0; counter < DT_COUNTER_COUNT; counter++) {
		__u64 want = 0;

		for (size_t i = 0; i < count; i++)
			if (pairs[i][0] == counter)
				want = pairs[i][1];
		if (host_counter(counter) != want)
			fail_msg("counter %d is %llu, not %llu", (int)counter, (unsigned long long)host_counter(counter),
				 (unsigned long long)want);
	}
}

#define COUNTED(name, value) { DT_COUNTER_##name, value }
#define books_expect_counted(...) \
	do { \
		static const __u64 counted[][2] = { __VA_ARGS__ }; \
		books_expect_counters(counted, sizeof(counted) / sizeof(counted[0])); \
	} while (0)
#define books_expect_nothing_counted() books_expect_counters(NULL, 0)

#endif
