/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * books: what the images of one program did, in a file that all of them map shared. One image is what runs between a start
 * (fork, exec) and its end (exit, a signal, exec). tests/cases/processes.py reads the file by way of `processes --tell`.
 *
 * A row is a call site: a function of calls.c and the context that called it. What a forked child inherits stands in its rows
 * as allocated, with the sites that allocated it, so live = allocations - frees in each. A process that borrows its parent's
 * memory books there. The death of an image is chosen by the program: it happens while no thread is between a call and its
 * booking (gate_close).
 */
#ifndef DT_PROCESSES_BOOKS_H
#define DT_PROCESSES_BOOKS_H

#include "program.h"

#define BOOKS_MAGIC 0x34736b6f6f627464ull       /* "dtbooks4" */
#define IMAGES_MAX 512
#define CONTEXTS(C) C(MAIN, "in_main") C(THREAD, "in_thread") C(HANDLER, "in_handler") C(BORROWER, "in_borrower") C(LAST, "in_exit")

enum context {
#define C(id, text) CONTEXT_##id,
	CONTEXTS(C)
#undef C
	CONTEXT_COUNT
};

#define ROWS (FUNCTION_COUNT * CONTEXT_COUNT)

enum start { START_NONE, START_FORK, START_EXEC, START_FAILED };

struct row {
	uint64_t allocations, allocated_bytes, frees, freed_bytes, inherited_blocks, inherited_bytes;
};

struct image {
	uint32_t start, end;            /* enum start, enum end */
	uint32_t parent, node;          /* the image that started it; what it was started for */
	uint64_t pid, start_ticks;      /* proc(5), stat, field 22 */
	uint64_t sequence;              /* images of one process are numbered in their order */
	uint64_t failed, abandoned, unmatched;
	struct row rows[ROWS];
};

struct books {
	uint64_t magic, seed;
	uint64_t broken;                /* the books are kept wrong on purpose: enum broken */
	uint64_t without;               /* bit n: enum function n is not called, the allocator does not have it */
	uint64_t images_used;
	char program_path[256];
	struct program program;
	struct image images[IMAGES_MAX];
};

/* --break NAME: to test those who compare. */
#define BREAKS(B) \
	B(CHILD_RESIZE, "child-resize")         /* a child that resizes what it inherited does not book the end of the old block */ \
	B(HANDLER_FREE, "handler-free")         /* a free in a signal handler is not booked */ \
	B(EXIT_HANDLER, "exit-handler")         /* nothing that happens in exit() is booked */ \
	B(BORROWED_MALLOC, "borrowed-malloc")   /* a malloc in a borrower is booked twice */

enum broken {
	BREAK_NOTHING,
#define B(id, text) BREAK_##id,
	BREAKS(B)
#undef B
};

/* This image: its books, its live blocks. One set a process, shared by its threads and borrowers, copied by fork. */
enum slot_state { SLOT_EMPTY, SLOT_LIVE, SLOT_BUSY };

struct slot {
	uint32_t state, row;
	uint64_t bytes;
	void *block;
	bool inherited;
};

struct here {
	struct books *books;
	struct image *image;
	struct slot slots[SLOTS];
	int32_t gate;                   /* how many are within a call and its booking; -1: closed */
	uint32_t closing;
};

extern struct here here;                /* the one thing that has to be copied by fork and shared by vfork */

/* Between a call and its booking nobody closes the gate: */
void gate_enter(void);
void gate_leave(void);
/* Waits until nobody is there, and lets nobody in: before fork, and for good before a death. */
void gate_close(void);
void gate_open(void);
/* A forked child: the gate is its own, other threads do not exist. */
void gate_renew(void);

/* A slot in state `from` becomes busy; NULL: it is in another state. */
struct slot *slot_claim(uint32_t slot, enum slot_state from);
void slot_release(struct slot *slot, enum slot_state state);

void book_allocation(unsigned row, uint64_t bytes);
void book_free(const struct slot *slot);
void book_add(uint64_t *number, uint64_t more);

/* A new image; NULL when there are too many. `copies`: it inherits what is live here. */
struct image *image_add(enum start start, uint32_t node, bool copies);
/* Fills in who this is. */
void image_begin(struct image *image);
/* It ends now, in this way. */
void image_end(enum end end);

#endif
