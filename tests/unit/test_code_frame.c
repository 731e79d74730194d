/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rules from code: libraries whose tables are hidden from it, against those tables; functions in assembly, against what
 * their author says; musl's C library, which has no tables; and bytes that are no code.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <Zydis/Zydis.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "open_elf.h"
#include "target/code_frame.h"
#include "target/rule_ranges.h"

#define PARTS_MAX 4

#define RANGES_OWNED DT_CLEANUP(dt_rule_ranges_clear) struct dt_rule_ranges

static int add_range(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	assert_true(start < end);
	return dt_rule_ranges_add(context, start, end, rule);
}

static const struct dt_rule_range *find_range(const struct dt_rule_ranges *ranges, uint64_t vaddr)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->items[middle].end <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ranges->count && ranges->items[low].start <= vaddr ? &ranges->items[low] : NULL;
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* All code of a file, as if nothing were known of it. */
static size_t read_parts(struct dt_elf *elf, struct dt_code_part *parts)
{
	size_t count = 0;

	while (count < PARTS_MAX && dt_elf_text(elf, count, &parts[count].vaddr, &parts[count].bytes, &parts[count].size))
		count++;
	return count;
}

static void derive(struct dt_elf *elf, const struct dt_code_part *parts, size_t count, struct dt_rule_ranges *ranges)
{
	static const struct dt_code_starts starts;

	assert_int_equal(dt_code_frame_each(elf, parts, count, &starts, add_range, ranges), 0);
	assert_int_equal(dt_rule_ranges_sort(ranges), 0);
}

/* ---- against the tables of libraries ------------------------------------------------------------------------- */

struct compared {
	const struct dt_rule_ranges *derived;
	uint64_t entry;
	size_t calls, with_rule, wrong;
};

static void compare_call(struct compared *compared, uint64_t vaddr, uint64_t behind, const struct dt_unwind_rule *expected)
{
	const struct dt_rule_range *is = find_range(compared->derived, behind - 1);

	compared->calls++;
	if (!is)
		return;
	compared->with_rule++;
	/* Nobody calls the entry of a library that is also a program (libc.so.6), so that what its table says has no meaning. */
	if (is->rule.cfa == DT_CFA_END && vaddr - compared->entry < 64)
		return;
	if (!memcmp(&is->rule, expected, sizeof(*expected)))
		return;
	if (compared->wrong++ < 10)
		print_message("call at 0x%llx: cfa %d %d rbp %d %d, the table says cfa %d %d rbp %d %d\n", (unsigned long long)vaddr,
			      is->rule.cfa, is->rule.cfa_offset, is->rule.frame_pointer, is->rule.frame_pointer_words,
			      expected->cfa, expected->cfa_offset, expected->frame_pointer, expected->frame_pointer_words);
}

static const uint8_t *find_bytes(const struct dt_code_part *parts, size_t count, uint64_t vaddr, size_t *ret_size)
{
	for (size_t i = 0; i < count; i++) {
		if (vaddr < parts[i].vaddr || vaddr - parts[i].vaddr >= parts[i].size)
			continue;
		*ret_size = parts[i].size - (vaddr - parts[i].vaddr);
		return parts[i].bytes + (vaddr - parts[i].vaddr);
	}
	return NULL;
}

/* Tables begin with an instruction and have no gaps in a function: what is decoded on from there is what is executed. */
static void compare_calls(struct compared *compared, const struct dt_rule_ranges *truth, const struct dt_code_part *parts,
			  size_t count)
{
	ZydisDecodedInstruction instruction;
	ZydisDecoder decoder;
	uint64_t at = 0;

	assert_true(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	for (size_t i = 0; i < truth->count; i++) {
		const struct dt_rule_range *item = &truth->items[i];

		at = at < item->start ? item->start : at;
		while (at < item->end) {
			size_t size = 0;
			const uint8_t *bytes = find_bytes(parts, count, at, &size);

			if (!bytes || ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes, size, &instruction))) {
				at++;
				continue;
			}
			if (instruction.meta.category == ZYDIS_CATEGORY_CALL)
				compare_call(compared, at, at + instruction.length, &item->rule);
			at += instruction.length;
		}
	}
}

