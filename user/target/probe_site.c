/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel emulates is in arch/x86/kernel/uprobes.c: branch_setup_xol_ops() and push_setup_xol_ops(). Of those
 * only what every kernel from 6.1 on emulates is chosen here, and never a call: until 2026 an emulated call left the
 * shadow stack behind ("x86/uprobes: Keep shadow stack in sync for emulated CALLs").
 *
 * The 5-byte nop is never probed at all: Linux 6.18 replaces it by a call of its own, which kills forked children and
 * writes into the red zone (FIELD-NOTES D3).
 *
 * A site behind the entry is right only if whoever gets there came from the entry. So nothing may branch in between:
 * no relative branch with a short displacement nearby, no branch or address (lea) with a long one in the whole file, no
 * symbol. The long ones are looked for at every byte, so that data in code or a mistake about where instructions start
 * cannot hide one. On random bytes that finds a false one with odds of 0.008 * distance / 2^32 for each byte: for a
 * site 7 bytes in, once in 70 GiB of code; it costs only speed. A jump through a table cannot be seen; compilers make
 * none into their prologues.
 */
#include "target/probe_site.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"

#define DISTANCE_MAX 16                 /* bytes behind the entry where a site is looked for */
#define SHORT_REACH 130                 /* a short branch: 2 or 3 bytes that reach 128 bytes back, 127 forth */
/*
 * Where instructions start before the entry is not known. Decoding finds its step within a few instructions wherever
 * it begins, so it begins at 16 places in a row (no instruction is longer than 15) and well before the first byte that
 * matters; a branch seen by any of the 16 counts.
 */
#define STARTS 16
#define RUN_UP 256

/* A place in one executable segment. */
struct code {
	ZydisDecoder decoder;
	const uint8_t *bytes;           /* of the segment */
	size_t size;
	uint64_t vaddr;                 /* of its first byte */
	size_t entry;                   /* index of the function's first byte */
};

