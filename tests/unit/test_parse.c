/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers from text: what is taken, what is refused and why; a refusal writes nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define UNTOUCHED 0x5ca1ab1e

static void test_u64(void **state)
{
	static const struct { const char *text; uint64_t minimum, maximum; int error; uint64_t value; } cases[] = {
		{ "0", 0, UINT64_MAX, 0, 0 },
		{ "007", 0, UINT64_MAX, 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", 0, UINT64_MAX, -ERANGE, 0 },
		{ "18446744073709551620", 0, UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999999", 0, UINT64_MAX, -ERANGE, 0 },
		{ "5", 5, 5, 0, 5 },
		{ "4", 5, 6, -ERANGE, 0 },
		{ "7", 5, 6, -ERANGE, 0 },
		{ "", 0, 9, -EINVAL, 0 },
		{ " 1", 0, 9, -EINVAL, 0 },
		{ "1 ", 0, 9, -EINVAL, 0 },
		{ "+1", 0, 9, -EINVAL, 0 },
		{ "-1", 0, 9, -EINVAL, 0 },
		{ "0x1", 0, 9, -EINVAL, 0 },
		{ "1k", 0, 9, -EINVAL, 0 },
		{ "\xd9\xa1", 0, 9, -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		uint64_t value = UNTOUCHED;

		assert_int_equal(dt_parse_u64(cases[i].text, cases[i].minimum, cases[i].maximum, &value), cases[i].error);
		assert_int_equal(value, cases[i].error ? UNTOUCHED : cases[i].value);
	}
}

static void test_bytes(void **state)
{
	static const struct { const char *text; int error; uint64_t bytes; } cases[] = {
		{ "0", 0, 0 },
		{ "4096", 0, 4096 },
		{ "1K", 0, 1024 },
		{ "400M", 0, 419430400 },
		{ "2G", 0, 2147483648 },
		{ "3T", 0, 3298534883328 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "18014398509481983K", 0, 18446744073709550592u },
		{ "18014398509481984K", -ERANGE, 0 },
		{ "16777216T", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "1k", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "1KK", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "1.5M", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		uint64_t bytes = UNTOUCHED;

		assert_int_equal(dt_parse_bytes(cases[i].text, &bytes), cases[i].error);
		assert_int_equal(bytes, cases[i].error ? UNTOUCHED : cases[i].bytes);
	}
}

static void test_seconds(void **state)
{
	static const struct { const char *text; int error; uint64_t ns; } cases[] = {
		{ "5", 0, 5000000000 },
		{ "0.25", 0, 250000000 },
		{ ".5", 0, 500000000 },
		{ "1.000000001", 0, 1000000001 },
		{ "0.000000001", 0, 1 },
		{ "18446744073.709551615", 0, UINT64_MAX },
		{ "18446744073.709551616", -ERANGE, 0 },
		{ "18446744074", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "0", -ERANGE, 0 },
		{ "0.0", -ERANGE, 0 },
		{ "0.0000000001", -EINVAL, 0 },
		{ "", -EINVAL, 0 },
		{ ".", -EINVAL, 0 },
		{ "1.", -EINVAL, 0 },
		{ "1.5.", -EINVAL, 0 },
		{ "1,5", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "1e3", -EINVAL, 0 },
		{ "1s", -EINVAL, 0 },
		{ "inf", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		uint64_t ns = UNTOUCHED;

		assert_int_equal(dt_parse_seconds(cases[i].text, &ns), cases[i].error);
		assert_int_equal(ns, cases[i].error ? UNTOUCHED : cases[i].ns);
	}
}

static void test_duration(void **state)
{
	static const struct {
		const char *text;
		int error;
		uint64_t ns;
	} cases[] = {
		{ "60s", 0, 60000000000 },
		{ "250ms", 0, 250000000 },
		{ "0.5s", 0, 500000000 },
		{ ".5ms", 0, 500000 },
		{ "5m", 0, 300000000000 },
		{ "1.5h", 0, 5400000000000 },
		{ "2d", 0, 172800000000000 },
		{ "0.000001ms", 0, 1 },
		{ "0.0000001ms", -ERANGE, 0 },
		{ "0s", -ERANGE, 0 },
		{ "0.0h", -ERANGE, 0 },
		{ "99999999999s", -ERANGE, 0 },
		{ "18446744073s", 0, 18446744073000000000u },
		{ "18446744073m", -ERANGE, 0 },
		{ "111111111111111111111111111111111111s", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "s", -EINVAL, 0 },
		{ "60", -EINVAL, 0 },
		{ "60 s", -EINVAL, 0 },
		{ "60S", -EINVAL, 0 },
		{ "60sec", -EINVAL, 0 },
		{ "60us", -EINVAL, 0 },
		{ "1h30m", -EINVAL, 0 },
		{ "-1s", -EINVAL, 0 },
		{ "+1s", -EINVAL, 0 },
		{ "1.s", -EINVAL, 0 },
		{ "1.5.s", -EINVAL, 0 },
		{ "long", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		uint64_t ns = UNTOUCHED;

		if (dt_parse_duration(cases[i].text, &ns) != cases[i].error)
			fail_msg("%s", cases[i].text);
		assert_int_equal(ns, cases[i].error ? UNTOUCHED : cases[i].ns);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_seconds),
		cmocka_unit_test(test_duration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
