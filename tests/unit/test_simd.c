/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <domtrace/simd.h>

#ifdef __x86_64__
#define ELSEWHERE "neon"
#else
#define ELSEWHERE "avx2"
#endif

static void test_names(void **state)
{
	static const char *const expected[] = { "scalar", "sse2", "avx2", "avx512_halves", "avx512", "neon", NULL };

	(void)state;
	for (size_t i = 0; expected[i]; i++)
		assert_string_equal(dt_simd_name(i), expected[i]);
	assert_null(dt_simd_name(6));
	assert_null(dt_simd_name(SIZE_MAX));
}

/* What the kernel says of the processor: AMD's Zen 4 is the family 25 (19h) with AVX-512. */
static bool is_zen4(void)
{
	FILE *file = fopen("/proc/cpuinfo", "re");
	bool is_amd = false, is_family = false;
	char line[4096];

	if (!file)
		return false;
	while (fgets(line, sizeof(line), file)) {
		is_amd = is_amd || strcmp(line, "vendor_id\t: AuthenticAMD\n") == 0;
		is_family = is_family || strcmp(line, "cpu family\t: 25\n") == 0;
	}
	fclose(file);
	return is_amd && is_family;
}

/* By name, by the environment, and by itself: the last one that is here, but for Zen 4's. */
static void test_choice(void **state)
{
	const struct dt_simd *simd = NULL, *again, *best = NULL;
	const char *name;

	(void)state;
	for (size_t i = 0; (name = dt_simd_name(i)); i++) {
		char why[DT_SIMD_WHY] = "";

		if (dt_simd_get(name, &simd, why)) {
			assert_string_not_equal(why, "");
			continue;
		}
		assert_string_equal(simd->name, name);
		assert_string_equal(why, "");
		if (strcmp(name, "avx512") != 0 || !is_zen4())
			best = simd;
		assert_int_equal(setenv("DT_SIMD", name, 1), 0);
		assert_int_equal(dt_simd_get(NULL, &again, why), 0);
		assert_ptr_equal(again, simd);
		assert_int_equal(dt_simd_get("scalar", &again, NULL), 0);       /* what is said goes before the environment */
		assert_string_equal(again->name, "scalar");
	}
	assert_int_equal(unsetenv("DT_SIMD"), 0);
	assert_int_equal(dt_simd_get(NULL, &again, NULL), 0);
	assert_ptr_equal(again, best);
	assert_int_equal(setenv("DT_SIMD", "", 1), 0);                          /* as if it were not set */
	assert_int_equal(dt_simd_get(NULL, &again, NULL), 0);
	assert_ptr_equal(again, best);
	assert_int_equal(unsetenv("DT_SIMD"), 0);
}

static void refused(const char *name, int error, const char *expected)
{
	const struct dt_simd *simd = (const struct dt_simd *)(uintptr_t)1;
	char why[DT_SIMD_WHY] = "";

	assert_int_equal(dt_simd_get(name, &simd, why), error);
	assert_true(strncmp(why, expected, strlen(expected)) == 0);
	assert_int_equal(dt_simd_get(name, &simd, NULL), error);
	assert_int_equal((uintptr_t)simd, 1);
}

static void test_refusals(void **state)
{
	char longest[4096];

	(void)state;
	refused("avx9", -EINVAL, "avx9: there is no such instruction set; choose one of scalar, sse2, avx2, avx512_halves, avx512, neon");
	refused("", -EINVAL, ": there is no such instruction set; choose one of ");
	refused("AVX2", -EINVAL, "AVX2: there is no such instruction set; ");
	refused(ELSEWHERE, -ENOTSUP, ELSEWHERE ": that is of another processor architecture; choose one of scalar, ");
	memset(longest, 'x', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = '\0';
	refused(longest, -EINVAL, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx: there is no such instruction set; choose one of scalar, sse2, ");
	assert_int_equal(setenv("DT_SIMD", "avx9", 1), 0);
	refused(NULL, -EINVAL, "DT_SIMD=avx9: there is no such instruction set; choose one of scalar, sse2, avx2, avx512_halves, avx512, neon");
	assert_int_equal(setenv("DT_SIMD", ELSEWHERE, 1), 0);
	refused(NULL, -ENOTSUP, "DT_SIMD=" ELSEWHERE ": that is of another processor architecture; choose one of scalar, ");
	assert_int_equal(unsetenv("DT_SIMD"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
