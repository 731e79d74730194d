/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A jump to an address in a register or in memory is a tail call through a pointer (gperftools' handlers for exhausted memory) or a
 * jump through a table. Where it leads is not known; taken are all functions of this file whose address was loaded on the way.
 */
#include "target/code_ends.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"

#define INSTRUCTIONS_MAX 8192           /* that are followed */
#define PLACES_MAX 1024                 /* where the way forks, or words that are loaded */
#define RELOCATIONS_MAX (1u << 24)      /* that are looked at: there may be a million, and nothing says in which order */

struct places {
	uint64_t vaddrs[PLACES_MAX];
	size_t count;
};

struct walk {
	struct dt_elf *elf;
	ZydisDecoder decoder;
	bool (*stops)(const void *context, uint64_t vaddr);
	const void *context;
	struct places todo, code, words; /* `code`, `words`: whose addresses were loaded, and what was loaded */
	uint64_t *seen;                 /* open addressing; 0: free */
	size_t seen_count;
	bool jumps_anywhere, loaded_any;
	size_t relocations;             /* that were looked at */
	struct dt_code_ends ends;
};

struct step {
	ZydisDecodedInstruction head;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
};

#define SEEN_SLOTS (2 * INSTRUCTIONS_MAX)

/* True: for the first time. */
static bool see(struct walk *walk, uint64_t vaddr)
{
	size_t slot = (vaddr * 0x9e3779b97f4a7c15ull >> 32) % SEEN_SLOTS;

	while (walk->seen[slot] && walk->seen[slot] != vaddr)
		slot = (slot + 1) % SEEN_SLOTS;
	if (walk->seen[slot])
		return false;
	if (walk->seen_count == INSTRUCTIONS_MAX) {
		walk->ends.incomplete = true;
		return false;
	}
	walk->seen_count++;
	walk->seen[slot] = vaddr;
	return true;
}

static void add_place(struct walk *walk, struct places *places, uint64_t vaddr)
{
	if (places->count < PLACES_MAX)
		places->vaddrs[places->count++] = vaddr;
	else
		walk->ends.incomplete = true;
}

static void add_end(struct walk *walk, uint64_t vaddr)
{
	if (walk->ends.count < DT_CODE_ENDS_MAX)
		walk->ends.vaddrs[walk->ends.count++] = vaddr;
	else
		walk->ends.incomplete = true;
}

static bool decode(const struct walk *walk, uint64_t at, struct step *ret_step)
{
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	for (size_t i = 0; dt_elf_text(walk->elf, i, &vaddr, &bytes, &size); i++)
		if (at >= vaddr && at - vaddr < size)
			return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&walk->decoder, bytes + (at - vaddr), size - (at - vaddr),
								   &ret_step->head, ret_step->operands));
	return false;
}

static bool is_code(const struct walk *walk, uint64_t vaddr)
{
	uint64_t start, end;

	for (size_t i = 0; dt_elf_text_range(walk->elf, i, &start, &end); i++)
		if (vaddr >= start && vaddr < end)
			return true;
	return false;
}

/* The address that an operand names by itself: of a relative branch, or of memory relative to the instruction. */
static bool known_address(const struct step *step, const ZydisDecodedOperand *operand, uint64_t vaddr, uint64_t *ret_address)
{
	bool relative = operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE ||
			(operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.base == ZYDIS_REGISTER_RIP);

	return relative && ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&step->head, operand, vaddr, ret_address));
}

/* What this file's own symbol, if it is one, gives the word at `slot` when the file is loaded. */
static uint64_t relocated(struct dt_elf *elf, const Elf64_Rela *rela)
{
	const uint8_t *symbols;
	uint64_t vaddr;
	Elf64_Sym symbol;
	size_t size, at = ELF64_R_SYM(rela->r_info) * sizeof(symbol);

	switch (ELF64_R_TYPE(rela->r_info)) {
	case R_X86_64_RELATIVE:
		return (uint64_t)rela->r_addend;
	case R_X86_64_JUMP_SLOT:
	case R_X86_64_GLOB_DAT:
	case R_X86_64_64:
		if (dt_elf_section(elf, ".dynsym", &symbols, &size, &vaddr) || at + sizeof(symbol) > size)
			return 0;
		memcpy(&symbol, symbols + at, sizeof(symbol));
		if (symbol.st_shndx == SHN_UNDEF || ELF64_ST_TYPE(symbol.st_info) != STT_FUNC)
			return 0;
		return symbol.st_value + (ELF64_R_TYPE(rela->r_info) == R_X86_64_64 ? (uint64_t)rela->r_addend : 0);
	default:
		return 0;
	}
}

