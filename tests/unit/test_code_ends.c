/* SPDX-License-Identifier: BSD-2-Clause */
/* Ends of code: functions written in assembly for each rule, in this very executable; then the operators of real allocators. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "open_elf.h"
#include "target/code_ends.h"

/* CASE(name, code, ends as offsets from its entry, how many, incomplete). dt_ends_stop is what stops(); dt_ends_other returns at once. */
#define CASES \
	CASE(plain, "push %rbx\npop %rbx\nret\nret\n", ENDS(2), 1, false) \
	CASE(two, "test %rdi, %rdi\njne 1f\nret\n1: nop\nret\n", ENDS(5, 7), 2, false) \
	CASE(loop, "1: dec %rdi\njne 1b\nret\n", ENDS(5), 1, false) \
	CASE(for_ever, "1: jmp 1b\nret\n", ENDS(0), 0, false) \
	CASE(trap, "ud2\nret\n", ENDS(0), 0, false) \
	CASE(returns_pop, "ret $8\n", ENDS(0), 1, false) \
	CASE(call, ".byte 0xe8\n.long dt_ends_other - . - 4\nret\n", ENDS(5), 1, false) \
	CASE(call_stops, "test %rdi, %rdi\nje 1f\n.byte 0xe8\n.long dt_ends_stop - . - 4\nret\n1: ret\n", ENDS(11), 1, false) \
	CASE(jump_stops, ".byte 0xe9\n.long dt_ends_stop - . - 4\n", ENDS(0), 0, false) \
	CASE(condition_stops, "test %rdi, %rdi\n.byte 0x0f, 0x84\n.long dt_ends_stop - . - 4\nret\n", ENDS(9), 1, false) \
	CASE(unknown, "jmp *%rax\n", ENDS(0), 0, true) \
	CASE(no_instruction, ".byte 0x06\nret\n", ENDS(0), 0, true) \
	CASE(pointer, "lea 1f(%rip), %rcx\njmp *%rcx\n.skip 16, 0xcc\n1: ret\n", ENDS(25), 1, false)

#define ENDS(...) { __VA_ARGS__ }
#define CASE(name, code, ends, count, incomplete) \
	__asm__(".pushsection .text\n.balign 32\n.type dt_ends_" #name ", @function\n" \
		"dt_ends_" #name ":\n" code ".skip 32, 0xcc\n.size dt_ends_" #name ", . - dt_ends_" #name "\n.popsection\n");
CASES
#undef CASE

__asm__(".pushsection .text\n.type dt_ends_other, @function\ndt_ends_other: ret\n.type dt_ends_stop, @function\ndt_ends_stop: ret\n"
	".type dt_ends_tail, @function\ndt_ends_tail: .byte 0xe9\n.long dt_ends_other - . - 4\n.popsection\n");

static uint64_t entry_of(const struct dt_elf *elf, const char *name)
{
	struct dt_elf_symbol symbol;

	assert_int_equal(dt_elf_find_symbol(elf, name, &symbol), 0);
	return symbol.vaddr;
}

static bool stops(const void *context, uint64_t vaddr)
{
	return vaddr == *(const uint64_t *)context;
}

static bool holds(const struct dt_code_ends *ends, uint64_t vaddr)
{
	for (size_t i = 0; i < ends->count; i++)
		if (ends->vaddrs[i] == vaddr)
			return true;
	return false;
}

static void test_rules(void **state)
{
	static const struct {
		const char *name;
		uint32_t ends[4];
		size_t count;
		bool incomplete;
	} cases[] = {
#define CASE(name, code, ends, count, incomplete) { "dt_ends_" #name, ends, count, incomplete },
		CASES
#undef CASE
	};
	struct dt_elf *elf = open_elf("/proc/self/exe");
	uint64_t stop = entry_of(elf, "dt_ends_stop");
	struct dt_code_ends ends;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t entry = entry_of(elf, cases[i].name);

		assert_int_equal(dt_code_ends_find(elf, entry, stops, &stop, &ends), 0);
		if (ends.count != cases[i].count || ends.incomplete != cases[i].incomplete)
			fail_msg("%s: %zu ends, incomplete: %d", cases[i].name, ends.count, ends.incomplete);
		for (size_t j = 0; j < cases[i].count; j++)
			if (!holds(&ends, entry + cases[i].ends[j]))
				fail_msg("%s: no end at %u", cases[i].name, cases[i].ends[j]);
	}
	assert_int_equal(dt_code_ends_find(elf, entry_of(elf, "dt_ends_tail"), stops, &stop, &ends), 0);
	assert_int_equal(ends.count, 1);
	assert_int_equal(ends.vaddrs[0], entry_of(elf, "dt_ends_other"));
	assert_int_equal(dt_code_ends_find(elf, UINT64_MAX, stops, &stop, &ends), -ENXIO);
	dt_elf_close(elf);
}

/* Each end is a `ret`, and all are known: in stripped libraries, with tail calls through the PLT and through pointers. */
static void test_operators(void **state)
{
	static const char *const files[] = {
		"/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", "/usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4",
		"/usr/lib/x86_64-linux-gnu/libmimalloc.so.2", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
	};
	static const char *const names[] = { "_Znwm", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t" };
	uint64_t none = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		struct dt_elf *elf;

		if (access(files[i], R_OK)) {
			print_message("skipped: there is no %s\n", files[i]);
			continue;
		}
		elf = open_elf(files[i]);
		for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++) {
			struct dt_code_ends ends;

			assert_int_equal(dt_code_ends_find(elf, entry_of(elf, names[j]), stops, &none, &ends), 0);
			assert_true(ends.count && ends.count < 10);
			assert_false(ends.incomplete);
			for (size_t k = 0; k < ends.count; k++) {
				uint8_t byte;

				assert_int_equal(dt_elf_read(elf, ends.vaddrs[k], &byte, 1), 0);
				assert_int_equal(byte, 0xc3);
			}
		}
		dt_elf_close(elf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rules), cmocka_unit_test(test_operators) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
