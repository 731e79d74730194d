/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/code_step.h"

#include <string.h>

#include <Zydis/Zydis.h>

/* No stack is larger, and no sum of two such numbers overflows. */
#define DEPTH_MAX (1 << 29)

struct instruction {
	ZydisDecodedInstruction head;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	uint64_t vaddr;
};

/* ---- states -------------------------------------------------------------------------------------------------- */

struct dt_unwind_rule dt_code_state_rule(const struct dt_code_state *state)
{
	struct dt_unwind_rule rule = { .cfa = DT_CFA_NONE };
	/* It points to the saved one: a frame pointer as it is meant to be, and not just any pointer into the frame. */
	bool is_proper = state->pointer == DT_POINTER_FRAME && state->frame == state->saved;

	if (state->outermost)
		return (struct dt_unwind_rule){ .cfa = DT_CFA_END };
	if (state->pointer == DT_POINTER_FRAME && (is_proper || !state->depth))
		rule = (struct dt_unwind_rule){ .cfa = DT_CFA_FRAME, .cfa_offset = state->frame };
	else if (state->depth)
		rule = (struct dt_unwind_rule){ .cfa = DT_CFA_STACK, .cfa_offset = state->depth };
	else
		return rule;
	rule.frame_pointer = state->pointer == DT_POINTER_CALLER ? DT_SAVED_NOT : DT_SAVED_UNKNOWN;
	if (state->saved && state->saved % 8 == 0 && state->saved / 8 <= -INT16_MIN) {
		rule.frame_pointer = DT_SAVED_AT_CFA;
		rule.frame_pointer_words = (int16_t)(-state->saved / 8);
	}
	return rule;
}

struct dt_code_state dt_code_state_merge(const struct dt_code_state *one, const struct dt_code_state *other)
{
	struct dt_code_state both = *one;

	if (one->outermost != other->outermost)
		return (struct dt_code_state){ .pointer = DT_POINTER_OTHER };
	if (one->depth != other->depth)
		both.depth = 0;
	if (one->saved != other->saved)
		both.saved = 0;
	if (one->pointer != other->pointer || one->frame != other->frame) {
		both.pointer = DT_POINTER_OTHER;
		both.frame = 0;
	}
	both.after_syscall &= other->after_syscall;
	return both;
}

bool dt_code_state_is_left(const struct dt_code_state *state)
{
	return !state->outermost && state->depth == 8 && state->pointer == DT_POINTER_CALLER;
}

/* ---- what instructions do ------------------------------------------------------------------------------------ */

/* A word above the stack pointer's new place is no one's any more. The return address cannot be given up. */
static void set_depth(struct dt_code_state *state, int64_t depth)
{
	state->depth = depth < 8 || depth > DEPTH_MAX ? 0 : (int32_t)depth;
	if (state->depth && state->saved > state->depth)
		state->saved = 0;
}

static void add_depth(struct dt_code_state *state, int64_t bytes)
{
	bool fits = bytes >= -DEPTH_MAX && bytes <= DEPTH_MAX;

	set_depth(state, state->depth && fits ? state->depth + bytes : 0);
}

static void set_pointer(struct dt_code_state *state, enum dt_code_pointer pointer, int64_t frame)
{
	if (pointer == DT_POINTER_FRAME && (frame < -DEPTH_MAX || frame > DEPTH_MAX))
		pointer = DT_POINTER_OTHER;
	state->pointer = pointer;
	state->frame = pointer == DT_POINTER_FRAME ? (int32_t)frame : 0;
}

static bool is_register(const ZydisDecodedOperand *operand, ZydisRegister reg)
{
	return operand->type == ZYDIS_OPERAND_TYPE_REGISTER && operand->reg.value == reg;
}

static void push(struct dt_code_state *state, const struct instruction *instruction)
{
	if (instruction->head.operand_width != 64) {
		set_depth(state, 0);
		return;
	}
	add_depth(state, 8);
	if (is_register(&instruction->operands[0], ZYDIS_REGISTER_RBP) && state->pointer == DT_POINTER_CALLER && !state->saved)
		state->saved = state->depth;
}

static void pop_pointer(struct dt_code_state *state)
{
	bool is_saved = state->depth && state->depth == state->saved;

	set_pointer(state, is_saved ? DT_POINTER_CALLER : DT_POINTER_OTHER, 0);
	add_depth(state, -8);
}

static void pop(struct dt_code_state *state, const struct instruction *instruction)
{
	const ZydisDecodedOperand *to = &instruction->operands[0];

	if (instruction->head.operand_width != 64 || is_register(to, ZYDIS_REGISTER_RSP))
		set_depth(state, 0);
	else if (is_register(to, ZYDIS_REGISTER_RBP))
		pop_pointer(state);
	else
		add_depth(state, -8);
}

static void leave(struct dt_code_state *state)
{
	set_depth(state, state->pointer == DT_POINTER_FRAME ? state->frame : 0);
	pop_pointer(state);
}