/* Which code of this file a word of the global offset table leads to; 0: none, or it is not known. */
static uint64_t pointed_to(struct walk *walk, uint64_t slot)
{
	static const char *const names[] = { ".rela.plt", ".rela.dyn" };

	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++) {
		const uint8_t *bytes;
		Elf64_Rela rela;
		uint64_t vaddr;
		size_t size;

		if (dt_elf_section(walk->elf, names[i], &bytes, &size, &vaddr))
			continue;
		for (size_t at = 0; at + sizeof(rela) <= size && walk->relocations < RELOCATIONS_MAX; at += sizeof(rela)) {
			walk->relocations++;
			memcpy(&rela, bytes + at, sizeof(rela));
			if (rela.r_offset != slot)
				continue;
			vaddr = relocated(walk->elf, &rela);
			return vaddr && is_code(walk, vaddr) ? vaddr : 0;
		}
	}
	walk->ends.incomplete |= walk->relocations == RELOCATIONS_MAX;
	return 0;
}

/*
 * Does a function begin at `vaddr`, or a part of one that the compiler has put elsewhere? Nothing runs into it from above: what stands
 * there is a call that does not return. .eh_frame_hdr is a table of all of them, ordered by address (Linux Standard
 * Base Core 5.0, 10.6.2), which linkers write in one encoding: signed 32-bit offsets from its own beginning.
 */
