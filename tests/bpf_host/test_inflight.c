/* SPDX-License-Identifier: BSD-2-Clause */
/* Entries and returns of the malloc family: nesting, tail calls, calls left without a return, every outcome. */
#include "books.h"

/* Slots of return addresses, from the outermost frame down; callers, and blocks. */
#define TOP (HOST_STACK(0) + 2048)
#define DEEP (TOP - 256)
#define CALLER 0x55550000123a
#define OTHER 0x55550000456b
#define INNER (HOST_ALLOCATOR + 0x789c) /* the allocator calls itself */
#define A 0x55a000000010
#define B 0x55a000000020
#define C 0x55a000000030

static void allocate(__u64 address, __u64 bytes)
{
	host_enter(DT_SITE_malloc, TOP, CALLER, bytes, 0, 0);
	host_leave(TOP, address);
}

static void reallocate(__u64 from, __u64 bytes, __u64 to)
{
	host_enter(DT_SITE_realloc, TOP, OTHER, from, bytes, 0);
	host_leave(TOP, to);
}

/* Runs a test with entry and return attached each for itself, and again with uprobe sessions. */
static void both_ways(void (*test)(void))
{
	test();
	host_teardown(NULL);
	host_setup(NULL);
	host_has_sessions = true;
	test();
}

