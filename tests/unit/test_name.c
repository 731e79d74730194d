/* SPDX-License-Identifier: BSD-2-Clause */
/* name: names of domains there and back; every source, truncation and counter has its own. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "snapshot/snapshot.h"

static void test_domain_names(void **state)
{
	static const struct {
		enum dt_source source;
		uint32_t id;
		const char *name;
	} cases[] = {
		{ DT_SOURCE_LIBC, 0, "libc" },
		{ DT_SOURCE_PYTHON, 0, "python" },
		{ DT_SOURCE_TRACEMALLOC, 389047, "numpy" },
		{ DT_SOURCE_TRACEMALLOC, 424242, "pandas" },
		{ DT_SOURCE_TRACEMALLOC, 7, "tracemalloc:7" },
		{ DT_SOURCE_TRACEMALLOC, UINT32_MAX, "tracemalloc:4294967295" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		char name[DT_DOMAIN_NAME_SIZE];
		enum dt_source source = DT_SOURCE_COUNT;
		uint32_t id = 1;

		dt_domain_name_format(cases[i].source, cases[i].id, name);
		assert_string_equal(name, cases[i].name);
		assert_int_equal(dt_domain_name_parse(name, &source, &id), 0);
		assert_int_equal(source, cases[i].source);
		assert_int_equal(id, cases[i].id);
	}
}

static void test_domain_numbers(void **state)
{
	static const char *const wrong[] = { "", "0", "-1", "+1", " 1", "1 ", "4294967296", "99999999999999999999", "Numpy",
		"libc:1", "tracemalloc", "tracemalloc:", "tracemalloc:0", "tracemalloc:x", "numpy ", "0x10", "!numpy" };
	enum dt_source source = DT_SOURCE_COUNT;
	uint32_t id = 17;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(wrong); i++)
		assert_int_equal(dt_domain_name_parse(wrong[i], &source, &id), -EINVAL);
	assert_int_equal(source, DT_SOURCE_COUNT);
	assert_int_equal(id, 17);
	assert_int_equal(dt_domain_name_parse("389047", &source, &id), 0);
	assert_int_equal(source, DT_SOURCE_TRACEMALLOC);
	assert_int_equal(id, 389047);
	assert_int_equal(dt_domain_name_parse("tracemalloc:424242", &source, &id), 0);
	assert_int_equal(id, 424242);
}

static void test_enums(void **state)
{
	(void)state;
	assert_string_equal(dt_source_name(DT_SOURCE_LIBC), "libc");
	assert_string_equal(dt_source_name(DT_SOURCE_TRACEMALLOC), "tracemalloc");
	assert_string_equal(dt_source_name(DT_SOURCE_DECLARED), "declared");
	assert_null(dt_truncation_name(DT_TRUNCATION_none));
	assert_null(dt_truncation_help(DT_TRUNCATION_none));
	assert_string_equal(dt_truncation_name(DT_TRUNCATION_unknown_mapping), "unknown_mapping");
	assert_string_equal(dt_truncation_name(DT_TRUNCATION_no_frame_pointer), "no_frame_pointer");
	assert_string_equal(dt_truncation_name(DT_TRUNCATION_too_deep), "too_deep");
	assert_string_equal(dt_truncation_help(DT_TRUNCATION_too_deep), "there are more frames than are walked");
	assert_string_equal(dt_truncation_name(DT_TRUNCATION_lost), "lost");
}

/* Each reason has a name of its own, a sentence, and, but for a lost traceback, a counter. */
static void test_truncations(void **state)
{
	(void)state;
	for (enum dt_truncation i = DT_TRUNCATION_none + 1; i < DT_TRUNCATION_COUNT; i++) {
		char counter[64];
		int counters = 0;

		assert_non_null(dt_truncation_help(i));
		for (enum dt_truncation k = DT_TRUNCATION_none + 1; k < i; k++)
			assert_string_not_equal(dt_truncation_name(i), dt_truncation_name(k));
		snprintf(counter, sizeof(counter), "truncated_%s", dt_truncation_name(i));
		for (enum dt_counter k = 0; k < DT_COUNTER_COUNT; k++)
			counters += !strcmp(dt_counter_name(k), counter) && !dt_counter_is_loss(k);
		assert_int_equal(counters, i != DT_TRUNCATION_lost);
	}
}

static void test_counters(void **state)
{
	(void)state;
	assert_string_equal(dt_counter_name(DT_COUNTER_live_full), "live_full");
	assert_true(dt_counter_is_loss(DT_COUNTER_live_full));
	assert_true(dt_counter_is_loss(DT_COUNTER_arguments_unreadable));
	assert_string_equal(dt_counter_name(DT_COUNTER_unmatched_frees), "unmatched_frees");
	assert_string_equal(dt_counter_help(DT_COUNTER_unmatched_frees), "frees of blocks older than the trace");
	assert_false(dt_counter_is_loss(DT_COUNTER_unmatched_frees));
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++) {
		assert_non_null(dt_counter_help(i));
		for (enum dt_counter k = 0; k < i; k++)
			assert_string_not_equal(dt_counter_name(i), dt_counter_name(k));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_domain_names),
		cmocka_unit_test(test_domain_numbers),
		cmocka_unit_test(test_enums),
		cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_counters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
