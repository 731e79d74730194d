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
 * One line for each code object in the modules of the standard library and in a few odd ones made here: format (enum
 * dt_python_lines), first line, table, and the line of every code unit (0: none), which PyCode_Addr2Line gives as -1.
 */
static const char script[] =
	"import ctypes, glob, os, sys\n"
	"kind = 0 if sys.version_info < (3, 10) else 1 if sys.version_info < (3, 11) else 2\n"
	"address_to_line = ctypes.pythonapi.PyCode_Addr2Line\n"
	"address_to_line.argtypes = ctypes.py_object, ctypes.c_int\n"
	"def show(code):\n"
	"    table = code.co_linetable if kind else code.co_lnotab\n"
	"    lines = ' '.join(str(max(address_to_line(code, i), 0)) for i in range(0, len(code.co_code), 2))\n"
	"    print(kind, code.co_firstlineno, table.hex() or '-', lines)\n"
	"    for constant in code.co_consts:\n"
	"        if hasattr(constant, 'co_code'):\n"
	"            show(constant)\n"
	"for name in sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), '*.py'))):\n"
	"    with open(name, 'rb') as file:\n"
	"        show(compile(file.read(), name, 'exec'))\n"
	"far = '\\n' * 70000\n"
	"show(compile('x = 1' + far + 'y = (2,' + far + ' f(3))\\ndef f():' + far + ' pass', '<far>', 'exec'))\n"
	"show(compile('with a: b\\nfor c in d:\\n  try: e\\n  except: f\\n  finally: g', '<odd>', 'exec'))\n"
	"show(compile('x = ' + 'a + ' * 500 + 'b', '<columns>', 'exec'))\n"
	"code = compile('a\\nb\\nc', '<moved>', 'exec')\n"
	"if hasattr(code, 'replace'):\n"
	"    show(code.replace(co_firstlineno=1000000))\n";

#define TABLE_MAX 65536