#define BOTH_WAYS(name) \
	static void name##_way(void); \
	static void name(void **state) { (void)state; both_ways(name##_way); } \
	static void name##_way(void)

BOTH_WAYS(test_every_function_of_the_family)
{
	__u64 out = A;

	host_memory(0x7000, &out, sizeof(out));
	for (enum dt_site site = 0; site < DT_SITE_COUNT; site++) {
		const struct dt_site_row *row = &sites[site];
		__u64 arguments[4] = { 0, 0, 0, 0 }, bytes = 24;

		if (row->shape > DT_SHAPE_REALLOC || row->source != DT_SOURCE_LIBC)
			continue;
		arguments[row->size] = 24;
		if (row->count != DT_NONE) {
			arguments[row->count] = 3;
			bytes *= 3;
		}
		if (row->out != DT_NONE)
			arguments[row->out] = 0x7000;
		host_fourth_argument = arguments[3];
		host_enter(site, TOP, CALLER + site, arguments[0], arguments[1], arguments[2]);
		host_leave(TOP, row->shape == DT_SHAPE_OUT ? 0 : A);
		books_expect_block_of(row->source, A, bytes, host_traceback(CALLER + site));
		books_expect_of(row->source, 0, host_traceback(CALLER + site), (struct books){ 1, bytes, 0, 0, bytes, (__s64)bytes });
		host_free_by(row->source == DT_SOURCE_LIBC ? DT_SITE_cfree : DT_SITE__PyMem_RawFree, TOP, OTHER, A);
		books_expect_of(row->source, 0, host_traceback(CALLER + site), (struct books){ 1, bytes, 1, bytes, bytes, 0 });
	}
	assert_int_equal(host_row_count(&live), 0);
	books_expect_nothing_counted();
}

/* operator new: entry and `ret` are two probes, and the slot keeps the program's return address. */
static struct pt_regs enter_new(__u64 stack, __u64 return_address, __u64 bytes)
{
	struct pt_regs registers = host_call_instruction(stack, return_address, bytes, 0, 0);

	host_cookie = DT_SITE__Znwm;
	new_enter(&registers);
	return registers;
}

static void leave_new(struct pt_regs registers, __u64 result)
{
	registers.rax = result;
	new_exit(&registers);
}

BOTH_WAYS(test_operator_new)
{
	struct pt_regs outer, inner;

	leave_new(enter_new(TOP, CALLER, 100), A);
	books_expect_block(A, 100, host_traceback(CALLER));
	host_free(TOP, OTHER, A);
	/* It ends in malloc: booked there, once. */
	outer = enter_new(TOP, CALLER, 200);
	host_enter(DT_SITE_malloc, DEEP, OTHER, 201, 0, 0);
	host_leave(DEEP, B);
	leave_new(outer, B);
	books_expect_block(B, 201, host_traceback(OTHER));
	host_free(TOP, OTHER, B);
	/* Left by an exception; then called anew from deeper, and from the same place. */
	enter_new(TOP, CALLER, 300);
	inner = enter_new(DEEP, OTHER, 400);
	leave_new(inner, A);
	books_expect_block(A, 400, host_traceback(OTHER));
	outer = enter_new(TOP, CALLER, 500);
	leave_new(outer, B);
	books_expect_block(B, 500, host_traceback(CALLER));
	/* Another function ends in the same `ret`, with the slot of a call that was left. */
	enter_new(TOP, CALLER, 600);
	leave_new(host_call_instruction(TOP, OTHER, 0, 0, 0), A + 64);
	host_free(TOP, OTHER, A);
	host_free(TOP, OTHER, B);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_nothing_counted();
}

BOTH_WAYS(test_releases_are_one_free)
{
	struct pt_regs registers;

	host_enter(DT_SITE_malloc, TOP, CALLER, 10, 0, 0);
	host_leave(TOP, A);
	for (int unknown = 0; unknown < 2; unknown++) {
		__u64 block = unknown ? B : A;

		registers = host_call_instruction(TOP, CALLER, block, 0, 0);
		host_cookie = DT_SITE__ZdlPvm;
		release_enter(&registers);
		host_free(TOP, 0, block);
		assert_int_equal(host_counter(DT_COUNTER_unmatched_frees), unknown);
	}
	books_expect(host_traceback(CALLER), 1, 10, 1, 10, 10, 0);
}

BOTH_WAYS(test_resizes)
{
	host_enter(DT_SITE_malloc, TOP, CALLER, 10, 0, 0);
	host_leave(TOP, A);
	host_enter(DT_SITE_xallocx, TOP, OTHER, A, 20, 0);
	host_leave(TOP, 32);
	books_expect_block(A, 20, host_traceback(OTHER));
	host_enter(DT_SITE_xallocx, TOP, OTHER, A, 1000, 0);
	host_leave(TOP, 32);
	books_expect_block(A, 20, host_traceback(OTHER));
	host_enter(DT_SITE_reallocf, TOP, CALLER, A, 1000, 0);
	host_leave(TOP, 0);
	assert_int_equal(host_row_count(&live), 0);
	assert_int_equal(host_counter(DT_COUNTER_failed_allocations), 2);
}

BOTH_WAYS(test_nested_calls_are_one_block)
{
	host_enter(DT_SITE_calloc, TOP, CALLER, 10, 100, 0);
	host_enter(DT_SITE_malloc, DEEP, INNER, 1016, 0, 0);
	host_enter(DT_SITE_memalign, DEEP - 64, INNER, 16, 1016, 0);
	host_leave(DEEP - 64, B);
	host_leave(DEEP, B);
	host_free(DEEP, INNER, B);      /* its own business */
	host_enter(DT_SITE_malloc, DEEP, INNER, 2000, 0, 0);
	host_leave(DEEP, A);
	host_leave(TOP, A);
	assert_int_equal(host_row_count(&live), 1);
	books_expect_block(A, 1000, host_traceback(CALLER));
	books_expect(DT_TRACEBACK_TOTAL, 1, 1000, 0, 0, 1000, 1000);
	assert_int_equal(host_traceback(INNER), 0);
	books_expect_nothing_counted();
}

/* A signal handler, say: what calls deeper and is no allocator has blocks of its own; the call goes on afterwards. */
BOTH_WAYS(test_a_call_that_is_interrupted)
{
	allocate(A, 100);
	host_enter(DT_SITE_realloc, TOP, CALLER, A, 300, 0);
	host_enter(DT_SITE_malloc, DEEP, OTHER, 20, 0, 0);
	host_enter(DT_SITE_malloc, DEEP - 64, INNER, 36, 0, 0);
	host_leave(DEEP - 64, C);
	host_leave(DEEP, C);
	books_expect_block(C, 20, host_traceback(OTHER));
	host_free(DEEP, OTHER, C);
	host_leave(TOP, B);
	books_expect_block(B, 300, host_traceback(CALLER));
	books_expect(DT_TRACEBACK_TOTAL, 3, 420, 2, 120, 300, 300);
	assert_int_equal(host_row_count(&live), 1);
	books_expect_nothing_counted();
	/* The handler leaves by longjmp(), both calls with it. */
	host_enter(DT_SITE_realloc, TOP - 64, CALLER, B, 400, 0);
	host_enter(DT_SITE_malloc, DEEP, OTHER, 20, 0, 0);
	allocate(A, 7);
	books_expect_block(A, 7, host_traceback(CALLER));
	books_expect_block(B, 300, host_traceback(CALLER));
	books_expect(DT_TRACEBACK_TOTAL, 4, 427, 2, 120, 307, 307);
	books_expect_counted(COUNTED(calls_abandoned, 2));
}

/* The slot holds the trampoline of the outer call; at the return its probes fire both, the inner function's first. */
static void test_tail_calls_are_one_block(void **state)
{
	(void)state;
	host_enter(DT_SITE_aligned_alloc, TOP, CALLER, 64, 1000, 0);
	host_enter(DT_SITE_memalign, TOP, 0, 64, 1024, 0);
	host_leave(TOP, A);
	host_leave(TOP, A);
	books_expect_block(A, 1000, host_traceback(CALLER));
	books_expect(DT_TRACEBACK_TOTAL, 1, 1000, 0, 0, 1000, 1000);

	/* realloc(p, 0) that ends in a jump to free() */
	host_enter(DT_SITE_realloc, TOP, OTHER, A, 0, 0);
	host_free(TOP, 0, A);
	host_leave(TOP, 0);
	books_expect(DT_TRACEBACK_TOTAL, 1, 1000, 1, 1000, 1000, 0);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_nothing_counted();
}

BOTH_WAYS(test_an_entry_further_up_abandons_the_call)
{
	host_enter(DT_SITE_malloc, DEEP, CALLER, 10, 0, 0);
	host_enter(DT_SITE_malloc, TOP, OTHER, 20, 0, 0);
	host_leave(TOP, A);
	host_leave(DEEP, B);            /* the stale return of a context that does go on (swapcontext): not booked */
	books_expect_block(A, 20, host_traceback(OTHER));
	books_expect(DT_TRACEBACK_TOTAL, 1, 20, 0, 0, 20, 20);
	books_expect_counted(COUNTED(calls_abandoned, 1));
}

BOTH_WAYS(test_an_entry_in_the_same_slot_abandons_the_call)
{
	host_enter(DT_SITE_malloc, TOP, CALLER, 10, 0, 0);
	host_enter(DT_SITE_malloc, TOP, OTHER, 20, 0, 0);
	host_leave(TOP, A);
	books_expect_block(A, 20, host_traceback(OTHER));
	books_expect_counted(COUNTED(calls_abandoned, 1));
}

BOTH_WAYS(test_a_return_further_up_abandons_the_call)
{
	host_enter(DT_SITE_realloc, TOP, CALLER, 0, 10, 0);
	host_enter(DT_SITE_malloc, DEEP, INNER, 30, 0, 0);
	host_leave(TOP, A);             /* the inner call was left: it is the outer one's business */
	books_expect_block(A, 10, host_traceback(CALLER));
	books_expect_nothing_counted();
	host_enter(DT_SITE_malloc, DEEP, OTHER, 30, 0, 0);
	*host_slot(TOP) = HOST_TRAMPOLINE;
	host_leave(TOP, B);
	assert_int_equal(host_row_count(&live), 1);
	books_expect_counted(COUNTED(calls_abandoned, 1));
}

/* What an abandoned realloc was to replace lives on. */
BOTH_WAYS(test_an_abandoned_realloc_puts_its_block_back)
{
	allocate(A, 100);
	host_enter(DT_SITE_realloc, DEEP, OTHER, A, 200, 0);
	assert_null(books_block(DT_SOURCE_LIBC, 0, A));
	allocate(B, 7);
	books_expect_block(A, 100, host_traceback(CALLER));
	host_free(TOP, OTHER, A);
	books_expect(DT_TRACEBACK_TOTAL, 2, 107, 1, 100, 107, 7);
	books_expect_counted(COUNTED(calls_abandoned, 1));
}

/* free() outside of the call that was left is booked, inside of it is not; an unreadable slot is no tail call. */
BOTH_WAYS(test_free_after_a_call_was_left)
{
	allocate(A, 100);
	host_enter(DT_SITE_malloc, DEEP, CALLER, 10, 0, 0);
	host_free(TOP, OTHER, A);
	books_expect(DT_TRACEBACK_TOTAL, 1, 100, 1, 100, 100, 0);
	host_range_count = 0;
	allocate(B, 5);
	host_enter(DT_SITE_malloc, TOP, CALLER, 10, 0, 0);
	host_free(TOP, OTHER, B);
	books_expect(DT_TRACEBACK_TOTAL, 2, 105, 2, 105, 100, 0);
	books_expect_counted(COUNTED(calls_abandoned, 1));
}

BOTH_WAYS(test_realloc_that_succeeds)
{
	__u64 first, second;

	allocate(A, 100);
	reallocate(A, 300, A);          /* grows in place */
	first = host_traceback(CALLER);
	second = host_traceback(OTHER);
	books_expect_block(A, 300, second);
	books_expect(first, 1, 100, 1, 100, 100, 0);
	books_expect(second, 1, 300, 0, 0, 300, 300);
	books_expect(DT_TRACEBACK_TOTAL, 2, 400, 1, 100, 300, 300);
	reallocate(A, 50, A);           /* shrinks in place, on the same traceback */
	books_expect_block(A, 50, second);
	books_expect(second, 2, 350, 1, 300, 300, 50);
	reallocate(A, 320, B);          /* moves */
	books_expect_block(B, 320, second);
	books_expect(DT_TRACEBACK_TOTAL, 4, 770, 3, 450, 320, 320);
	reallocate(0, 1, C);            /* malloc */
	books_expect_block(C, 1, second);
	reallocate(B, 0, 0);            /* free, glibc's way */
	books_expect(DT_TRACEBACK_TOTAL, 5, 771, 4, 770, 321, 1);
	reallocate(C, 0, B);            /* a block of 0 bytes, other allocators' way */
	books_expect_block(B, 0, second);
	books_expect(DT_TRACEBACK_TOTAL, 6, 771, 5, 771, 321, 0);
	assert_int_equal(host_row_count(&live), 1);
	books_expect_nothing_counted();
}

BOTH_WAYS(test_realloc_that_fails_keeps_the_block)
{
	allocate(A, 100);
	reallocate(A, ~0ull >> 1, 0);
	books_expect_block(A, 100, host_traceback(CALLER));
	books_expect(DT_TRACEBACK_TOTAL, 1, 100, 0, 0, 100, 100);
	assert_int_equal(host_traceback(OTHER), 0);
	reallocate(0, 0, 0);
	books_expect_counted(COUNTED(failed_allocations, 2));
}

BOTH_WAYS(test_realloc_of_an_unknown_block)
{
	reallocate(A, 10, B);
	books_expect_block(B, 10, host_traceback(OTHER));
	reallocate(C, 0, 0);
	books_expect_counted(COUNTED(unmatched_frees, 2));
	reallocate(C, 10, 0);
	books_expect(DT_TRACEBACK_TOTAL, 1, 10, 0, 0, 10, 10);
	books_expect_counted(COUNTED(unmatched_frees, 2), COUNTED(failed_allocations, 1));
}

/* A call that began before a clear is booked there, whole: as little of it is seen as of any block from before. */
BOTH_WAYS(test_realloc_across_a_clear)
{
	struct dt_process_state *image = host_image(HOST_TGID);

	allocate(A, 100);
	host_enter(DT_SITE_realloc, TOP, OTHER, A, 200, 0);
	host_clear(HOST_TGID);
	host_leave(TOP, B);
	assert_null(books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL));
	image->generation = 1;
	epoch = 0;
	books_expect_block(B, 200, host_traceback(OTHER));
	books_expect(DT_TRACEBACK_TOTAL, 2, 300, 1, 100, 200, 200);
	host_enter(DT_SITE_realloc, TOP, OTHER, B, 0, 0);
	host_clear(HOST_TGID);
	host_leave(TOP, 0);
	assert_null(books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL));
	/* A failure puts the block back, forgotten as it is. */
	allocate(A, 100);
	host_enter(DT_SITE_realloc, TOP, OTHER, A, 200, 0);
	host_clear(HOST_TGID);
	host_leave(TOP, 0);
	host_free(TOP, OTHER, A);
	assert_null(books_row(DT_SOURCE_LIBC, 0, DT_TRACEBACK_TOTAL));
	assert_int_equal(host_row_count(&live), 0);
	books_expect_counted(COUNTED(failed_allocations, 1), COUNTED(unmatched_frees, 1));
}

