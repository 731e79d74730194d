/* SPDX-License-Identifier: BSD-2-Clause */
/* Which modules go when nobody needs them any more, and when. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "session/module.h"
#include "shell.h"

#define FILES (DT_MODULES_IDLE_MAX + 10)

/* A program of some bytes, so many times, which are different files; and one that is no program. */
static struct dt_mapping mappings[FILES + 1];
static char paths[FILES + 1][32];

static int setup(void **state)
{
	if (shell_enter(state))
		return -1;
	shell_write("program.c", "int main(void) { return 0; }\n");
	shell("gcc -o program program.c");
	shell("for i in $(seq 0 %d); do cp program file$i; echo $i >>file$i; done; echo no program >file%d", FILES - 1, FILES);
	for (size_t i = 0; i <= FILES; i++) {
		struct stat status;

		snprintf(paths[i], sizeof(paths[i]), "file%zu", i);
		assert_int_equal(stat(paths[i], &status), 0);
		mappings[i] = (struct dt_mapping){ .end = 4096, .device = status.st_dev, .inode = status.st_ino, .executable = true,
						   .path = realpath(paths[i], NULL) };
		assert_non_null(mappings[i].path);
	}
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i <= FILES; i++)
		free(mappings[i].path);
	return shell_leave(state);
}

/* All files, read one after the other; number i + 1. */
static void read_files(struct dt_modules *modules)
{
	for (uint32_t i = 0; i <= FILES; i++) {
		struct dt_module *module;

		dt_modules_begin(modules);
		assert_int_equal(dt_modules_get(modules, getpid(), &mappings[i], &module), 0);
		assert_int_equal(module->number, i + 1);
		assert_ptr_equal(dt_modules_find(modules, i + 1), module);
		assert_true(!module->elf == (i == FILES));
	}
	dt_modules_begin(modules);
}

/* Those that are left, by number. */
static void expect_left(const struct dt_modules *modules, bool (*is_left)(uint32_t number))
{
	for (uint32_t number = 1; number <= FILES + 1; number++)
		assert_int_equal(dt_modules_find(modules, number) != NULL, is_left(number));
}

/* What was in use longest ago goes, and what is no program. */
static bool latest(uint32_t number)
{
	return number > FILES - DT_MODULES_IDLE_MAX && number <= FILES;
}

static void test_the_latest_stay(void **state)
{
	static const struct dt_log log;
	struct dt_modules modules = { .log = &log };

	(void)state;
	read_files(&modules);
	assert_true(dt_modules_select(&modules));
	assert_int_equal(HASH_COUNT(modules.table), FILES + 1); /* nothing goes before the programs have ended */
	dt_modules_begin(&modules);
	dt_modules_prune(&modules);
	expect_left(&modules, latest);
	assert_int_equal(HASH_COUNT(modules.table), DT_MODULES_IDLE_MAX);
	dt_modules_begin(&modules);
	assert_false(dt_modules_select(&modules));
	dt_modules_clear(&modules);
}

static bool latest_or_used(uint32_t number)
{
	return latest(number) || number == 3 || number == 5;
}

/* One in use is not selected; one that came into use since it was does not go. */
static void test_what_is_in_use_stays(void **state)
{
	static const struct dt_log log;
	struct dt_modules modules = { .log = &log };

	(void)state;
	read_files(&modules);
	dt_modules_use(&modules, dt_modules_find(&modules, 3));
	assert_true(dt_modules_select(&modules));
	assert_true(dt_modules_find(&modules, 5)->leaving);
	assert_false(dt_modules_find(&modules, 3)->leaving);
	dt_modules_begin(&modules);
	dt_modules_use(&modules, dt_modules_find(&modules, 3));
	dt_modules_use(&modules, dt_modules_find(&modules, 5));
	dt_modules_prune(&modules);
	expect_left(&modules, latest_or_used);
	assert_false(dt_modules_find(&modules, 5)->leaving);
	dt_modules_clear(&modules);
}

/* A copy that is read takes its table from the original, which must not go before it. */
static void test_an_original_stays_with_its_copy(void **state)
{
	static const struct dt_log log;
	struct dt_modules modules = { .log = &log };
	struct dt_mapping mapping = mappings[0];
	struct dt_module *original, *copy;
	struct stat status;

	(void)state;
	shell("cp file0 twin");
	assert_int_equal(stat("twin", &status), 0);
	mapping.inode = status.st_ino;
	mapping.path = realpath("twin", NULL);
	read_files(&modules);
	original = dt_modules_find(&modules, 1);
	assert_int_equal(dt_modules_get(&modules, getpid(), &mapping, &copy), 0);
	assert_ptr_equal(copy->original, original);
	dt_modules_begin(&modules);
	assert_true(dt_modules_select(&modules));
	assert_false(copy->leaving);
	assert_false(original->leaving);
	dt_modules_clear(&modules);
	free(mapping.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_latest_stay),
		cmocka_unit_test(test_what_is_in_use_stays),
		cmocka_unit_test(test_an_original_stays_with_its_copy),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
