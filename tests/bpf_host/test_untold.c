/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks that NumPy tells of only if tracemalloc is on: each call, as each release makes it, in any order of threads. */
#include "books.h"

#define TOP (HOST_STACK(0) + 2048)
#define NUMPY 389047
#define NEW 0x7f0000001111              /* return address of the Track that tells of a new array */
#define FREE 0x7f0000002222
#define RENEW 0x7f0000003333            /* of the Untrack behind which a resized array may be untold, */
#define RENEWED 0x7f0000003350          /* and of the Track then */
#define BUFFER 0x7f0000004444           /* the same of a buffer, whose Untrack is of domain 0 */
#define BUFFERED 0x7f0000004460
#define ODD 0x7f0000005555              /* code that did not tell where the block is */
#define ODD_TRACK 0x7f0000005570
#define CHECKED 0x7f0000006666          /* code that only looks at the answer */
#define A 0x55a000000010
#define B 0x55a000000020
#define C 0x55a000000030

static void setup_untold(void)
{
	static const struct dt_untold untold[] = {
		{ .untrack = RENEW, .track = RENEWED, .domain = NUMPY, .address = DT_KEPT_RBX, .bytes = DT_KEPT_R15, .factor = DT_NONE },
		{ .untrack = BUFFER, .track = BUFFERED, .domain = NUMPY, .address = DT_KEPT_R12, .bytes = DT_KEPT_R13, .factor = DT_KEPT_R14 },
		{ .untrack = ODD, .track = ODD_TRACK, .address = DT_NONE, .bytes = DT_NONE, .factor = DT_NONE },
		{ .untrack = CHECKED, .address = DT_NONE, .bytes = DT_NONE, .factor = DT_NONE },
	};

	memcpy(host_process(HOST_TGID)->untold, untold, sizeof(untold));
}

static int setup(void **state)
{
	int error = host_setup(state);

	setup_untold();
	return error;
}

/* Untrack of a block, with another one in the registers. */
static void untrack_with(__u64 return_address, __u32 domain, __u64 old, __u64 next, __u64 bytes)
{
	struct pt_regs registers = host_call_instruction(TOP, return_address, domain, old, 0);

	registers.rbx = registers.r12 = next;
	registers.r15 = registers.r13 = bytes;
	registers.r14 = 8;
	host_cookie = DT_SITE_PyTraceMalloc_Untrack;
	untrack_enter(&registers);
}

static void expect_numpy(__u64 return_address, struct books want)
{
	books_expect_of(DT_SOURCE_TRACEMALLOC, NUMPY, host_traceback(return_address), want);
}

static void expect_block(__u64 address, __u64 bytes)
{
	const struct dt_block *block = books_block(DT_SOURCE_TRACEMALLOC, NUMPY, address);

	if (!bytes) {
		assert_null(block);
		return;
	}
	assert_non_null(block);
	assert_int_equal(block->bytes, bytes);
}

/* ---- one by one ---------------------------------------------------------------------------------------------------- */

static void test_resized_and_moved(void **state)
{
	(void)state;
	host_track(TOP, NEW, NUMPY, A, 100);
	untrack_with(RENEW, NUMPY, A, B, 300);
	expect_block(A, 0);
	expect_block(B, 300);
	expect_numpy(NEW, (struct books){ 1, 100, 1, 100, 100, 0 });
	expect_numpy(RENEW, (struct books){ 1, 300, 0, 0, 300, 300 });
	host_untrack(TOP, FREE, NUMPY, B);
	expect_numpy(RENEW, (struct books){ 1, 300, 1, 300, 300, 0 });
	books_expect_nothing_counted();
}

static void test_resized_in_place(void **state)
{
	(void)state;
	host_track(TOP, NEW, NUMPY, A, 100);
	untrack_with(RENEW, NUMPY, A, A, 50);
	untrack_with(RENEW, NUMPY, A, A, 70);
	expect_block(A, 70);
	expect_numpy(NEW, (struct books){ 1, 100, 1, 100, 100, 0 });
	expect_numpy(RENEW, (struct books){ 2, 120, 1, 50, 70, 70 });
	books_expect_nothing_counted();
}

