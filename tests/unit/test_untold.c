/* SPDX-License-Identifier: BSD-2-Clause */
/* Untold blocks: code in assembly for each rule, in this very executable; then files that know nothing of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "open_elf.h"
#include "target/untold.h"

#define TRACK "call PyTraceMalloc_Track@PLT\n"
#define UNTRACK "call PyTraceMalloc_Untrack@PLT\n"
#define TRACK_GOT "call *PyTraceMalloc_Track@GOTPCREL(%rip)\n"
#define ARGUMENTS "mov %rbx, %rsi\nmov %r12, %rdx\nmov $389047, %edi\n"

#define NOT 254                         /* behind this call every block is told of */

/*
 * CASE(name, code behind a call of Untrack, domain, address, bytes, factor, does it come to a Track?). The label 9 is where the
 * functions end. What is found of code that does not tell is DT_NONE.
 */
#define CASES \
	CASE(plain, "cmp $-2, %eax\nje 9f\n" ARGUMENTS TRACK, 389047, DT_KEPT_RBX, DT_KEPT_R12, DT_NONE, 1) \
	CASE(long_immediate, ".byte 0x3d, 0xfe, 0xff, 0xff, 0xff\nje 9f\n" ARGUMENTS TRACK, 389047, DT_KEPT_RBX, DT_KEPT_R12, DT_NONE, 1) \
	CASE(all_registers, "cmp $-2, %eax\nje 9f\nmov $7, %edi\nmov %r13, %rsi\nmov %r14, %rdx\n" TRACK, 7, DT_KEPT_R13, DT_KEPT_R14, DT_NONE, 1) \
	CASE(moved_before, "mov %rbp, %rsi\ncmp $-2, %eax\nmov %r15, %rdx\nje 9f\nmov $1, %edi\n" TRACK, 1, DT_KEPT_RBP, DT_KEPT_R15, DT_NONE, 1) \
	CASE(product, "cmp $-2, %eax\nje 9f\nmov %rbx, %rsi\nmov %rbp, %rdx\nmov $389047, %edi\nimul %r12, %rdx\n" TRACK, \
	     389047, DT_KEPT_RBX, DT_KEPT_RBP, DT_KEPT_R12, 1) \
	CASE(product_in_place, "cmp $-2, %eax\nje 9f\nimul %r15, %r14\nmov $389047, %edi\nmov %rbx, %rsi\nmov %r14, %rdx\n" TRACK, \
	     389047, DT_KEPT_RBX, DT_KEPT_R14, DT_KEPT_R15, 1) \
	CASE(jne, "cmp $-2, %eax\njne 8f\njmp 9f\n8: " ARGUMENTS TRACK, 389047, DT_KEPT_RBX, DT_KEPT_R12, DT_NONE, 1) \
	CASE(jump_between, "cmp $-2, %eax\nje 9f\njmp 8f\nud2\n8: " ARGUMENTS TRACK, 389047, DT_KEPT_RBX, DT_KEPT_R12, DT_NONE, 1) \
	CASE(by_the_table, "cmp $-2, %eax\nje 9f\n" ARGUMENTS TRACK_GOT, 389047, DT_KEPT_RBX, DT_KEPT_R12, DT_NONE, 1) \
	CASE(domain_by_xor, "cmp $-2, %eax\nje 9f\n" ARGUMENTS "xor %edi, %edi\n" TRACK, 0, DT_KEPT_RBX, DT_KEPT_R12, DT_NONE, 1) \
	CASE(from_stack, "cmp $-2, %eax\nje 9f\n" ARGUMENTS "mov 8(%rsp), %rdx\n" TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(computed, "cmp $-2, %eax\nje 9f\nadd $8, %rbx\n" ARGUMENTS TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(halved, "cmp $-2, %eax\nje 9f\n" ARGUMENTS "mov %ebx, %esi\n" TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(partly_written, "cmp $-2, %eax\nje 9f\nmov $1, %bl\n" ARGUMENTS TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(cube, "cmp $-2, %eax\nje 9f\nimul %r12, %r12\nimul %r12, %r12\n" ARGUMENTS TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(times_three, "cmp $-2, %eax\nje 9f\n" ARGUMENTS "imul $3, %r12, %rdx\n" TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(fixed_address, "cmp $-2, %eax\nje 9f\n" ARGUMENTS "mov $4096, %esi\n" TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(not_kept, "cmp $-2, %eax\nje 9f\nmov %rcx, %rsi\nmov %r12, %rdx\nmov $1, %edi\n" TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(exchanged, "cmp $-2, %eax\nje 9f\nxchg %rbx, %r12\n" ARGUMENTS TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(popped, "cmp $-2, %eax\nje 9f\npop %rbx\n" ARGUMENTS TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(unoptimised, "mov %eax, -4(%rbp)\ncmpl $-2, -4(%rbp)\njne 8f\njmp 9f\n8: mov -16(%rbp), %rsi\nmov %r12, %rdx\nmov $1, %edi\n" TRACK, \
	     0, DT_NONE, DT_NONE, DT_NONE, 1) \
	CASE(no_track, "cmp $-2, %eax\nje 9f\nret\n", 0, DT_NONE, DT_NONE, DT_NONE, 0) \
	CASE(other_call, "cmp $-2, %eax\nje 9f\n" ARGUMENTS "call *%rax\n" TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 0) \
	CASE(second_branch, "cmp $-2, %eax\nje 9f\ntest %rbx, %rbx\njne 9f\n" ARGUMENTS TRACK, 0, DT_NONE, DT_NONE, DT_NONE, 0) \
	CASE(indirect_jump, "cmp $-2, %eax\nje 9f\njmp *%rax\n", 0, DT_NONE, DT_NONE, DT_NONE, 0) \
	CASE(endless, "cmp $-2, %eax\nje 9f\n8: jmp 8b\n", 0, DT_NONE, DT_NONE, DT_NONE, 0) \
	CASE(not_code, "cmp $-2, %eax\nje 9f\n.byte 0x06, 0x06\n", 0, DT_NONE, DT_NONE, DT_NONE, 0) \
	CASE(ignored, ARGUMENTS TRACK, 0, NOT, 0, 0, 0) \
	CASE(compared_with_another, "cmp $-1, %eax\nje 9f\n" ARGUMENTS TRACK, 0, NOT, 0, 0, 0) \
	CASE(another_compared, "cmp $-2, %ebx\nje 9f\n" ARGUMENTS TRACK, 0, NOT, 0, 0, 0) \
	CASE(not_equality, "cmp $-2, %eax\njg 9f\n" ARGUMENTS TRACK, 0, NOT, 0, 0, 0) \
	CASE(compared_too_late, "call *%rbx\ncmp $-2, %eax\nje 9f\n" ARGUMENTS TRACK, 0, NOT, 0, 0, 0)

/* In each a second Untrack may stand between (PyDataMem_RENEW); it ends in a call of its own, which returns to the `ret`. */
__asm__(".weak PyTraceMalloc_Track\n"
	".weak PyTraceMalloc_Untrack\n"
	".text\n"
#define CASE(name, code, ...) UNTRACK "untold_" #name ":\n" code "9: ret\n"
	CASES
#undef CASE
	UNTRACK "untold_two: cmp $-2, %eax\nje 9f\nxor %edi, %edi\nmov %rbx, %rsi\n" UNTRACK "untold_second: " ARGUMENTS TRACK "9: ret\n"
	UNTRACK "untold_lost: cmp $-2, %eax\nje 9f\nmov %rbx, %rsi\nmov %rsi, %r8\n" UNTRACK
	"untold_lost_second: mov %r8, %rsi\nmov %r12, %rdx\nmov $1, %edi\n" TRACK "9: ret\n");

extern const char untold_two[], untold_second[], untold_lost[], untold_lost_second[];
#define CASE(name, ...) extern const char untold_##name[];
CASES
#undef CASE

static const struct {
	const char *name, *code;
	struct dt_untold want;
	int tracks;
} cases[] = {
#define CASE(called, text, number, in, size, times, comes) \
	{ #called, untold_##called, { .domain = number, .address = in, .bytes = size, .factor = times }, comes },
	CASES
#undef CASE
	{ "two", untold_two, { .domain = 389047, .address = DT_KEPT_RBX, .bytes = DT_KEPT_R12, .factor = DT_NONE }, 1 },
	{ "second", untold_second, { .address = NOT }, 0 },
	{ "lost", untold_lost, { .address = DT_NONE, .bytes = DT_NONE, .factor = DT_NONE }, 1 },
	{ "lost_second", untold_lost_second, { .address = NOT }, 0 },
};

#define FOUND_MAX 128

static size_t find(const char *path, struct dt_untold *found)
{
	ELF_OWNED elf = open_elf(path);
	size_t count;

	assert_int_equal(dt_untold_find(elf, found, FOUND_MAX, &count), 0);
	assert_true(count <= FOUND_MAX);
	return count;
}

/* Where this program lies: its own code, as it stands in memory and in the file. */
extern const char __executable_start[];

static const struct dt_untold *find_case(const struct dt_untold *found, size_t count, const char *code)
{
	for (size_t i = 0; i < count; i++)
		if (found[i].untrack == (uint64_t)(code - __executable_start))
			return &found[i];
	return NULL;
}

static void test_cases(void **state)
{
	struct dt_untold found[FOUND_MAX];
	size_t count = find("/proc/self/exe", found), wanted = 0;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const struct dt_untold *untold = find_case(found, count, cases[i].code), *want = &cases[i].want;

		if (want->address == NOT) {
			if (untold)
				fail_msg("%s: found", cases[i].name);
			continue;
		}
		wanted++;
		if (!untold)
			fail_msg("%s: not found", cases[i].name);
		else if (untold->domain != want->domain || untold->address != want->address || untold->bytes != want->bytes ||
			 untold->factor != want->factor || !untold->track != !cases[i].tracks)
			fail_msg("%s: domain %u, address %u, bytes %u, factor %u, track %llx", cases[i].name, untold->domain,
				 untold->address, untold->bytes, untold->factor, (unsigned long long)untold->track);
	}
	assert_int_equal(count, wanted);
}

/* More of them than there is room for are counted. */
static void test_max(void **state)
{
	struct dt_untold found[FOUND_MAX], two[3] = { [2] = { .untrack = 1234 } };
	ELF_OWNED elf = open_elf("/proc/self/exe");
	size_t count;

	(void)state;
	assert_int_equal(dt_untold_find(elf, two, 2, &count), 0);
	assert_int_equal(count, find("/proc/self/exe", found));
	assert_memory_equal(two, found, 2 * sizeof(found[0]));
	assert_int_equal(two[2].untrack, 1234);
}

/* Files that do not know the function. */
static void test_others(void **state)
{
	struct dt_untold found[FOUND_MAX];

	(void)state;
	assert_int_equal(find("/lib/x86_64-linux-gnu/libc.so.6", found), 0);
	assert_int_equal(find("/bin/true", found), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_max),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