/* While the allocator has the old block back, another thread gets its address. */
BOTH_WAYS(test_realloc_whose_old_address_is_used_at_once)
{
	allocate(A, 100);
	host_enter(DT_SITE_realloc, TOP, OTHER, A, 200, 0);
	host_current++;
	host_enter(DT_SITE_malloc, HOST_STACK(1) + 512, CALLER, 7, 0, 0);
	host_leave(HOST_STACK(1) + 512, A);
	host_current--;
	host_leave(TOP, B);
	books_expect_block(A, 7, host_traceback(CALLER));
	books_expect_block(B, 200, host_traceback(OTHER));
	books_expect(DT_TRACEBACK_TOTAL, 3, 307, 1, 100, 207, 207);
	books_expect_nothing_counted();
}

BOTH_WAYS(test_posix_memalign)
{
	__u64 out = A;

	host_memory(0x7000, &out, sizeof(out));
	host_enter(DT_SITE_posix_memalign, TOP, CALLER, 0x7000, 64, 100);
	host_leave(TOP, 0xdeadbeef00000000); /* an int that is 0 */
	books_expect_block(A, 100, host_traceback(CALLER));
	host_enter(DT_SITE_posix_memalign, TOP, CALLER, 0x7000, 64, 100);
	host_leave(TOP, ENOMEM);
	books_expect_counted(COUNTED(failed_allocations, 1));
	host_enter(DT_SITE_posix_memalign, TOP, CALLER, 0x8000, 64, 100);
	host_leave(TOP, 0);
	books_expect(DT_TRACEBACK_TOTAL, 1, 100, 0, 0, 100, 100);
	books_expect_counted(COUNTED(failed_allocations, 1), COUNTED(arguments_unreadable, 1));
}

