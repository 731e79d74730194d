/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * <domtrace/domain.h>, that file and nothing else of the project: in C and C++, by each compiler that is here, also for aarch64; what readelf
 * sees of it; programs with it run by themselves.
 */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "shell.h"

static const char source[] =
	"#include <domtrace/domain.h>\n"
	"enum { OWN = 9 };\n"
	"DT_DOMAIN_DECLARE(7, \"a name\");\n"
	"DT_DOMAIN_DECLARE(OWN, \"another name\");\n"
	"unsigned calls;\n"
	"unsigned long call(void);\n"
	"unsigned long call(void) { return ++calls; }\n"
	"int use(void *pointer, const char *name);\n"
	"int use(void *pointer, const char *name) {\n"
	"	DT_DOMAIN_NAME(OWN, name);\n"
	"	if (pointer)\n"
	"		DT_DOMAIN_TRACK(OWN, pointer, call());\n"
	"	else\n"
	"		DT_DOMAIN_UNTRACK(7u, 0x7000000000000000);\n"
	"	DT_SNAPSHOT(\"here\");\n"
	"	return (int)calls;\n"
	"}\n";
/* By itself, so that no probe is there twice. */
static const char main_source[] =
	"int use(void *pointer, const char *name);\n"
	"int main(void) { char block; return use(&block, \"a name\") + use(0, \"\") - 2; }\n";

static const char *const compilers[] = {
	"gcc -x c -std=c99", "gcc -x c -std=gnu17", "g++ -x c++ -std=c++11", "g++ -x c++ -std=c++20", "clang -x c -std=c99",
	"clang++ -x c++ -std=c++11", "aarch64-linux-gnu-gcc -x c -std=c99", "clang -x c -std=c99 --target=aarch64-linux-gnu",
};

static int count_lines(const char *command)
{
	FILE *out = popen(command, "r");
	int count = -1;

	assert_non_null(out);
	assert_int_equal(fscanf(out, "%d", &count), 1);
	pclose(out);
	return count;
}

/* Without a warning, and nothing that others would have to define; four probes, two names. */
static void expect_compiled(const char *compiler, const char *level)
{
	shell("%s -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror %s -Ialone -c source -o object", compiler, level);
	shell("readelf -sW object | awk '$7 == \"UND\" && $8 && $8 != \"_GLOBAL_OFFSET_TABLE_\" { print; n++ } END { exit n > 0 }'");
	assert_int_equal(count_lines("readelf -n object | grep -c 'Provider: domtrace'"), 4);
	assert_int_equal(count_lines("readelf -n object | grep -c '^  domtrace '"), 2);
	if (strstr(compiler, "aarch64"))
		return;
	shell("%s %s -c main -o main_object", compiler, level);
	shell("%.*s object main_object -o program && env -i ./program", (int)strcspn(compiler, " "), compiler);
	assert_int_equal(count_lines("readelf -n program | grep -c 'Provider: domtrace'"), 4);
}

static void test_compilers(void **state)
{
	const char *include = *state;

	shell_write("source", source);
	shell_write("main", main_source);
	shell("mkdir -p alone/domtrace && cp %s/domtrace/domain.h alone/domtrace", include);
	for (size_t i = 0; i < DT_ARRAY_SIZE(compilers); i++) {
		char program[64];

		snprintf(program, sizeof(program), "command -v %.*s >/dev/null", (int)strcspn(compilers[i], " "), compilers[i]);
		if (system(program)) {
			print_message("skipped: there is no %.*s\n", (int)strcspn(compilers[i], " "), compilers[i]);
			continue;
		}
		expect_compiled(compilers[i], "-O0");
		expect_compiled(compilers[i], "-O2");
	}
}

static char include_path[PATH_MAX];

static int setup(void **state)
{
	if (!realpath("include", include_path) || shell_enter(state))
		return -1;
	*state = include_path;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_compilers) };

	return cmocka_run_group_tests(tests, setup, shell_leave);
}
