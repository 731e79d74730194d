/* SPDX-License-Identifier: BSD-2-Clause */
/* Call instructions: each form by hand, then every call of the real libraries as Zydis decodes them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <Zydis/Zydis.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "open_elf.h"
#include "target/call.h"

static void test_forms(void **state)
{
	static const struct { const char *text; size_t length; uint8_t bytes[8]; } cases[] = {
		{ "call rel32", 5, { 0xe8, 1, 2, 3, 4 } },
		{ "addr32 call rel32", 6, { 0x67, 0xe8, 1, 2, 3, 4 } },
		{ "rex.W call rel32", 6, { 0x48, 0xe8, 1, 2, 3, 4 } },
		{ "call *%rax", 2, { 0xff, 0xd0 } },
		{ "call *%r11", 3, { 0x41, 0xff, 0xd3 } },
		{ "notrack call *%rax", 3, { 0x3e, 0xff, 0xd0 } },
		{ "call *(%rax)", 2, { 0xff, 0x10 } },
		{ "call *(%r12)", 4, { 0x41, 0xff, 0x14, 0x24 } },
		{ "call *(%rsp)", 3, { 0xff, 0x14, 0x24 } },
		{ "call *(%rax,%rbx,8)", 3, { 0xff, 0x14, 0xd8 } },
		{ "call *0x1000(,%rbx,8)", 7, { 0xff, 0x14, 0xdd, 0, 0x10, 0, 0 } },
		{ "call *0x10(%rax)", 3, { 0xff, 0x50, 0x10 } },
		{ "call *0x10(%rsp,%rax,8)", 4, { 0xff, 0x54, 0xc4, 0x10 } },
		{ "call *0x100(%rax)", 6, { 0xff, 0x90, 0, 1, 0, 0 } },
		{ "call *0x100(%rax,%rbx,8)", 7, { 0xff, 0x94, 0xd8, 0, 1, 0, 0 } },
		{ "call *0x100(%r12)", 8, { 0x41, 0xff, 0x94, 0x24, 0, 1, 0, 0 } },
		{ "call *0x100(%rip)", 6, { 0xff, 0x15, 0, 1, 0, 0 } },
		{ "jmp rel32", 0, { 0xe9, 1, 2, 3, 4 } },
		{ "jmp *%rax", 0, { 0xff, 0xe0 } },
		{ "push (%rax)", 0, { 0xff, 0x30 } },
		{ "lcall *(%rax)", 0, { 0xff, 0x18 } },
		{ "call rel32, cut off", 0, { 0xe8, 1, 2, 3 } },
		{ "ret", 0, { 0xc3 } },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		/* Behind nops, and with nothing before it. */
		size_t size = cases[i].length ? cases[i].length : strlen((const char *)cases[i].bytes);
		uint8_t bytes[16];
		DT_FREE uint8_t *exact = malloc(size);

		memset(bytes, 0x90, sizeof(bytes));
		memcpy(bytes + sizeof(bytes) - size, cases[i].bytes, size);
		assert_non_null(exact);
		memcpy(exact, cases[i].bytes, size);
		if (dt_call_length(bytes, sizeof(bytes)) != cases[i].length || dt_call_length(exact, size) != cases[i].length)
			fail_msg("%s: %zu, not %zu", cases[i].text, dt_call_length(bytes, sizeof(bytes)), cases[i].length);
	}
	assert_int_equal(dt_call_length(cases[0].bytes, 0), 0);
}

/*
 * The one exception: the instruction before ends in a byte that reads as a prefix. Looking backwards that cannot be told
 * from a prefix.
 */
static bool has_seeming_prefix(size_t length, size_t decoded, const uint8_t *end)
{
	uint8_t before = end[-(ptrdiff_t)length];

	return length == decoded + 1 && (before >> 4 == 4 || before == 0x67 || before == 0x2e || before == 0x3e);
}

static void expect_calls(const char *path)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	size_t calls = 0, exact = 0, size;
	ZydisDecodedInstruction instruction;
	ZydisDecoder decoder;
	const uint8_t *bytes;
	uint64_t vaddr;

	assert_int_equal(dt_elf_open(open(path, O_RDONLY | O_CLOEXEC), &elf), 0);
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	for (size_t segment = 0; dt_elf_text(elf, segment, &vaddr, &bytes, &size); segment++)
		for (size_t at = 0; at < size;) {
			size_t end, before, length;

			if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes + at, size - at, &instruction))) {
				at++;
				continue;
			}
			end = at += instruction.length;
			if (instruction.mnemonic != ZYDIS_MNEMONIC_CALL || instruction.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR)
				continue;
			before = end < DT_CALL_BYTES_MAX ? end : DT_CALL_BYTES_MAX;
			length = dt_call_length(bytes + end - before, before);
			calls++;
			exact += length == instruction.length;
			if (length != instruction.length && !has_seeming_prefix(length, instruction.length, bytes + end))
				fail_msg("%s: the call at 0x%zx has %d bytes, not %zu", path, (size_t)vaddr + end - instruction.length,
					 (int)instruction.length, length);
		}
	print_message("%s: %zu calls, %zu of them to the byte\n", path, calls, exact);
	assert_true(calls > 1000);
	assert_true(exact * 100 >= calls * 98);
}

static void test_every_call_of_libraries(void **state)
{
	(void)state;
	expect_calls("/lib/x86_64-linux-gnu/libc.so.6");
	if (!access("/usr/bin/python3.11", F_OK))
		expect_calls("/usr/bin/python3.11");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_every_call_of_libraries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