struct table {
	uint8_t bytes[TABLE_MAX];
	struct dt_python_line_table lines;
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

/* Compares every instruction of one printed code object; returns how many there were. */
static size_t compare_code(char *line, struct table *table)
{
	char *rest = line, *format = strsep(&rest, " "), *first = strsep(&rest, " "), *hex = strsep(&rest, " "), *expected;
	uint32_t instruction = 0;

	table->lines.format = (enum dt_python_lines)atoi(format);
	table->lines.first_line = atoi(first);
	table->lines.bytes = table->bytes;
	table->lines.size = *hex == '-' ? 0 : read_hex(hex, table->bytes);
	for (; (expected = strsep(&rest, " \n")) && *expected; instruction += 2)
		if (dt_python_line_find(&table->lines, instruction) != atoi(expected))
			fail_msg("first line %s, table %.60s…, instruction %u: %d, CPython says %s", first, hex, instruction,
				 dt_python_line_find(&table->lines, instruction), expected);
	assert_int_equal(dt_python_line_find(&table->lines, DT_PYTHON_NOT_STARTED), table->lines.first_line);
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
	assert_true(asprintf(&command, "exec '%s' -IW ignore -X utf8 -c \"$DT_TEST_SCRIPT\"", python) > 0);
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
	assert_true(compare_python("/usr/bin/python3") > 0);
}

static void test_lines_of_pyenv_pythons(void **state)
{
	const char *root = getenv("PYENV_ROOT");
	DT_FREE char *pattern = NULL;
	glob_t found = { 0 };

	(void)state;
	assert_true(asprintf(&pattern, "%s/versions/3.*/bin/python3", root ? root : "~/.pyenv") > 0);
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
	static const struct { enum dt_python_lines format; const char *hex; uint32_t instruction; int line; } cases[] = {
		/* 3.11: */
		{ DT_PYTHON_LOCATIONS, "", 0, 0 },
		{ DT_PYTHON_LOCATIONS, "8000", 0, 100 }, { DT_PYTHON_LOCATIONS, "8000", 1, 100 },       /* code 0: the same line, 1 unit */
		{ DT_PYTHON_LOCATIONS, "8000", 2, 0 }, { DT_PYTHON_LOCATIONS, "8000", UINT32_MAX - 1, 0 },
		{ DT_PYTHON_LOCATIONS, "8700", 15, 100 }, { DT_PYTHON_LOCATIONS, "8700", 16, 0 },       /* 8 units */
		{ DT_PYTHON_LOCATIONS, "d00000", 0, 100 }, { DT_PYTHON_LOCATIONS, "d80000", 0, 101 },   /* codes 10, 11, 12 */
		{ DT_PYTHON_LOCATIONS, "e00000", 0, 102 },
		{ DT_PYTHON_LOCATIONS, "e802", 0, 101 }, { DT_PYTHON_LOCATIONS, "e803", 0, 99 },        /* code 13: +1, -1, +33 */
		{ DT_PYTHON_LOCATIONS, "e84201", 0, 133 },
		{ DT_PYTHON_LOCATIONS, "f002000000", 0, 101 }, { DT_PYTHON_LOCATIONS, "f802", 0, 0 },   /* code 14; code 15: none */
		{ DT_PYTHON_LOCATIONS, "e802f8e802", 2, 0 }, { DT_PYTHON_LOCATIONS, "e802f8e802", 4, 102 }, /* none keeps the line for the next */
		{ DT_PYTHON_LOCATIONS, "e8ca01", 0, 0 }, { DT_PYTHON_LOCATIONS, "00", 0, 0 },           /* damaged */
		{ DT_PYTHON_LOCATIONS, "e8", 0, 0 }, { DT_PYTHON_LOCATIONS, "e842", 0, 0 },
		{ DT_PYTHON_LOCATIONS, "e8424242424242424201", 0, 0 },                                  /* too long */
		{ DT_PYTHON_LOCATIONS, "e8437f7f7f7f0f", 0, 0 },                                        /* line below 0 */
		{ DT_PYTHON_LOCATIONS, "e8427f7f7f7f0f", 0, 0 },                                        /* beyond an int */
		/* 3.10: */
		{ DT_PYTHON_LINETABLE, "", 0, 0 },
		{ DT_PYTHON_LINETABLE, "0400", 0, 100 }, { DT_PYTHON_LINETABLE, "0400", 3, 100 }, { DT_PYTHON_LINETABLE, "0400", 4, 0 },
		{ DT_PYTHON_LINETABLE, "020502ff", 1, 105 }, { DT_PYTHON_LINETABLE, "020502ff", 2, 104 },
		{ DT_PYTHON_LINETABLE, "0280", 0, 0 }, { DT_PYTHON_LINETABLE, "02800201", 2, 101 },     /* none keeps the line */
		{ DT_PYTHON_LINETABLE, "007f007f0201", 0, 355 },                                        /* far away, in pieces */
		{ DT_PYTHON_LINETABLE, "02", 0, 0 }, { DT_PYTHON_LINETABLE, "028102818281", 5, 0 },     /* cut; below 0 */
		{ DT_PYTHON_LINETABLE, "0200", UINT32_MAX - 1, 0 },
		/* up to 3.9: */
		{ DT_PYTHON_LNOTAB, "0001", 0, 101 }, { DT_PYTHON_LNOTAB, "0201", 0, 100 }, { DT_PYTHON_LNOTAB, "0201", 1, 100 },
		{ DT_PYTHON_LNOTAB, "0201", 2, 101 }, { DT_PYTHON_LNOTAB, "0201", UINT32_MAX - 1, 101 },
		{ DT_PYTHON_LNOTAB, "020504fe", 6, 103 }, { DT_PYTHON_LNOTAB, "020504fe", 5, 105 },
		{ DT_PYTHON_LNOTAB, "020502", 8, 105 }, { DT_PYTHON_LNOTAB, "02810081", 2, 0 },         /* cut; below 0 */
		/* none at all */
		{ (enum dt_python_lines)3, "0001", 0, 0 }, { (enum dt_python_lines)~0u, "0001", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		size_t size = strlen(cases[i].hex) / 2;
		DT_FREE uint8_t *bytes = malloc(size), *room = calloc(1, TABLE_MAX);
		struct dt_python_line_table table = { bytes, size, 100, cases[i].format };

		assert_int_equal(read_hex(cases[i].hex, room), size);
		memcpy(bytes, room, size);
		if (dt_python_line_find(&table, cases[i].instruction) != cases[i].line)
			fail_msg("%s at %u: %d, not %d", cases[i].hex, cases[i].instruction,
				 dt_python_line_find(&table, cases[i].instruction), cases[i].line);
	}
}

/* What is left of a table says the same as the whole one, or nothing; never anything else. */
static void test_tables_that_end_too_early(void **state)
{
	static const uint8_t whole[] = {
		0x80, 0x05, 0xd9, 0x04, 0x07, 0xe8, 0x42, 0x41, 0x01, 0xf2, 0x43, 0x7f, 0x03, 0x02, 0x41, 0x01, 0x05,
		0xfb, 0xe1, 0x00, 0x01, 0xea, 0x06, 0x87, 0x55,
	};
	static const struct dt_python_line_table uncut = { whole, sizeof(whole), 100000, DT_PYTHON_LOCATIONS };

	(void)state;
	for (size_t size = 0; size < sizeof(whole); size++) {
		DT_FREE uint8_t *bytes = malloc(size);
		struct dt_python_line_table cut = { bytes, size, 100000, DT_PYTHON_LOCATIONS };

		memcpy(bytes, whole, size);
		for (uint32_t instruction = 0; instruction < 64; instruction++) {
			int is = dt_python_line_find(&cut, instruction);

			if (is)
				assert_int_equal(is, dt_python_line_find(&uncut, instruction));
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
		for (int format = DT_PYTHON_LNOTAB; format <= DT_PYTHON_LOCATIONS; format++) {
			struct dt_python_line_table table = { bytes, size, (int)seed, (enum dt_python_lines)format };

			assert_true(dt_python_line_find(&table, (uint32_t)(seed % 600)) >= 0);
		}
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
