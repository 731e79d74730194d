/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPython exports functions of a few instructions that return a thread's state (Python/pystate.c):
 *
 *   PyThreadState_Get and its like  the running one: a word of _PyRuntime (up to 3.11), or the thread-local variable
 *                                   _Py_tss_tstate (3.12), which has no symbol of its own in .dynsym
 *   PyGILState_GetThisThreadState   that of a pthread key, from a Py_tss_t {int is_initialized; pthread_key_t key} in _PyRuntime
 *
 * They are followed up to the first branch, register by register: which hold an address that is known, or a word from such a place.
 */
#include "target/python_thread.h"

#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"
#include "target/pointer.h"

enum value_kind {
	VALUE_UNKNOWN,
	VALUE_ADDRESS,                  /* `number` */
	VALUE_WORD,                     /* what stands at `number` */
	VALUE_THREAD_POINTER,           /* the thread pointer + `number` */
	VALUE_THREAD_POINTER_WORD,      /* the thread pointer + what stands at `number` */
	VALUE_VARIABLE,                 /* what __tls_get_addr() gives for the two words at `number` */
	VALUE_LOCAL,                    /* what stands at the thread pointer + `number` */
	VALUE_LOCAL_WORD,               /* what stands at the thread pointer + what stands at `number` */
	VALUE_LOCAL_VARIABLE,           /* what stands at VALUE_VARIABLE + `addend` */
};

struct value {
	enum value_kind kind;
	uint64_t number;
	int64_t addend;
};

#define REGISTERS 16
#define STEPS_MAX 16                    /* instructions that are looked at */
#define FUNCTION_BYTES 96

struct follower {
	struct dt_elf *elf;
	ZydisDecoder decoder;
	ZydisDecodedInstruction head;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	uint64_t vaddr;                 /* of the instruction */
	struct value registers[REGISTERS];
	bool branched;
};

static struct value *register_of(struct follower *follower, ZydisRegister reg)
{
	ZydisRegister whole = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg);

	return whole >= ZYDIS_REGISTER_RAX && whole <= ZYDIS_REGISTER_R15 ? &follower->registers[whole - ZYDIS_REGISTER_RAX] : NULL;
}

/* Where a memory operand is, leaving the FS segment aside. */
static struct value operand_place(struct follower *follower, const ZydisDecodedOperand *operand)
{
	uint64_t displacement = (uint64_t)operand->mem.disp.value;
	const struct value *base;

	if (operand->mem.index != ZYDIS_REGISTER_NONE)
		return (struct value){ 0 };
	if (operand->mem.base == ZYDIS_REGISTER_NONE)
		return (struct value){ VALUE_ADDRESS, displacement, 0 };
	if (operand->mem.base == ZYDIS_REGISTER_RIP)
		return (struct value){ VALUE_ADDRESS, follower->vaddr + follower->head.length + displacement, 0 };
	base = register_of(follower, operand->mem.base);
	if (!base)
		return (struct value){ 0 };
	switch (base->kind) {
	case VALUE_ADDRESS:
	case VALUE_THREAD_POINTER:
		return (struct value){ base->kind, base->number + displacement, 0 };
	case VALUE_WORD:
	case VALUE_THREAD_POINTER_WORD:
	case VALUE_VARIABLE:
		return (struct value){ base->kind, base->number, base->addend + operand->mem.disp.value };
	default:
		return (struct value){ 0 };
	}
}

/* A word at a known place: the address that the loader puts there, where it is known. */
static struct value word_at(struct follower *follower, uint64_t place)
{
	enum dt_pointer_kind kind;
	uint64_t target;

	if (!dt_pointer_read(follower->elf, place, &target, &kind) &&
	    (kind == DT_POINTER_SLOT || kind == DT_POINTER_RELATIVE || kind == DT_POINTER_ABSOLUTE))
		return (struct value){ VALUE_ADDRESS, target, 0 };
	return (struct value){ VALUE_WORD, place, 0 };
}

static struct value load(struct follower *follower, const ZydisDecodedOperand *operand)
{
	struct value place = operand_place(follower, operand);
	bool local = operand->mem.segment == ZYDIS_REGISTER_FS;

	if (local && place.kind == VALUE_ADDRESS)
		return place.number ? (struct value){ VALUE_LOCAL, place.number, 0 } : (struct value){ VALUE_THREAD_POINTER, 0, 0 };
	if (local && place.kind == VALUE_WORD)
		return (struct value){ VALUE_LOCAL_WORD, place.number, place.addend };
	if (local || operand->mem.segment == ZYDIS_REGISTER_GS)
		return (struct value){ 0 };
	switch (place.kind) {
	case VALUE_ADDRESS:
		return word_at(follower, place.number);
	case VALUE_THREAD_POINTER:
		return (struct value){ VALUE_LOCAL, place.number, 0 };
	case VALUE_THREAD_POINTER_WORD:
		return (struct value){ VALUE_LOCAL_WORD, place.number, place.addend };
	case VALUE_VARIABLE:
		return (struct value){ VALUE_LOCAL_VARIABLE, place.number, place.addend };
	default:
		return (struct value){ 0 };
	}
}

static struct value value_of(struct follower *follower, const ZydisDecodedOperand *operand)
{
	const struct value *reg;

	switch (operand->type) {
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return (struct value){ VALUE_ADDRESS, operand->imm.value.u, 0 };
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return load(follower, operand);
	case ZYDIS_OPERAND_TYPE_REGISTER:
		reg = register_of(follower, operand->reg.value);
		return reg ? *reg : (struct value){ 0 };
	default:
		return (struct value){ 0 };
	}
}

