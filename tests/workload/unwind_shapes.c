// SPDX-License-Identifier: BSD-2-Clause
/* Frames of every shape that a compiler makes of C. */
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include "unwind_sites.h"

/* ---- the family ------------------------------------------------------------------------------------------------ */

FRAME static void family_inner(size_t bytes)
{
	void *block = NULL;

	MARK();
	unwind_keep(malloc(bytes));
	unwind_keep(calloc(bytes, 3));
	unwind_keep(realloc(NULL, bytes + 1));
	unwind_keep(aligned_alloc(64, 256));
	if (posix_memalign(&block, 128, 512))
		abort();
	unwind_keep(block);
}

FRAME static void family(void)
{
	MARK();
	family_inner(unwind_opaque(100));
	family_inner(unwind_opaque(200));
}

/* ---- recursion ------------------------------------------------------------------------------------------------- */

FRAME static unsigned recursion(unsigned depth)
{
	volatile unsigned kept = depth;

	MARK();
	if (depth > 1)
		return recursion(depth - 1) + kept;
	unwind_keep(malloc(300));
	return kept;
}

static unsigned mutual_odd(unsigned depth, char *text);

FRAME static unsigned mutual_even(unsigned depth, char *text)
{
	char here[24];

	MARK();
	memcpy(here, text, sizeof(here));
	if (depth > 1)
		return mutual_odd(depth - 1, here) + 1u;
	unwind_keep(malloc(301));
	return (unsigned)here[0];
}

FRAME static unsigned mutual_odd(unsigned depth, char *text)
{
	char here[168];

	MARK();
	memset(here, text[0], sizeof(here));
	return depth > 1 ? mutual_even(depth - 1, here) + 1u : 0u;
}

FRAME static void recursions(void)
{
	char text[24] = "abc";

	MARK();
	recursion(200);
	mutual_even(101, text);
}

FRAME void shapes_deep(unsigned depth)
{
	MARK();
	recursion(depth);
}

/* ---- frames whose size is known at run time, or is large --------------------------------------------------------- */

FRAME static void on_stack(char *text, size_t bytes)
{
	MARK();
	text[0] = 'x';
	unwind_keep(malloc(bytes));
	unwind_keep(text);
}

FRAME static void with_alloca(size_t room)
{
	char *text = __builtin_alloca(room);

	MARK();
	on_stack(text, 310);
	text = __builtin_alloca(2 * room);
	on_stack(text, 311);
}

FRAME static void with_array(size_t room)
{
	MARK();
	for (size_t i = 1; i < 4; i++) {
		char text[room * i];

		on_stack(text, 312);
		unwind_keep(text);
	}
}

FRAME static void with_large_array(void)
{
	char text[200 * 1024];

	MARK();
	on_stack(text, 313);
	unwind_keep(text);
}

FRAME static void with_larger_array(void)
{
	char text[3 * 1024 * 1024];

	MARK();
	on_stack(text, 314);
	unwind_keep(text);
}

/* ---- realigned stacks: the frame is found through a register, or through a word that keeps it --------------------------- */

FRAME static void realigned(size_t bytes)
{
	char text[64] __attribute__((aligned(64)));

	MARK();
	on_stack(text, bytes);
	unwind_keep(text);
}

/* With arguments on the stack and a frame of unknown size, the caller's frame is kept in a register (DRAP). */
FRAME static size_t realigned_with_arguments(size_t a, size_t b, size_t c, size_t d, size_t e, size_t f, size_t g, size_t h)
{
	char text[64] __attribute__((aligned(128)));
	char *more = __builtin_alloca(a);

	MARK();
	on_stack(text, 320);
	on_stack(more, 321);
	unwind_keep(text);
	return a + b + c + d + e + f + g + h;
}

FRAME static void realigned_array(size_t room)
{
	char aligned[32] __attribute__((aligned(32)));
	char text[room];

	MARK();
	on_stack(aligned, 322);
	on_stack(text, 323);
	unwind_keep(aligned);
	unwind_keep(text);
}

__attribute__((noipa, force_align_arg_pointer)) static void realigned_entry(size_t bytes)
{
	char text[40];

	MARK();
	on_stack(text, bytes);
	unwind_keep(text);
}