static void compare_file(const char *path)
{
	struct dt_eh_frame frame = { 0 };
	struct dt_code_part parts[PARTS_MAX];
	RANGES_OWNED truth = { 0 };
	RANGES_OWNED derived = { 0 };
	ELF_OWNED elf = open_elf(path);
	struct compared compared = { .derived = &derived, .entry = dt_elf_entry(elf) };
	size_t count = read_parts(elf, parts);
	double begin;

	assert_int_equal(dt_elf_section(elf, ".eh_frame", &frame.bytes, &frame.size, &frame.vaddr), 0);
	assert_int_equal(dt_eh_frame_each(&frame, add_range, &truth), 0);
	assert_int_equal(dt_rule_ranges_sort(&truth), 0);
	begin = now_ms();
	derive(elf, parts, count, &derived);
	begin = now_ms() - begin;
	compare_calls(&compared, &truth, parts, count);
	print_message("%s: %zu calls, %zu (%.1f %%) have a rule from the code, %zu wrong; %.0f ms\n", path, compared.calls,
		      compared.with_rule, 100.0 * (double)compared.with_rule / (double)compared.calls, compared.wrong, begin);
	assert_int_equal(compared.wrong, 0);
	assert_true(compared.with_rule > 0);
}

static void test_no_rule_differs_from_the_hidden_table(void **state)
{
	static const char *const files[] = {
		"/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2", "/usr/bin/python3.11",
		"/usr/lib/x86_64-linux-gnu/libstdc++.so.6", "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
		"/lib/x86_64-linux-gnu/libm.so.6", "/usr/bin/redis-check-rdb", "/usr/sbin/nginx",
		"/usr/lib/postgresql/15/bin/postgres", "/usr/lib/python3/dist-packages/numpy/core/_multiarray_umath.*.so",
		"/proc/self/exe",
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(files); i++) {
		glob_t found;

		if (glob(files[i], 0, NULL, &found)) {
			print_message("skipped: there is no %s here\n", files[i]);
			continue;
		}
		compare_file(found.gl_pathv[0]);
		globfree(&found);
	}
}

/* ---- functions in assembly, which have no table ---------------------------------------------------------------- */

/* Each place is asked for as a return address: the rule of the byte before. */
#define PLACE(name) ".globl place_" #name "\n.hidden place_" #name "\nplace_" #name ":\n"
#define FUNCTION(name) ".p2align 4\n.type code_" #name ", @function\ncode_" #name ":\n"
#define END(name) ".size code_" #name ", . - code_" #name "\n"

