/* SPDX-License-Identifier: BSD-2-Clause */
/* ages: the steps of the clock that are kept, against all that there were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "session/ages.h"

#define MS 1000000ull
#define SECOND (1000 * MS)

static void test_interval(void **state)
{
	static const struct {
		uint64_t older_than_ns, interval_ns;
	} cases[] = {
		{ 1, 50 * MS }, { 250 * MS, 50 * MS }, { 3 * SECOND, 50 * MS }, { 6 * SECOND, 100 * MS }, { 60 * SECOND, SECOND },
		{ 3600 * SECOND, SECOND }, { 4080 * SECOND, SECOND + 1 }, { 86400 * SECOND, 86400 * SECOND / 4080 + 1 },
		{ UINT64_MAX, UINT64_MAX / 4080 + 1 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(dt_ages_interval(cases[i].older_than_ns), cases[i].interval_ns);
}

static void test_no_timer(void **state)
{
	struct dt_age_step step;
	struct dt_ages *ages;

	(void)state;
	assert_int_equal(dt_ages_new(0, &ages), 0);
	assert_int_equal(ages->timer_fd, -1);
	assert_false(dt_ages_find(ages, UINT64_MAX / 2, &step));
	dt_ages_free(ages);
	dt_ages_free(NULL);
	assert_int_equal(dt_ages_new(UINT64_MAX, &ages), 0);
	assert_true(ages->timer_fd >= 0);
	dt_ages_free(ages);
}

/* Steps at random distances: the one that is found is the last of all that were old enough. */
static void test_steps(void **state)
{
	enum { COUNT = 60000 };
	uint64_t *times = calloc(COUNT, sizeof(*times)), now = SECOND;
	struct dt_ages *ages;
	size_t oldest = 0;

	(void)state;
	assert_int_equal(dt_ages_new(60 * SECOND, &ages), 0);
	srandom(1);
	for (uint32_t i = 0; i < COUNT; i++) {
		struct dt_age_step step = { 0 };
		bool found;

		now += random() % 64 ? dt_ages_interval(60 * SECOND) + (uint64_t)random() % (100 * MS) : (uint64_t)random() % (90 * SECOND);
		times[i] = now;
		dt_ages_note(ages, i + 1, now);
		assert_true(ages->count <= 63);
		now += (uint64_t)random() % (50 * MS);
		while (oldest < i + 1 && times[oldest] + 60 * SECOND <= now)
			oldest++;
		found = dt_ages_find(ages, now, &step);
		assert_int_equal(found, oldest > 0);
		if (found) {
			assert_int_equal(step.segment, oldest);
			assert_int_equal(step.time_ns, times[oldest - 1]);
		}
	}
	dt_ages_free(ages);
	free(times);
}

/* More of them than there is room for: later ones are left out, and what is found is never too young. */
static void test_too_many_steps(void **state)
{
	struct dt_age_step step;
	struct dt_ages *ages;

	(void)state;
	assert_int_equal(dt_ages_new(60 * SECOND, &ages), 0);
	for (uint32_t i = 1; i <= 3 * DT_AGE_STEPS_MAX; i++) {
		dt_ages_note(ages, i, SECOND + i * MS);
		assert_true(ages->count <= DT_AGE_STEPS_MAX);
	}
	assert_false(dt_ages_find(ages, 61 * SECOND, &step));
	for (uint32_t i = 1; i <= DT_AGE_STEPS_MAX; i++) {
		assert_true(dt_ages_find(ages, 61 * SECOND + i * MS, &step));
		assert_int_equal(step.segment, i);
	}
	assert_true(dt_ages_find(ages, 100 * SECOND, &step));
	assert_int_equal(step.segment, DT_AGE_STEPS_MAX);
	dt_ages_free(ages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interval), cmocka_unit_test(test_no_timer), cmocka_unit_test(test_steps), cmocka_unit_test(test_too_many_steps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
