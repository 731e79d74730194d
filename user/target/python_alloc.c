/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/python_alloc.h"

#include <errno.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"
#include "target/pointer.h"

#define REGISTERS 16
#define WORD 8

/* One instruction of a function that is read from its first one on, or from some place in it. */
struct reader {
	struct dt_elf *elf;
	ZydisDecoder decoder;
	ZydisDecodedInstruction head;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	uint64_t vaddr, next;           /* of the instruction, and of the one behind it */
};

static bool reader_init(struct reader *reader, struct dt_elf *elf, uint64_t vaddr)
{
	memset(reader, 0, sizeof(*reader));
	reader->elf = elf;
	reader->next = vaddr;
	return ZYAN_SUCCESS(ZydisDecoderInit(&reader->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64));
}

static bool reader_next(struct reader *reader)
{
	const uint8_t *bytes;
	size_t size;

	if (dt_elf_bytes(reader->elf, reader->next, ZYDIS_MAX_INSTRUCTION_LENGTH, &bytes, &size) ||
	    ZYAN_FAILED(ZydisDecoderDecodeFull(&reader->decoder, bytes, size, &reader->head, reader->operands)))
		return false;
	reader->vaddr = reader->next;
	reader->next += reader->head.length;
	return true;
}

static int register_number(ZydisRegister reg)
{
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	return whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15 ? (int)(whole - ZYDIS_REGISTER_RAX) : -1;
}

static bool is_written(const struct reader *reader, int number)
{
	for (size_t i = 0; i < reader->head.operand_count; i++) {
		const ZydisDecodedOperand *operand = &reader->operands[i];

		if (operand->type == ZYDIS_OPERAND_TYPE_REGISTER && operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE &&
		    register_number(operand->reg.value) == number)
			return true;
	}
	return false;
}

static bool in_text(const struct dt_elf *elf, uint64_t vaddr)
{
	uint64_t start, end;

	for (size_t i = 0; dt_elf_text_range(elf, i, &start, &end); i++)
		if (vaddr >= start && vaddr < end)
			return true;
	return false;
}

/* ---- the tables ---------------------------------------------------------------------------------------------- */

/*
 * A function of the API loads its pointer and the ctx beside it near its beginning, straight from the table or through a pointer to
 * _PyRuntime: one of the places that it loads from is its word of the table.
 */
#define LOADS_MAX 12
#define LOADS_STEPS_MAX 48

struct loads {
	uint64_t vaddrs[LOADS_MAX];
	size_t count;
};

/* Where a memory operand is, if registers that hold known addresses tell. */
static bool find_place(const struct reader *reader, const ZydisDecodedOperand *operand, const uint64_t *known, uint64_t *ret_vaddr)
{
	uint64_t displacement = (uint64_t)operand->mem.disp.value;
	int base;

	if (operand->mem.index != ZYDIS_REGISTER_NONE || operand->mem.segment == ZYDIS_REGISTER_FS ||
	    operand->mem.segment == ZYDIS_REGISTER_GS)
		return false;
	if (operand->mem.base == ZYDIS_REGISTER_NONE || operand->mem.base == ZYDIS_REGISTER_RIP) {
		*ret_vaddr = displacement + (operand->mem.base == ZYDIS_REGISTER_RIP ? reader->next : 0);
		return true;
	}
	base = register_number(operand->mem.base);
	if (base < 0 || !known[base])
		return false;
	*ret_vaddr = known[base] + displacement;
	return true;
}