/* 64 bits against 128, around every place where a carry or a bound lies. */
static void test_products(void **state)
{
	static const struct dt_site_row row = { .size = 1, .count = 0 };
	__u64 factors[64 * 7], random = 88172645463325252ull;
	size_t count = 0;

	(void)state;
	for (unsigned int bit = 0; bit < 64; bit++) {
		for (__u64 near = 0; near < 5; near++)
			factors[count++] = (1ull << bit) + near - 2;
		for (int i = 0; i < 2; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			factors[count++] = random >> bit;
		}
	}
	for (size_t i = 0; i < count; i++)
		for (size_t k = 0; k < count; k++) {
			struct call_registers registers = { .arguments = { factors[i], factors[k] } };
			unsigned __int128 product = (unsigned __int128)factors[i] * factors[k];

			assert_int_equal(call_bytes(&row, &registers), product >> 64 ? ~0ull : (__u64)product);
		}
}

BOTH_WAYS(test_products_that_are_refused)
{
	allocate(A, 100);
	host_enter(DT_SITE_calloc, TOP, CALLER, 1ull << 33, 1ull << 33, 0);
	host_leave(TOP, 0);
	/* The product is 0 modulo 2^64, which is no reallocarray() to 0 bytes. */
	host_enter(DT_SITE_reallocarray, TOP, CALLER, A, 1ull << 32, 1ull << 32);
	host_leave(TOP, 0);
	books_expect_block(A, 100, host_traceback(CALLER));
	books_expect_counted(COUNTED(failed_allocations, 2));
	host_enter(DT_SITE_reallocarray, TOP, CALLER, A, 0, 1ull << 32);
	host_leave(TOP, 0);
	books_expect(DT_TRACEBACK_TOTAL, 1, 100, 1, 100, 100, 0);
}