/* Whether an operand is the memory, or the address, at a constant distance below the CFA. */
static bool find_place(const struct dt_code_state *state, const ZydisDecodedOperand *operand, int64_t *ret_below)
{
	int64_t base;

	if (operand->type != ZYDIS_OPERAND_TYPE_MEMORY || operand->mem.index != ZYDIS_REGISTER_NONE ||
	    operand->mem.disp.value < -DEPTH_MAX || operand->mem.disp.value > DEPTH_MAX)
		return false;
	if (operand->mem.base == ZYDIS_REGISTER_RSP && state->depth)
		base = state->depth;
	else if (operand->mem.base == ZYDIS_REGISTER_RBP && state->pointer == DT_POINTER_FRAME)
		base = state->frame;
	else
		return false;
	*ret_below = base - (operand->mem.disp.has_displacement ? operand->mem.disp.value : 0);
	return true;
}

/* A new value for a register: `below` the CFA, if that is known. */
static void assign(struct dt_code_state *state, ZydisRegister reg, bool known, int64_t below)
{
	if (reg == ZYDIS_REGISTER_RSP)
		set_depth(state, known ? below : 0);
	else
		set_pointer(state, known ? DT_POINTER_FRAME : DT_POINTER_OTHER, below);
}

static void move(struct dt_code_state *state, const ZydisDecodedOperand *to, const ZydisDecodedOperand *from)
{
	int64_t below = 0;
	bool at_place;

	/* Saves the caller's frame pointer. */
	if (is_register(from, ZYDIS_REGISTER_RBP) && find_place(state, to, &below)) {
		if (state->pointer == DT_POINTER_CALLER && !state->saved && below > 8 && below <= DEPTH_MAX)
			state->saved = (int32_t)below;
		return;
	}
	if (!is_register(to, ZYDIS_REGISTER_RSP) && !is_register(to, ZYDIS_REGISTER_RBP))
		return;
	at_place = find_place(state, from, &below);
	if (is_register(to, ZYDIS_REGISTER_RBP) && at_place && state->saved && below == state->saved)
		set_pointer(state, DT_POINTER_CALLER, 0);
	else if (is_register(from, ZYDIS_REGISTER_RSP))
		assign(state, to->reg.value, state->depth, state->depth);
	else if (is_register(from, ZYDIS_REGISTER_RBP))
		assign(state, to->reg.value, state->pointer == DT_POINTER_FRAME, state->frame);
	else
		assign(state, to->reg.value, false, 0);
}

static void forget_what_is_written(struct dt_code_state *state, const struct instruction *instruction)
{
	for (size_t i = 0; i < instruction->head.operand_count; i++) {
		const ZydisDecodedOperand *operand = &instruction->operands[i];
		ZydisRegister reg;

		if (operand->type != ZYDIS_OPERAND_TYPE_REGISTER || !(operand->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			continue;
		reg = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operand->reg.value);
		if (reg == ZYDIS_REGISTER_RSP || reg == ZYDIS_REGISTER_RBP)
			assign(state, reg, false, 0);
	}
}

static bool is_stack_arithmetic(const struct instruction *instruction)
{
	return is_register(&instruction->operands[0], ZYDIS_REGISTER_RSP) &&
	       instruction->operands[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
}

/*
 * The deepest frame has a frame pointer of zero (AMD64 supplement, 3.4.1). Code that makes a thread sets it behind the
 * system call, where it runs on a new stack (musl: src/thread/x86_64/clone.s). Compiled code would have saved the register
 * first.
 */
static bool is_thread_start(const struct dt_code_state *state, const struct instruction *instruction)
{
	const ZydisDecodedOperand *operands = instruction->operands;

	return state->after_syscall && state->pointer == DT_POINTER_CALLER && !state->saved &&
	       operands[0].type == ZYDIS_OPERAND_TYPE_REGISTER && operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
	       operands[0].reg.value == operands[1].reg.value &&
	       (operands[0].reg.value == ZYDIS_REGISTER_EBP || operands[0].reg.value == ZYDIS_REGISTER_RBP);
}

static void apply(struct dt_code_state *state, const struct instruction *instruction)
{
	const ZydisDecodedOperand *operands = instruction->operands;
	int64_t below = 0;

	switch (instruction->head.mnemonic) {
	case ZYDIS_MNEMONIC_PUSH:
	case ZYDIS_MNEMONIC_PUSHFQ:
		push(state, instruction);
		return;
	case ZYDIS_MNEMONIC_POP:
	case ZYDIS_MNEMONIC_POPFQ:
		pop(state, instruction);
		return;
	case ZYDIS_MNEMONIC_LEAVE:
		leave(state);
		return;
	case ZYDIS_MNEMONIC_SYSCALL:
		state->after_syscall = 1;
		return;
	case ZYDIS_MNEMONIC_MOV:
		move(state, &operands[0], &operands[1]);
		if (instruction->head.operand_width == 64)
			return;
		break;
	case ZYDIS_MNEMONIC_LEA:
		if (is_register(&operands[0], ZYDIS_REGISTER_RSP) || is_register(&operands[0], ZYDIS_REGISTER_RBP)) {
			bool known = find_place(state, &operands[1], &below);

			assign(state, operands[0].reg.value, known, below);
			return;
		}
		break;
	case ZYDIS_MNEMONIC_ADD:
	case ZYDIS_MNEMONIC_SUB:
		if (is_stack_arithmetic(instruction)) {
			below = operands[1].imm.value.s;
			add_depth(state, instruction->head.mnemonic == ZYDIS_MNEMONIC_ADD ? -below : below);
			return;
		}
		break;
	case ZYDIS_MNEMONIC_XOR:
		if (is_thread_start(state, instruction)) {
			*state = DT_CODE_OUTERMOST;
			return;
		}
		break;
	default:
		break;
	}
	forget_what_is_written(state, instruction);
}

/* ---- where it goes on ---------------------------------------------------------------------------------------- */

static bool find_target(const struct instruction *instruction, uint64_t *ret_target)
{
	const ZydisDecodedOperand *operand = &instruction->operands[0];

	return operand->type == ZYDIS_OPERAND_TYPE_IMMEDIATE && operand->imm.is_relative &&
	       ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&instruction->head, operand, instruction->vaddr, ret_target));
}

