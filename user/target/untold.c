/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The code behind each call of PyTraceMalloc_Untrack is followed as the answer "tracemalloc is on" leads it: to the comparison with
 * −2, past its branch, to the call of PyTraceMalloc_Track. On that way it is noted where each register's value comes from: a register
 * as it was at the first call, a product of two, a constant. What else an instruction writes is not known any more.
 */
#include "target/untold.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "target/callee.h"

#define STEPS_MAX 48                    /* instructions that are followed behind a call */
#define CALLS_MAX 4096                  /* of Untrack, in a file: NumPy has about ten. Only a file made to keep us busy has more */
#define TRACEMALLOC_IS_OFF (-2)         /* CPython Python/tracemalloc.c: what both functions answer then */

/* The two functions, in this order. */
enum { UNTRACK, TRACK, FUNCTION_COUNT };

struct search {
	ZydisDecoder decoder;
	struct dt_callee callees[FUNCTION_COUNT];
};

/* ---- what the code behind a call does ------------------------------------------------------------------------ */

enum kind { UNKNOWN, KEPT, PRODUCT, CONSTANT };

struct value {
	enum kind kind;
	uint8_t reg, factor;            /* KEPT, PRODUCT: enum dt_kept_register */
	uint64_t constant;
};

#define REGISTERS 16                    /* rax … r15, as Zydis numbers them */

struct path {
	const struct search *search;
	const uint8_t *bytes;           /* of the segment */
	size_t size, at;
	uint64_t vaddr;                 /* of its first byte */
	bool compared, decided;         /* the answer was compared; its branch was passed */
	struct value values[REGISTERS];
};

static size_t register_number(ZydisRegister reg)
{
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	return whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15 ? (size_t)(whole - ZYDIS_REGISTER_RAX) : REGISTERS;
}

#define NUMBER(name) (ZYDIS_REGISTER_##name - ZYDIS_REGISTER_RAX)

/* A call leaves these alone, all others are lost. */
static const uint8_t kept[DT_KEPT_COUNT] = {
	[DT_KEPT_RBX] = NUMBER(RBX), [DT_KEPT_RBP] = NUMBER(RBP), [DT_KEPT_R12] = NUMBER(R12),
	[DT_KEPT_R13] = NUMBER(R13), [DT_KEPT_R14] = NUMBER(R14), [DT_KEPT_R15] = NUMBER(R15),
};

static void forget_after_call(struct path *path)
{
	struct value values[REGISTERS] = { 0 };

	for (size_t i = 0; i < DT_KEPT_COUNT; i++)
		values[kept[i]] = path->values[kept[i]];
	memcpy(path->values, values, sizeof(values));
}

static struct value operand_value(const struct path *path, const ZydisDecodedOperand *operand)
{
	size_t number;

	if (operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return (struct value){ .kind = CONSTANT, .constant = operand->imm.value.u };
	if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER || operand->size != 64)
		return (struct value){ 0 };
	number = register_number(operand->reg.value);
	return number < REGISTERS ? path->values[number] : (struct value){ 0 };
}

static struct value product(struct value left, struct value right)
{
	if (left.kind != KEPT || right.kind != KEPT)
		return (struct value){ 0 };
	return (struct value){ .kind = PRODUCT, .reg = left.reg, .factor = right.reg };
}

/* What an instruction leaves in the register that is its first operand. */
static struct value result(const struct path *path, const ZydisDecodedInstruction *head, const ZydisDecodedOperand *operands)
{
	bool same = head->operand_count_visible == 2 && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    operands[0].reg.value == operands[1].reg.value;

	switch (head->mnemonic) {
	case ZYDIS_MNEMONIC_MOV:
		return operands[0].size >= 32 ? operand_value(path, &operands[1]) : (struct value){ 0 };
	case ZYDIS_MNEMONIC_XOR:
		return (struct value){ .kind = same && operands[0].size >= 32 ? CONSTANT : UNKNOWN };
	case ZYDIS_MNEMONIC_IMUL:
		if (head->operand_count_visible != 2 || operands[0].size != 64)
			return (struct value){ 0 };
		return product(operand_value(path, &operands[0]), operand_value(path, &operands[1]));
	default:
		return (struct value){ 0 };
	}
}

