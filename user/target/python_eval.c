/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/python_eval.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"
#include "target/pointer.h"

/* ---- functions as .eh_frame_hdr tells them ------------------------------------------------------------------------ */

/*
 * Linux Standard Base 5.0, 10.6.2: version, encodings of the pointer to .eh_frame, of the count and of the table; then these.
 * Linkers write one form only: pointer relative to itself, count in 4 bytes, pairs {first address, its entry} of 4 bytes each,
 * relative to the section and sorted.
 */
#define HEADER_BYTES 12
#define PAIR_BYTES 8

/* An entry (FDE) of .eh_frame: length, distance to its common entry, then first address and size. */
#define ENTRY_START 8
#define ENTRY_SIZE 12

static int32_t read_s32(const uint8_t *bytes)
{
	int32_t value;

	memcpy(&value, bytes, sizeof(value));
	return value;
}

struct functions {
	struct dt_elf *elf;
	const uint8_t *pairs;
	size_t count;
	uint64_t vaddr;                 /* of the section */
};

static bool functions_open(struct dt_elf *elf, struct functions *functions)
{
	static const uint8_t form[] = { 1, 0x1b, 0x03, 0x3b };
	const uint8_t *bytes;
	size_t size;

	if (dt_elf_section(elf, ".eh_frame_hdr", &bytes, &size, &functions->vaddr) || size < HEADER_BYTES ||
	    memcmp(bytes, form, sizeof(form)))
		return false;
	functions->elf = elf;
	functions->pairs = bytes + HEADER_BYTES;
	functions->count = (uint32_t)read_s32(bytes + 8);
	if (functions->count > (size - HEADER_BYTES) / PAIR_BYTES)
		functions->count = (size - HEADER_BYTES) / PAIR_BYTES;
	return functions->count;
}

static uint64_t pair_start(const struct functions *functions, size_t index)
{
	return functions->vaddr + (uint64_t)(int64_t)read_s32(functions->pairs + index * PAIR_BYTES);
}

/* The range of code that one entry describes; false: the address is in none. */
static bool functions_find(const struct functions *functions, uint64_t address, struct dt_address_range *ret_range)
{
	size_t low = 0, high = functions->count;
	uint64_t entry;
	uint8_t bytes[ENTRY_SIZE + 4];

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (pair_start(functions, middle) <= address)
			low = middle;
		else
			high = middle;
	}
	entry = functions->vaddr + (uint64_t)(int64_t)read_s32(functions->pairs + low * PAIR_BYTES + 4);
	ret_range->start = pair_start(functions, low);
	if (address < ret_range->start || dt_elf_read(functions->elf, entry, bytes, sizeof(bytes)) ||
	    entry + ENTRY_START + (uint64_t)(int64_t)read_s32(bytes + ENTRY_START) != ret_range->start)
		return false;
	ret_range->end = ret_range->start + (uint32_t)read_s32(bytes + ENTRY_SIZE);
	return address < ret_range->end;
}

/* ---- the eval loop ----------------------------------------------------------------------------------------------- */

static bool holds(const struct dt_address_range *range, uint64_t address)
{
	return address >= range->start && address < range->end;
}

typedef bool (*jump_fn)(void *context, uint64_t target);

/* Tells of each direct jump in a range of code. Stops at what cannot be decoded, and when the callback says so (true is returned then). */
static bool each_jump(struct dt_elf *elf, const struct dt_address_range *range, jump_fn fn, void *context)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction head;
	ZydisDecoderContext state;
	ZydisDecoder decoder;
	const uint8_t *bytes;
	size_t size, at = 0;

	if (dt_elf_bytes(elf, range->start, range->end - range->start, &bytes, &size) ||
	    ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return false;
	for (; at < size; at += head.length) {
		ZyanU64 target;

		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&decoder, &state, bytes + at, size - at, &head)))
			return false;
		if (head.meta.category != ZYDIS_CATEGORY_COND_BR && head.meta.category != ZYDIS_CATEGORY_UNCOND_BR)
			continue;
		if (ZYAN_SUCCESS(ZydisDecoderDecodeOperands(&decoder, &state, &head, operands, 1)) &&
		    operands[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
		    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&head, &operands[0], range->start + at, &target)) &&
		    fn(context, target))
			return true;
	}
	return false;
}

