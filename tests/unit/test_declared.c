/* SPDX-License-Identifier: BSD-2-Clause */
/* Sites of a file's probes; the names of an image's domains: who wins, what children have, how they are shown. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "forged_elf.h"
#include "open_elf.h"
#include "said.h"
#include "session/declared.h"

/* ---- probes ------------------------------------------------------------------------------------------------------ */

static void test_plan(void **state)
{
	DT_FREE struct forged *forged = malloc(sizeof(*forged));
	DT_FREE struct dt_site_plan *plans = calloc(1, sizeof(*plans));
	ELF_OWNED elf = NULL;
	struct dt_note_probe probes[] = { { DT_NOTE_TRACK, 0 }, { DT_NOTE_UNTRACK, 0 }, { DT_NOTE_NAME, 0 } };
	static const enum dt_site sites[] = { DT_SITE_DT_DOMAIN_TRACK, DT_SITE_DT_DOMAIN_UNTRACK, DT_SITE_DT_DOMAIN_NAME };
	struct dt_notes notes = { .probes = probes, .probe_count = DT_ARRAY_SIZE(probes), .refused = 2, .why = "of a test" };
	struct said said = { .level = DT_LOG_WARNING };
	struct dt_log log = said_log(&said);
	size_t count = 1;

	(void)state;
	forged_init(forged);
	for (size_t i = 0; i < DT_ARRAY_SIZE(probes); i++)
		probes[i].vaddr = forged_code(forged, "90", NULL);
	elf = forged_open(forged);
	assert_int_equal(dt_declared_plan(elf, &notes, "a file", &log, &plans, &count), 0);
	assert_int_equal(count, 4);
	for (size_t i = 0; i < DT_ARRAY_SIZE(probes); i++) {
		assert_int_equal(plans[i + 1].site, sites[i]);
		assert_int_equal(plans[i + 1].cookie, sites[i]);
		assert_int_equal(plans[i + 1].offset, probes[i].vaddr - FORGED_VADDR);
		assert_true(plans[i + 1].place.emulated);
		assert_int_equal(dt_site_info(plans[i + 1].site)->source, DT_SOURCE_DECLARED);
	}
	assert_int_equal(said.lines, 1);
	assert_non_null(strstr(said.last, "a file: 2 probes or names in it cannot be used, because of a test"));
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void clear(struct dt_declared *declared)
{
	dt_declared_clear(declared);
}

#define DECLARED_OWNED DT_CLEANUP(clear) struct dt_declared

static void expect_name(const struct dt_declared *declared, uint32_t domain, const char *name)
{
	if (name)
		assert_string_equal(dt_declared_find(declared, domain), name);
	else
		assert_null(dt_declared_find(declared, domain));
}

static void test_last_wins(void **state)
{
	DECLARED_OWNED declared = { 0 };

	(void)state;
	expect_name(&declared, 7, NULL);
	assert_int_equal(dt_declared_add(&declared, 7, 0, "constant"), 0);
	assert_int_equal(dt_declared_add(&declared, 8, 0, "other"), 0);
	expect_name(&declared, 7, "constant");
	assert_int_equal(dt_declared_add(&declared, 7, 0, "another file's"), 0);
	expect_name(&declared, 7, "another file's");
	assert_int_equal(dt_declared_add(&declared, 7, 0, "constant"), 0);      /* read again: it was there first */
	expect_name(&declared, 7, "another file's");
	assert_int_equal(dt_declared_add(&declared, 7, 3, "said"), 0);
	assert_int_equal(dt_declared_add(&declared, 7, 3, "said again"), 0);
	assert_int_equal(dt_declared_add(&declared, 7, 0, "a library's"), 0);
	expect_name(&declared, 7, "said again");
	assert_int_equal(dt_declared_add(&declared, 7, 3, "said"), 0);
	expect_name(&declared, 7, "said");
	assert_int_equal(dt_declared_add(&declared, 7, 2, "told late"), 0);     /* in an earlier segment */
	expect_name(&declared, 7, "said");
	assert_int_equal(dt_declared_add(&declared, 7, 4, ""), 0);
	expect_name(&declared, 7, "said");
	expect_name(&declared, 8, "other");
	expect_name(&declared, 9, NULL);
}

static void test_children(void **state)
{
	DECLARED_OWNED parent = { 0 };
	DECLARED_OWNED child = { 0 };

	(void)state;
	dt_declared_add(&parent, 1, 0, "constant");
	dt_declared_add(&parent, 2, 5, "before");
	dt_declared_add(&parent, 2, 6, "behind");
	dt_declared_add(&parent, 3, 6, "behind, too");
	assert_int_equal(dt_declared_inherit(&child, &parent, 5), 0);
	expect_name(&child, 1, "constant");
	expect_name(&child, 2, "before");
	expect_name(&child, 3, NULL);
	dt_declared_add(&child, 2, 6, "its own");
	dt_declared_add(&child, 2, 5, "its parent's, told late");
	expect_name(&child, 2, "its own");
	expect_name(&parent, 2, "behind");
}

static void test_long_names(void **state)
{
	static const struct { const char *end; size_t kept; } cases[] = {
		{ "abc", 3 }, { "ab\xc3\xa4", 2 }, { "a\xe2\x82\xac", 1 }, { "\xf0\x9f\x98\x80", 0 }, { "\xc3\xa4" "b", 3 }, { "\x80\x80\x80", 3 },
		{ "\xc3\xa4\xff", 2 },
	};
	char name[DT_NAME_BYTES + 8];

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		DECLARED_OWNED declared = { 0 };

		memset(name, 'x', DT_NAME_BYTES - 4);
		strcpy(name + DT_NAME_BYTES - 4, cases[i].end);
		strcat(name, "yy");
		dt_declared_add(&declared, 7, 1, name);
		assert_int_equal(strlen(dt_declared_find(&declared, 7)), DT_NAME_BYTES - 4 + cases[i].kept);
	}
}