/* A block from before the trace. */
static void test_resized_from_an_unknown_one(void **state)
{
	(void)state;
	untrack_with(RENEW, NUMPY, A, B, 300);
	expect_block(B, 300);
	expect_numpy(RENEW, (struct books){ 1, 300, 0, 0, 300, 300 });
	books_expect_counted(COUNTED(unmatched_frees, 1));
}

static void test_buffer(void **state)
{
	(void)state;
	untrack_with(BUFFER, 0, C, C, 5);
	expect_block(C, 40);
	expect_numpy(BUFFER, (struct books){ 1, 40, 0, 0, 40, 40 });
	host_untrack(TOP, FREE, NUMPY, C);
	expect_numpy(BUFFER, (struct books){ 1, 40, 1, 40, 40, 0 });
	books_expect_nothing_counted();
}

/* tracemalloc is on: the Track follows, behind another Untrack of domain 0 (PyDataMem_RENEW), and has nothing to add. */
static void test_told_after_all(void **state)
{
	(void)state;
	host_track(TOP, NEW, NUMPY, A, 100);
	untrack_with(RENEW, NUMPY, A, B, 300);
	host_untrack(TOP, FREE, 0, B);
	host_track(TOP, RENEWED, NUMPY, B, 300);
	untrack_with(BUFFER, 0, C, C, 5);
	host_track(TOP, BUFFERED, NUMPY, C, 40);
	expect_numpy(NEW, (struct books){ 1, 100, 1, 100, 100, 0 });
	expect_numpy(RENEW, (struct books){ 1, 300, 0, 0, 300, 300 });
	expect_numpy(BUFFER, (struct books){ 1, 40, 0, 0, 40, 40 });
	assert_int_equal(host_traceback(RENEWED), 0);
	assert_int_equal(host_traceback(BUFFERED), 0);
	books_expect_nothing_counted();
}

/* A Track from there whose block is not the one that was booked is one like any other. */
static void test_told_of_something_else(void **state)
{
	(void)state;
	untrack_with(BUFFER, 0, C, C, 5);
	host_track(TOP, BUFFERED, NUMPY, C, 41);
	host_track(TOP, BUFFERED, NUMPY, B, 40);
	expect_block(C, 41);
	expect_block(B, 40);
	expect_numpy(BUFFER, (struct books){ 1, 40, 1, 40, 40, 0 });
	expect_numpy(BUFFERED, (struct books){ 2, 81, 0, 0, 81, 81 });
	host_untrack(TOP, FREE, NUMPY, B);
	host_track(TOP, BUFFERED, NUMPY, B, 40);
	expect_numpy(BUFFERED, (struct books){ 3, 121, 1, 40, 81, 81 });
	books_expect_nothing_counted();
}

static void test_tracked_again_after_a_clear(void **state)
{
	(void)state;
	untrack_with(BUFFER, 0, C, C, 5);
	host_clear(HOST_TGID);
	host_track(TOP, BUFFERED, NUMPY, C, 40);
	expect_block(C, 40);
	expect_numpy(BUFFERED, (struct books){ 1, 40, 0, 0, 40, 40 });
	books_expect_nothing_counted();
}

/* The releases before: their calls return elsewhere, whatever the registers hold. */
static void test_older_releases(void **state)
{
	(void)state;
	host_track(TOP, NEW, NUMPY, A, 100);
	untrack_with(FREE, NUMPY, A, B, 300);           /* up to 2.1.2, moved; 2.1.3 to 2.4 */
	host_track(TOP, NEW, NUMPY, B, 300);
	host_track(TOP, NEW, NUMPY, B, 200);            /* up to 2.1.2, in place */
	untrack_with(FREE, NUMPY, B, C, 900);
	host_track(TOP, NEW, NUMPY, 0, 900);            /* refused */
	untrack_with(FREE, 0, A, B, 300);
	expect_block(A, 0);
	expect_block(B, 0);
	expect_block(C, 0);
	expect_numpy(NEW, (struct books){ 3, 600, 3, 600, 300, 0 });
	books_expect_nothing_counted();
}