static bool is_imported(const struct instruction *instruction)
{
	const ZydisDecodedOperand *operand = &instruction->operands[0];

	return operand->type == ZYDIS_OPERAND_TYPE_MEMORY && operand->mem.base == ZYDIS_REGISTER_RIP;
}

static enum dt_code_flow find_jump(const struct instruction *instruction, uint64_t *ret_target)
{
	if (find_target(instruction, ret_target))
		return DT_FLOW_JUMP;
	return is_imported(instruction) ? DT_FLOW_JUMP_IMPORTED : DT_FLOW_JUMP_POINTER;
}

/* A call of the next instruction only pushes its address. */
static enum dt_code_flow find_call(const struct instruction *instruction, struct dt_code_state *state, uint64_t *ret_target)
{
	if (find_target(instruction, ret_target) && *ret_target == instruction->vaddr + instruction->head.length) {
		add_depth(state, 8);
		return DT_FLOW_NEXT;
	}
	state->after_syscall = 0;
	if (find_target(instruction, ret_target))
		return DT_FLOW_CALL;
	return is_imported(instruction) ? DT_FLOW_CALL_IMPORTED : DT_FLOW_CALL_POINTER;
}

static enum dt_code_flow find_flow(const struct instruction *instruction, struct dt_code_state *state, uint64_t *ret_target)
{
	switch (instruction->head.mnemonic) {
	case ZYDIS_MNEMONIC_RET:
		return DT_FLOW_RETURN;
	case ZYDIS_MNEMONIC_HLT:
	case ZYDIS_MNEMONIC_UD0:
	case ZYDIS_MNEMONIC_UD1:
	case ZYDIS_MNEMONIC_UD2:
	case ZYDIS_MNEMONIC_INT3:
	case ZYDIS_MNEMONIC_IRET:
	case ZYDIS_MNEMONIC_IRETD:
	case ZYDIS_MNEMONIC_IRETQ:
		return DT_FLOW_STOP;
	default:
		break;
	}
	switch (instruction->head.meta.category) {
	case ZYDIS_CATEGORY_CALL:
		return find_call(instruction, state, ret_target);
	case ZYDIS_CATEGORY_UNCOND_BR:
		return find_jump(instruction, ret_target);
	case ZYDIS_CATEGORY_COND_BR:
		return find_target(instruction, ret_target) ? DT_FLOW_BRANCH : DT_FLOW_STOP;
	default:
		return DT_FLOW_NEXT;
	}
}

/* Programs that are not position-independent are linked at 4 MiB and above: only there a number can be an address. */
static void find_taken(const struct instruction *instruction, struct dt_code_step *step)
{
	const ZydisDecodedOperand *from = &instruction->operands[1];
	uint64_t vaddr;

	if (instruction->head.mnemonic == ZYDIS_MNEMONIC_LEA && from->mem.base == ZYDIS_REGISTER_RIP &&
	    ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(&instruction->head, from, instruction->vaddr, &vaddr))) {
		step->taken = vaddr;
	} else if (instruction->head.mnemonic == ZYDIS_MNEMONIC_MOV && from->type == ZYDIS_OPERAND_TYPE_IMMEDIATE &&
		   from->imm.value.u >= 0x400000) {
		step->taken = from->imm.value.u;
		step->taken_is_number = true;
	}
}

bool dt_code_step_read(const void *decoder, const uint8_t *bytes, size_t size, uint64_t vaddr,
		       const struct dt_code_state *before, struct dt_code_step *ret_step)
{
	struct instruction instruction;
	struct dt_code_step step = { .after = *before };

	if (ZYAN_FAILED(ZydisDecoderDecodeFull(decoder, bytes, size, &instruction.head, instruction.operands)))
		return false;
	instruction.vaddr = vaddr;
	step.length = instruction.head.length;
	step.flow = find_flow(&instruction, &step.after, &step.target);
	find_taken(&instruction, &step);
	if (!before->outermost && step.flow == DT_FLOW_NEXT && instruction.head.meta.category != ZYDIS_CATEGORY_CALL)
		apply(&step.after, &instruction);
	*ret_step = step;
	return true;
}
