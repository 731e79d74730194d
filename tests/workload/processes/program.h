/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * program: a tree of actions, made of a seed (generate.c) or read from a text (text.c), and executed by many processes.
 *
 * Every subset of a program is a program: an action names slots, and does nothing where its slot is not as it needs it. So a
 * shrinker may take out what it likes.
 */
#ifndef DT_PROCESSES_PROGRAM_H
#define DT_PROCESSES_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NODES_MAX 4096
#define DEPTH_MAX 24
#define SLOTS 96

/* ACTION(NAME, text, words after the text, has a body) */
#define ACTIONS(A) \
	A(ALLOCATE, "allocate", 4, false)       /* FUNCTION SLOT BYTES DETAIL (alignment, or count) */ \
	A(RESIZE, "resize", 4, false)           /* FUNCTION SLOT BYTES COUNT */ \
	A(FREE, "free", 1, false)               /* SLOT */ \
	A(REFUSED, "refused", 1, false)         /* FUNCTION: asked for more than there is */ \
	A(FORK, "fork", 1, true)                /* WAIT: 1 waits for the child, 0 goes on beside it */ \
	A(VFORK, "vfork", 0, true)              /* the child works in its parent's memory, then ends or begins another image */ \
	A(BORROW, "borrow", 1, true)            /* clone(CLONE_VM | VFORK), its parent waits */ \
	A(SPAWN, "spawn", 1, true)              /* posix_spawn of an image; WAIT */ \
	A(EXEC, "exec", 0, true)                /* this process begins another image */ \
	A(THREAD, "thread", 1, true)            /* WAIT: joined at once */ \
	A(JOIN, "join", 0, false)               /* every thread that this one has started */ \
	A(REAP, "reap", 0, false)               /* waits for all children */ \
	A(SIGNAL, "signal", 1, true)            /* a handler runs the body; LEAVES: by siglongjmp */ \
	A(FAULT, "fault", 1, false)             /* posix_memalign of BYTES stores its result where it faults, and is left by siglongjmp */ \
	A(TIMER, "timer", 1, false)             /* a signal every so many microseconds */ \
	A(POKE, "poke", 0, false)               /* a signal to some thread of the process */ \
	A(END, "end", 1, false)                 /* HOW */

enum action {
#define A(id, text, words, body) ACTION_##id,
	ACTIONS(A)
#undef A
	ACTION_COUNT
};

/* How an image ends; LEAVE: the main thread alone, by pthread_exit or by itself. */
#define ENDS(E) \
	E(NOW, "_exit") E(EXIT, "exit") E(ABORT, "abort") E(KILL, "kill") E(TERM, "term") E(LEAVE, "leave") E(LEAVE_RAW, "leave_raw")

enum end {
	END_NONE,               /* still running */
#define E(id, text) END_##id,
	ENDS(E)
#undef E
	END_EXEC,
	END_COUNT
};

/*
 * The family. RESIZE knows the last two, ALLOCATE all: with a null pointer for these. Not every allocator has every one: its
 * program is the same, and what it does not have does nothing.
 */
#define FAMILY(F) \
	F(MALLOC, "malloc") F(CALLOC, "calloc") F(POSIX_MEMALIGN, "posix_memalign") F(ALIGNED_ALLOC, "aligned_alloc") \
	F(MEMALIGN, "memalign") F(VALLOC, "valloc") F(PVALLOC, "pvalloc") F(REALLOC, "realloc") F(REALLOCARRAY, "reallocarray")

enum function {
#define F(id, text) FUNCTION_##id,
	FAMILY(F)
#undef F
	FUNCTION_COUNT
};

#define NO_NODE 0                       /* node 0 is the root's body and nobody's next */

struct node {
	uint32_t action;
	uint32_t function, slot, flag;  /* flag: WAIT, LEAVES, HOW */
	uint64_t bytes, detail;
	uint32_t body, next;
};

struct program {
	uint32_t count;
	struct node nodes[NODES_MAX];   /* the body of node 0 is what the first image does */
};

/* A new node behind *tail (a `body` or a `next`), or NULL when the program is full. */
struct node *program_add(struct program *program, uint32_t **tail, enum action action);

/* `faults`: FAULT may be in it, which not every allocator bears; without it the rest is the same. */
void program_generate(struct program *program, uint64_t seed, bool faults);
void program_print(const struct program *program);
/* Returns 0, or the number of the line that cannot be read. */
unsigned program_parse(struct program *program, char *text);

#endif