__asm__(".text\n"
	FUNCTION(leaf) "ret\n" END(leaf)
	FUNCTION(pushes)
	"push %rbx\npush %rbp\nsub $0x88, %rsp\nxor %ebp, %ebp\ncall code_leaf\n" PLACE(pushes)
	"add $0x88, %rsp\npop %rbp\npop %rbx\njmp code_leaf\n" END(pushes)
	FUNCTION(frame)
	"push %rbp\nmov %rsp, %rbp\npush %rbx\npush %r12\nand $-64, %rsp\nsub %rdi, %rsp\ncall code_leaf\n" PLACE(frame)
	"lea -16(%rbp), %rsp\npop %r12\npop %rbx\npop %rbp\nret\n" END(frame)
	FUNCTION(leave)
	"push %rbp\nmov %rsp, %rbp\nsub $32, %rsp\ncall code_leaf\n" PLACE(leave) "leave\nret\n" END(leave)
	FUNCTION(moves)
	"mov %rbp, -16(%rsp)\nsub $40, %rsp\nmov $5, %ebp\ncall code_leaf\n" PLACE(moves)
	"mov 24(%rsp), %rbp\nadd $40, %rsp\nret\n" END(moves)
	/* The stack is realigned with no frame pointer: its distance is known to the code only. */
	FUNCTION(realigned)
	"mov %rsp, %r11\nand $-64, %rsp\npush %r11\nsub $56, %rsp\ncall code_leaf\n" PLACE(realigned)
	"add $56, %rsp\npop %rsp\nret\n" END(realigned)
	FUNCTION(disagree)
	"test %edi, %edi\nje 1f\npush %rbx\npush %rbx\n1: sub $8, %rsp\ncall code_leaf\n" PLACE(disagree)
	"add $8, %rsp\nret\n" END(disagree)
	/* Two ways that agree again. */
	FUNCTION(agree)
	"push %rbx\ntest %edi, %edi\nje 1f\npush %rax\npush %rax\ncall code_leaf\n" PLACE(agree_inner)
	"add $16, %rsp\n1: call code_leaf\n" PLACE(agree) "pop %rbx\nret\n" END(agree)
	/* What the table of a jump leads to is not known. */
	FUNCTION(jump)
	"push %rbx\njmp *%rax\ncall code_leaf\n" PLACE(behind_jump) "pop %rbx\nret\n" END(jump)
	/* A call that never returns, then a function that nobody can be seen to call. */
	FUNCTION(stops) "ud2\n" END(stops)
	FUNCTION(falls)
	"sub $24, %rsp\ncall code_stops\n" END(falls)
	"push %rbx\ncall code_leaf\n" PLACE(nobody) "pop %rbx\nret\n"
	/* The same, but the called one returns in other cases: a compiler that knows this case goes on with another function. */
	FUNCTION(falls_once)
	"sub $24, %rsp\ncall code_leaf\n" END(falls_once)
	"push %rbx\nmov %rdi, %rbx\ncall code_leaf\n" PLACE(nobody_again) "pop %rbx\nret\n"
	/* It does not return, and all the same its frame is known until the first call, and behind those that return. */
	FUNCTION(ends)
	"sub $24, %rsp\ncall code_leaf\n" PLACE(ends_first) "call *%rdi\n" PLACE(ends_second) "call code_stops\n"
	PLACE(ends_third) "ud2\n" END(ends)
	/* A function that is only known by its address. */
	FUNCTION(takes) "lea 1f(%rip), %rax\nret\n" END(takes)
	".p2align 4\n1: push %rbp\npush %rbx\nsub $8, %rsp\ncall *8(%rdi)\n" PLACE(taken) "ud2\n"
	/* An address inside of a function is no start. */
	FUNCTION(label)
	"push %rbx\nlea 1f(%rip), %rax\njmp *%rax\n1: call code_leaf\n" PLACE(label) "pop %rbx\nret\n" END(label)
	FUNCTION(here)
	"call 1f\n1: pop %rax\npush %rbx\ncall code_leaf\n" PLACE(here) "pop %rbx\nret\n" END(here)
	FUNCTION(thread)
	"mov $56, %eax\nsyscall\ntest %eax, %eax\njne 1f\nxor %ebp, %ebp\npop %rdi\ncall *%r9\n" PLACE(thread)
	"hlt\n1: ret\n" END(thread)
	/* Zero in a register that was saved is only a number. */
	FUNCTION(zero)
	"push %rbp\nsyscall\nxor %ebp, %ebp\ncall code_leaf\n" PLACE(zero) "pop %rbp\nret\n" END(zero)
	FUNCTION(lost)
	"sub $8, %rsp\nmov $7, %ebp\ncall code_leaf\n" PLACE(lost) "add $8, %rsp\nhlt\n" END(lost)
	/* A part that is reached with a stack of its own. */
	".type code_part.cold, @function\n"
	FUNCTION(part)
	"push %rbx\nsub $16, %rsp\ntest %edi, %edi\njne code_part.cold\nadd $16, %rsp\npop %rbx\nret\n" END(part)
	"code_part.cold: call code_leaf\n" PLACE(cold) "add $16, %rsp\npop %rbx\nret\n"
	".size code_part.cold, . - code_part.cold\n"
	FUNCTION(signal) "call code_stops\n" PLACE(signal) "mov $15, %rax\nsyscall\n" PLACE(signal_end) END(signal));

#define CHECKED(name, ...) { #name, place_##name, { __VA_ARGS__ } }

