/* SPDX-License-Identifier: BSD-2-Clause */
/* tables: sizes of tables as the options say them; what is refused is said in one sentence and changes nothing. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "session/tables.h"
#include "said.h"

static const struct dt_tables defaults = { .rows = {
#define DT_TABLE(name, row_bytes, rows, help) [DT_TABLE_##name] = rows,
#include <domtrace/tables.def>
#undef DT_TABLE
} };

static void test_names(void **state)
{
	static const char *const names[] = { "live", "traces", "totals", "past", "codes", "events" };
	uint64_t bytes;
	const char *help;

	(void)state;
	assert_int_equal(DT_ARRAY_SIZE(names), DT_TABLE_COUNT);
	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++) {
		assert_string_equal(dt_table_name(i, &bytes, &help), names[i]);
		assert_true(*help);
		assert_int_equal(bytes % defaults.rows[i], 0);
	}
	dt_table_name(DT_TABLE_live, &bytes, &help);
	assert_int_equal(bytes, 402653184);
	help = "untouched";
	bytes = 77;
	assert_null(dt_table_name(DT_TABLE_COUNT, &bytes, &help));
	assert_null(dt_table_name(SIZE_MAX, &bytes, &help));
	assert_string_equal(help, "untouched");
	assert_int_equal(bytes, 77);
}

static void assert_rows(const char *const *texts, const struct dt_tables *expected)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	struct dt_tables sizes;

	memset(&sizes, 0xff, sizeof(sizes));
	assert_int_equal(dt_tables_parse(texts, &log, &sizes), 0);
	assert_memory_equal(&sizes, expected, sizeof(sizes));
	assert_int_equal(said.lines, 0);
}

static void test_sizes(void **state)
{
	struct dt_tables expected = defaults;

	(void)state;
	assert_rows(NULL, &defaults);
	assert_rows((const char *const[]){ NULL }, &defaults);
	/* Bytes become whole rows; the last of several counts. */
	expected.rows[DT_TABLE_live] = 4369066;
	expected.rows[DT_TABLE_traces] = 1;
	expected.rows[DT_TABLE_events] = 65536;
	assert_rows((const char *const[]){ "live=96", "traces=511", "live=400M", "events=64K", NULL }, &expected);
	expected.rows[DT_TABLE_live] = 1ull << 31;
	expected.rows[DT_TABLE_events] = 1ull << 30;
	assert_rows((const char *const[]){ "live=192G", "traces=256", "events=1G", NULL }, &expected);
}

static void test_refused(void **state)
{
	static const struct { const char *text, *sentence; } cases[] = {
		{ "", "there is no such size of a table: ''; give NAME=BYTES, as live=400M; 'domtrace --help' lists the names" },
		{ "live", "there is no such size of a table: 'live'; give" },
		{ "live=", "there is no such size of a table: 'live='; give" },
		{ "=1M", "there is no such size of a table: '=1M'; give" },
		{ "liv=1M", "there is no such size of a table: 'liv=1M'; give" },
		{ "lives=1M", "there is no such size of a table: 'lives=1M'; give" },
		{ "Live=1M", "there is no such size of a table: 'Live=1M'; give" },
		{ " live=1M", "there is no such size of a table: ' live=1M'; give" },
		{ "live=1M ", "there is no such size of a table: 'live=1M '; give" },
		{ "live=-1", "there is no such size of a table: 'live=-1'; give" },
		{ "live=99999999999999999999", "there is no such size of a table: 'live=99999999999999999999'; give" },
		{ "live=0", "table live cannot have 0 bytes: a row takes 96, and it has 1 to 2147483648 of them" },
		{ "live=95", "table live cannot have 95 bytes: a row takes 96, and" },
		{ "past=127", "table past cannot have 127 bytes: a row takes 128, and" },
		{ "live=206158430304", "table live cannot have 206158430304 bytes: a row takes 96, and" },
		{ "events=32K", "table events cannot have 32768 bytes: it is a power of two from 64K to 1G" },
		{ "events=65537", "table events cannot have 65537 bytes: it is a power of two" },
		{ "events=2G", "table events cannot have 2147483648 bytes: it is a power of two" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const char *const texts[] = { "codes=96", cases[i].text, "totals=256", NULL };
		struct dt_tables sizes, untouched;
		struct said said = { 0 };
		struct dt_log log = said_log(&said);

		memset(&sizes, 0x5a, sizeof(sizes));
		untouched = sizes;
		assert_int_equal(dt_tables_parse(texts, &log, &sizes), -EINVAL);
		assert_memory_equal(&sizes, &untouched, sizeof(sizes));
		assert_int_equal(said.lines, 1);
		if (strncmp(said.last, cases[i].sentence, strlen(cases[i].sentence)))
			fail_msg("'%s': %s", cases[i].text, said.last);
		assert_int_equal(dt_tables_parse(texts, NULL, &sizes), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
