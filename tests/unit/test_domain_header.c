/* SPDX-License-Identifier: BSD-2-Clause */
/* <domtrace/domain.h> by itself: in C and C++, by each compiler that is here, also for aarch64; what readelf sees of it. */
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

/* Without a warning; four probes, two names. */
static void expect_compiled(const char *compiler, const char *level, const char *include)
{
	shell("%s -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror %s -I%s -c source -o object", compiler, level, include);
	assert_int_equal(count_lines("readelf -n object | grep -c 'Provider: domtrace'"), 4);
	assert_int_equal(count_lines("readelf -n object | grep -c '^  domtrace '"), 2);
}

static void test_compilers(void **state)
{
	const char *include = *state;
	DT_FILE FILE *file = fopen("source", "w");

	assert_non_null(file);
	assert_true(fputs(source, file) >= 0 && !fflush(file));
	for (size_t i = 0; i < DT_ARRAY_SIZE(compilers); i++) {
		char program[64];

		snprintf(program, sizeof(program), "command -v %.*s >/dev/null", (int)strcspn(compilers[i], " "), compilers[i]);
		if (system(program)) {
			print_message("skipped: there is no %.*s\n", (int)strcspn(compilers[i], " "), compilers[i]);
			continue;
		}
		expect_compiled(compilers[i], "-O0", include);
		expect_compiled(compilers[i], "-O2", include);
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
