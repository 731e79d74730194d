/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cmocka: as much of it as the tests of user/simd use, for tests/simd/neon: Debian has none for another architecture. The first
 * assertion that does not hold ends the program.
 */
#ifndef TEST_SIMD_CMOCKA_H
#define TEST_SIMD_CMOCKA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
	const char *name;
	void (*test_func)(void **state);
	void *setup_func;
	void *teardown_func;
	void *initial_state;
};

static inline void check_that(bool holds, const char *what, const char *file, int line)
{
	if (holds)
		return;
	printf("%s:%d: does not hold: %s\n", file, line, what);
	exit(1);
}

#define assert_true(condition) check_that(condition, #condition, __FILE__, __LINE__)
#define assert_false(condition) assert_true(!(condition))
#define assert_null(pointer) assert_true(!(pointer))
#define assert_int_equal(a, b) assert_true((uint64_t)(a) == (uint64_t)(b))
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_ptr_not_equal(a, b) assert_true((const void *)(a) != (const void *)(b))
#define assert_string_equal(a, b) assert_true(strcmp(a, b) == 0)
#define assert_string_not_equal(a, b) assert_true(strcmp(a, b) != 0)
#define assert_memory_equal(a, b, size) assert_true(memcmp(a, b, size) == 0)

#define cmocka_unit_test_prestate(function, state) { #function, function, NULL, NULL, state }
#define cmocka_unit_test(function) cmocka_unit_test_prestate(function, NULL)
#define cmocka_run_group_tests_name(name, tests, setup, teardown) run_tests(name, tests, sizeof(tests) / sizeof(tests[0]))
#define cmocka_run_group_tests(tests, setup, teardown) cmocka_run_group_tests_name(#tests, tests, setup, teardown)

static inline int run_tests(const char *group, const struct CMUnitTest *tests, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		void *state = tests[i].initial_state;

		tests[i].test_func(&state);
	}
	printf("%s: %zu tests passed\n", group, count);
	return 0;
}

#endif
