/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unwind.h: what the functions of the unwind_* workloads tell of their own tracebacks.
 *
 * Every allocation is told with the stack that it is made from, in two ways that know nothing of each other:
 *   addresses  the return addresses that glibc's backtrace() finds, from the allocator's caller outwards
 *              (UNWIND_MARKS_ALONE: not there, or not able to)
 *   marks      the functions that are being executed, each with its own return address: they note it when they begin
 * Both are taken before the allocator is entered, by a stub that then jumps to it (unwind_stubs.S): the stack that the
 * allocator sees is the one that was told, the call instruction included.
 */
#ifndef DT_WORKLOAD_UNWIND_H
#define DT_WORKLOAD_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A function that keeps its own frame and name. */
#define FRAME __attribute__((noipa))
#define SHOWN __attribute__((visibility("default")))

struct unwind_mark {
	const char *function;
	const void *return_address;
	struct unwind_mark *outer;
};

SHOWN extern __thread struct unwind_mark *unwind_marks __attribute__((tls_model("initial-exec")));

static inline void unwind_leave(struct unwind_mark *mark)
{
	unwind_marks = mark->outer;
}

/* First in each function that the truth is to name; not in one that ends with a tail call, which has no frame then. */
#define MARK() MARK_OUTSIDE(unwind_marks)
/* The same for the first function of a stack. */
#define MARK_OUTERMOST() MARK_OUTSIDE(NULL)
#define MARK_OUTSIDE(outer_) \
	struct unwind_mark mark_ __attribute__((cleanup(unwind_leave))) = { \
		__func__, __builtin_return_address(0), outer_ \
	}; \
	unwind_marks = &mark_

/* What is true of the records to come of this thread. */
enum unwind_fact {
	UNWIND_KEPT,                    /* the block stays */
	UNWIND_FREED,                   /* the block is freed before the truth is told */
	UNWIND_INSIDE,                  /* no allocation but a call: allocations made below it are the callee's own business */
	UNWIND_MARKED,                  /* backtrace() ends too early here; each frame has a mark */
};

SHOWN extern __thread enum unwind_fact unwind_fact __attribute__((tls_model("initial-exec")));

/* How many libraries were loaded so far, where that matters: the same address may be in another one later. */
extern unsigned unwind_load;

/* The truth is told in this order. */
void unwind_begin(void);                /* once, before the first record */
void unwind_adopt_libraries(void);      /* calls of the allocator from libraries that are loaded by now are told, too */
void unwind_tell_ready(void);           /* {"pid": …}, and waits for a line */
void unwind_tell_gate(const char *name); /* {"gate": NAME}, and waits for a line */
void unwind_tell(const char *facts);    /* everything that was recorded, and waits for a line */

/* Called by the stubs: the arguments of the call, and where it returns to. */
void unwind_record_first(const uint64_t arguments[4], uintptr_t return_address);
void unwind_record_product(const uint64_t arguments[4], uintptr_t return_address);
void unwind_record_second(const uint64_t arguments[4], uintptr_t return_address);
void unwind_record_third(const uint64_t arguments[4], uintptr_t return_address);
void unwind_record_inside(const uint64_t arguments[4], uintptr_t return_address);

/* Keeps the compiler from knowing a number. */
static inline size_t unwind_opaque(size_t number)
{
	__asm__("" : "+r"(number));
	return number;
}

/* Keeps a block: nobody frees it, and no analyzer asks why. Behind a call of it no call is the last one of a function. */
static inline void unwind_keep(const void *block)
{
	__asm__ volatile("" : : "r"(block) : "memory");
}

#ifdef __cplusplus
}
#endif

#endif