static int open_code(const struct dt_elf *elf, uint64_t entry_vaddr, struct code *ret_code)
{
	struct code code = { 0 };

	for (size_t i = 0; dt_elf_text(elf, i, &code.vaddr, &code.bytes, &code.size); i++) {
		if (entry_vaddr < code.vaddr || entry_vaddr - code.vaddr >= code.size)
			continue;
		code.entry = entry_vaddr - code.vaddr;
		if (ZYAN_FAILED(ZydisDecoderInit(&code.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
			return -ENOTSUP;
		*ret_code = code;
		return 0;
	}
	return -ENXIO;
}

/* ---- kinds of instructions ----------------------------------------------------------------------------------- */

struct instruction {
	ZydisDecodedInstruction head;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

static bool decode(const struct code *code, size_t at, struct instruction *ret_instruction)
{
	return at < code->size && ZYAN_SUCCESS(ZydisDecoderDecodeFull(&code->decoder, code->bytes + at, code->size - at,
								      &ret_instruction->head, ret_instruction->operands));
}

/* Told by the bytes, as the kernel does: any prefix other than REX.B before a push makes it another case there. */
static bool is_emulated(const uint8_t *bytes, const ZydisDecodedInstruction *head)
{
	switch (head->length) {
	case 1:
		return (bytes[0] & 0xf8) == 0x50 || bytes[0] == 0x90;
	case 2:
		return (bytes[0] & 0xf0) == 0x70 || bytes[0] == 0xeb || (bytes[0] == 0x41 && (bytes[1] & 0xf8) == 0x50);
	case 5:
		return bytes[0] == 0xe9;
	case 6:
		return bytes[0] == 0x0f && (bytes[1] & 0xf0) == 0x80;
	default:
		return false;
	}
}

/* Scratch registers that carry no argument. What a callee must save stays as it is, so that the caller can be found. */
static bool is_free_register(ZydisRegister reg)
{
	switch (ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg)) {
	case ZYDIS_REGISTER_RAX:
	case ZYDIS_REGISTER_R10:
	case ZYDIS_REGISTER_R11:
		return true;
	default:
		return ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_FLAGS;
	}
}

/* Leaves arguments, stack pointer, memory and the way on as they were. */
static bool is_transparent(const struct instruction *instruction)
{
	static const ZydisMnemonic harmless[] = {
		ZYDIS_MNEMONIC_TEST, ZYDIS_MNEMONIC_CMP, ZYDIS_MNEMONIC_MOV, ZYDIS_MNEMONIC_MOVZX, ZYDIS_MNEMONIC_MOVSX,
		ZYDIS_MNEMONIC_MOVSXD, ZYDIS_MNEMONIC_LEA, ZYDIS_MNEMONIC_XOR, ZYDIS_MNEMONIC_NOP, ZYDIS_MNEMONIC_ENDBR64,
	};
	bool listed = false;

	for (size_t i = 0; i < DT_ARRAY_SIZE(harmless); i++)
		listed |= instruction->head.mnemonic == harmless[i];
	for (size_t i = 0; listed && i < instruction->head.operand_count; i++) {
		const ZydisDecodedOperand *operand = &instruction->operands[i];

		if (!(operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		listed = operand->type == ZYDIS_OPERAND_TYPE_REGISTER && is_free_register(operand->reg.value);
	}
	return listed;
}

static bool is_nop5(const uint8_t *bytes, const ZydisDecodedInstruction *head)
{
	static const uint8_t nop5[] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 };

	return head->length == sizeof(nop5) && !memcmp(bytes, nop5, sizeof(nop5));
}

/* May a probe stand here at all? The kernel refuses these prefixes (is_prefix_bad()) and breakpoints. */
static bool is_probeable(const uint8_t *bytes, const ZydisDecodedInstruction *head)
{
	if (is_nop5(bytes, head) || head->mnemonic == ZYDIS_MNEMONIC_CALL || head->mnemonic == ZYDIS_MNEMONIC_INT3)
		return false;
	for (size_t i = 0; i < head->raw.prefix_count; i++)
		if (memchr("\x26\x2e\x36\x3e\xf0", head->raw.prefixes[i].value, 5))
			return false;
	return true;
}

/* ---- nothing jumps in between -------------------------------------------------------------------------------- */

/* In (entry, site]? Unsigned, so that what lies before the entry is far behind the site. */
static bool is_between(uint64_t vaddr, uint64_t entry_vaddr, uint32_t distance)
{
	return vaddr - entry_vaddr - 1 < distance;
}

/* Decodes from one index to another and looks where relative branches go. */
static bool branches_between(const struct code *code, size_t from, size_t to, uint32_t distance)
{
	ZydisDecodedInstruction head;

	while (from < to && from < code->size) {
		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&code->decoder, NULL, code->bytes + from, code->size - from, &head))) {
			from++;
			continue;
		}
		from += head.length;
		if (head.raw.imm[0].is_relative &&
		    is_between(code->vaddr + from + (uint64_t)head.raw.imm[0].value.s, code->vaddr + code->entry, distance))
			return true;
	}
	return false;
}

static bool near_branches_between(const struct code *code, uint32_t distance)
{
	size_t lead = SHORT_REACH + RUN_UP + STARTS;
	size_t first = code->entry > lead ? code->entry - lead : 0;

	for (size_t start = first; start < first + STARTS && start < code->entry; start++)
		if (branches_between(code, start, code->entry, distance))
			return true;
	return branches_between(code, code->entry, code->entry + distance + SHORT_REACH, distance);
}

/* Do these 4 bytes at `at` follow an opcode whose displacement they can be: call, jmp, jcc, lea off(%rip)? */
static bool is_displacement(const uint8_t *bytes, size_t at)
{
	uint8_t last = at > 0 ? bytes[at - 1] : 0, before = at > 1 ? bytes[at - 2] : 0;

	return (last & 0xfe) == 0xe8 || (before == 0x0f && (last & 0xf0) == 0x80) || (before == 0x8d && (last & 0xc7) == 0x05);
}

static bool far_branches_between(const struct dt_elf *elf, uint64_t entry_vaddr, uint32_t distance)
{
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++) {
		for (size_t at = 0; at + sizeof(int32_t) <= size; at++) {
			int32_t offset;

			memcpy(&offset, bytes + at, sizeof(offset));
			if (is_between(vaddr + at + sizeof(offset) + (uint64_t)(int64_t)offset, entry_vaddr, distance) &&
			    is_displacement(bytes, at))
				return true;
		}
	}
	return false;
}

struct range {
	uint64_t entry_vaddr;
	uint32_t distance;
};

static int is_symbol_between(void *context, const struct dt_elf_symbol *symbol)
{
	const struct range *range = context;

	return !symbol->object && is_between(symbol->vaddr, range->entry_vaddr, range->distance);
}

/* A symbol table that cannot be read to its end counts as a symbol in between. */
static bool is_entered_between(const struct dt_elf *elf, const struct code *code, uint32_t distance)
{
	struct range range = { .entry_vaddr = code->vaddr + code->entry, .distance = distance };

	return near_branches_between(code, distance) || dt_elf_each_symbol(elf, is_symbol_between, &range) ||
	       far_branches_between(elf, range.entry_vaddr, distance);
}