extern const uint8_t place_pushes[], place_frame[], place_leave[], place_moves[], place_realigned[], place_disagree[],
	place_agree_inner[], place_agree[], place_behind_jump[], place_nobody[], place_nobody_again[], place_ends_first[],
	place_ends_second[], place_ends_third[], place_taken[], place_label[], place_here[], place_thread[], place_zero[],
	place_lost[], place_cold[], place_signal[], place_signal_end[];

static int find_base(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	*(uint64_t *)context = info->dlpi_addr;
	return 1;
}

static void test_functions_in_assembly(void **state)
{
	const struct {
		const char *name;
		const uint8_t *place;
		struct dt_unwind_rule rule;
	} cases[] = {
		CHECKED(pushes, 160, -3, DT_CFA_STACK, DT_SAVED_AT_CFA),
		CHECKED(frame, 16, -2, DT_CFA_FRAME, DT_SAVED_AT_CFA),
		CHECKED(leave, 16, -2, DT_CFA_FRAME, DT_SAVED_AT_CFA),
		CHECKED(moves, 48, -3, DT_CFA_STACK, DT_SAVED_AT_CFA),
		CHECKED(realigned, 0, 0, DT_CFA_NONE, 0),
		CHECKED(disagree, 0, 0, DT_CFA_NONE, 0),
		CHECKED(agree_inner, 32, 0, DT_CFA_STACK, DT_SAVED_NOT),
		CHECKED(agree, 16, 0, DT_CFA_STACK, DT_SAVED_NOT),
		CHECKED(behind_jump, 0, 0, DT_CFA_NONE, 0),
		CHECKED(nobody, 0, 0, DT_CFA_NONE, 0),
		CHECKED(nobody_again, 0, 0, DT_CFA_NONE, 0),
		CHECKED(ends_first, 32, 0, DT_CFA_STACK, DT_SAVED_NOT),
		CHECKED(ends_second, 32, 0, DT_CFA_STACK, DT_SAVED_NOT),
		CHECKED(ends_third, 32, 0, DT_CFA_STACK, DT_SAVED_NOT),
		CHECKED(taken, 32, -2, DT_CFA_STACK, DT_SAVED_AT_CFA),
		CHECKED(label, 0, 0, DT_CFA_NONE, 0),
		CHECKED(here, 16, 0, DT_CFA_STACK, DT_SAVED_NOT),
		CHECKED(thread, 0, 0, DT_CFA_END, 0),
		CHECKED(zero, 16, -2, DT_CFA_STACK, DT_SAVED_AT_CFA),
		CHECKED(lost, 16, 0, DT_CFA_STACK, DT_SAVED_UNKNOWN),
		CHECKED(cold, 32, 0, DT_CFA_STACK, DT_SAVED_NOT),
		CHECKED(signal, 0, 0, DT_CFA_SIGNAL, 0),
		CHECKED(signal_end, 0, 0, DT_CFA_SIGNAL, 0),
	};
	struct dt_code_part parts[PARTS_MAX];
	RANGES_OWNED ranges = { 0 };
	ELF_OWNED elf = open_elf("/proc/self/exe");
	uint64_t base = 0;

	(void)state;
	dl_iterate_phdr(find_base, &base);
	derive(elf, parts, read_parts(elf, parts), &ranges);
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const struct dt_rule_range *is = find_range(&ranges, (uintptr_t)cases[i].place - 1 - base);
		struct dt_unwind_rule rule = is ? is->rule : (struct dt_unwind_rule){ .cfa = DT_CFA_NONE };

		if (memcmp(&rule, &cases[i].rule, sizeof(rule)))
			fail_msg("%s: cfa %d %d rbp %d %d", cases[i].name, rule.cfa, rule.cfa_offset, rule.frame_pointer,
				 rule.frame_pointer_words);
	}
}

/* ---- musl ---------------------------------------------------------------------------------------------------- */

struct share {
	const struct dt_rule_ranges *ranges;
	const struct dt_elf *elf;
	ZydisDecoder decoder;
	size_t functions, calls, with_rule;
};

