// SPDX-License-Identifier: BSD-2-Clause
/*
 * A handler that allocates after each single instruction of some functions: in their prologues, their epilogues, in the
 * linkage table, wherever a signal may arrive. The processor's trap flag makes the signals.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "truth.h"
#include "unwind_sites.h"

#define TRAP_FLAG 0x100

/* The program's own code (ld's script names its edges): what is stepped through outside of it is not told. */
extern const char __executable_start, etext;

static volatile bool stepping;
static volatile bool everywhere;        /* … and told wherever it is */

FRAME static void on_step(int signal, siginfo_t *info, void *context)
{
	greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
	uintptr_t at = (uintptr_t)registers[REG_RIP];

	(void)signal;
	(void)info;
	MARK();
	if (!stepping)
		registers[REG_EFL] &= ~(greg_t)TRAP_FLAG;
	else if (everywhere || (at >= (uintptr_t)&__executable_start && at < (uintptr_t)&etext))
		unwind_keep(malloc(800));
}

/* ---- what is stepped through ---------------------------------------------------------------------------------------------- */

FRAME static unsigned step_leaf(unsigned number)
{
	return number * 3;
}

FRAME static unsigned step_saves(const unsigned *numbers)
{
	unsigned a = numbers[0], b = numbers[1], c = numbers[2], d = numbers[3], e = numbers[4];

	a += step_leaf(b);
	b += step_leaf(c);
	c += step_leaf(d);
	d += step_leaf(e);
	return a + b + c + d + e;
}

FRAME static unsigned step_alloca(size_t room)
{
	char *text = __builtin_alloca(room);

	text[0] = 'x';
	unwind_keep(text);
	return step_leaf((unsigned)text[0]);
}

FRAME static unsigned step_realigned(unsigned number)
{
	volatile unsigned kept __attribute__((aligned(64))) = number;

	return step_leaf(kept) + kept;
}

FRAME static unsigned step_realigned_alloca(size_t a, size_t b, size_t c, size_t d, size_t e, size_t f, size_t g)
{
	volatile size_t kept __attribute__((aligned(64))) = g;
	char *text = __builtin_alloca(a);

	text[0] = 'x';
	unwind_keep(text);
	return step_leaf((unsigned)(kept + b + c + d + e + f));
}

FRAME static unsigned step_large(unsigned number)
{
	char text[70000];

	text[number] = 'x';
	unwind_keep(text);
	return step_leaf((unsigned)text[number]);
}

FRAME static unsigned step_tail(unsigned number)
{
	return step_leaf(number + 1);
}

/* Through the linkage table, twice: the first call may be bound on the way. */
FRAME static unsigned step_linked(unsigned number)
{
	return (unsigned)(ffs((int)number) + ffs((int)number + 1));
}

FRAME static unsigned step_all(void)
{
	static const unsigned numbers[5] = {1, 2, 3, 4, 5};

	return step_saves(numbers) + step_alloca(100) + step_realigned(1) + step_realigned_alloca(99, 2, 3, 4, 5, 6, 7) +
	       step_large(3) + step_tail(4) + step_linked(16);
}

FRAME static int step_compare(const void *left, const void *right)
{
	return *(const char *)left - *(const char *)right;
}

/* Code of the C library's, written in C and in assembly. */
FRAME static unsigned step_library(void)
{
	char text[40], other[40];
	int length = snprintf(text, sizeof(text), "%d %s", 42, "text");

	memcpy(other, text, sizeof(other));
	qsort(other, 4, 1, step_compare);
	return (unsigned)(length + (int)strlen(other) + (int)strtol(text, NULL, 10) + (getenv("NOBODY") != NULL));
}

/* The flag is set by an instruction; the first trap comes behind the one that follows it. */
FRAME static void step(unsigned (*function)(void))
{
	MARK();
	stepping = true;
	__asm__ volatile("sub $128, %%rsp; pushfq; orl $0x100, (%%rsp); popfq; add $128, %%rsp" : : : "cc", "memory");
	unwind_keep((void *)(uintptr_t)function());
	stepping = false;
}

FRAME void steps_run(bool with_library)
{
	struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

	MARK();
	if (sigaction(SIGTRAP, &action, NULL))
		truth_stop("unwind: no signal handler\n");
	step(step_all);
	if (!with_library)
		return;
	step_library();                 /* bound, and initialized */
	everywhere = true;
	step(step_library);
	everywhere = false;
}
