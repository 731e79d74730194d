/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracebacks: native ones along frame pointers, their numbers. */
#include <stdio.h>

#include "books.h"

#define TOP (HOST_STACK(0) + 1024)
#define CALLER 0x55550000123a

/* ---- native ------------------------------------------------------------------------------------------------------ */

/* Writes a frame {caller's rbp, return address} at an address of the current stack. */
static void put_frame(__u64 at, __u64 next, __u64 return_address)
{
	*host_slot(at) = next;
	*host_slot(at + 8) = return_address;
}

/* The traceback of a malloc by CALLER whose rbp is `frame_pointer`, in a new generation, so that every one is new. */
static const struct dt_traceback_event *walk(__u64 frame_pointer)
{
	static __u64 address = 0x7700000000;

	host_drain();
	host_clear(HOST_TGID);
	host_frame_pointer = frame_pointer;
	host_enter(DT_SITE_malloc, TOP, CALLER, 8, 0, 0);
	host_leave(TOP, address += 16);
	return host_event(DT_EVENT_TRACEBACK, 0);
}

/* CALLER, then `wheres`. */
static void expect_native(__u64 frame_pointer, enum dt_truncation truncation, const __u64 *wheres, __u32 count)
{
	const struct dt_traceback_event *event = walk(frame_pointer);

	assert_non_null(event);
	assert_int_equal(event->event.slot, host_slot_of(HOST_TGID));
	assert_int_equal(event->frame_count, count + 1);
	assert_int_equal(event->total_frames, count + 1);
	assert_int_equal(event->truncation, truncation);
	assert_int_equal(event->frames[0].where, CALLER);
	for (__u32 i = 0; i < count; i++) {
		assert_int_equal(event->frames[i + 1].where, wheres[i]);
		assert_int_equal(event->frames[i + 1].kind, DT_FRAME_NATIVE);
		assert_int_equal(event->frames[i + 1].instruction, DT_FRAME_CHAINED);
	}
}

