/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of --domain: what they attach, what they let through, what they require; and what is refused in which words. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "session/domains.h"
#include "said.h"

#define WORDS_MAX 4

static void test_words(void **state)
{
	static const struct {
		const char *words[WORDS_MAX + 1];
		bool libc, tracemalloc, libc_required, tracemalloc_required, excluded;
		uint32_t count, ids[WORDS_MAX];
	} cases[] = {
		{ { NULL }, true, true, false, false, false, 0, { 0 } },
		{ { "libc", NULL }, true, false, true, false, false, 0, { 0 } },
		{ { "!libc", NULL }, false, true, false, false, false, 0, { 0 } },
		{ { "numpy", NULL }, false, true, false, true, false, 1, { 389047 } },
		{ { "389047", NULL }, false, true, false, true, false, 1, { 389047 } },
		{ { "!numpy", NULL }, true, true, false, false, true, 1, { 389047 } },
		{ { "!numpy", "!pandas", "!libc", NULL }, false, true, false, false, true, 2, { 389047, 424242 } },
		{ { "libc", "pandas", "7", NULL }, true, true, true, true, false, 2, { 424242, 7 } },
		{ { "numpy", "7", "!389047", NULL }, false, true, false, true, false, 1, { 7 } },
		{ { "!7", "libc", "7", NULL }, true, false, true, false, false, 0, { 0 } },
		{ { "libc", "!numpy", NULL }, true, false, true, false, false, 0, { 0 } },
		{ { "4294967295", NULL }, false, true, false, true, false, 1, { 4294967295 } },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_domains domains;

		assert_int_equal(dt_domains_parse(cases[i].words, NULL, &domains), 0);
		assert_int_equal(domains.filter.sources[DT_SOURCE_LIBC], cases[i].libc);
		assert_int_equal(domains.filter.sources[DT_SOURCE_TRACEMALLOC], cases[i].tracemalloc);
		assert_int_equal(domains.required[DT_SOURCE_LIBC], cases[i].libc_required);
		assert_int_equal(domains.required[DT_SOURCE_TRACEMALLOC], cases[i].tracemalloc_required);
		assert_int_equal(domains.excluded, cases[i].excluded);
		assert_int_equal(domains.count, cases[i].count);
		assert_memory_equal(domains.ids, cases[i].ids, cases[i].count * sizeof(uint32_t));
	}
}

static void test_no_words_are_all(void **state)
{
	struct dt_domains domains;

	(void)state;
	assert_int_equal(dt_domains_parse(NULL, NULL, &domains), 0);
	assert_true(domains.filter.sources[DT_SOURCE_LIBC] && domains.filter.sources[DT_SOURCE_TRACEMALLOC]);
	assert_int_equal(domains.count, 0);
}

/* CPython's own allocators are traced only where they are named. */
static void test_python(void **state)
{
	static const struct { const char *words[WORDS_MAX + 1]; bool python, libc, tracemalloc; } cases[] = {
		{ { NULL }, false, true, true },
		{ { "python", NULL }, true, false, false },
		{ { "python", "libc", "7", NULL }, true, true, true },
		{ { "!python", NULL }, false, true, true },
		{ { "!libc", NULL }, false, false, true },
		{ { "python", "libc", "!python", NULL }, false, true, false },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_domains domains;

		assert_int_equal(dt_domains_parse(cases[i].words, NULL, &domains), 0);
		assert_int_equal(domains.filter.sources[DT_SOURCE_PYTHON], cases[i].python);
		assert_int_equal(domains.required[DT_SOURCE_PYTHON], cases[i].python);
		assert_int_equal(domains.filter.sources[DT_SOURCE_LIBC], cases[i].libc);
		assert_int_equal(domains.filter.sources[DT_SOURCE_TRACEMALLOC], cases[i].tracemalloc);
	}
}

