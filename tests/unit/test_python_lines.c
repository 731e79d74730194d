/* SPDX-License-Identifier: BSD-2-Clause */
/* Lines: every instruction of the standard library as CPython itself tells them; then tables that end too early. */
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "target/python_lines.h"

/*
 * One line for each code object in the modules of the standard library and in a few odd ones made here: first line,
 * table, and the line of every code unit (0: none). Prints nothing before 3.11, which has other tables.
 */
static const char script[] =
	"import glob, os, sys\n"
	"def show(code):\n"
	"    lines = ' '.join(str(p[0] or 0) for p in code.co_positions())\n"
	"    print(code.co_firstlineno, code.co_linetable.hex() or '-', lines)\n"
	"    for constant in code.co_consts:\n"
	"        if hasattr(constant, 'co_linetable'):\n"
	"            show(constant)\n"
	"if sys.version_info < (3, 11):\n"
	"    sys.exit()\n"
	"for name in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), '*.py'))):\n"
	"    with open(name, 'rb') as file:\n"
	"        show(compile(file.read(), name, 'exec'))\n"
	"far = '\\n' * 70000\n"
	"show(compile('x = 1' + far + 'y = (2,' + far + ' f(3))\\ndef f():' + far + ' pass', '<far>', 'exec'))\n"
	"show(compile('with a: b\\nfor c in d:\\n  try: e\\n  except: f\\n  finally: g', '<odd>', 'exec'))\n"
	"show(compile('x = ' + 'a + ' * 500 + 'b', '<columns>', 'exec'))\n"
	"code = compile('a\\nb\\nc', '<moved>', 'exec')\n"
	"show(code.replace(co_firstlineno=1000000))\n";

#define TABLE_MAX 65536

struct table {
	uint8_t bytes[TABLE_MAX];
	size_t size;
	int first_line;
};

static size_t read_hex(const char *hex, uint8_t *bytes)
{
	size_t size = 0;
	unsigned int byte;

	for (; sscanf(hex + 2 * size, "%2x", &byte) == 1; size++) {
		assert_true(size < TABLE_MAX);
		bytes[size] = (uint8_t)byte;
	}
	return size;
}

static int find(const struct table *table, uint32_t instruction)
{
	return dt_python_line_find(table->bytes, table->size, table->first_line, instruction);
}

/* Compares every instruction of one printed code object; returns how many there were. */
static size_t compare_code(char *line, struct table *table)
{
	char *rest = line, *first = strsep(&rest, " "), *hex = strsep(&rest, " "), *expected;
	uint32_t instruction = 0;

	table->first_line = atoi(first);
	table->size = *hex == '-' ? 0 : read_hex(hex, table->bytes);
	for (; (expected = strsep(&rest, " \n")) && *expected; instruction += 2)
		if (find(table, instruction) != atoi(expected) || find(table, instruction + 1) != atoi(expected))
			fail_msg("first line %s, table %.60s…, instruction %u: %d, CPython says %s", first, hex, instruction,
				 find(table, instruction), expected);
	assert_int_equal(find(table, instruction), 0);
	assert_int_equal(find(table, UINT32_MAX), 0);
	return instruction / 2;
}

static size_t compare_python(const char *python)
{
	DT_FREE char *command = NULL, *line = NULL;
	DT_FREE struct table *table = calloc(1, sizeof(*table));
	size_t room = 0, codes = 0, instructions = 0;
	FILE *pipe;

	assert_non_null(table);
	assert_int_equal(setenv("DT_TEST_SCRIPT", script, 1), 0);
	assert_true(asprintf(&command, "exec '%s' -IW ignore -c \"$DT_TEST_SCRIPT\"", python) > 0);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	for (; getline(&line, &room, pipe) > 0; codes++)
		instructions += compare_code(line, table);
	assert_int_equal(pclose(pipe), 0);
	print_message("%s: %zu instructions of %zu code objects compared\n", python, instructions, codes);
	return codes;
}

static void test_lines_of_the_system_python(void **state)
{
	(void)state;
	if (access("/usr/bin/python3", X_OK)) {
		print_message("skipped: there is no /usr/bin/python3\n");
		skip();
	}
	if (!compare_python("/usr/bin/python3")) {
		print_message("skipped: /usr/bin/python3 is older than 3.11\n");
		skip();
	}
}

