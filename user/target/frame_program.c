/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/frame_program.h"

#include <dwarf.h>
#include <errno.h>
#include <string.h>

/* Compilers remember one state, two in rare cases. A program that goes deeper is taken for damage. */
#define REMEMBERED_MAX 16

struct run {
	const struct dt_frame_program *program;
	struct dt_cursor cursor;
	struct dt_frame_state *state;
	struct dt_frame_state remembered[REMEMBERED_MAX];
	unsigned int depth;
	uint64_t at, end;               /* the rule of `state` holds from `at` on */
	uint64_t told;                  /* [told, at) has `rule`, which was not told yet */
	struct dt_unwind_rule rule;
	dt_frame_program_fn fn;
	void *context;
};

void dt_frame_state_init(struct dt_frame_state *state)
{
	/* The frame pointer belongs to the caller (AMD64 supplement, 3.2.1): what is not mentioned is still in its register. */
	*state = (struct dt_frame_state){
		.cfa = DT_CFA_UNSUPPORTED,
		.frame = { DT_PLACE_REGISTER, 0 },
		.stack = { DT_PLACE_IS_CFA, 0 },
		.back = { DT_PLACE_OTHER, 0 },
	};
}

/* ---- a state as a rule ----------------------------------------------------------------------------------- */

static void convert_cfa(const struct dt_frame_state *state, struct dt_unwind_rule *rule)
{
	rule->cfa = state->cfa;
	if (state->cfa == DT_CFA_STACK && state->cfa_register != DT_REGISTER_STACK)
		rule->cfa = state->cfa_register == DT_REGISTER_FRAME ? DT_CFA_FRAME : DT_CFA_UNSUPPORTED;
	if (state->cfa_offset != (int32_t)state->cfa_offset)
		rule->cfa = DT_CFA_UNSUPPORTED;
	rule->cfa_offset = (int32_t)state->cfa_offset;
}

static void convert_frame(const struct dt_frame_register *frame, struct dt_unwind_rule *rule)
{
	int64_t words = frame->value / 8;

	rule->frame_pointer = DT_SAVED_UNKNOWN;
	if (frame->place == DT_PLACE_REGISTER)
		rule->frame_pointer = DT_SAVED_NOT;
	if ((frame->place != DT_PLACE_AT_CFA && frame->place != DT_PLACE_AT_FRAME) || frame->value % 8 || words != (int16_t)words)
		return;
	rule->frame_pointer = frame->place == DT_PLACE_AT_CFA ? DT_SAVED_AT_CFA : DT_SAVED_AT_FRAME;
	rule->frame_pointer_words = (int16_t)words;
}

static struct dt_unwind_rule convert(const struct dt_frame_state *state, bool signal)
{
	struct dt_unwind_rule rule = { 0 };

	if (signal)
		return (struct dt_unwind_rule){ .cfa = DT_CFA_SIGNAL };
	if (state->back.place == DT_PLACE_UNDEFINED && !state->unknown)
		return (struct dt_unwind_rule){ .cfa = DT_CFA_END };
	convert_cfa(state, &rule);
	/* The walker takes the return address from the word below the CFA, and the CFA for the caller's stack pointer. */
	if (state->back.place != DT_PLACE_AT_CFA || state->back.value != -8 ||
	    state->stack.place != DT_PLACE_IS_CFA || state->stack.value || state->unknown)
		rule.cfa = DT_CFA_UNSUPPORTED;
	if (rule.cfa == DT_CFA_UNSUPPORTED)
		return (struct dt_unwind_rule){ .cfa = DT_CFA_UNSUPPORTED };
	convert_frame(&state->frame, &rule);
	return rule;
}

static int tell(struct run *run)
{
	int result = 0;

	if (run->fn && run->told < run->at)
		result = run->fn(run->context, run->told, run->at, &run->rule);
	run->told = run->at;
	return result;
}