static void test_full(void **state)
{
	DECLARED_OWNED declared = { 0 };
	char name[32];

	(void)state;
	for (uint32_t i = 0; i < DT_DECLARED_NAMES_MAX; i++) {
		snprintf(name, sizeof(name), "name %u", i);
		assert_int_equal(dt_declared_add(&declared, i, 1, name), 0);
		assert_false(declared.full);
	}
	assert_int_equal(dt_declared_add(&declared, DT_DECLARED_NAMES_MAX, 1, "one more"), -ENOSPC);
	assert_true(declared.full);
	expect_name(&declared, DT_DECLARED_NAMES_MAX, NULL);
	assert_int_equal(dt_declared_add(&declared, 5, 2, "another"), -ENOSPC);
	expect_name(&declared, 5, "another");
}

static void test_shown(void **state)
{
	static const struct { const char *name; uint32_t domain; const char *shown; } cases[] = {
		{ "pool", 7, "pool" }, { NULL, 7, "declared:7" }, { NULL, UINT32_MAX, "declared:4294967295" }, { "numpy", 7, "declared:numpy" },
		{ "libc", 7, "declared:libc" }, { "python", 7, "declared:python" }, { "389047", 7, "declared:389047" }, { "0", 7, "declared:0" },
		{ "tracemalloc:7", 7, "declared:tracemalloc:7" }, { "tracemalloc", 7, "declared:tracemalloc" }, { "!pool", 7, "declared:!pool" },
		{ "declared:9", 7, "declared:declared:9" }, { "\xff", 7, "\xff" }, { "7 dwarfs", 7, "7 dwarfs" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		char shown[DT_DECLARED_SHOWN_SIZE];

		dt_declared_format(cases[i].name, cases[i].domain, shown);
		assert_string_equal(shown, cases[i].shown);
	}
}

/* Domains of one number and different sources have names of their own. */
static void test_of_any_source(void **state)
{
	struct dt_declared declared = { 0 };
	char shown[DT_DECLARED_SHOWN_SIZE];

	(void)state;
	assert_int_equal(dt_declared_add(&declared, 389047, 0, "pool"), 0);
	dt_declared_show(&declared, DT_SOURCE_DECLARED, 389047, shown);
	assert_string_equal(shown, "pool");
	dt_declared_show(&declared, DT_SOURCE_DECLARED, 1, shown);
	assert_string_equal(shown, "declared:1");
	dt_declared_show(&declared, DT_SOURCE_TRACEMALLOC, 389047, shown);
	assert_string_equal(shown, "numpy");
	dt_declared_show(&declared, DT_SOURCE_LIBC, 0, shown);
	assert_string_equal(shown, "libc");
	dt_declared_clear(&declared);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plan), cmocka_unit_test(test_last_wins), cmocka_unit_test(test_children), cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_full), cmocka_unit_test(test_shown), cmocka_unit_test(test_of_any_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
