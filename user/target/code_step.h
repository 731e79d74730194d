/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * code_step: what one instruction does to the things by which a frame is found: the distance of the stack pointer from the
 * CFA, and where the caller's frame pointer is. What it cannot follow makes them unknown.
 */
#ifndef DT_TARGET_CODE_STEP_H
#define DT_TARGET_CODE_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

/* Before an instruction. Compared byte by byte: what a field says nothing about is 0. */
struct dt_code_state {
	int32_t depth;                  /* CFA - stack pointer, 8 where a function begins; 0: unknown */
	int32_t frame;                  /* CFA - frame pointer, for DT_POINTER_FRAME */
	int32_t saved;                  /* the caller's frame pointer is in the word at CFA - saved; 0: in none that is known */
	uint8_t pointer;                /* what is in the frame pointer: enum dt_code_pointer */
	uint8_t outermost;              /* nobody called this code; all the others are 0 */
	uint8_t after_syscall;          /* and no call since */
	uint8_t reserved;
};

enum dt_code_pointer {
	DT_POINTER_CALLER,              /* what the caller had there */
	DT_POINTER_FRAME,
	DT_POINTER_OTHER,
};

#define DT_CODE_START ((struct dt_code_state){ .depth = 8 })
#define DT_CODE_OUTERMOST ((struct dt_code_state){ .outermost = 1 })

enum dt_code_flow {
	DT_FLOW_NEXT,                   /* on to the next instruction */
	DT_FLOW_BRANCH,                 /* or to the target */
	DT_FLOW_JUMP,                   /* to the target */
	DT_FLOW_JUMP_POINTER,           /* to an address from a register or table */
	DT_FLOW_JUMP_IMPORTED,          /* to an address that the loader wrote: a function of another file */
	DT_FLOW_CALL,                   /* of the target, on to the next if that returns */
	DT_FLOW_CALL_POINTER,
	DT_FLOW_CALL_IMPORTED,
	DT_FLOW_RETURN,
	DT_FLOW_STOP,                   /* never on */
};

struct dt_code_step {
	enum dt_code_flow flow;
	uint8_t length;
	uint64_t target;
	uint64_t taken;                 /* address that the instruction computes, which may be one of code; 0: none */
	bool taken_is_number;           /* written as such, not as a distance: an address only where nothing moves the file */
	struct dt_code_state after;
};

/* The rule of a state; DT_CFA_NONE where it knows too little. */
struct dt_unwind_rule dt_code_state_rule(const struct dt_code_state *state);
/* What two ways to one place have in common. */
struct dt_code_state dt_code_state_merge(const struct dt_code_state *one, const struct dt_code_state *other);
/* A function may be left here: the stack is as it was at its start, the frame pointer the caller's. */
bool dt_code_state_is_left(const struct dt_code_state *state);

/* False: there is no instruction. `decoder` is a ZydisDecoder. */
bool dt_code_step_read(const void *decoder, const uint8_t *bytes, size_t size, uint64_t vaddr,
		       const struct dt_code_state *before, struct dt_code_step *ret_step);

#endif