FRAME static unsigned realigned_recursion(unsigned depth)
{
	volatile unsigned kept __attribute__((aligned(256))) = depth;

	MARK();
	if (depth > 1)
		return realigned_recursion(depth - 1) + kept;
	unwind_keep(malloc(324));
	return kept;
}

/* ---- registers ---------------------------------------------------------------------------------------------------- */

/* More live values than registers: all those that a callee must keep are saved, and hold numbers that are no addresses. */
FRAME static uint64_t many_registers(const uint64_t *numbers, size_t bytes)
{
	uint64_t a = numbers[0], b = numbers[1], c = numbers[2], d = numbers[3], e = numbers[4], f = numbers[5], g = numbers[6];

	MARK();
#ifndef UNWIND_RBP_TAKEN
	__asm__ volatile("mov $0x7fff, %%ebp" : : : "rbp");
#endif
	unwind_keep(malloc(bytes));
	return a * b + c * d + e * f + g;
}

FRAME static void registers(void)
{
	static const uint64_t numbers[7] = {1, 2, 3, ~0ull, 5, 1ull << 63, 7};

	MARK();
	if (many_registers(numbers, 330) == many_registers(numbers + unwind_opaque(0), 331))
		unwind_keep(malloc(332));
}

/* ---- calls at the end ------------------------------------------------------------------------------------------------ */

FRAME static void *tail_target(size_t bytes)
{
	void *block;

	MARK();
	block = malloc(bytes);
	unwind_keep(block);
	return block;
}

/* Jumps: it has no frame of its own when tail_target() runs. */
FRAME static void *tail_caller(size_t bytes)
{
	return tail_target(bytes + 1);
}

/* The allocator itself is jumped to: its caller is whoever called this function. */
FRAME static void *tail_allocator(size_t bytes)
{
	return malloc(bytes + 2);
}

FRAME static void tails(void)
{
	MARK();
	unwind_keep(tail_caller(unwind_opaque(340)));
	unwind_keep(tail_allocator(unwind_opaque(341)));
}

static jmp_buf way_out;

__attribute__((noipa, noreturn)) static void leaves(size_t bytes)
{
	MARK();
	unwind_keep(malloc(bytes));
	longjmp(way_out, 1);
}

/* The call is its last instruction: what it returns to lies behind the function. */
__attribute__((noipa, noreturn)) static void ends_with_call(size_t bytes)
{
	MARK();
	leaves(bytes + 1);
}

FRAME static void without_return(void)
{
	MARK();
	if (!setjmp(way_out))
		ends_with_call(350);
	unwind_marks = &mark_;
	unwind_keep(malloc(352));
}

/* ---- a part that is kept elsewhere -------------------------------------------------------------------------------------- */

__attribute__((noipa, cold)) static void seldom(size_t bytes)
{
	MARK();
	unwind_keep(malloc(bytes));
}

/* What is only done before a call of a cold function goes into a part of its own, without a prologue of its own. */
FRAME static size_t with_cold_part(const size_t *numbers, size_t count)
{
	size_t sum = 0;

	MARK();
	for (size_t i = 0; i < count; i++) {
		if (__builtin_expect(numbers[i] > 1000, 0)) {
			seldom(numbers[i] - 1000);
			sum += 7;
		}
		sum += numbers[i] * i;
	}
	return sum;
}

FRAME static void cold_parts(void)
{
	const size_t numbers[3] = {1, 1360, 1361};

	MARK();
	unwind_keep((const void *)with_cold_part(numbers, 3));
}

FRAME void shapes_run(void)
{
	MARK();
	family();
	recursions();
	with_alloca(unwind_opaque(1000));
	with_array(unwind_opaque(777));
	with_large_array();
	with_larger_array();
	realigned(319);
	realigned_with_arguments(unwind_opaque(100), 2, 3, 4, 5, 6, 7, 8);
	realigned_array(unwind_opaque(99));
	realigned_entry(325);
	realigned_recursion(5);
	registers();
	tails();
	without_return();
	cold_parts();
}