static int count_calls(void *context, const struct dt_elf_symbol *symbol)
{
	struct share *share = context;
	const uint8_t *bytes;
	size_t size = 0;

	if (!symbol->function || dt_elf_bytes(share->elf, symbol->vaddr, symbol->size, &bytes, &size))
		return 0;
	share->functions++;
	for (size_t at = 0; at < size;) {
		ZydisDecodedInstruction instruction;

		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&share->decoder, NULL, bytes + at, size - at, &instruction)))
			break;
		at += instruction.length;
		if (instruction.meta.category != ZYDIS_CATEGORY_CALL)
			continue;
		share->calls++;
		share->with_rule += find_range(share->ranges, symbol->vaddr + at - 1) != NULL;
	}
	return 0;
}

static struct dt_unwind_rule rule_behind(struct dt_elf *elf, const struct dt_rule_ranges *ranges, const char *code, size_t size,
					 size_t offset)
{
	const uint8_t *bytes, *at;
	const struct dt_rule_range *range;
	uint64_t vaddr;
	size_t length;

	assert_true(dt_elf_text(elf, 0, &vaddr, &bytes, &length));
	at = memmem(bytes, length, code, size);
	assert_non_null(at);
	range = find_range(ranges, vaddr + (uint64_t)(at - bytes) + offset - 1);
	return range ? range->rule : (struct dt_unwind_rule){ .cfa = DT_CFA_NONE };
}

#define RULE_BEHIND(code, offset) rule_behind(elf, &ranges, code, sizeof(code) - 1, offset)