static bool is_beginning(const struct walk *walk, uint64_t vaddr)
{
	static const uint8_t encoding[] = { 1, 0x1b, 0x03, 0x3b };
	const uint8_t *bytes;
	size_t size, low = 0, high;
	uint64_t start;
	uint32_t count;

	if (dt_elf_section(walk->elf, ".eh_frame_hdr", &bytes, &size, &start) || size < 12 || memcmp(bytes, encoding, sizeof(encoding)))
		return false;
	memcpy(&count, bytes + 8, sizeof(count));
	high = count < (size - 12) / 8 ? count : (size - 12) / 8;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int32_t offset;

		memcpy(&offset, bytes + 12 + 8 * middle, sizeof(offset));
		if (start + (uint64_t)(int64_t)offset == vaddr)
			return true;
		if ((int64_t)(start + (uint64_t)(int64_t)offset) < (int64_t)vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Where a call or jump to `vaddr` really goes: behind a stub of the PLT; 0: out of this file. */
static uint64_t behind_stub(struct walk *walk, uint64_t vaddr)
{
	struct step step;
	uint64_t at = vaddr, slot;

	if (!decode(walk, at, &step))
		return 0;
	if (step.head.mnemonic == ZYDIS_MNEMONIC_ENDBR64) {
		at += step.head.length;
		if (!decode(walk, at, &step))
			return 0;
	}
	if (step.head.mnemonic != ZYDIS_MNEMONIC_JMP || step.operands[0].type != ZYDIS_OPERAND_TYPE_MEMORY ||
	    !known_address(&step, &step.operands[0], at, &slot))
		return vaddr;
	return pointed_to(walk, slot);
}

/* Where the call or jump goes. *ret_known: false if only the running program knows; 0: to code of another file. */
static uint64_t branch_target(struct walk *walk, const struct step *step, uint64_t vaddr, bool *ret_known)
{
	const ZydisDecodedOperand *operand = &step->operands[0];
	uint64_t address;

	*ret_known = known_address(step, operand, vaddr, &address);
	if (!*ret_known)
		return 0;
	return operand->type == ZYDIS_OPERAND_TYPE_MEMORY ? pointed_to(walk, address) : behind_stub(walk, address);
}

/* Notes what a jump to anywhere may lead to. */
static void note_loaded(struct walk *walk, const struct step *step, uint64_t vaddr)
{
	uint64_t address;

	if ((step->head.mnemonic != ZYDIS_MNEMONIC_LEA && step->head.mnemonic != ZYDIS_MNEMONIC_MOV) ||
	    step->operands[1].type != ZYDIS_OPERAND_TYPE_MEMORY || !known_address(step, &step->operands[1], vaddr, &address))
		return;
	if (step->head.mnemonic == ZYDIS_MNEMONIC_MOV)
		add_place(walk, &walk->words, address);
	else if (is_code(walk, address))
		add_place(walk, &walk->code, address);
}

/* Where the way goes on behind the instruction at `vaddr`; 0: it does not. */
static uint64_t follow(struct walk *walk, const struct step *step, uint64_t vaddr)
{
	uint64_t target, next = vaddr + step->head.length;
	bool known;

	switch (step->head.meta.category) {
	case ZYDIS_CATEGORY_RET:
		add_end(walk, vaddr);
		return 0;
	case ZYDIS_CATEGORY_COND_BR:
		target = branch_target(walk, step, vaddr, &known);
		if (target && !walk->stops(walk->context, target))
			add_place(walk, &walk->todo, target);
		return next;
	case ZYDIS_CATEGORY_UNCOND_BR:
		target = branch_target(walk, step, vaddr, &known);
		walk->jumps_anywhere |= !known;
		return target && !walk->stops(walk->context, target) ? target : 0;
	case ZYDIS_CATEGORY_CALL:
		target = branch_target(walk, step, vaddr, &known);
		return target && walk->stops(walk->context, target) ? 0 : next;
	default:
		break;
	}
	if (step->head.mnemonic == ZYDIS_MNEMONIC_UD2 || step->head.mnemonic == ZYDIS_MNEMONIC_HLT || step->head.mnemonic == ZYDIS_MNEMONIC_INT3)
		return 0;
	note_loaded(walk, step, vaddr);
	return next;
}

static void walk_from(struct walk *walk, uint64_t vaddr)
{
	while (vaddr && see(walk, vaddr)) {
		uint64_t next;
		struct step step;

		if (!decode(walk, vaddr, &step)) {
			walk->ends.incomplete = true;
			return;
		}
		next = follow(walk, &step, vaddr);
		vaddr = next == vaddr + step.head.length && is_beginning(walk, next) ? 0 : next;
	}
}

static bool next_place(struct walk *walk, uint64_t *ret_vaddr)
{
	if (walk->todo.count) {
		*ret_vaddr = walk->todo.vaddrs[--walk->todo.count];
		return true;
	}
	if (!walk->jumps_anywhere || (!walk->code.count && !walk->words.count))
		return false;
	*ret_vaddr = walk->code.count ? walk->code.vaddrs[--walk->code.count] : pointed_to(walk, walk->words.vaddrs[--walk->words.count]);
	walk->loaded_any |= *ret_vaddr;
	if (*ret_vaddr && walk->stops(walk->context, *ret_vaddr))
		*ret_vaddr = 0;
	return true;
}

static void walk_all(struct walk *walk)
{
	uint64_t vaddr;

	while (next_place(walk, &vaddr))
		walk_from(walk, vaddr);
}

int dt_code_ends_find(struct dt_elf *elf, uint64_t entry_vaddr, bool (*stops)(const void *context, uint64_t vaddr), const void *context,
		      struct dt_code_ends *ret_ends)
{
	DT_FREE struct walk *walk = calloc(1, sizeof(*walk));
	DT_FREE uint64_t *seen = calloc(SEEN_SLOTS, sizeof(*seen));

	if (!walk || !seen)
		return -ENOMEM;
	walk->elf = elf;
	walk->stops = stops;
	walk->context = context;
	walk->seen = seen;
	if (ZYAN_FAILED(ZydisDecoderInit(&walk->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return -ENOTSUP;
	if (!is_code(walk, entry_vaddr))
		return -ENXIO;
	add_place(walk, &walk->todo, entry_vaddr);
	walk_all(walk);
	walk->ends.incomplete |= walk->jumps_anywhere && !walk->loaded_any;
	*ret_ends = walk->ends;
	return 0;
}
