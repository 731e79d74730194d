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
	__u32 generation;
};

#define PAGE_MASK 4095

/* The frame that the native walk has come to. */
struct native_state {
	__u64 pc, stack, frame_pointer;
	__u64 start, bytes;             /* of the mapping that the last frame was in; bytes 0: none yet */
	__u64 base;                     /* … and its table */
	__u32 pages, page_count;
	__u64 window;                   /* where the words in dt_scratch.stack come from */
	__u32 window_bytes;             /* how many of them are there */
	__u32 interrupted;              /* DT_FRAME_INTERRUPTED: pc is no return address, a signal came there */
	__u32 frame_pointer_unknown;
	__u32 is_outermost;             /* nobody called this frame */
	__s32 index;                    /* of this frame in the traceback; −1: not kept */
	__u32 reserved;
};

#define WINDOW_BYTES 128
#define STACK_WINDOW_WORDS 256          /* a power of two, so that a mask bounds an index */

struct python_state {
	__u64 frame;                    /* the next frame; 0: none is left */
	__u64 window[WINDOW_BYTES / 8]; /* a piece of a CPython frame or thread */
	__u64 code[WINDOW_BYTES / 8];   /* a piece of a CPython code object */
};

struct dt_scratch {
	__u32 busy;
	__u32 phase;                    /* enum walk_phase */
	__u32 kept[2];                  /* frames by kind */
	__u32 is_cut;                   /* a mixed traceback has reached a limit */
	__u32 unplaced_from;            /* frames before those that had no place; ~0: all have */
	struct native_state native;
	struct python_state python;
	__u64 stack[STACK_WINDOW_WORDS]; /* a piece of the native stack */
	__u64 code_addresses[DT_TRACEBACK_FRAMES_MAX];
	struct dt_traceback_event traceback;
};
