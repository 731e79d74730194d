// SPDX-License-Identifier: BSD-2-Clause
/* What coroutines of this process return to, as makecontext() itself writes it on their stacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <ucontext.h>

#include "base/cleanup.h"
#include "open_elf.h"
#include "target/context_start.h"
#include "target/unwind_table.h"

#define ELF DT_CLEANUP(close_elf) struct dt_elf

static void coroutine(void)
{
}

/* The word that the stack pointer of a new context points to. */
static uintptr_t read_return_address(void)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	ucontext_t context;

	assert_int_equal(getcontext(&context), 0);
	context.uc_stack.ss_sp = stack;
	context.uc_stack.ss_size = sizeof(stack);
	context.uc_link = NULL;
	makecontext(&context, coroutine, 0);
	return *(uintptr_t *)context.uc_mcontext.gregs[REG_RSP];
}

static void test_the_libc_of_this_process(void **state)
{
	uint64_t starts[DT_CONTEXT_STARTS_MAX];
	struct dt_unwind_table table;
	Dl_info info;
	ELF *elf = NULL;
	uint64_t start;
	size_t count, at = 0;

	(void)state;
	assert_int_not_equal(dladdr((void *)read_return_address(), &info), 0);
	elf = open_elf(info.dli_fname);
	start = read_return_address() - (uintptr_t)info.dli_fbase;
	count = dt_context_start_find(elf, starts);
	while (at < count && starts[at] != start)
		at++;
	assert_true(at < count);
	assert_int_equal(dt_unwind_table_read(elf, &table), 0);
	assert_int_equal(dt_unwind_table_find(&table, start - 1).cfa, DT_CFA_END);
	assert_int_not_equal(dt_unwind_table_find(&table, start - 2).cfa, DT_CFA_END);
	assert_int_not_equal(dt_unwind_table_find(&table, start).cfa, DT_CFA_END);
	dt_unwind_table_clear(&table);
}

static void test_a_file_without_coroutines(void **state)
{
	uint64_t starts[DT_CONTEXT_STARTS_MAX];
	ELF *elf = open_elf("/bin/true");

	(void)state;
	assert_int_equal(dt_context_start_find(elf, starts), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_libc_of_this_process),
		cmocka_unit_test(test_a_file_without_coroutines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