/* The state holds up to an address. */
static int advance(struct run *run, uint64_t to)
{
	struct dt_unwind_rule rule;
	int result = 0;

	if (!run->fn || to <= run->at)
		return 0;
	rule = convert(run->state, run->program->signal);
	if (memcmp(&rule, &run->rule, sizeof(rule)))
		result = tell(run);
	run->rule = rule;
	run->at = to < run->end ? to : run->end;
	return result;
}

static int advance_by(struct run *run, uint64_t delta)
{
	uint64_t to;

	if (__builtin_mul_overflow(delta, run->program->code_factor, &to) || __builtin_add_overflow(to, run->at, &to))
		to = UINT64_MAX;
	return advance(run, to);
}

/* ---- expressions --------------------------------------------------------------------------------------------- */

/* `DW_OP_breg6 value`, and nothing else but what `rest` says. */
static bool is_at_frame(struct dt_cursor expression, const uint8_t *rest, size_t size, int64_t *ret_value)
{
	uint8_t operation = dt_cursor_byte(&expression);
	int64_t value = dt_cursor_sleb(&expression);

	if (operation != DW_OP_breg6 || expression.failed || dt_cursor_left(&expression) != size ||
	    (size && memcmp(expression.at, rest, size)))
		return false;
	*ret_value = value;
	return true;
}

/*
 * GNU ld describes each 16 bytes of a procedure linkage table by one expression: a jump through the GOT, a push, a jump to
 * the resolver; from byte N on a word more is on the stack (bfd/elfxx-x86.c and elf64-x86-64.c, elf_x86_64_eh_frame_plt):
 * rsp + 8 + ((rip & 15) >= N) << 3. The linkers that add an endbr64 have another N.
 */
static bool is_plt(struct dt_cursor expression, int64_t *ret_threshold)
{
	static const uint8_t before[] = { DW_OP_breg7, 8, DW_OP_breg16, 0, DW_OP_lit15, DW_OP_and };
	static const uint8_t after[] = { DW_OP_ge, DW_OP_lit3, DW_OP_shl, DW_OP_plus };
	const uint8_t *at = expression.at;

	if (dt_cursor_left(&expression) != sizeof(before) + 1 + sizeof(after) || memcmp(at, before, sizeof(before)) ||
	    memcmp(at + sizeof(before) + 1, after, sizeof(after)))
		return false;
	at += sizeof(before);
	if (*at < DW_OP_lit0 || *at > DW_OP_lit15)
		return false;
	*ret_threshold = *at - DW_OP_lit0;
	return true;
}

static struct dt_cursor read_block(struct dt_cursor *cursor)
{
	uint64_t size = dt_cursor_uleb(cursor);
	const uint8_t *bytes = dt_cursor_skip(cursor, size);

	return dt_cursor_of(bytes ? bytes : cursor->end, bytes ? size : 0);
}

static void set_cfa_expression(struct dt_frame_state *state, struct dt_cursor expression)
{
	static const uint8_t deref[] = { DW_OP_deref };

	state->cfa_offset = 0;
	if (is_at_frame(expression, deref, sizeof(deref), &state->cfa_offset))
		state->cfa = DT_CFA_FRAME_INDIRECT;
	else if (is_plt(expression, &state->cfa_offset))
		state->cfa = DT_CFA_PLT;
	else
		state->cfa = DT_CFA_UNSUPPORTED;
}

/* ---- instructions -------------------------------------------------------------------------------------------- */

static void set_cfa(struct dt_frame_state *state, uint64_t number, int64_t offset)
{
	state->cfa = DT_CFA_STACK;
	state->cfa_register = number;
	state->cfa_offset = offset;
}

/* Only valid where the CFA is a register and an offset (DWARF 5, 6.4.2.2). */
static void change_cfa(struct dt_frame_state *state, uint64_t number, int64_t offset)
{
	if (state->cfa == DT_CFA_STACK)
		set_cfa(state, number, offset);
	else
		state->cfa = DT_CFA_UNSUPPORTED;
}

