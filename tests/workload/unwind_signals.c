// SPDX-License-Identifier: BSD-2-Clause
/* Signal handlers that allocate, on top of what they interrupted. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/time.h>
#include <time.h>
#include <ucontext.h>

#include "truth.h"
#include "unwind_sites.h"

static volatile sig_atomic_t arrived;
static uintptr_t vdso;
static int pipes[2];

static uintptr_t interrupted(void *context)
{
	return (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	if (sigaction(signal, &action, NULL))
		truth_stop("unwind: no signal handler\n");
}

FRAME static void handler_inner(size_t bytes)
{
	MARK();
	unwind_keep(malloc(bytes));
}

FRAME static void on_usr1(int signal, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	MARK();
	handler_inner(700);
	raise(SIGUSR2);
	handler_inner((size_t)(700 + signal));
}

FRAME static void on_usr2(int signal, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	MARK();
	handler_inner((size_t)(720 + signal));
}

/* A fault: what it interrupted is no call, and goes on behind the instruction. `mov (%rax), %eax` has two bytes. */
FRAME static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)info;
	MARK();
	handler_inner((size_t)(740 + signal));
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

FRAME static void faults(void)
{
	MARK();
	__asm__ volatile("xor %%eax, %%eax; mov (%%rax), %%eax" : : : "rax", "memory");
}

FRAME static void raises(void)
{
	MARK();
	raise(SIGUSR1);
	pthread_kill(pthread_self(), SIGUSR2);
}

/* ---- in system calls: only what interrupted one is told ------------------------------------------------------------- */

/* The instruction before is `syscall`. */
FRAME static void on_alarm(int signal, siginfo_t *info, void *context)
{
	const uint8_t *next = (const uint8_t *)interrupted(context);

	(void)signal;
	(void)info;
	MARK();
	if (next[-2] != 0x0f || next[-1] != 0x05)
		return;
	handler_inner(760);
	arrived = 1;
}

static void alarm_after_ms(unsigned ms, unsigned again_ms)
{
	struct itimerval timer = {.it_value = {.tv_usec = 1000 * (suseconds_t)ms}, .it_interval = {.tv_usec = 1000 * (suseconds_t)again_ms}};

	setitimer(ITIMER_REAL, &timer, NULL);
}

FRAME static void sleeps(void)
{
	struct timespec second = {.tv_sec = 1};

	MARK();
	arrived = 0;
	handle(SIGALRM, on_alarm, 0);
	alarm_after_ms(20, 0);
	while (!arrived)
		if (!nanosleep(&second, NULL) && !arrived)
			alarm_after_ms(20, 0);
}

FRAME static void reads(void)
{
	char c;

	MARK();
	arrived = 0;
	handle(SIGALRM, on_alarm, 0);
	alarm_after_ms(20, 20);
	while (!arrived)
		if (read(pipes[0], &c, 1) >= 0)
			truth_stop("unwind: somebody wrote into the pipe\n");
	alarm_after_ms(0, 0);
}

/* ---- in the vDSO ------------------------------------------------------------------------------------------------------ */

FRAME static void on_vdso_alarm(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)info;
	MARK();
	if (arrived || interrupted(context) - vdso >= 2 * 4096)
		return;
	arrived = 1;
	handler_inner(780);
}

/* Where the vDSO has no clock that it can read itself, no signal ever arrives in it for long. */
FRAME static void asks_clock(void)
{
	struct timespec now, begin;

	MARK();
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (!arrived && now.tv_sec - begin.tv_sec < 5);
}

FRAME static void in_vdso(void)
{
	MARK();
	if (!vdso)
		return;
	arrived = 0;
	handle(SIGALRM, on_vdso_alarm, 0);
	alarm_after_ms(1, 1);
	asks_clock();
	alarm_after_ms(0, 0);
}

/* ---- on a stack of its own ------------------------------------------------------------------------------------------------ */

FRAME static void on_other_stack(void)
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)}, none = {.ss_flags = SS_DISABLE};

	MARK();
	if (sigaltstack(&other, NULL))
		truth_stop("unwind: no other stack\n");
	handle(SIGUSR1, on_usr1, SA_ONSTACK);
	handle(SIGUSR2, on_usr2, SA_ONSTACK);
	handle(SIGSEGV, on_fault, SA_ONSTACK);
	raises();
	faults();
	sigaltstack(&none, NULL);
}

FRAME static void on_same_stack(void)
{
	MARK();
	handle(SIGUSR1, on_usr1, 0);
	handle(SIGUSR2, on_usr2, 0);
	handle(SIGSEGV, on_fault, 0);
	raises();
	faults();
}

void signals_prepare(void)
{
	vdso = getauxval(AT_SYSINFO_EHDR);
	if (pipe(pipes))
		truth_stop("unwind: no pipe\n");
}

FRAME void signals_run(void)
{
	MARK();
	on_same_stack();
	on_other_stack();
	sleeps();
	reads();
	in_vdso();
}
