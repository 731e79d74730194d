/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock of all tables: a session ends before it begins anew, never sooner, and says why once. */
#include <errno.h>

#include "said.h"

#include <linux/types.h>

#include <domtrace/wire.h>

#include "session/clock.h"

static int check(uint64_t epoch, int *ret_lines)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	int error = dt_clock_check(&log, epoch);

	*ret_lines = said.lines;
	if (said.lines)
		assert_string_equal(said.last, "cannot trace any longer: there have been four thousand million forks, clears and snapshots, "
				    "which is as far as this trace can count; start domtrace again");
	return error;
}

static void test_check(void **state)
{
	const uint64_t end = DT_EPOCH_STEP * DT_CLOCK_SEGMENTS_MAX;
	const struct { uint64_t epoch; bool over; } checks[] = {
		{ DT_EPOCH_STEP, false },
		{ end - DT_EPOCH_STEP, false },
		{ end - 1, false },                             /* the other half of the last segment */
		{ end, true },
		{ DT_EPOCH_STEP * (1ull << 32) - 1, true },     /* the last moment before the numbers begin anew, */
		{ DT_EPOCH_STEP * (1ull << 32), true },         /* the first one behind it, */
		{ DT_EPOCH_STEP * ((1ull << 32) + 7), true },
		{ UINT64_MAX, true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
		int lines, error = check(checks[i].epoch, &lines);

		assert_int_equal(error, checks[i].over ? -EOVERFLOW : 0);
		assert_int_equal(lines, checks[i].over);
	}
}

/* From the last look on there is room for a million forks a second, for longer than a look takes. */
static void test_room(void **state)
{
	(void)state;
	assert_true(UINT32_MAX - DT_CLOCK_SEGMENTS_MAX >= 16 * 1000000u);
	assert_int_equal(DT_EPOCH_SEGMENT(DT_EPOCH_STEP * (uint64_t)UINT32_MAX), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