static void test_musl(void **state)
{
	static const char path[] = "/usr/lib/x86_64-linux-musl/libc.so";
	struct dt_code_part parts[PARTS_MAX];
	RANGES_OWNED ranges = { 0 };
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	struct share share = { .ranges = &ranges };
	double begin;

	(void)state;
	if (access(path, R_OK)) {
		print_message("skipped: there is no %s here (package musl)\n", path);
		skip();
	}
	elf = open_elf(path);
	begin = now_ms();
	derive(elf, parts, read_parts(elf, parts), &ranges);
	begin = now_ms() - begin;
	share.elf = elf;
	assert_true(ZYAN_SUCCESS(ZydisDecoderInit(&share.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	assert_int_equal(dt_elf_each_symbol(elf, count_calls, &share), 0);
	print_message("%s: %zu functions by name, %zu calls in them, %zu (%.1f %%) have a rule; %.0f ms\n", path, share.functions,
		      share.calls, share.with_rule, 100.0 * (double)share.with_rule / (double)share.calls, begin);
	/* _dlstart: and $-16, %rsp; call; __clone's child: xor %ebp, %ebp; pop %rdi; call *%r9; __restore_rt. */
	assert_int_equal(RULE_BEHIND("\x48\x83\xe4\xf0\xe8", 9).cfa, DT_CFA_END);
	assert_int_equal(RULE_BEHIND("\x31\xed\x5f\x41\xff\xd1", 6).cfa, DT_CFA_END);
	assert_int_equal(RULE_BEHIND("\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", 0).cfa, DT_CFA_SIGNAL);
	assert_int_equal(RULE_BEHIND("\x48\xc7\xc0\x0f\x00\x00\x00\x0f\x05", 9).cfa, DT_CFA_SIGNAL);
}

/* ---- images -------------------------------------------------------------------------------------------------- */

#define IMAGE_VADDR 0x400000
#define IMAGE_CODE 120                  /* behind the headers */

/* The headers of a file of one segment that is all code; the code is the caller's. */
static struct dt_elf *open_image(uint8_t *image, size_t size, uint16_t type, uint64_t entry)
{
	Elf64_Ehdr header = { .e_ident = ELFMAG, .e_type = type, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			      .e_entry = entry, .e_phoff = 64, .e_ehsize = 64, .e_phentsize = 56, .e_phnum = 1,
			      .e_shentsize = 64 };
	Elf64_Phdr segment = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = IMAGE_VADDR, .p_filesz = size,
			       .p_memsz = size, .p_align = 4096 };
	struct dt_elf *elf;

	header.e_ident[EI_CLASS] = ELFCLASS64;
	header.e_ident[EI_DATA] = ELFDATA2LSB;
	header.e_ident[EI_VERSION] = EV_CURRENT;
	memcpy(image, &header, sizeof(header));
	memcpy(image + 64, &segment, sizeof(segment));
	assert_int_equal(dt_elf_open_image(image, size, &elf), 0);
	return elf;
}

/*
 * A number in the code can be the address of a function, but not in a file that may be loaded anywhere: there it is a string
 * ("SQL" in PostgreSQL) or a size, and what happens to be at that address may be the inside of an instruction.
 */
static void test_number_is_an_address(void **state)
{
	static const uint8_t code[] = {
		/* 0x400078: */ 0xb8, 0x80, 0x00, 0x40, 0x00,   /* mov $0x400080, %eax */
		/* 0x40007d: */ 0xff, 0xe0, 0x90,               /* jmp *%rax; nop */
		/* 0x400080: */ 0x50, 0xff, 0xd7, 0x58, 0xc3,   /* push %rax; call *%rdi; pop %rax; ret */
	};
	static const struct dt_unwind_rule known = { .cfa_offset = 16, .cfa = DT_CFA_STACK };
	static const uint16_t types[] = { ET_EXEC, ET_DYN };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(types); i++) {
		uint8_t image[IMAGE_CODE + sizeof(code)];
		struct dt_code_part parts[PARTS_MAX];
		RANGES_OWNED ranges = { 0 };
		DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
		const struct dt_rule_range *range;

		memcpy(image + IMAGE_CODE, code, sizeof(code));
		elf = open_image(image, sizeof(image), types[i], IMAGE_VADDR + IMAGE_CODE);
		assert_int_equal(dt_elf_moves(elf), types[i] == ET_DYN);
		derive(elf, parts, read_parts(elf, parts), &ranges);
		range = find_range(&ranges, 0x400082);
		if (types[i] == ET_DYN)
			assert_null(range);
		else
			assert_true(range && !memcmp(&range->rule, &known, sizeof(known)));
	}
}

/* ---- bytes that are no code ---------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

/* An image that is entered somewhere; what is there is mostly jumps, calls and pushes. */
static void test_any_bytes_do_no_harm(void **state)
{
	static const uint8_t common[] = { 0x55, 0x5d, 0x50, 0x58, 0xe8, 0xeb, 0x74, 0xc3, 0xc9, 0x48, 0x89, 0xe5, 0xec, 0x83, 0x00,
					  0xff, 0x0f, 0x05, 0xe4, 0x8d, 0xf0, 0x31, 0xed, 0xf8, 0x01 };
	uint64_t seed = 88172645463325252u;
	size_t told = 0;

	(void)state;
	for (int round = 0; round < 1500; round++) {
		size_t size = IMAGE_CODE + 1 + next_random(&seed) % 4096;
		DT_FREE uint8_t *image = calloc(1, size);
		uint64_t entry = IMAGE_VADDR + IMAGE_CODE + next_random(&seed) % (size - IMAGE_CODE);
		struct dt_code_part parts[PARTS_MAX];
		RANGES_OWNED ranges = { 0 };
		DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;

		assert_non_null(image);
		for (size_t i = IMAGE_CODE; i < size; i++)
			image[i] = round & 1 ? (uint8_t)next_random(&seed) : common[next_random(&seed) % sizeof(common)];
		elf = open_image(image, size, ET_EXEC, entry);
		derive(elf, parts, read_parts(elf, parts), &ranges);
		for (size_t i = 0; i < ranges.count; i++)
			assert_true(ranges.items[i].start >= IMAGE_VADDR && ranges.items[i].end <= IMAGE_VADDR + size);
		told += ranges.count;
	}
	assert_true(told > 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_rule_differs_from_the_hidden_table),
		cmocka_unit_test(test_functions_in_assembly),
		cmocka_unit_test(test_musl),
		cmocka_unit_test(test_number_is_an_address),
		cmocka_unit_test(test_any_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
