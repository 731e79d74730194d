/* SPDX-License-Identifier: BSD-2-Clause */
/* Probe sites: functions written in assembly for each rule, in this very executable; then the real libraries. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <gnu/libc-version.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "open_elf.h"
#include "target/probe_site.h"

#define NOP5 ".byte 0x0f, 0x1f, 0x44, 0, 0\n"
#define NOP10 ".byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n"

/*
 * CASE(name, code, expected distance or -errno, emulated). The code of one case is kept away from the next by more than
 * a short branch reaches. Label 9 is behind the code, for branches that lead on.
 */
#define CASES \
	CASE(push_first, "push %r12\n", 0, true) \
	CASE(push_low, "push %rbx\n", 0, true) \
	CASE(nop_first, "nop\n", 0, true) \
	CASE(jmp_short, "jmp 9f\n", 0, true) \
	CASE(jmp_near, ".byte 0xe9, 0, 0, 0, 0\n", 0, true) \
	CASE(jcc_near, ".byte 0x0f, 0x84, 0, 0, 0, 0\n", 0, true) \
	CASE(endbr, "endbr64\npush %rbp\n", 4, true) \
	CASE(test_je, "test %rdi, %rdi\n.byte 0x0f, 0x84, 0, 0, 0, 0\n", 3, true) \
	CASE(cmp_memory, "cmpb $0, 100(%rip)\npush %r12\n", 7, true) \
	CASE(cmp_immediate, "cmp $5, %rsi\njo 9f\n", 4, true) \
	CASE(mov_xor_jmp, "mov %rdi, %rax\nxor %r10d, %r10d\njmp 9f\n", 6, true) \
	CASE(mov_from_memory, "mov 8(%rsi), %r11\nmovzbl (%rdi), %eax\npush %r15\n", 7, true) \
	CASE(lea_free, "lea 8(%rdi,%rsi,2), %rax\npush %r8\n", 5, true) \
	CASE(nop5_push, NOP5 "push %rbx\n", 5, true) \
	CASE(nop2_push, ".byte 0x66, 0x90\npush %rbx\n", 2, true) \
	CASE(nop10_push, NOP10 "push %rbx\n", 10, true) \
	CASE(at_16, "lea 100(%rip), %rax\nlea 100(%rip), %rax\nxor %eax, %eax\npush %rbx\n", 16, true) \
	CASE(at_17, "lea 100(%rip), %rax\nlea 100(%rip), %rax\nmov %rax, %r10\npush %rbx\n", 0, false) \
	CASE(writes_argument, "mov $1, %edi\npush %rbx\n", 0, false) \
	CASE(writes_argument_lea, "lea (%rdi), %rsi\npush %rbx\n", 0, false) \
	CASE(writes_argument_low, "mov %al, %dil\npush %rbx\n", 0, false) \
	CASE(writes_argument_high, "mov %al, %dh\npush %rbx\n", 0, false) \
	CASE(writes_argument_word, "mov %ax, %r9w\npush %rbx\n", 0, false) \
	CASE(zeroes_argument, "xor %ecx, %ecx\npush %rbx\n", 0, false) \
	CASE(writes_saved, "mov %rdi, %r12\npush %rbx\n", 0, false) \
	CASE(writes_frame_pointer, "mov %rsp, %rbp\npush %rbx\n", 0, false) \
	CASE(moves_stack, "sub $8, %rsp\npush %rbx\n", 0, false) \
	CASE(loads_stack, "mov %rax, %rsp\npush %rbx\n", 0, false) \
	CASE(writes_memory, "mov %rax, -8(%rsp)\npush %rbx\n", 0, false) \
	CASE(writes_memory_xor, "xor %rax, (%rdi)\npush %rbx\n", 0, false) \
	CASE(not_listed, "add $1, %rax\npush %rbx\n", 0, false) \
	CASE(hidden_write, "mul %rdx\npush %rbx\n", 0, false) \
	CASE(push_immediate, "push $1\npush %rbx\n", 0, false) \
	CASE(push_memory, "push (%rdi)\n", 0, false) \
	CASE(push_rex_w, ".byte 0x48, 0x50\n", 0, false) \
	CASE(jmp_indirect, "jmp *%rax\npush %rbx\n", 0, false) \
	CASE(returns, "ret\npush %rbx\n", 0, false) \
	CASE(call_behind, "test %rdi, %rdi\ncall 9f\n", 0, false) \
	CASE(call_first, "call 9f\npush %rbx\n", -ENOTSUP, false) \
	CASE(nop5_call, NOP5 "call 9f\n", -ENOTSUP, false) \
	CASE(nop5_stepped, NOP5 "sub $8, %rsp\n", 5, false) \
	CASE(nop5_twice, NOP5 NOP5 "sub $8, %rsp\n", 10, false) \
	CASE(nop5_for_ever, NOP5 NOP5 NOP5 NOP5 "push %rbx\n", -ENOTSUP, false) \
	CASE(nop10_stepped, NOP10 "sub $8, %rsp\n", 10, false) \
	CASE(nop2_stepped, ".byte 0x66, 0x90\nsub $8, %rsp\n", 0, false) \
	CASE(breakpoint, "int3\npush %rbx\n", -ENOTSUP, false) \
	CASE(locked, "lock incl (%rdi)\npush %rbx\n", -ENOTSUP, false) \
	CASE(hinted, ".byte 0x3e, 0x74, 0\npush %rbx\n", -ENOTSUP, false) \
	CASE(no_instruction, ".byte 0x06\npush %rbx\n", -ENOTSUP, false) \
	CASE(loop_to_site, "test %rdi, %rdi\n1: push %rbx\nxor %eax, %eax\njne 1b\n", 0, false) \
	CASE(loop_to_entry, "1: test %rdi, %rdi\npush %rbx\nxor %eax, %eax\njne 1b\n", 3, true) \
	CASE(loop_behind_site, "test %rdi, %rdi\npush %rbx\n1: xor %eax, %eax\njne 1b\n", 3, true) \
	CASE(loop_instruction, "test %rdi, %rdi\n1: push %rbx\nxor %eax, %eax\nloop 1b\n", 0, false) \
	CASE(jrcxz_instruction, "test %rdi, %rdi\n1: push %rbx\nxor %eax, %eax\njrcxz 1b\n", 0, false) \
	CASE(loop_at_full_reach, "test %rdi, %rdi\n1: push %rbx\n.skip 125, 0x90\njmp 1b\n", 0, false) \
	CASE(looks_like_a_branch, "test %rdi, %rdi\n1: push %rbx\nmov $0xf7ebf8eb, %eax\nmov $0xf3eb, %eax\n", 3, true) \
	CASE(far_jmp, "test %rdi, %rdi\n1: push %rbx\n" AWAY(".byte 0xe9\n.long 1b - . - 4\n"), 0, false) \
	CASE(far_jcc, "test %rdi, %rdi\n1: push %rbx\n" AWAY(".byte 0x0f, 0x85\n.long 1b - . - 4\n"), 0, false) \
	CASE(far_call, "test %rdi, %rdi\n1: push %rbx\n" AWAY(".byte 0xe8\n.long 1b - . - 4\n"), 0, false) \
	CASE(far_address, "test %rdi, %rdi\n1: push %rbx\n" AWAY("lea 1b(%rip), %r9\n"), 0, false) \
	CASE(far_jmp_unaligned, "test %rdi, %rdi\n1: push %rbx\n" AWAY(".byte 0xb8, 0xe9\n.long 1b - . - 4\n"), 0, false) \
	CASE(far_jmp_to_entry, "1: test %rdi, %rdi\npush %rbx\n" AWAY(".byte 0xe9\n.long 1b - . - 4\n"), 3, true) \
	CASE(far_data_access, "test %rdi, %rdi\n1: push %rbx\n" AWAY("mov 1b(%rip), %rax\n"), 3, true) \
	CASE(into_nop5, NOP5 "1: push %rbx\n" AWAY(".byte 0xe9\n.long 1b - . - 4\n"), -ENOTSUP, false) \
	CASE(second_symbol, "test %rdi, %rdi\n.type dt_case_second, @function\ndt_case_second: push %rbx\n", 0, false)