static void apply(struct path *path, const ZydisDecodedInstruction *head, const ZydisDecodedOperand *operands)
{
	struct value first = { 0 };
	size_t target = REGISTERS;

	if (head->operand_count_visible && operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		target = register_number(operands[0].reg.value);
		first = result(path, head, operands);
	}
	for (size_t i = 0; i < head->operand_count; i++) {
		size_t number = operands[i].type == ZYDIS_OPERAND_TYPE_REGISTER ? register_number(operands[i].reg.value) : REGISTERS;

		if (number < REGISTERS && operands[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
			path->values[number] = i == 0 && number == target ? first : (struct value){ 0 };
	}
}

/* The answer, compared with −2; without optimisation it has been put into memory before. */
static bool is_comparison(const ZydisDecodedInstruction *head, const ZydisDecodedOperand *operands)
{
	if (head->mnemonic != ZYDIS_MNEMONIC_CMP || operands[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE ||
	    operands[1].imm.value.s != TRACEMALLOC_IS_OFF || operands[0].size != 32)
		return false;
	return operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY || operands[0].reg.value == ZYDIS_REGISTER_EAX;
}

/* Follows a branch. False: the way cannot be known. */
static bool branch(struct path *path, const ZydisDecodedInstruction *head, const ZydisDecodedOperand *operands)
{
	bool decides = path->compared && !path->decided;
	uint64_t to = path->at + head->length;

	if (operands[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
		return false;
	if (head->mnemonic == ZYDIS_MNEMONIC_JMP || (decides && head->mnemonic == ZYDIS_MNEMONIC_JNZ))
		to += (uint64_t)operands[0].imm.value.s;
	else if (!decides || head->mnemonic != ZYDIS_MNEMONIC_JZ)
		return false;
	path->decided = path->decided || head->mnemonic != ZYDIS_MNEMONIC_JMP;
	path->at = to;
	return true;
}

enum step { MORE, TRACKS, ENDS };

static enum step step_call(struct path *path)
{
	const uint8_t *bytes = path->bytes + path->at;
	size_t size = path->size - path->at, length;
	uint64_t vaddr = path->vaddr + path->at;

	if (!path->decided)
		return ENDS;            /* the answer is gone: nothing depends on it */
	length = dt_callee_call_length(&path->search->callees[TRACK], bytes, size, vaddr);
	path->at += length;
	if (length)
		return TRACKS;
	length = dt_callee_call_length(&path->search->callees[UNTRACK], bytes, size, vaddr);
	path->at += length;
	forget_after_call(path);
	return length ? MORE : ENDS;
}

static enum step step(struct path *path)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction head;

	if (path->at >= path->size ||
	    ZYAN_FAILED(ZydisDecoderDecodeFull(&path->search->decoder, path->bytes + path->at, path->size - path->at, &head, operands)))
		return ENDS;
	switch (head.meta.category) {
	case ZYDIS_CATEGORY_CALL:
		return step_call(path);
	case ZYDIS_CATEGORY_COND_BR:
	case ZYDIS_CATEGORY_UNCOND_BR:
		return branch(path, &head, operands) ? MORE : ENDS;
	case ZYDIS_CATEGORY_RET:
	case ZYDIS_CATEGORY_INTERRUPT:
	case ZYDIS_CATEGORY_SYSCALL:
		return ENDS;
	default:
		path->compared = path->compared || is_comparison(&head, operands);
		apply(path, &head, operands);
		path->at += head.length;
		return MORE;
	}
}

/* What the call of Track at the end of the path would be told. */
static void read_arguments(const struct path *path, struct dt_untold *untold)
{
	const struct value *domain = &path->values[NUMBER(RDI)], *address = &path->values[NUMBER(RSI)];
	const struct value *bytes = &path->values[NUMBER(RDX)];

	if (domain->kind != CONSTANT || address->kind != KEPT || (bytes->kind != KEPT && bytes->kind != PRODUCT))
		return;
	untold->domain = (uint32_t)domain->constant;
	untold->address = address->reg;
	untold->bytes = bytes->reg;
	untold->factor = bytes->kind == PRODUCT ? bytes->factor : DT_NONE;
}

/* Is a block untold behind the call that returns to `at`? */
static bool follow(struct path *path, size_t at, struct dt_untold *ret_untold)
{
	struct dt_untold untold = { .untrack = path->vaddr + at, .address = DT_NONE, .bytes = DT_NONE, .factor = DT_NONE };
	enum step last = MORE;

	path->at = at;
	path->compared = path->decided = false;
	memset(path->values, 0, sizeof(path->values));
	for (uint8_t i = 0; i < DT_KEPT_COUNT; i++)
		path->values[kept[i]] = (struct value){ .kind = KEPT, .reg = i };
	for (size_t i = 0; i < STEPS_MAX && last == MORE; i++)
		last = step(path);
	if (last == TRACKS) {
		untold.track = path->vaddr + path->at;
		read_arguments(path, &untold);
	}
	*ret_untold = untold;
	return path->decided;
}

/* Follows each call of Untrack in a segment; *calls counts them. */
static void find_in_segment(struct path *path, size_t *calls, struct dt_untold *untold, size_t max, size_t *count)
{
	for (size_t at = 0; at < path->size && *calls < CALLS_MAX; at++) {
		size_t length = dt_callee_call_length(&path->search->callees[UNTRACK], path->bytes + at, path->size - at, path->vaddr + at);
		struct dt_untold found;

		if (!length)
			continue;
		(*calls)++;
		if (!follow(path, at + length, &found))
			continue;
		if (*count < max)
			untold[*count] = found;
		(*count)++;
	}
}

int dt_untold_find(struct dt_elf *elf, struct dt_untold *untold, size_t max, size_t *ret_count)
{
	struct search search = { .callees = { [UNTRACK].name = "PyTraceMalloc_Untrack", [TRACK].name = "PyTraceMalloc_Track" } };
	struct path path = { .search = &search };
	size_t calls = 0, count = 0;
	bool named;
	int error = dt_callees_find(elf, search.callees, FUNCTION_COUNT, &named);

	if (!error && ZYAN_FAILED(ZydisDecoderInit(&search.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		error = -ENOTSUP;
	if (error)
		return error;
	for (size_t i = 0; named && dt_elf_text(elf, i, &path.vaddr, &path.bytes, &path.size); i++)
		find_in_segment(&path, &calls, untold, max, &count);
	*ret_count = count;
	return 0;
}