/* ---- the site ------------------------------------------------------------------------------------------------ */

static void write_text(const struct instruction *instruction, uint64_t vaddr, char *text, size_t size)
{
	ZydisFormatter formatter;
	bool good = ZYAN_SUCCESS(ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL));

	good = good && ZYAN_SUCCESS(ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_ADDR_PADDING_ABSOLUTE,
							      ZYDIS_PADDING_DISABLED));
	good = good && ZYAN_SUCCESS(ZydisFormatterSetProperty(&formatter, ZYDIS_FORMATTER_PROP_HEX_UPPERCASE, ZYAN_FALSE));
	good = good && ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&formatter, &instruction->head, instruction->operands,
								    instruction->head.operand_count_visible, text, size,
								    vaddr, NULL));
	if (!good)
		strcpy(text, "?");
}

static void describe(const struct code *code, uint32_t distance, const struct instruction *instruction,
		     const char *reason, struct dt_probe_site *ret_site)
{
	const uint8_t *bytes = code->bytes + code->entry + distance;
	struct dt_probe_site site = {
		.vaddr = code->vaddr + code->entry + distance,
		.distance = distance,
		.emulated = is_emulated(bytes, &instruction->head),
		.size = instruction->head.length,
		.reason = reason,
	};

	memcpy(site.bytes, bytes, site.size);
	write_text(instruction, site.vaddr, site.instruction, sizeof(site.instruction));
	*ret_site = site;
}

/* The entry itself, or what follows the nops there that cannot be probed. */
static int find_fallback(const struct dt_elf *elf, const struct code *code, const char *why,
			 struct dt_probe_site *ret_site)
{
	struct instruction instruction;
	uint32_t distance = 0;

	for (; distance <= DISTANCE_MAX; distance += instruction.head.length) {
		if (!decode(code, code->entry + distance, &instruction))
			return -ENOTSUP;
		if (is_probeable(code->bytes + code->entry + distance, &instruction.head)) {
			if (distance && is_entered_between(elf, code, distance))
				return -ENOTSUP;
			describe(code, distance, &instruction, why, ret_site);
			return 0;
		}
		if (instruction.head.mnemonic != ZYDIS_MNEMONIC_NOP)
			return -ENOTSUP;
	}
	return -ENOTSUP;
}

int dt_probe_site_find(const struct dt_elf *elf, uint64_t entry_vaddr, struct dt_probe_site *ret_site)
{
	const char *why = "nothing that the kernel emulates stands near enough to the entry";
	struct instruction instruction;
	struct code code;
	int error = open_code(elf, entry_vaddr, &code);

	if (error)
		return error;
	for (uint32_t distance = 0; distance <= DISTANCE_MAX; distance += instruction.head.length) {
		if (!decode(&code, code.entry + distance, &instruction))
			break;
		if (is_emulated(code.bytes + code.entry + distance, &instruction.head)) {
			if (distance && is_entered_between(elf, &code, distance)) {
				why = "a cheap place is near, but code elsewhere may jump behind the entry";
				break;
			}
			describe(&code, distance, &instruction, distance ? "the kernel emulates it, and what comes before "
				 "leaves the arguments alone" : "the kernel emulates the first instruction", ret_site);
			return 0;
		}
		if (!is_transparent(&instruction)) {
			why = "the instructions at the entry are not emulated and change what a probe needs";
			break;
		}
	}
	return find_fallback(elf, &code, why, ret_site);
}

int dt_probe_site_find_callers(const struct dt_elf *elf, uint64_t entry_vaddr, uint64_t start, uint64_t end, uint64_t *returns, size_t max,
			       size_t *ret_count)
{
	const uint8_t *bytes;
	size_t size, count = 0;
	struct code code;
	uint64_t vaddr;
	int error = open_code(elf, entry_vaddr, &code);

	if (error)
		return error;
	/* At every byte: a false one has odds of 2^-40 for each. */
	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++) {
		for (size_t at = 0; at + 5 <= size; at++) {
			int32_t offset;

			memcpy(&offset, bytes + at + 1, sizeof(offset));
			if (bytes[at] != 0xe8 || vaddr + at + 5 + (uint64_t)(int64_t)offset != entry_vaddr ||
			    vaddr + at + 5 < start || vaddr + at + 5 > end)
				continue;
			if (count < max)
				returns[count] = vaddr + at + 5;
			count++;
		}
	}
	*ret_count = count;
	return 0;
}
