/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* state: what programs keep for themselves between and during events. Userspace never sees it. */

/* An allocator call between its entry and its return. */
struct dt_call {
	__u64 stack;                    /* where its return address lies; 0: the thread is in no call */
	__u64 bytes;                    /* asked for */
	__u64 block;                    /* OUT: where the block is stored; REALLOC: the block that went in */
	struct dt_block old;            /* REALLOC: what was booked for it */
	__u32 site;
	__u32 has_old;
	struct dt_owner owner;          /* as of the entry, */
	__u32 generation;               /* so that the return need not look the process up */
	__u32 runs_python;
};

#define WINDOW_BYTES 128
#define STACK_WINDOW_WORDS 64           /* a power of two, so that a mask bounds an index */

struct dt_scratch {
	__u32 busy;
	__u32 reserved;
	__u64 stack[STACK_WINDOW_WORDS]; /* a piece of the native stack */
	__u64 frame[WINDOW_BYTES / 8];  /* a piece of a CPython frame or thread */
	__u64 code[WINDOW_BYTES / 8];   /* a piece of a CPython code object */
	__u64 code_addresses[DT_FRAMES_MAX];
	struct dt_traceback_event traceback;
};
