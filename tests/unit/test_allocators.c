/* SPDX-License-Identifier: BSD-2-Clause */
/* Allocators that the user names: what of a text is the file, and which files it stands for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "session/allocators.h"

static void test_texts(void **state)
{
	static const struct {
		const char *text, *file, *prefix;
	} cases[] = {
		{ "libfoo.so", "libfoo.so", "" },
		{ "libfoo.so:", "libfoo.so", "" },
		{ "libfoo.so:foo_", "libfoo.so", "foo_" },
		{ "/opt/x/libfoo.so.1:_Foo$1", "/opt/x/libfoo.so.1", "_Foo$1" },
		{ "/opt/a:b/libfoo.so", "/opt/a:b/libfoo.so", "" },
		{ "/opt/a:b", "/opt/a", "b" },
		{ "/opt/a:b:", "/opt/a:b", "" },
		{ "C:\\x-y", "C:\\x-y", "" },
	};
	struct dt_allocators allocators;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const texts[] = { cases[i].text, NULL };

		assert_int_equal(dt_allocators_parse(texts, NULL, &allocators), 0);
		assert_int_equal(allocators.count, 1);
		assert_string_equal(allocators.list[0].file, cases[i].file);
		assert_string_equal(allocators.list[0].prefix, cases[i].prefix);
		assert_false(allocators.list[0].matched);
		dt_allocators_clear(&allocators);
	}
	assert_int_equal(dt_allocators_parse(NULL, NULL, &allocators), 0);
	assert_int_equal(allocators.count, 0);
	dt_allocators_clear(&allocators);
}

static void keep(void *context, enum dt_log_level level, const char *line)
{
	assert_int_equal(level, DT_LOG_ERROR);
	strcpy(context, line);
}

static void test_no_file(void **state)
{
	static const char *const texts[] = { "libfoo.so", ":foo_", NULL };
	struct dt_allocators allocators;
	char said[256] = "";
	const struct dt_log log = { keep, said };

	(void)state;
	assert_int_equal(dt_allocators_parse(texts, &log, &allocators), -EINVAL);
	assert_string_equal(said, "the allocator ':foo_' names no file: it is FILE or FILE:PREFIX");
}

static void test_matches(void **state)
{
	static const struct {
		const char *file, *path;
		bool matches;
	} cases[] = {
		{ "libfoo.so", "/usr/lib/libfoo.so", true },
		{ "libfoo.so", "/usr/lib/libfoo.so.1", false },
		{ "libfoo.so*", "/usr/lib/libfoo.so.1", true },
		{ "foo.so", "/usr/lib/libfoo.so", false },
		{ "lib", "/usr/lib/libfoo.so", false },
		{ "/usr/lib/libfoo.so", "/usr/lib/libfoo.so", true },
		{ "/usr/lib/libfoo.so", "/x/usr/lib/libfoo.so", false },
		{ "*/libfoo.so", "/x/usr/lib/libfoo.so", true },
		{ "/usr/*", "/usr/lib/libfoo.so", true },
		{ "[l", "/usr/lib/[l", true },
		{ "memfd:*", "memfd:x", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct dt_allocator allocator = { .file = (char *)(uintptr_t)cases[i].file };

		if (dt_allocator_matches(&allocator, cases[i].path) != cases[i].matches)
			fail_msg("%s, %s", cases[i].file, cases[i].path);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_no_file), cmocka_unit_test(test_matches) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
