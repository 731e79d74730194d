// SPDX-License-Identifier: BSD-2-Clause
/* bpf/atomic.bpf.h: what the compilers must refuse, and that they take the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

static const char *const compilers[] = { CLANG " -target bpf -mcpu=v3", HOST_COMPILER };

/* Does it compile? */
static int compiles(const char *compiler, const char *statement)
{
	char command[1024];
	FILE *source;
	int status;

	snprintf(command, sizeof(command), "%s -O2 -S -Wall -Wextra -Werror -x c -I. -o /dev/null - 2>/dev/null", compiler);
	source = popen(command, "w");
	assert_non_null(source);
	fprintf(source, "typedef struct { unsigned char c; unsigned short s; unsigned i; volatile unsigned v; unsigned long long l; } of;\n"
			"#include \"bpf/atomic.bpf.h\"\n"
			"unsigned long long f(of *o);\nunsigned long long f(of *o) { %s }\n", statement);
	status = pclose(source);
	assert_true(status != -1 && WIFEXITED(status));
	return !WEXITSTATUS(status);
}

static void test_what_they_take(void **state)
{
	static const struct {
		const char *statement;
		int compiles;
	} cases[] = {
		{ "return atomic_fetch_and_add(&o->l, 1);", 1 },
		{ "return atomic_compare_and_swap(&o->l, 1, 2);", 1 },
		{ "return atomic_compare_and_swap(&o->i, 1, 2);", 1 },
		{ "atomic_add(&o->i, 1); atomic_add(&o->v, 1); atomic_add(&o->l, 1); return 0;", 1 },
		{ "return atomic_fetch_and_add(&o->i, 1);", 0 },
		{ "atomic_fetch_and_add(&o->v, 1); return 0;", 0 },
		{ "return atomic_add(&o->l, 1);", 0 },
		{ "return atomic_fetch_and_add(&o->s, 1);", 0 },
		{ "atomic_add(&o->s, 1); return 0;", 0 },
		{ "atomic_add(&o->c, 1); return 0;", 0 },
		{ "return atomic_compare_and_swap(&o->s, 1, 2);", 0 },
		{ "return __sync_fetch_and_add(&o->l, 1);", 0 },
		{ "return __sync_add_and_fetch(&o->i, 1);", 0 },
		{ "return __sync_val_compare_and_swap(&o->l, 1, 2);", 0 },
		{ "return __sync_lock_test_and_set(&o->i, 1);", 0 },
		{ "return __atomic_fetch_add(&o->i, 1, 0);", 0 },
		{ "return __atomic_exchange_n(&o->i, 1, 0);", 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(compilers) / sizeof(compilers[0]); i++)
		for (size_t k = 0; k < sizeof(cases) / sizeof(cases[0]); k++)
			if (compiles(compilers[i], cases[k].statement) != cases[k].compiles)
				fail_msg("%s %s: %s", compilers[i], cases[k].compiles ? "refuses" : "takes", cases[k].statement);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_they_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