#define expect_walk(frame_pointer, truncation, ...) \
	do { \
		const __u64 wheres[] = { 0, ##__VA_ARGS__ }; \
		expect_native(frame_pointer, DT_TRUNCATION_##truncation, wheres + 1, sizeof(wheres) / 8 - 1); \
	} while (0)

static void test_frame_pointers(void **state)
{
	__u64 last = HOST_STACK(0) + sizeof(host_current->stack) - 16, far = TOP + (1ull << 32);
	static __u64 other[2] = { 0, 0xd };

	(void)state;
	put_frame(TOP + 8, TOP + 24, 0xa);
	put_frame(TOP + 24, last, 0xb);
	put_frame(last, 0, 0xc);
	expect_walk(TOP + 8, none, 0xa, 0xb, 0xc);      /* one close behind the other */
	expect_walk(last, none, 0xc);
	expect_walk(0, none);
	put_frame(last, 0x1234567, 0xe);
	expect_walk(TOP + 8, no_frame_pointer, 0xa, 0xb, 0xe);
	put_frame(last, last, 0xf);                     /* does not climb */
	expect_walk(TOP + 8, no_frame_pointer, 0xa, 0xb, 0xf);
	put_frame(TOP + 24, TOP + 32, 0x10);            /* overlaps the one before */
	expect_walk(TOP + 8, no_frame_pointer, 0xa, 0x10);
	put_frame(TOP + 24, 0, 0);                      /* no return address */
	expect_walk(TOP + 8, no_frame_pointer, 0xa);
	put_frame(TOP + 24, ~0ull, ~0ull);
	*host_slot(TOP + 40) = ~0ull;
	put_frame(TOP + 8, TOP + 28, 0x11);             /* not aligned */
	expect_walk(TOP + 8, no_frame_pointer, 0x11);
	expect_walk(TOP, no_frame_pointer);             /* below the stack pointer */
	expect_walk(last + 16, no_frame_pointer);       /* unreadable */
	/* As far from the stack pointer as is believed, and one word further. */
	host_memory(far + 8, other, sizeof(other));
	expect_walk(far + 8, none, 0xd);
	host_ranges[host_range_count - 1].start += 8;
	expect_walk(far + 16, no_frame_pointer);
}

static __u64 chain[2 * (DT_FRAMES_WALKED_MAX + 8)];

/* A stack of so many frames above the caller. */
static __u64 put_chain(size_t frames)
{
	__u64 start = TOP + 0x1000000;

	for (size_t i = 0; i < frames; i++) {
		chain[2 * i] = i + 1 < frames ? start + 16 * (i + 1) : 0;
		chain[2 * i + 1] = 0x1000 + i;
	}
	host_range_count = 8;
	host_memory(start, chain, sizeof(chain));
	return start;
}

static void test_deep_stacks(void **state)
{
	static const struct { size_t frames; __u32 limit, kept; enum dt_truncation truncation; } cases[] = {
		{ 9, 10, 10, DT_TRUNCATION_none },
		{ 10, 10, 10, DT_TRUNCATION_none },
		{ 3, 1, 1, DT_TRUNCATION_none },
		{ 255, 256, 256, DT_TRUNCATION_none },
		{ 256, 256, 256, DT_TRUNCATION_none },
		{ DT_FRAMES_WALKED_MAX - 1, 256, 256, DT_TRUNCATION_none },
		{ DT_FRAMES_WALKED_MAX, 256, 256, DT_TRUNCATION_too_deep },
		{ DT_FRAMES_WALKED_MAX + 1, 256, 256, DT_TRUNCATION_too_deep },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct dt_traceback_event *event;
		bool too_deep = cases[i].truncation;

		host_config()->frame_limit = cases[i].limit;
		event = walk(put_chain(cases[i].frames));
		assert_int_equal(event->frame_count, cases[i].kept);
		assert_int_equal(event->total_frames, too_deep ? DT_FRAMES_WALKED_MAX + 1 : cases[i].frames + 1);
		assert_int_equal(event->truncation, cases[i].truncation);
		for (__u32 k = 1; k < cases[i].kept; k++)
			assert_int_equal(event->frames[k].where, 0x1000 + k - 1);
	}
	books_expect_counted(COUNTED(truncated_too_deep, 2));
}

/* Everything that a traceback shows makes it another one. */
static void test_numbers(void **state)
{
	__u64 numbers[8];
	int count = 0;

	(void)state;
	host_config()->frame_limit = 2;
	for (size_t frames = 0; frames < 4; frames++)
		numbers[count++] = walk(put_chain(frames))->traceback;
	put_chain(1);
	chain[1] = 0x9999;
	numbers[count++] = walk(TOP + 0x1000000)->traceback;
	chain[0] = 1;                   /* the same frames, cut off */
	numbers[count++] = walk(TOP + 0x1000000)->traceback;
	host_config()->hash_seed++;
	numbers[count++] = walk(TOP + 0x1000000)->traceback;
	for (int i = 0; i < count; i++)
		for (int k = 0; k < i; k++)
			assert_int_not_equal(numbers[i], numbers[k]);
	host_config()->hash_seed--;
	assert_int_equal(walk(TOP + 0x1000000)->traceback, numbers[count - 2]);
}

/* A hash that falls on a reserved number makes way. */
static void test_reserved_numbers(void **state)
{
	struct dt_scratch *scratch = scratch_claim();
	__u64 inverse = 1;

	(void)state;
	for (int i = 0; i < 6; i++)     /* of the odd factor, modulo 2^64, by Newton */
		inverse *= 2 - 0x9e3779b97f4a7c15ull * inverse;
	for (__u64 wanted = 0; wanted < 4; wanted++) {
		/* hash_mix(seed, 0) is `wanted`: for small numbers the shift adds nothing. */
		host_config()->hash_seed = wanted * inverse;
		scratch->traceback = (struct dt_traceback_event){ .traceback = host_config()->hash_seed };
		traceback_number(&scratch->traceback);
		assert_int_equal(scratch->traceback.traceback, wanted < 2 ? 2 : wanted);
	}
}

/* ---- the loader -------------------------------------------------------------------------------------------------------- */

static void test_mappings(void **state)
{
	struct pt_regs registers = { 0 };

	(void)state;
	mappings_enter(&registers);
	assert_non_null(host_event(DT_EVENT_MAPPINGS, 0));
	assert_int_equal(host_signal, 0);
	host_image(HOST_TGID)->hold = 1;
	mappings_enter(&registers);
	assert_int_equal(((const struct dt_event *)host_event(DT_EVENT_MAPPINGS, 1))->slot, host_slot_of(HOST_TGID));
	assert_int_equal(host_signal, 23);
	host_signal = 0;
	host_current++;                 /* another thread, which nobody holds */
	mappings_enter(&registers);
	assert_non_null(host_event(DT_EVENT_MAPPINGS, 2));
	assert_int_equal(host_signal, 0);
	host_current--;
	host_current->tgid++;
	mappings_enter(&registers);
	assert_null(host_event(DT_EVENT_MAPPINGS, 3));
}

/* What the loader says of itself: odd while it removes; held only when it is done. */
static void test_removals(void **state)
{
	static const struct { __u32 loader, removals, signal; } steps[] = {
		{ 1, 0, 0 }, { 0, 0, 23 }, { 2, 1, 0 }, { 2, 1, 0 }, { 0, 2, 23 }, { 0, 2, 23 }, { 2, 3, 0 }, { 1, 4, 0 }, { 0, 4, 23 },
	};
	struct pt_regs registers = { 0 };
	__u32 loader;

	(void)state;
	host_memory(0x9000, &loader, sizeof(loader));
	host_process(HOST_TGID)->loader_state = 0x9000;
	host_image(HOST_TGID)->hold = 1;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		loader = steps[i].loader;
		host_signal = 0;
		mappings_enter(&registers);
		assert_int_equal(host_image(HOST_TGID)->removals, steps[i].removals);
		assert_int_equal(host_signal, steps[i].signal);
	}
}

/* A program that asks for the signal itself is not held. */
static void test_a_signal_of_the_programs_own(void **state)
{
	static void *const handlers[] = { NULL, (void *)1, (void *)2, (void *)0x401000 };
	struct pt_regs registers = { 0 };

	(void)state;
	host_image(HOST_TGID)->hold = 1;
	for (unsigned long blocked = 0; blocked < 2; blocked++)
		for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++) {
			host_sighand.action[22].sa.sa_handler = handlers[i];
			host_current->task.blocked.sig[0] = blocked ? 1ul << 22 : ~(1ul << 22);
			host_signal = 0;
			mappings_enter(&registers);
			assert_int_equal(host_signal, i < 2 && !blocked ? 23 : 0);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		host_test(test_frame_pointers),
		host_test(test_deep_stacks),
		host_test(test_numbers),
		host_test(test_reserved_numbers),
		host_test(test_mappings),
		host_test(test_removals),
		host_test(test_a_signal_of_the_programs_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
