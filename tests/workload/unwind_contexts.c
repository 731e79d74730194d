// SPDX-License-Identifier: BSD-2-Clause
/* Stacks of other kinds than the main thread's: threads, coroutines, a thread of clone(2) alone. */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "truth.h"
#include "unwind_sites.h"

#define STACK_BYTES (256 * 1024)

static sem_t go, done;
static pthread_t thread;

FRAME static void allocate_inner(size_t bytes)
{
	MARK();
	unwind_keep(malloc(bytes));
}

/* ---- a thread: made before the trace, because the loader allocates for it ------------------------------------------------ */

FRAME static void *thread_start(void *unused)
{
	MARK_OUTERMOST();
	sem_wait(&go);
	allocate_inner(900);
	unwind_keep(malloc(901));
	sem_post(&done);
	sem_wait(&go);
	return unused;
}

FRAME static void thread_run(void)
{
	MARK();
	sem_post(&go);
	sem_wait(&done);
}

/* ---- coroutines ---------------------------------------------------------------------------------------------------------------- */

static ucontext_t main_context, contexts[2];
static char context_stacks[2][STACK_BYTES] __attribute__((aligned(16)));
static struct unwind_mark *context_marks[2];

FRAME static void yield_to(unsigned from, unsigned to, size_t bytes)
{
	MARK();
	unwind_keep(malloc(bytes));
	context_marks[from] = unwind_marks;
	swapcontext(&contexts[from], &contexts[to]);
	unwind_marks = context_marks[from];
	unwind_keep(malloc(bytes + 1));
}

FRAME static void context_first(void)
{
	MARK_OUTERMOST();
	yield_to(0, 1, 910);
	yield_to(0, 1, 912);
}

/* Ends after the first one has been entered again; the second then goes on in what it was called for, and so on. */
FRAME static void context_second(void)
{
	MARK_OUTERMOST();
	yield_to(1, 0, 914);
	allocate_inner(916);
}

static void make_context(unsigned number, void (*start)(void), ucontext_t *next)
{
	if (getcontext(&contexts[number]))
		truth_stop("unwind: no context\n");
	contexts[number].uc_stack.ss_sp = context_stacks[number];
	contexts[number].uc_stack.ss_size = STACK_BYTES;
	contexts[number].uc_link = next;
	makecontext(&contexts[number], start, 0);
}

FRAME static void contexts_switch(void)
{
	MARK();
	make_context(0, context_first, &main_context);
	make_context(1, context_second, &main_context);
	swapcontext(&main_context, &contexts[0]);
	unwind_marks = &mark_;
	allocate_inner(918);
}

/* ---- clone(2), with the caller's thread-local storage: the caller waits and calls nothing --------------------------------------- */

#define THREAD_FLAGS (CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM)

static void *clone_stack;
static volatile int clone_alive;

/* The kernel clears *alive when the thread has ended (CLONE_CHILD_CLEARTID). */
static void wait_for_clone(void)
{
	while (__atomic_load_n(&clone_alive, __ATOMIC_ACQUIRE))
		syscall(SYS_sched_yield);
}

FRAME static int clone_start(void *unused)
{
	(void)unused;
	MARK_OUTERMOST();
	allocate_inner(920);
	return 0;
}

FRAME static void clone_by_library(void)
{
	MARK();
	clone_alive = 1;
	if (clone(clone_start, (char *)clone_stack + STACK_BYTES, THREAD_FLAGS | CLONE_CHILD_CLEARTID, NULL, NULL, NULL, &clone_alive) < 0)
		truth_stop("unwind: no clone\n");
	wait_for_clone();
	unwind_marks = &mark_;
}

FRAME static void raw_start(void)
{
	MARK_OUTERMOST();
	allocate_inner(921);
}

/* unwind_clone.S */
int unwind_raw_clone(unsigned long flags, void *stack_end, volatile int *alive, void (*start)(void));

FRAME static void clone_raw(void)
{
	MARK();
	clone_alive = 1;
	if (unwind_raw_clone(THREAD_FLAGS | CLONE_CHILD_CLEARTID, (char *)clone_stack + STACK_BYTES, &clone_alive, raw_start) < 0)
		truth_stop("unwind: no clone\n");
	wait_for_clone();
	unwind_marks = &mark_;
}

void contexts_prepare(void)
{
	clone_stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (clone_stack == MAP_FAILED || sem_init(&go, 0, 0) || sem_init(&done, 0, 0) ||
	    pthread_create(&thread, NULL, thread_start, NULL))
		truth_stop("unwind: no stack, semaphore or thread\n");
}

FRAME void contexts_run(void)
{
	MARK();
	thread_run();
	contexts_switch();
	clone_by_library();
	clone_raw();
}