/* What a register holds after the instruction: an address of the file, or 0. */
static uint64_t follow_value(const struct reader *reader, const uint64_t *known)
{
	const ZydisDecodedOperand *from = &reader->operands[1];
	enum dt_pointer_kind kind;
	uint64_t place, target;

	if (reader->head.mnemonic != ZYDIS_MNEMONIC_MOV && reader->head.mnemonic != ZYDIS_MNEMONIC_LEA)
		return 0;
	if (from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return from->imm.value.u;
	if (from->type == ZYDIS_OPERAND_TYPE_REGISTER)
		return register_number(from->reg.value) < 0 ? 0 : known[register_number(from->reg.value)];
	if (from->type != ZYDIS_OPERAND_TYPE_MEMORY || !find_place(reader, from, known, &place))
		return 0;
	if (reader->head.mnemonic == ZYDIS_MNEMONIC_LEA)
		return place;
	if (dt_pointer_read(reader->elf, place, &target, &kind) || kind == DT_POINTER_PLAIN)
		return 0;
	return target;
}

static void note_load(const struct reader *reader, const uint64_t *known, struct loads *loads)
{
	for (size_t i = 0; i < reader->head.operand_count_visible; i++) {
		const ZydisDecodedOperand *operand = &reader->operands[i];
		uint64_t place;

		if (operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->size == WORD * 8 &&
		    operand->actions & ZYDIS_OPERAND_ACTION_MASK_READ && loads->count < LOADS_MAX &&
		    find_place(reader, operand, known, &place))
			loads->vaddrs[loads->count++] = place;
	}
}

static bool find_loads(struct dt_elf *elf, const char *name, struct loads *ret_loads)
{
	uint64_t known[REGISTERS] = { 0 };
	struct dt_elf_symbol symbol;
	struct loads loads = { 0 };
	struct reader reader;

	if (dt_elf_find_symbol(elf, name, &symbol) || !symbol.function || !reader_init(&reader, elf, symbol.vaddr))
		return false;
	for (int step = 0; step < LOADS_STEPS_MAX && reader_next(&reader); step++) {
		uint64_t value;

		note_load(&reader, known, &loads);
		value = follow_value(&reader, known);
		for (int i = 0; i < REGISTERS; i++)
			if (is_written(&reader, i))
				known[i] = value;
		if (reader.head.mnemonic == ZYDIS_MNEMONIC_JMP || reader.head.mnemonic == ZYDIS_MNEMONIC_RET)
			break;
	}
	*ret_loads = loads;
	return loads.count;
}

static const char *const names[DT_PYTHON_TABLES][DT_PYTHON_CALLS] = {
	[DT_PYTHON_RAW] = { "PyMem_RawMalloc", "PyMem_RawCalloc", "PyMem_RawRealloc", "PyMem_RawFree" },
	[DT_PYTHON_MEM] = { "PyMem_Malloc", "PyMem_Calloc", "PyMem_Realloc", "PyMem_Free" },
	[DT_PYTHON_OBJECT] = { "PyObject_Malloc", "PyObject_Calloc", "PyObject_Realloc", "PyObject_Free" },
};

/* Are these words what a table holds at first: no ctx, and four functions? */
static bool read_table(struct dt_elf *elf, uint64_t table, uint64_t functions[DT_PYTHON_CALLS])
{
	enum dt_pointer_kind kind;
	uint64_t word;

	if (table % WORD || dt_pointer_read(elf, table, &word, &kind) || word)
		return false;
	for (size_t i = 0; i < DT_PYTHON_CALLS; i++)
		if (dt_pointer_read(elf, table + WORD + i * WORD, &functions[i], &kind) || !in_text(elf, functions[i]))
			return false;
	return true;
}

static bool is_loaded(const struct loads *loads, uint64_t vaddr)
{
	for (size_t i = 0; i < loads->count; i++)
		if (loads->vaddrs[i] == vaddr)
			return true;
	return false;
}

/* The one place whose words all four functions load as if it were their table. */
static bool find_table(struct dt_elf *elf, enum dt_python_table table, struct dt_python_alloc *alloc)
{
	struct loads loads[DT_PYTHON_CALLS];

	for (size_t i = 0; i < DT_PYTHON_CALLS; i++)
		if (!find_loads(elf, names[table][i], &loads[i]))
			return false;
	for (size_t k = 0; k < loads[0].count; k++) {
		uint64_t vaddr = loads[0].vaddrs[k] - WORD;
		bool all = is_loaded(&loads[0], vaddr);

		for (size_t i = 1; i < DT_PYTHON_CALLS && all; i++)
			all = is_loaded(&loads[i], vaddr) && is_loaded(&loads[i], vaddr + WORD + i * WORD);
		if (!all || !read_table(elf, vaddr, alloc->functions[table]))
			continue;
		alloc->tables[table] = vaddr;
		return true;
	}
	return false;
}

/* ---- were calls replaced by copies? ---------------------------------------------------------------------------- */

#define NEAR_STEPS_MAX 12               /* instructions between the address, its comparison and the branch */
#define PATH_STEPS_MAX 40               /* … and from there to the call */
/* Where CPython itself compares or stores the address of a function: no more places than these are looked at one by one. */
#define REFERENCES_MAX 24

/* Does the code from here on call through the register, or through memory? */
static bool path_calls(struct dt_elf *elf, uint64_t vaddr, int number)
{
	struct reader reader;

	if (!reader_init(&reader, elf, vaddr))
		return true;
	for (int step = 0; step < PATH_STEPS_MAX; step++) {
		const ZydisDecodedOperand *operand = &reader.operands[0];
		bool jumps, calls;

		if (!reader_next(&reader))
			return true;
		jumps = reader.head.mnemonic == ZYDIS_MNEMONIC_JMP;
		calls = reader.head.mnemonic == ZYDIS_MNEMONIC_CALL;
		if (reader.head.mnemonic == ZYDIS_MNEMONIC_RET)
			return false;
		if ((jumps || calls) && operand->type == ZYDIS_OPERAND_TYPE_MEMORY)
			return true;
		if ((jumps || calls) && operand->type == ZYDIS_OPERAND_TYPE_REGISTER)
			return register_number(operand->reg.value) == number;
		if (calls || is_written(&reader, number))
			return false;
		if (jumps)
			reader.next += (uint64_t)operand->imm.value.s;
	}
	return false;
}

/* Behind a comparison of that register: is the pointer called where they differ? */
static bool branch_calls(struct reader *reader, int number)
{
	for (int step = 0; step < NEAR_STEPS_MAX && reader_next(reader); step++) {
		if (reader->head.meta.category == ZYDIS_CATEGORY_COND_BR)
			return path_calls(reader->elf, reader->next, number) ||
			       path_calls(reader->elf, reader->next + (uint64_t)reader->operands[0].imm.value.s, number);
		if (reader->head.mnemonic == ZYDIS_MNEMONIC_CALL || reader->head.mnemonic == ZYDIS_MNEMONIC_JMP ||
		    reader->head.mnemonic == ZYDIS_MNEMONIC_RET || is_written(reader, number))
			return false;
	}
	return false;
}

/* The register that is compared with register `address`, or with an immediate operand; −1: no register is. */
static int compared_register(const struct reader *reader, int address)
{
	for (size_t i = 0; reader->head.mnemonic == ZYDIS_MNEMONIC_CMP && i < 2; i++) {
		const ZydisDecodedOperand *one = &reader->operands[i], *other = &reader->operands[1 - i];
		bool is_address = address < 0 ? one->type == ZYDIS_OPERAND_TYPE_IMMEDIATE :
				  one->type == ZYDIS_OPERAND_TYPE_REGISTER && register_number(one->reg.value) == address;

		if (is_address && other->type == ZYDIS_OPERAND_TYPE_REGISTER)
			return register_number(other->reg.value);
	}
	return -1;
}

/* An instruction that takes the address of a function: does it belong to a call that was replaced? */
static bool reference_is_copy(struct dt_elf *elf, uint64_t vaddr)
{
	struct reader reader;
	int address, compared;

	if (!reader_init(&reader, elf, vaddr) || !reader_next(&reader))
		return true;
	compared = compared_register(&reader, -1);
	if (compared >= 0)
		return branch_calls(&reader, compared);
	if (reader.head.mnemonic != ZYDIS_MNEMONIC_LEA && reader.head.mnemonic != ZYDIS_MNEMONIC_MOV)
		return false;
	address = reader.operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER ? register_number(reader.operands[0].reg.value) : -1;
	for (int step = 0; address >= 0 && step < NEAR_STEPS_MAX && reader_next(&reader); step++) {
		compared = compared_register(&reader, address);
		if (compared >= 0)
			return branch_calls(&reader, compared);
		if (is_written(&reader, address))
			break;
	}
	return false;
}

/* The start of the instruction whose last 4 bytes, at `at`, may be the address; 0: they belong to none that takes one. */
static size_t instruction_length(const uint8_t *bytes, size_t at, bool relative)
{
	uint8_t rex = at > 2 ? bytes[at - 3] : 0, op = at > 1 ? bytes[at - 2] : 0, last = at > 0 ? bytes[at - 1] : 0;

	if (relative)                   /* lea off(%rip), %reg */
		return (rex & 0xf8) == 0x48 && op == 0x8d && (last & 0xc7) == 0x05 ? 7 : 0;
	if (op == 0x48 && last == 0x3d) /* cmp $imm, %rax */
		return 6;
	if ((rex & 0xf8) == 0x48 && op == 0x81 && (last & 0xf8) == 0xf8) /* cmp $imm, %reg */
		return 7;
	if ((rex & 0xf8) == 0x48 && op == 0xc7 && (last & 0xf8) == 0xc0) /* mov $imm, %reg */
		return 7;
	if ((last & 0xf8) == 0xb8)      /* mov $imm, %reg32, with or without REX.B */
		return op == 0x41 ? 6 : 5;
	return 0;
}

static bool is_function(const struct dt_python_alloc *alloc, uint64_t vaddr)
{
	for (size_t table = 0; table < DT_PYTHON_TABLES; table++)
		for (size_t i = 0; i < DT_PYTHON_CALLS; i++)
			if (alloc->functions[table][i] == vaddr)
				return true;
	return false;
}

/* Looks at every byte of a segment, so that no reference can hide. */
static bool segment_has_copies(struct dt_elf *elf, const struct dt_python_alloc *alloc, uint64_t vaddr, const uint8_t *bytes, size_t size)
{
	size_t references = 0;

	for (size_t at = 0; at + sizeof(int32_t) <= size; at++) {
		size_t length = 0;
		int32_t value;

		memcpy(&value, bytes + at, sizeof(value));
		if (is_function(alloc, vaddr + at + sizeof(value) + (uint64_t)(int64_t)value))
			length = instruction_length(bytes, at, true);
		else if (is_function(alloc, (uint32_t)value))
			length = instruction_length(bytes, at, false);
		if (!length)
			continue;
		if (++references > REFERENCES_MAX * DT_PYTHON_CALLS ||
		    reference_is_copy(elf, vaddr + at + sizeof(value) - length))
			return true;
	}
	return false;
}

static bool has_copies(struct dt_elf *elf, const struct dt_python_alloc *alloc)
{
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++)
		if (segment_has_copies(elf, alloc, vaddr, bytes, size))
			return true;
	return false;
}