static struct dt_frame_register *find_register(struct dt_frame_state *state, uint64_t number)
{
	return number == DT_REGISTER_FRAME ? &state->frame : number == DT_REGISTER_STACK ? &state->stack :
	       number == DT_REGISTER_RETURN ? &state->back : NULL;
}

static void set_register(struct dt_frame_state *state, uint64_t number, enum dt_frame_place place, int64_t value)
{
	struct dt_frame_register *known = find_register(state, number);

	if (known)
		*known = (struct dt_frame_register){ place, value };
}

/* The operand of all factored offsets. One that overflows is none that could be followed. */
static int64_t scale(const struct run *run, int64_t factored)
{
	int64_t value;

	return __builtin_mul_overflow(factored, run->program->data_factor, &value) ? INT64_MAX : value;
}

static void restore_register(struct run *run, uint64_t number)
{
	struct dt_frame_state initial;
	struct dt_frame_register *known = find_register(run->state, number);

	if (!known)
		return;
	dt_frame_state_init(&initial);
	if (run->program->initial)
		initial = *run->program->initial;
	*known = *find_register(&initial, number);
}

static int remember(struct run *run, bool restore)
{
	if (restore ? !run->depth : run->depth == REMEMBERED_MAX)
		return -EBADMSG;
	if (restore)
		*run->state = run->remembered[--run->depth];
	else
		run->remembered[run->depth++] = *run->state;
	return 0;
}

static int set_location(struct run *run)
{
	uint64_t vaddr;

	if (!run->program->read_address || !run->program->read_address(run->program->context, &run->cursor, &vaddr)) {
		run->state->unknown = true;
		return 0;
	}
	return advance(run, vaddr);
}

/* Those that set the CFA; false: it is none of them. */
static bool execute_cfa(struct run *run, uint8_t opcode)
{
	struct dt_frame_state *state = run->state;
	struct dt_cursor *cursor = &run->cursor;
	uint64_t number;

	switch (opcode) {
	case DW_CFA_def_cfa:
		number = dt_cursor_uleb(cursor);
		set_cfa(state, number, (int64_t)dt_cursor_uleb(cursor));
		return true;
	case DW_CFA_def_cfa_sf:
		number = dt_cursor_uleb(cursor);
		set_cfa(state, number, scale(run, dt_cursor_sleb(cursor)));
		return true;
	case DW_CFA_def_cfa_register:
		change_cfa(state, dt_cursor_uleb(cursor), state->cfa_offset);
		return true;
	case DW_CFA_def_cfa_offset:
		change_cfa(state, state->cfa_register, (int64_t)dt_cursor_uleb(cursor));
		return true;
	case DW_CFA_def_cfa_offset_sf:
		change_cfa(state, state->cfa_register, scale(run, dt_cursor_sleb(cursor)));
		return true;
	case DW_CFA_def_cfa_expression:
		set_cfa_expression(state, read_block(cursor));
		return true;
	}
	return false;
}