static void test_lines_of_pyenv_pythons(void **state)
{
	const char *root = getenv("PYENV_ROOT");
	DT_FREE char *pattern = NULL;
	glob_t found = { 0 };

	(void)state;
	assert_true(asprintf(&pattern, "%s/versions/3.1[1-9]*/bin/python3", root ? root : "~/.pyenv") > 0);
	if (glob(pattern, GLOB_TILDE, NULL, &found)) {
		print_message("skipped: there is no %s\n", pattern);
		skip();
	}
	for (size_t i = 0; i < found.gl_pathc; i++)
		assert_true(compare_python(found.gl_pathv[i]) > 0);
	globfree(&found);
}

static void test_entries_by_hand(void **state)
{
	static const struct { const char *hex; uint32_t instruction; int line; } cases[] = {
		{ "", 0, 0 },
		{ "8000", 0, 100 }, { "8000", 1, 100 }, { "8000", 2, 0 },               /* code 0: the same line, 1 unit */
		{ "8700", 15, 100 }, { "8700", 16, 0 },                                 /* 8 units */
		{ "d00000", 0, 100 }, { "d80000", 0, 101 }, { "e00000", 0, 102 },       /* codes 10, 11, 12 */
		{ "e802", 0, 101 }, { "e803", 0, 99 }, { "e84201", 0, 133 },            /* code 13: +1, -1, +33 */
		{ "f002000000", 0, 101 }, { "f802", 0, 0 },                             /* code 14; code 15: none */
		{ "e802f8e802", 2, 0 }, { "e802f8e802", 4, 102 },                       /* none keeps the line for the next */
		{ "e8ca01", 0, 0 }, { "00", 0, 0 }, { "e8", 0, 0 }, { "e842", 0, 0 },   /* damaged */
		{ "e8424242424242424201", 0, 0 }, { "e8437f7f7f7f0f", 0, 0 },           /* too long; line below 0 */
		{ "e8427f7f7f7f0f", 0, 0 },                                             /* beyond an int */
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		size_t size = strlen(cases[i].hex) / 2;
		DT_FREE uint8_t *bytes = malloc(size), *room = calloc(1, TABLE_MAX);

		assert_int_equal(read_hex(cases[i].hex, room), size);
		memcpy(bytes, room, size);
		if (dt_python_line_find(bytes, size, 100, cases[i].instruction) != cases[i].line)
			fail_msg("%s at %u: %d, not %d", cases[i].hex, cases[i].instruction,
				 dt_python_line_find(bytes, size, 100, cases[i].instruction), cases[i].line);
	}
}

/* What is left of a table says the same as the whole one, or nothing; never anything else. */
static void test_tables_that_end_too_early(void **state)
{
	static const uint8_t whole[] = {
		0x80, 0x05, 0xd9, 0x04, 0x07, 0xe8, 0x42, 0x41, 0x01, 0xf2, 0x43, 0x7f, 0x03, 0x02, 0x41, 0x01, 0x05,
		0xfb, 0xe1, 0x00, 0x01, 0xea, 0x06, 0x87, 0x55,
	};

	(void)state;
	for (size_t size = 0; size < sizeof(whole); size++) {
		DT_FREE uint8_t *cut = malloc(size);

		memcpy(cut, whole, size);
		for (uint32_t instruction = 0; instruction < 64; instruction++) {
			int is = dt_python_line_find(cut, size, 100000, instruction);

			if (is)
				assert_int_equal(is, dt_python_line_find(whole, sizeof(whole), 100000, instruction));
		}
	}
}

/* Nothing to compare with, but AddressSanitizer and UBSan watch. */
static void test_random_tables(void **state)
{
	uint64_t seed = 88172645463325252u;

	(void)state;
	for (int round = 0; round < 200000; round++) {
		size_t size = (size_t)(round % 40);
		DT_FREE uint8_t *bytes = malloc(size);

		for (size_t i = 0; i < size; i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			bytes[i] = (uint8_t)(seed >> 32);
		}
		assert_true(dt_python_line_find(bytes, size, (int)seed, (uint32_t)(seed % 600)) >= 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines_of_the_system_python),
		cmocka_unit_test(test_lines_of_pyenv_pythons),
		cmocka_unit_test(test_entries_by_hand),
		cmocka_unit_test(test_tables_that_end_too_early),
		cmocka_unit_test(test_random_tables),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
