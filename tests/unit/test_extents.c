/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "session/extents.h"

#define LIMIT 256

static int take(struct dt_extents *extents, uint64_t count, uint64_t *ret_first)
{
	struct dt_extent extent;
	int error = dt_extents_take(extents, LIMIT, &(struct dt_extents_need){ .least = count }, &extent);

	if (error)
		return error;
	assert_int_equal(extent.count, count);
	*ret_first = extent.first;
	return 0;
}

static void test_lowest_that_fits(void **state)
{
	struct dt_extents extents = { 0 };
	uint64_t first;

	(void)state;
	for (uint64_t i = 0; i < LIMIT / 16; i++) {
		assert_int_equal(take(&extents, 16, &first), 0);
		assert_int_equal(first, 16 * i);
	}
	assert_int_equal(take(&extents, 1, &first), -ENOSPC);
	dt_extents_give(&extents, 17);          /* nothing begins there */
	dt_extents_give(&extents, LIMIT);
	assert_int_equal(take(&extents, 1, &first), -ENOSPC);
	dt_extents_give(&extents, 32);
	dt_extents_give(&extents, 96);
	dt_extents_give(&extents, 112);
	assert_int_equal(take(&extents, 17, &first), 0);
	assert_int_equal(first, 96);
	assert_int_equal(take(&extents, 16, &first), 0);
	assert_int_equal(first, 32);
	assert_int_equal(take(&extents, 16, &first), -ENOSPC);
	assert_int_equal(take(&extents, 15, &first), 0);
	assert_int_equal(first, 113);
	assert_int_equal(take(&extents, 1, &first), -ENOSPC);
	dt_extents_clear(&extents);
	dt_extents_clear(&extents);
}

/* Places that begin before, in, at the end of what is taken, and around it. */
static void test_is_free(void **state)
{
	static const struct dt_extent taken[] = { { 16, 16 }, { 64, 32 }, { 96, 1 } };
	bool is_taken[LIMIT] = { false };
	struct dt_extents extents = { 0 };

	(void)state;
	assert_true(dt_extents_is_free(&extents, (struct dt_extent){ 0, LIMIT }));
	for (uint64_t at = 0, first; !take(&extents, 1, &first); at++)
		assert_int_equal(first, at);
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++)
		memset(is_taken + taken[i].first, true, taken[i].count);
	for (uint64_t at = 0; at < LIMIT; at++)
		if (!is_taken[at])
			dt_extents_give(&extents, at);
	for (uint64_t first = 0; first < LIMIT; first++)
		for (uint64_t count = 1; first + count <= LIMIT; count++)
			assert_int_equal(dt_extents_is_free(&extents, (struct dt_extent){ first, count }),
					 !memchr(is_taken + first, true, count));
	dt_extents_clear(&extents);
	/* And where one is long. */
	assert_int_equal(take(&extents, 48, &(uint64_t){ 0 }), 0);
	assert_false(dt_extents_is_free(&extents, (struct dt_extent){ 0, 1 }));
	assert_false(dt_extents_is_free(&extents, (struct dt_extent){ 47, 1 }));
	assert_false(dt_extents_is_free(&extents, (struct dt_extent){ 16, 16 }));
	assert_true(dt_extents_is_free(&extents, (struct dt_extent){ 48, LIMIT - 48 }));
	dt_extents_clear(&extents);
}

/* Begins at a multiple of 10, which takes what is before it. */
static uint64_t aligned(const void *context, uint64_t first)
{
	return (10 - first % 10) % 10 + *(const uint64_t *)context;
}

static void test_need_by_place(void **state)
{
	struct dt_extents extents = { 0 };
	struct dt_extents_need need = { .least = 5, .find = aligned, .context = &(uint64_t){ 5 } };
	struct dt_extent extent;
	uint64_t first;

	(void)state;
	assert_int_equal(dt_extents_take(&extents, LIMIT, &need, &extent), 0);
	assert_int_equal(extent.count, 5);
	assert_int_equal(dt_extents_take(&extents, LIMIT, &need, &extent), 0);
	assert_int_equal(extent.first, 5);
	assert_int_equal(extent.count, 10);
	assert_int_equal(take(&extents, 1, &first), 0);
	assert_int_equal(first, 15);
	dt_extents_give(&extents, 5);
	/* room for 10 */
	need.context = &(uint64_t){ 6 };
	assert_int_equal(dt_extents_take(&extents, LIMIT, &need, &extent), 0);
	assert_int_equal(extent.first, 16);
	assert_int_equal(extent.count, 10);
	assert_int_equal(dt_extents_take(&extents, 40, &need, &extent), 0);
	assert_int_equal(dt_extents_take(&extents, 45, &need, &extent), -ENOSPC);
	assert_int_equal(dt_extents_take(&extents, 10, &need, &extent), -ENOSPC);
	dt_extents_clear(&extents);
}

/* Against a table of every place. */
static void test_at_random(void **state)
{
	struct dt_extents extents = { 0 };
	uint8_t taken[LIMIT] = { 0 };
	uint64_t firsts[LIMIT], counts[LIMIT], first;
	size_t held = 0;

	(void)state;
	srandom(1);
	for (int i = 0; i < 100000; i++) {
		if (held && random() % 2) {
			size_t at = (size_t)random() % held;

			dt_extents_give(&extents, firsts[at]);
			memset(taken + firsts[at], 0, counts[at]);
			firsts[at] = firsts[--held];
			counts[at] = counts[held];
			continue;
		}
		uint64_t count = 1 + (uint64_t)random() % 24, expected = 0, run = 0;

		while (expected + run < LIMIT && run < count) {
			if (taken[expected + run]) {
				expected += run + 1;
				run = 0;
			} else {
				run++;
			}
		}
		assert_int_equal(take(&extents, count, &first), run == count ? 0 : -ENOSPC);
		if (run != count)
			continue;
		assert_int_equal(first, expected);
		memset(taken + first, 1, count);
		firsts[held] = first;
		counts[held++] = count;
	}
	assert_int_equal(extents.count, held);
	dt_extents_clear(&extents);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lowest_that_fits),
		cmocka_unit_test(test_is_free),
		cmocka_unit_test(test_need_by_place),
		cmocka_unit_test(test_at_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