static void test_refusals(void **state)
{
	static const struct { const char *words[WORDS_MAX + 1]; const char *says; } cases[] = {
		{ { "tracemalloc:x", NULL }, "no domain 'tracemalloc:x'" },
		{ { "!tracemalloc", NULL }, "no domain 'tracemalloc'" },
		{ { "0", NULL }, "no domain '0'" },
		{ { "a name that is far, far too long for any domain that a program can declare, even so", NULL }, "no domain 'a name" },
		{ { "", NULL }, "no domain ''" },
		{ { "!", NULL }, "no domain ''" },
		{ { "!!libc", NULL }, "no domain '!libc'" },
		{ { "4294967296", NULL }, "no domain '4294967296'" },
		{ { "libc", "!libc", NULL }, "nothing to trace" },
		{ { "pool", "!pool", NULL }, "nothing to trace" },
		{ { "python", "!python", NULL }, "nothing to trace" },
		{ { "numpy", "!389047", NULL }, "nothing to trace" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct said said = { 0 };
		struct dt_log log = said_log(&said);
		struct dt_domains domains = { .count = 77 };

		assert_int_equal(dt_domains_parse(cases[i].words, &log, &domains), -EINVAL);
		assert_int_equal(said.lines, 1);
		if (!strstr(said.last, cases[i].says))
			fail_msg("'%s' does not say '%s'", said.last, cases[i].says);
		assert_int_equal(domains.count, 77);
	}
}

/* What is no known domain is one that a program declares. */
static void test_declared(void **state)
{
	static const struct {
		const char *words[WORDS_MAX + 1];
		bool declared, libc;
		const char *met[3], *unmet[3];
	} cases[] = {
		{ { NULL }, true, true, { "pool", "declared:7" }, { NULL } },
		{ { "libc", NULL }, false, true, { NULL }, { NULL } },
		{ { "pool", NULL }, true, false, { "pool" }, { "cache", "declared:7" } },
		{ { "declared:7", "libc", NULL }, true, true, { "declared:7" }, { "pool" } },
		{ { "!pool", NULL }, true, true, { "cache", "declared:7" }, { "pool" } },
		{ { "pool", "cache", "!pool", NULL }, true, false, { "cache" }, { "pool", "other" } },
		{ { "!libc", "!pool", NULL }, true, false, { "cache" }, { "pool" } },
		{ { "libc", "pool", "!pool", NULL }, false, true, { NULL }, { NULL } },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_domains domains;

		assert_int_equal(dt_domains_parse(cases[i].words, NULL, &domains), 0);
		assert_int_equal(domains.filter.sources[DT_SOURCE_DECLARED], cases[i].declared);
		assert_int_equal(domains.filter.sources[DT_SOURCE_LIBC], cases[i].libc);
		assert_false(domains.required[DT_SOURCE_DECLARED]);
		for (size_t k = 0; k < 3 && cases[i].met[k]; k++)
			assert_true(dt_domains_meet(&domains, cases[i].met[k]));
		for (size_t k = 0; k < 3 && cases[i].unmet[k]; k++)
			assert_false(dt_domains_meet(&domains, cases[i].unmet[k]));
	}
}

/* Each word of which no process has a domain is told once. */
static void test_missing(void **state)
{
	const char *const words[] = { "pool", "cache", "libc", "!gone", NULL };
	struct said said = { .level = DT_LOG_WARNING };
	struct dt_log log = said_log(&said);
	struct dt_domains domains;

	(void)state;
	assert_int_equal(dt_domains_parse(words, NULL, &domains), 0);
	dt_domains_meet(&domains, "pool");
	dt_domains_say_missing(&domains, &log);
	assert_int_equal(said.lines, 2);
	assert_non_null(strstr(said.last, "no process has declared a domain 'gone'"));
	dt_domains_meet(&domains, "cache");
	dt_domains_meet(&domains, "gone");
	dt_domains_say_missing(&domains, &log);
	assert_int_equal(said.lines, 2);
}

static void test_as_many_as_the_programs_take(void **state)
{
	const char *words[DT_DOMAIN_FILTER_MAX + 2] = { NULL };
	char texts[DT_DOMAIN_FILTER_MAX + 1][16];
	struct dt_domains domains;

	(void)state;
	for (int i = 0; i <= DT_DOMAIN_FILTER_MAX; i++) {
		assert_int_equal(dt_domains_parse(words, NULL, &domains), 0);
		assert_int_equal(domains.count, i);
		snprintf(texts[i], sizeof(texts[i]), "%d", i + 1);
		words[i] = texts[i];
	}
	assert_int_equal(dt_domains_parse(words, NULL, &domains), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_no_words_are_all),
		cmocka_unit_test(test_python),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_declared),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_as_many_as_the_programs_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