#define COLD_BYTES_MAX (16u << 20)      /* of code that is looked through; a forged file could make it all code for each jump */

struct cold {
	const struct functions *functions;
	const struct dt_address_range *hot;
	struct dt_address_range tried, found;
	uint64_t bytes;                 /* looked through so far */
};

static bool jumps_back(void *context, uint64_t target)
{
	const struct dt_address_range *hot = context;

	return target > hot->start && target < hot->end;
}

/*
 * The compiler moves what is rarely executed of a function elsewhere: code that the function jumps to, and that jumps back into
 * the middle of it, which no other function can. (Jumps to the beginning of other functions are tail calls.)
 */
static bool is_cold(void *context, uint64_t target)
{
	struct cold *cold = context;
	struct dt_address_range range;

	if (holds(cold->hot, target) || holds(&cold->tried, target) || !functions_find(cold->functions, target, &range))
		return false;
	cold->tried = range;
	cold->bytes += range.end - range.start;
	if (cold->bytes > COLD_BYTES_MAX || holds(&range, cold->hot->start) || !each_jump(cold->functions->elf, &range, jumps_back, (void *)(uintptr_t)cold->hot))
		return false;
	cold->found = range;
	return true;
}

void dt_python_eval_find(struct dt_elf *elf, struct dt_address_range ret_ranges[2])
{
	struct dt_address_range ranges[2] = { 0 };
	struct functions functions;
	struct dt_elf_symbol symbol;
	bool has_functions = functions_open(elf, &functions);
	struct cold cold = { .functions = &functions, .hot = &ranges[0] };

	if (!dt_elf_find_symbol(elf, "_PyEval_EvalFrameDefault", &symbol) && symbol.function) {
		ranges[0] = (struct dt_address_range){ symbol.vaddr, symbol.vaddr + symbol.size };
		if (!symbol.size && (!has_functions || !functions_find(&functions, symbol.vaddr, &ranges[0])))
			ranges[0] = (struct dt_address_range){ 0 };
	}
	if (ranges[0].end && has_functions && each_jump(elf, &ranges[0], is_cold, &cold))
		ranges[1] = cold.found;
	memcpy(ret_ranges, ranges, sizeof(ranges));
}

/* ---- code objects ------------------------------------------------------------------------------------------------ */

#define TYPE_DEALLOC 48                 /* PyTypeObject → tp_dealloc, all versions (Include/cpython/object.h) */

/* lea address(%rip), register; or an instruction of an executable at a fixed address that holds it as a constant. */
static bool refers_to(const uint8_t *bytes, uint64_t at, uint64_t address)
{
	int32_t word = read_s32(bytes);
	uint8_t before = bytes[-1], opcode = bytes[-2];

	if (opcode == 0x8d && (before & 0xc7) == 0x05)                  /* lea */
		return at + sizeof(word) + (uint64_t)(int64_t)word == address;
	return (uint32_t)word == address &&
	       ((opcode == 0x81 && (before & 0xf8) == 0xf8) || before == 0x3d ||      /* cmp */
		(opcode == 0xc7 && (before & 0xf8) == 0xc0) || (before & 0xf8) == 0xb8); /* mov */
}

/*
 * A compiler that knows from a profile what a pointer mostly points to compares it with that function's address and, if it
 * is equal, goes on with a copy of the function's body. So no code may know the address.
 */
static bool is_compared(const struct dt_elf *elf, uint64_t address)
{
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++)
		for (size_t at = 2; at + sizeof(int32_t) <= size; at++)
			if (refers_to(bytes + at, vaddr + at, address))
				return true;
	return false;
}

uint64_t dt_python_code_free_find(struct dt_elf *elf)
{
	enum dt_pointer_kind kind;
	struct dt_elf_symbol type;
	uint64_t address;

	if (dt_elf_find_symbol(elf, "PyCode_Type", &type) || dt_pointer_read(elf, type.vaddr + TYPE_DEALLOC, &address, &kind) ||
	    !address || is_compared(elf, address))
		return 0;
	return address;
}