/* ---- aliases --------------------------------------------------------------------------------------------------- */

#define PADDING_MAX 15                  /* functions begin at multiples of 16 */

/* From there on, only NOPs up to the function? */
static bool is_padding(struct dt_elf *elf, uint64_t vaddr, uint64_t function)
{
	struct reader reader;

	if (!reader_init(&reader, elf, vaddr))
		return false;
	while (reader.next < function)
		if (!reader_next(&reader) || reader.head.mnemonic != ZYDIS_MNEMONIC_NOP)
			return false;
	return reader.next == function;
}

/* xchg %ax, %ax (66 90) is a NOP, too; the nearest one takes the least time. 0: there is none. */
static uint64_t find_alias(struct dt_elf *elf, uint64_t function)
{
	for (uint64_t distance = 1; distance <= PADDING_MAX; distance++)
		if (is_padding(elf, function - distance, function))
			return function - distance;
	return 0;
}

static bool find_aliases(struct dt_elf *elf, struct dt_python_alloc *alloc)
{
	bool all = true;

	for (size_t table = 0; table < DT_PYTHON_TABLES; table++)
		for (size_t i = 0; i < DT_PYTHON_CALLS; i++) {
			alloc->aliases[table][i] = find_alias(elf, alloc->functions[table][i]);
			all = all && alloc->aliases[table][i];
		}
	return all;
}

int dt_python_alloc_find(struct dt_elf *elf, struct dt_python_alloc *ret_alloc)
{
	struct dt_python_alloc alloc = { 0 };

	for (enum dt_python_table table = 0; table < DT_PYTHON_TABLES; table++)
		if (!find_table(elf, table, &alloc))
			return -ENOENT;
	alloc.inlined = has_copies(elf, &alloc);
	if (alloc.inlined && !find_aliases(elf, &alloc))
		alloc.unsupported = "one of its functions has no padding before it";
	*ret_alloc = alloc;
	return 0;
}