/* add slot(%rip), %rax where rax holds the thread pointer. */
static struct value sum(struct value a, struct value b)
{
	if (a.kind == VALUE_THREAD_POINTER && b.kind == VALUE_WORD && !a.number)
		return (struct value){ VALUE_THREAD_POINTER_WORD, b.number, b.addend };
	if (b.kind == VALUE_THREAD_POINTER)
		return a.kind == VALUE_WORD ? sum(b, a) : (struct value){ 0 };
	return (struct value){ 0 };
}

/* A call: only that of __tls_get_addr() tells something, which its argument shows. */
static void call(struct follower *follower)
{
	struct value argument = *register_of(follower, ZYDIS_REGISTER_RDI), result = { 0 };
	enum dt_pointer_kind kind;
	uint64_t target;

	if (argument.kind == VALUE_ADDRESS && !dt_pointer_read(follower->elf, argument.number, &target, &kind) &&
	    kind == DT_POINTER_TLS_MODULE)
		result = (struct value){ VALUE_VARIABLE, argument.number, 0 };
	else
		follower->branched = true;
	*register_of(follower, ZYDIS_REGISTER_RAX) = result;
}

/* Takes one instruction; false: the function goes on elsewhere. */
static bool step(struct follower *follower)
{
	const ZydisDecodedOperand *operands = follower->operands;
	struct value *to = NULL, value = { 0 };

	if (follower->head.operand_count_visible && operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	    operands[0].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		to = register_of(follower, operands[0].reg.value);
	switch (follower->head.mnemonic) {
	case ZYDIS_MNEMONIC_CALL:
		call(follower);
		return !follower->branched;
	case ZYDIS_MNEMONIC_RET:
	case ZYDIS_MNEMONIC_JMP:
		return false;
	case ZYDIS_MNEMONIC_MOV:
	case ZYDIS_MNEMONIC_MOVSXD:
		value = value_of(follower, &operands[1]);
		break;
	case ZYDIS_MNEMONIC_LEA:
		value = operand_place(follower, &operands[1]);
		break;
	case ZYDIS_MNEMONIC_ADD:
		value = sum(value_of(follower, &operands[0]), value_of(follower, &operands[1]));
		break;
	default:
		break;
	}
	if (to)
		*to = value;
	return true;
}

/* Follows a function until it returns, jumps or calls. False: there is none, or its code cannot be read. */
static bool follow(struct dt_elf *elf, const char *name, struct follower *follower)
{
	struct dt_elf_symbol symbol;
	const uint8_t *bytes;
	size_t size, at = 0;

	if (dt_elf_find_symbol(elf, name, &symbol) || !symbol.function ||
	    dt_elf_bytes(elf, symbol.vaddr, symbol.size && symbol.size < FUNCTION_BYTES ? symbol.size : FUNCTION_BYTES, &bytes, &size))
		return false;
	memset(follower, 0, sizeof(*follower));
	follower->elf = elf;
	if (ZYAN_FAILED(ZydisDecoderInit(&follower->decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return false;
	for (int i = 0; i < STEPS_MAX && at < size; i++) {
		follower->vaddr = symbol.vaddr + at;
		if (ZYAN_FAILED(ZydisDecoderDecodeFull(&follower->decoder, bytes + at, size - at, &follower->head, follower->operands)))
			return false;
		if (!step(follower))
			return true;
		at += follower->head.length;
	}
	return false;
}

/* What PyThreadState_Get returns. */
static void note_state(struct value state, struct dt_python_thread *thread)
{
	static const enum dt_python_variable variables[] = {
		[VALUE_LOCAL] = DT_PYTHON_VARIABLE_OFFSET,
		[VALUE_LOCAL_WORD] = DT_PYTHON_VARIABLE_SLOT,
		[VALUE_LOCAL_VARIABLE] = DT_PYTHON_VARIABLE_MODULE,
	};

	if (state.kind == VALUE_WORD && !state.addend)
		thread->current_vaddr = state.number;
	if (state.kind >= DT_ARRAY_SIZE(variables) || !variables[state.kind])
		return;
	thread->variable = variables[state.kind];
	thread->variable_place = state.number;
	thread->variable_addend = state.addend;
}

/* The argument of pthread_getspecific(), or of PyThread_tss_get() and PyThread_tss_is_created(). */
static void note_key(struct value key, struct dt_python_thread *thread)
{
	if (key.kind == VALUE_ADDRESS && key.number % 8 == 0)
		thread->key_vaddr = key.number;
	else if (key.kind == VALUE_WORD && !key.addend && key.number % 8 == 4)
		thread->key_vaddr = key.number - 4;
}

void dt_python_thread_find(struct dt_elf *elf, struct dt_python_thread *ret_thread)
{
	static const char *const getters[] = {
		"PyThreadState_GetUnchecked", "_PyThreadState_UncheckedGet", "_PyThreadState_GetCurrent", "PyThreadState_Get",
	};
	struct dt_python_thread thread = { 0 };
	struct follower follower;

	for (size_t i = 0; i < DT_ARRAY_SIZE(getters) && !thread.current_vaddr && !thread.variable; i++)
		if (follow(elf, getters[i], &follower))
			note_state(*register_of(&follower, ZYDIS_REGISTER_RAX), &thread);
	if (follow(elf, "PyGILState_GetThisThreadState", &follower))
		note_key(*register_of(&follower, ZYDIS_REGISTER_RDI), &thread);
	*ret_thread = thread;
}
