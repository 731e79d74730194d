/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * frame_program: executes call frame instructions (DWARF 5, 6.4.2) for the three registers that a walk needs: the stack
 * pointer, the frame pointer and the return address. Their DWARF numbers: System V ABI, AMD64 supplement, figure 3.36.
 */
#ifndef DT_TARGET_FRAME_PROGRAM_H
#define DT_TARGET_FRAME_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/cursor.h"

#define DT_REGISTER_FRAME 6
#define DT_REGISTER_STACK 7
#define DT_REGISTER_RETURN 16

/* What is known of one register of the caller. */
struct dt_frame_register {
	enum dt_frame_place {
		DT_PLACE_REGISTER,      /* in itself still */
		DT_PLACE_UNDEFINED,     /* it has no value: for the return address, this is the outermost frame */
		DT_PLACE_AT_CFA,        /* in memory at CFA + value */
		DT_PLACE_AT_FRAME,      /* in memory at frame pointer + value */
		DT_PLACE_IS_CFA,        /* it is CFA + value */
		DT_PLACE_OTHER,
	} place;
	int64_t value;
};

struct dt_frame_state {
	enum dt_cfa cfa;                /* STACK: base register + cfa_offset; or FRAME_INDIRECT, PLT, UNSUPPORTED by an expression */
	uint64_t cfa_register;          /* for STACK: any register, it may change before an address is reached */
	int64_t cfa_offset;
	struct dt_frame_register frame, stack, back;
	bool unknown;                   /* an instruction was: nothing of this holds */
};

/* What all instructions of one frame have in common. */
struct dt_frame_program {
	uint64_t code_factor;
	int64_t data_factor;
	bool signal;                    /* it describes the code that a signal handler returns to */
	const struct dt_frame_state *initial; /* what DW_CFA_restore goes back to */
	/* Reads an address as the entry writes it (DW_CFA_set_loc): false if that is not understood. */
	bool (*read_address)(void *context, struct dt_cursor *cursor, uint64_t *ret_vaddr);
	void *context;
};

typedef int (*dt_frame_program_fn)(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule);

void dt_frame_state_init(struct dt_frame_state *state);

/*
 * Executes instructions for the addresses from start to end, and tells the ranges of equal rules, by address. An
 * instruction that is not known makes the rest DT_CFA_UNSUPPORTED. 0, what `fn` returned, -EBADMSG. *state is left as it
 * is behind the last instruction; without an `fn` that is all that is done (the initial instructions of a CIE).
 */
int dt_frame_program_run(const struct dt_frame_program *program, struct dt_cursor instructions, uint64_t start, uint64_t end,
			 struct dt_frame_state *state, dt_frame_program_fn fn, void *context);

#endif