/* Those that say where a register is; false: it is none of them. */
static bool execute_register(struct run *run, uint8_t opcode)
{
	struct dt_cursor *cursor = &run->cursor;
	uint64_t number;
	int64_t value = 0;

	if (opcode < DW_CFA_offset_extended || (opcode > DW_CFA_register && opcode < DW_CFA_expression) ||
	    (opcode > DW_CFA_val_expression && opcode != DW_CFA_GNU_negative_offset_extended) ||
	    (opcode >= DW_CFA_def_cfa_sf && opcode <= DW_CFA_def_cfa_offset_sf))
		return false;
	number = dt_cursor_uleb(cursor);
	switch (opcode) {
	case DW_CFA_offset_extended:
		set_register(run->state, number, DT_PLACE_AT_CFA, scale(run, (int64_t)dt_cursor_uleb(cursor)));
		break;
	case DW_CFA_offset_extended_sf:
		set_register(run->state, number, DT_PLACE_AT_CFA, scale(run, dt_cursor_sleb(cursor)));
		break;
	case DW_CFA_GNU_negative_offset_extended:
		set_register(run->state, number, DT_PLACE_AT_CFA, scale(run, -(int64_t)dt_cursor_uleb(cursor)));
		break;
	case DW_CFA_restore_extended:
		restore_register(run, number);
		break;
	case DW_CFA_undefined:
		set_register(run->state, number, DT_PLACE_UNDEFINED, 0);
		break;
	case DW_CFA_same_value:
		set_register(run->state, number, DT_PLACE_REGISTER, 0);
		break;
	case DW_CFA_register:
		set_register(run->state, number, dt_cursor_uleb(cursor) == number ? DT_PLACE_REGISTER : DT_PLACE_OTHER, 0);
		break;
	case DW_CFA_val_offset:
		set_register(run->state, number, DT_PLACE_IS_CFA, scale(run, (int64_t)dt_cursor_uleb(cursor)));
		break;
	case DW_CFA_val_offset_sf:
		set_register(run->state, number, DT_PLACE_IS_CFA, scale(run, dt_cursor_sleb(cursor)));
		break;
	case DW_CFA_expression:
		if (is_at_frame(read_block(cursor), NULL, 0, &value))
			set_register(run->state, number, DT_PLACE_AT_FRAME, value);
		else
			set_register(run->state, number, DT_PLACE_OTHER, 0);
		break;
	case DW_CFA_val_expression:
		read_block(cursor);
		set_register(run->state, number, DT_PLACE_OTHER, 0);
		break;
	}
	return true;
}

static int execute(struct run *run)
{
	uint8_t opcode = dt_cursor_byte(&run->cursor), low = opcode & 0x3f;

	switch (opcode & 0xc0) {
	case DW_CFA_advance_loc:
		return advance_by(run, low);
	case DW_CFA_offset:
		set_register(run->state, low, DT_PLACE_AT_CFA, scale(run, (int64_t)dt_cursor_uleb(&run->cursor)));
		return 0;
	case DW_CFA_restore:
		restore_register(run, low);
		return 0;
	}
	switch (opcode) {
	case DW_CFA_nop:
		return 0;
	case DW_CFA_set_loc:
		return set_location(run);
	case DW_CFA_advance_loc1:
	case DW_CFA_advance_loc2:
	case DW_CFA_advance_loc4:
		return advance_by(run, dt_cursor_fixed(&run->cursor, 1u << (opcode - DW_CFA_advance_loc1)));
	case DW_CFA_MIPS_advance_loc8:
		return advance_by(run, dt_cursor_fixed(&run->cursor, 8));
	case DW_CFA_remember_state:
	case DW_CFA_restore_state:
		return remember(run, opcode == DW_CFA_restore_state);
	case DW_CFA_GNU_args_size:
		dt_cursor_uleb(&run->cursor);
		return 0;
	}
	if (!execute_cfa(run, opcode) && !execute_register(run, opcode))
		run->state->unknown = true;
	return 0;
}

int dt_frame_program_run(const struct dt_frame_program *program, struct dt_cursor instructions, uint64_t start, uint64_t end,
			 struct dt_frame_state *state, dt_frame_program_fn fn, void *context)
{
	struct run run = { .program = program, .cursor = instructions, .state = state, .at = start, .end = end, .told = start,
			   .fn = fn, .context = context };
	int result = 0;

	while (dt_cursor_left(&run.cursor) && (!fn || run.at < end) && !state->unknown && !result) {
		result = execute(&run);
		if (run.cursor.failed && !result)
			result = -EBADMSG;
	}
	if (!result)
		result = advance(&run, end);
	return result ? result : tell(&run);
}