static void test_where_the_code_did_not_tell(void **state)
{
	(void)state;
	host_track(TOP, NEW, NUMPY, A, 100);
	untrack_with(ODD, NUMPY, A, B, 300);
	untrack_with(ODD, 0, B, B, 300);
	untrack_with(CHECKED, 0, C, C, 300);            /* whoever called it tracks the block */
	expect_block(A, 0);
	expect_block(B, 0);
	books_expect_counted(COUNTED(blocks_untold, 2));
	host_track(TOP, NEW, NUMPY, C, 100);
	untrack_with(CHECKED, NUMPY, C, B, 300);
	books_expect_counted(COUNTED(blocks_untold, 3));
}

static void test_domains_that_are_not_wanted(void **state)
{
	(void)state;
	host_config()->domains[0] = NUMPY;
	host_config()->domain_count = 1;
	host_config()->domains_excluded = 1;
	untrack_with(RENEW, NUMPY, A, B, 300);
	untrack_with(BUFFER, 0, C, C, 5);
	untrack_with(ODD, NUMPY, A, B, 300);
	expect_block(B, 0);
	expect_block(C, 0);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_nothing_counted();
}

static void test_null(void **state)
{
	(void)state;
	untrack_with(RENEW, NUMPY, A, 0, 300);
	untrack_with(BUFFER, 0, 0, 0, 5);
	assert_int_equal(host_row_count(&live), 0);
	books_expect_counted(COUNTED(unmatched_frees, 1));
}

/* ---- several threads ----------------------------------------------------------------------------------------------- */

static void in_thread(unsigned int number)
{
	host_current = &host_threads[number];
}

#define STACK_OF(number) (HOST_STACK(number) + 2048)

/* What libc's realloc gave back is handed out to another thread at once, and its calls come in between. */
static void test_addresses_go_round(void **state)
{
	(void)state;
	host_track(TOP, NEW, NUMPY, A, 100);
	untrack_with(RENEW, NUMPY, A, B, 300);
	in_thread(1);
	host_track(STACK_OF(1), NEW, NUMPY, A, 7);
	host_untrack(STACK_OF(1), FREE, NUMPY, B);
	host_track(STACK_OF(1), NEW, NUMPY, B, 9);
	in_thread(0);
	host_track(TOP, RENEWED, NUMPY, B, 300);        /* late: tracemalloc is on, and is told of a block that has gone */
	expect_block(A, 7);
	expect_block(B, 300);
	expect_numpy(RENEW, (struct books){ 1, 300, 1, 300, 300, 0 });
	expect_numpy(RENEWED, (struct books){ 1, 300, 0, 0, 300, 300 });
	expect_numpy(NEW, (struct books){ 3, 116, 2, 109, 100, 7 });
	books_expect_nothing_counted();
}

/* Reallocations of others, and frees of arrays that lie where those were, are none of NumPy's. */
static void test_libc_beside_it(void **state)
{
	(void)state;
	host_enter(DT_SITE_malloc, TOP, 0x1234, 100, 0, 0);
	host_leave(TOP, A);
	host_enter(DT_SITE_realloc, TOP, 0x1234, A, 300, 0);
	host_leave(TOP, B);
	host_track(TOP, NEW, NUMPY, A, 100);
	host_untrack(TOP, FREE, NUMPY, A);
	expect_block(A, 0);
	expect_block(B, 0);
	expect_numpy(NEW, (struct books){ 1, 100, 1, 100, 100, 0 });
	books_expect_block(B, 300, host_traceback(0x1234));
	books_expect_nothing_counted();
}

#define untold_test(name) cmocka_unit_test_setup_teardown(name, setup, host_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		untold_test(test_resized_and_moved),
		untold_test(test_resized_in_place),
		untold_test(test_resized_from_an_unknown_one),
		untold_test(test_buffer),
		untold_test(test_told_after_all),
		untold_test(test_told_of_something_else),
		untold_test(test_tracked_again_after_a_clear),
		untold_test(test_older_releases),
		untold_test(test_where_the_code_did_not_tell),
		untold_test(test_domains_that_are_not_wanted),
		untold_test(test_null),
		untold_test(test_addresses_go_round),
		untold_test(test_libc_beside_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
