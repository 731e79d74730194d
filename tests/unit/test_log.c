/* SPDX-License-Identifier: BSD-2-Clause */
/* Sentences: to whom they go, and what comes back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"

static struct { enum dt_log_level level; char line[8192]; int lines; } said;

static void say(void *context, enum dt_log_level level, const char *line)
{
	assert_ptr_equal(context, &said);
	said.level = level;
	strncpy(said.line, line, sizeof(said.line) - 1);
	said.lines++;
}

static void test_nobody_listens(void **state)
{
	static const struct dt_log deaf;

	(void)state;
	assert_int_equal(dt_log_error(NULL, -ENOENT, "%s", "x"), -ENOENT);
	assert_int_equal(dt_log_error(&deaf, -EPERM, "%s", "x"), -EPERM);
	dt_log_warning(NULL, "x");
}

static void test_levels_and_text(void **state)
{
	static const struct dt_log log = { .write = say, .context = &said };
	char long_text[5000];

	(void)state;
	assert_int_equal(dt_log_error(&log, -ESRCH, "no process %d", 7), -ESRCH);
	assert_int_equal(said.level, DT_LOG_ERROR);
	assert_string_equal(said.line, "no process 7");
	dt_log_warning(&log, "100%%");
	assert_int_equal(said.level, DT_LOG_WARNING);
	assert_string_equal(said.line, "100%");
	dt_log_info(&log, "%s", "");
	assert_int_equal(said.level, DT_LOG_INFO);
	assert_string_equal(said.line, "");
	memset(long_text, 'x', sizeof(long_text) - 1);
	long_text[sizeof(long_text) - 1] = '\0';
	dt_log_debug(&log, "%s", long_text);
	assert_int_equal(said.level, DT_LOG_DEBUG);
	assert_string_equal(said.line, long_text);
	assert_int_equal(said.lines, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nobody_listens),
		cmocka_unit_test(test_levels_and_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