/* Text elsewhere in the executable. */
#define AWAY(code) ".pushsection .text.dt_away, \"ax\", @progbits\n.skip 256, 0xcc\n" code ".popsection\n"

#define CASE(name, code, distance, emulated) \
	__asm__(".pushsection .text\n.balign 32\n.type dt_case_" #name ", @function\n" \
		"dt_case_" #name ":\n" code "9: .skip 300, 0xcc\n.size dt_case_" #name ", . - dt_case_" #name "\n.popsection\n");
CASES
#undef CASE

/* A short branch from before the entry, its instruction hidden from whoever starts decoding at the wrong byte. */
__asm__(".pushsection .text\n.skip 300, 0x90\n"
	"mov $0x12345678, %eax\njmp 1f\n.skip 100, 0x90\n"
	".type dt_case_from_before, @function\ndt_case_from_before: test %rdi, %rdi\n1: push %rbx\nret\n.skip 300, 0xcc\n"
	/* Calls of dt_callee: three direct ones, one jump. */
	".type dt_callee, @function\ndt_callee: ret\n"
	".type dt_calls, @function\ndt_calls:\n"
	".byte 0xe8\n.long dt_callee - . - 4\n.byte 0xe8\n.long dt_callee - . - 4\n.byte 0xe9\n.long dt_callee - . - 4\n"
	".byte 0xe8\n.long dt_callee + 1 - . - 4\n.byte 0xb8, 0xe8\n.long dt_callee - . - 4\n"
	".popsection\n"
	".pushsection .data\n.type dt_data, @object\ndt_data: push %rbx\n.popsection\n");

static uint64_t entry_of(const struct dt_elf *elf, const char *name)
{
	struct dt_elf_symbol symbol;

	if (dt_elf_find_symbol(elf, name, &symbol))
		fail_msg("no symbol %s", name);
	return symbol.vaddr;
}

static void expect_site(const struct dt_elf *elf, const char *name, int distance, bool emulated)
{
	struct dt_probe_site site = { .reason = "untouched" };
	uint64_t entry = entry_of(elf, name);
	int error = dt_probe_site_find(elf, entry, &site);
	const uint8_t *bytes;
	size_t size;

	if (error || distance < 0) {
		if (error != distance)
			fail_msg("%s: error %d at +%u, expected %d", name, error, site.distance, distance);
		assert_string_equal(site.reason, "untouched");
		return;
	}
	if (site.distance != (uint32_t)distance || site.emulated != emulated)
		fail_msg("%s: +%u %s (%s: %s), expected +%d %s", name, site.distance, site.emulated ? "emulated" : "stepped",
			 site.instruction, site.reason, distance, emulated ? "emulated" : "stepped");
	assert_int_equal(site.vaddr, entry + site.distance);
	assert_int_equal(dt_elf_bytes(elf, site.vaddr, site.size, &bytes, &size), 0);
	assert_int_equal(size, site.size);
	assert_memory_equal(bytes, site.bytes, size);
	assert_true(site.instruction[0] && site.instruction[0] != '?');
}

static void test_every_rule(void **state)
{
	ELF_OWNED elf = open_elf("/proc/self/exe");

	(void)state;
#define CASE(name, code, distance, emulated) expect_site(elf, "dt_case_" #name, distance, emulated);
	CASES
#undef CASE
	expect_site(elf, "dt_case_from_before", 0, false);
}

static void test_text_of_the_instruction(void **state)
{
	ELF_OWNED elf = open_elf("/proc/self/exe");
	struct dt_probe_site site;
	char expected[64];

	(void)state;
	assert_int_equal(dt_probe_site_find(elf, entry_of(elf, "dt_case_push_first"), &site), 0);
	assert_string_equal(site.instruction, "push r12");
	assert_int_equal(site.size, 2);
	assert_memory_equal(site.bytes, "\x41\x54", 2);
	assert_string_equal(site.reason, "the kernel emulates the first instruction");
	assert_int_equal(dt_probe_site_find(elf, entry_of(elf, "dt_case_test_je"), &site), 0);
	snprintf(expected, sizeof(expected), "jz 0x%zx", (size_t)site.vaddr + 6);
	assert_string_equal(site.instruction, expected);
}

static void test_what_is_no_code(void **state)
{
	ELF_OWNED elf = open_elf("/proc/self/exe");
	struct dt_probe_site site;
	size_t count;

	(void)state;
	assert_int_equal(dt_probe_site_find(elf, entry_of(elf, "dt_data"), &site), -ENXIO);
	assert_int_equal(dt_probe_site_find(elf, UINT64_MAX, &site), -ENXIO);
	assert_int_equal(dt_probe_site_find_callers(elf, UINT64_MAX, 0, UINT64_MAX, NULL, 0, &count), -ENXIO);
}

static void test_callers(void **state)
{
	ELF_OWNED elf = open_elf("/proc/self/exe");
	uint64_t callee = entry_of(elf, "dt_callee"), from = entry_of(elf, "dt_calls"), returns[4] = { 7, 7, 7, 7 };
	size_t count;

	(void)state;
	assert_int_equal(dt_probe_site_find_callers(elf, callee, 0, UINT64_MAX, returns, 4, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(returns[0], from + 5);
	assert_int_equal(returns[1], from + 10);
	/* In an immediate: at every byte means at every byte. */
	assert_int_equal(returns[2], from + 26);
	assert_int_equal(returns[3], 7);
	returns[1] = 7;
	assert_int_equal(dt_probe_site_find_callers(elf, callee, 0, UINT64_MAX, returns, 1, &count), 0);
	assert_int_equal(count, 3);
	assert_int_equal(returns[1], 7);
	assert_int_equal(dt_probe_site_find_callers(elf, entry_of(elf, "dt_case_returns"), 0, UINT64_MAX, NULL, 0, &count), 0);
	assert_int_equal(count, 0);
}

/* ---- real files ---------------------------------------------------------------------------------------------- */

static bool is_debian_12(void)
{
	DT_FREE char *text = NULL;

	return !dt_file_read("/etc/os-release", &text, NULL) && strstr(text, "VERSION_ID=\"12\"") &&
	       strstr(text, "ID=debian") && !strcmp(gnu_get_libc_version(), "2.36");
}

static void test_debian_libc(void **state)
{
	static const struct { const char *name; int distance; bool emulated; } sites[] = {
		{ "malloc", 0, true }, { "calloc", 0, true }, { "realloc", 0, true }, { "reallocarray", 0, false },
		{ "posix_memalign", 7, true }, { "memalign", 7, true }, { "aligned_alloc", 7, true }, { "valloc", 7, true },
		{ "pvalloc", 7, true }, { "free", 3, true }, { "cfree", 3, true },
	};
	uint64_t returns[8];
	size_t count, size;
	Dl_info info;

	(void)state;
	if (!is_debian_12()) {
		print_message("skipped: the table is that of Debian 12's libc 2.36\n");
		skip();
	}
	assert_true(dladdr(dlsym(RTLD_NEXT, "getppid"), &info));
	ELF_OWNED elf = open_elf(info.dli_fname);
	for (size_t i = 0; i < DT_ARRAY_SIZE(sites); i++)
		expect_site(elf, sites[i].name, sites[i].distance, sites[i].emulated);
	/* tcache_thread_shutdown (twice) and realloc(p, 0). */
	assert_int_equal(dt_probe_site_find_callers(elf, entry_of(elf, "free"), 0, UINT64_MAX, returns, 8, &count), 0);
	assert_int_equal(count, 3);
	for (size_t i = 0; i < count; i++) {
		const uint8_t *bytes;
		int32_t offset;

		assert_int_equal(dt_elf_bytes(elf, returns[i] - 5, 5, &bytes, &size), 0);
		memcpy(&offset, bytes + 1, sizeof(offset));
		assert_int_equal(bytes[0], 0xe8);
		assert_int_equal(returns[i] + (uint64_t)(int64_t)offset, entry_of(elf, "free"));
	}
}

static void test_debian_python(void **state)
{
	(void)state;
	if (!is_debian_12() || access("/usr/bin/python3.11", R_OK)) {
		print_message("skipped: the table is that of Debian 12's python3.11\n");
		skip();
	}
	ELF_OWNED elf = open_elf("/usr/bin/python3.11");
	expect_site(elf, "PyTraceMalloc_Track", 7, true);
	expect_site(elf, "PyTraceMalloc_Untrack", 7, true);
}

static void test_pyenv_pythons(void **state)
{
	const char *root = getenv("PYENV_ROOT");
	DT_FREE char *pattern = NULL;
	glob_t found = { 0 };

	(void)state;
	assert_true(asprintf(&pattern, "%s/versions/*/lib/libpython3.*.so.1.0", root ? root : "~/.pyenv") > 0);
	if (glob(pattern, GLOB_TILDE, NULL, &found)) {
		print_message("skipped: there is no %s\n", pattern);
		skip();
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		ELF_OWNED elf = open_elf(found.gl_pathv[i]);
		struct dt_probe_site site;

		for (int k = 0; k < 2; k++) {
			const char *name = k ? "PyTraceMalloc_Untrack" : "PyTraceMalloc_Track";
			struct dt_elf_symbol symbol;

			if (dt_elf_find_symbol(elf, name, &symbol)) {
				print_message("%s has no %s (before 3.7)\n", found.gl_pathv[i], name);
				continue;
			}
			assert_int_equal(dt_probe_site_find(elf, symbol.vaddr, &site), 0);
			print_message("%s %s +%u %s %s: %s\n", strrchr(found.gl_pathv[i], '/') + 1, name, site.distance,
				      site.emulated ? "emulated" : "stepped", site.instruction, site.reason);
			/* Where compilers differ there is no table to compare with; a stepped probe stands on the entry. */
			assert_in_range(site.distance, 0, site.emulated ? 16 : 0);
		}
	}
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_rule),
		cmocka_unit_test(test_text_of_the_instruction),
		cmocka_unit_test(test_what_is_no_code),
		cmocka_unit_test(test_callers),
		cmocka_unit_test(test_debian_libc),
		cmocka_unit_test(test_debian_python),
		cmocka_unit_test(test_pyenv_pythons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