BOTH_WAYS(test_who_is_not_traced_is_not_booked)
{
	struct pt_regs registers = { .rsp = TOP };

	host_cookie = DT_SITE_COUNT;
	assert_int_equal(alloc_enter(&registers), SKIP_RETURN);
	host_cookie = ~0ull;
	assert_int_equal(alloc_enter(&registers), SKIP_RETURN);
	host_trap = (struct host_trap){ HOST_STORAGE, &threads, 2, -ENOMEM, NULL };
	allocate(A, 10);
	books_expect_counted(COUNTED(calls_full, 1));
	host_enter(DT_SITE_malloc, TOP, CALLER, 10, 0, 0);
	host_remove_process(HOST_TGID);
	host_leave(TOP, A);
	host_free(TOP, CALLER, A);
	allocate(B, 10);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_counted(COUNTED(calls_full, 1));
}

/* In a pid namespace, the tables know processes by their numbers there. */
BOTH_WAYS(test_pid_namespace)
{
	host_config()->pid_namespace_device = 4;
	host_config()->pid_namespace_inode = 4026531836;
	host_current->tgid = 4711;
	allocate(A, 10);                /* not of that namespace */
	assert_int_equal(host_row_count(&live), 0);
	host_namespace_tgid = HOST_TGID;
	allocate(A, 10);
	books_expect_block(A, 10, host_traceback(CALLER));
}

