/* SPDX-License-Identifier: BSD-2-Clause */
/* The tables of CPython's allocators in a process: this one, which has made some up. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "target/python_alias.h"

#define BIAS 0x1000000ull
#define WORDS (1 + DT_PYTHON_CALLS)

static uint64_t tables[DT_PYTHON_TABLES][WORDS];
static struct dt_python_alloc alloc;

/* Functions at 0x100, 0x110 … (mem and object have the same), aliases 2 bytes before them. */
static void begin(void)
{
	memset(&alloc, 0, sizeof(alloc));
	for (size_t table = 0; table < DT_PYTHON_TABLES; table++) {
		alloc.tables[table] = (uint64_t)(uintptr_t)tables[table] - BIAS;
		tables[table][0] = 0;
		for (size_t i = 0; i < DT_PYTHON_CALLS; i++) {
			alloc.functions[table][i] = 0x100 + 0x10 * i + (table ? 0x100 : 0);
			alloc.aliases[table][i] = alloc.functions[table][i] - 2;
			tables[table][1 + i] = alloc.functions[table][i] + BIAS;
		}
	}
}

static enum dt_python_hold hold(void)
{
	enum dt_python_hold hold;

	assert_int_equal(dt_python_alias_read(getpid(), BIAS, &alloc, &hold), 0);
	return hold;
}

static void expect_distance(size_t table, const uint64_t *words, uint64_t distance)
{
	for (size_t i = 0; i < DT_PYTHON_CALLS; i++)
		assert_int_equal(words[1 + i], alloc.functions[table][i] + BIAS - distance);
}

static void test_there_and_back(void **state)
{
	(void)state;
	begin();
	assert_int_equal(hold(), DT_PYTHON_FUNCTIONS);
	assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, false), 0);
	assert_int_equal(hold(), DT_PYTHON_ALIASES);
	for (size_t table = 0; table < DT_PYTHON_TABLES; table++)
		expect_distance(table, tables[table], 2);
	assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, false), 0);
	assert_int_equal(hold(), DT_PYTHON_ALIASES);
	assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, true), 0);
	assert_int_equal(hold(), DT_PYTHON_FUNCTIONS);
	for (size_t table = 0; table < DT_PYTHON_TABLES; table++)
		expect_distance(table, tables[table], 0);
}

/* PYTHONMALLOC=malloc: the tables for objects hold the functions of the first one. */
static void test_functions_of_another_table(void **state)
{
	(void)state;
	begin();
	memcpy(tables[DT_PYTHON_OBJECT], tables[DT_PYTHON_RAW], sizeof(tables[0]));
	assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, false), 0);
	expect_distance(DT_PYTHON_RAW, tables[DT_PYTHON_OBJECT], 2);
	assert_int_equal(hold(), DT_PYTHON_ALIASES);
}

/* What was put over a table: its words, then a copy of the table at `offset`, to which its ctx leads. */
static void cover(size_t table, uint64_t *layer, size_t offset)
{
	memcpy(layer + offset, tables[table], sizeof(tables[table]));
	tables[table][0] = (uint64_t)(uintptr_t)layer;
	for (size_t i = 0; i < DT_PYTHON_CALLS; i++)
		tables[table][1 + i] = 0x777 + i;
}

static void test_layers(void **state)
{
	uint64_t layers[6][8] = { 0 };

	(void)state;
	for (size_t offset = 0; offset < 2; offset++) {         /* tracemalloc's; the debug hooks' */
		begin();
		cover(DT_PYTHON_MEM, layers[0], offset);
		assert_int_equal(hold(), DT_PYTHON_FUNCTIONS);
		assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, false), 0);
		assert_int_equal(hold(), DT_PYTHON_ALIASES);
		expect_distance(DT_PYTHON_MEM, layers[0] + offset, 2);
		assert_int_equal(tables[DT_PYTHON_MEM][1], 0x777);
		cover(DT_PYTHON_MEM, layers[1], 1 - offset);
		cover(DT_PYTHON_MEM, layers[2], offset);
		assert_int_equal(hold(), DT_PYTHON_ALIASES);
		assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, true), 0);
		expect_distance(DT_PYTHON_MEM, layers[0] + offset, 0);
	}
	begin();
	for (size_t i = 0; i < 5; i++)
		cover(DT_PYTHON_RAW, layers[i], 0);
	assert_int_equal(hold(), DT_PYTHON_UNKNOWN);            /* more than anyone puts there */
}

static void test_others(void **state)
{
	uint64_t loop[WORDS] = { (uint64_t)(uintptr_t)loop, 1, 2, 3, 4 };
	uint64_t before[DT_PYTHON_TABLES][WORDS];

	(void)state;
	begin();
	tables[DT_PYTHON_OBJECT][3] += 1;
	assert_int_equal(hold(), DT_PYTHON_UNKNOWN);
	memcpy(before, tables, sizeof(tables));
	assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, false), 0);
	assert_memory_equal(before[DT_PYTHON_OBJECT], tables[DT_PYTHON_OBJECT], sizeof(before[0]));
	tables[DT_PYTHON_OBJECT][0] = (uint64_t)(uintptr_t)loop;
	assert_int_equal(hold(), DT_PYTHON_UNKNOWN);
	tables[DT_PYTHON_OBJECT][0] = 16;                       /* nothing is mapped there */
	assert_int_equal(hold(), DT_PYTHON_UNKNOWN);
	memset(tables[DT_PYTHON_OBJECT], 0, sizeof(tables[0])); /* not yet filled in by the loader */
	assert_int_equal(hold(), DT_PYTHON_UNKNOWN);
}

/* A function without an alias stays. */
static void test_no_alias(void **state)
{
	(void)state;
	begin();
	alloc.aliases[DT_PYTHON_RAW][3] = 0;
	assert_int_equal(dt_python_alias_write(getpid(), BIAS, &alloc, false), 0);
	assert_int_equal(tables[DT_PYTHON_RAW][4], alloc.functions[DT_PYTHON_RAW][3] + BIAS);
	assert_int_equal(tables[DT_PYTHON_RAW][3], alloc.functions[DT_PYTHON_RAW][2] + BIAS - 2);
	assert_int_equal(hold(), DT_PYTHON_FUNCTIONS);
}

static void test_no_process(void **state)
{
	enum dt_python_hold before = DT_PYTHON_ALIASES;
	pid_t pid = fork();

	(void)state;
	if (!pid)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	begin();
	assert_int_equal(dt_python_alias_read(pid, BIAS, &alloc, &before), -ESRCH);
	assert_int_equal(before, DT_PYTHON_ALIASES);
	assert_int_equal(dt_python_alias_write(pid, BIAS, &alloc, false), -ESRCH);
	alloc.tables[0] = 16;
	assert_int_equal(dt_python_alias_read(getpid(), 0, &alloc, &before), -EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_functions_of_another_table),
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_no_alias),
		cmocka_unit_test(test_no_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