/* Each request for a thread's storage, whatever comes of it, and nothing else. */
BOTH_WAYS(test_preemption_is_deferred)
{
	allocate(A, 10);
	assert_int_equal(host_deferrals, 0);
	host_config()->defers_preemption = 1;
	allocate(B, 20);                /* known, at the entry and at the return */
	assert_int_equal(host_deferrals, 2);
	host_current->has_storage = false;
	allocate(C, 30);                /* unknown, made, known */
	assert_int_equal(host_deferrals, 5);
	assert_int_equal(host_deferred, 0);
	host_deferrals = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		host_test(test_every_function_of_the_family),
		host_test(test_operator_new),
		host_test(test_releases_are_one_free),
		host_test(test_resizes),
		host_test(test_nested_calls_are_one_block),
		host_test(test_a_call_that_is_interrupted),
		host_test(test_tail_calls_are_one_block),
		host_test(test_an_entry_further_up_abandons_the_call),
		host_test(test_an_entry_in_the_same_slot_abandons_the_call),
		host_test(test_a_return_further_up_abandons_the_call),
		host_test(test_an_abandoned_realloc_puts_its_block_back),
		host_test(test_free_after_a_call_was_left),
		host_test(test_realloc_that_succeeds),
		host_test(test_realloc_that_fails_keeps_the_block),
		host_test(test_realloc_of_an_unknown_block),
		host_test(test_realloc_across_a_clear),
		host_test(test_realloc_whose_old_address_is_used_at_once),
		host_test(test_posix_memalign),
		host_test(test_products),
		host_test(test_products_that_are_refused),
		host_test(test_who_is_not_traced_is_not_booked),
		host_test(test_pid_namespace),
		host_test(test_preemption_is_deferred),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
