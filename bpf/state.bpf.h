/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* state: what programs keep for themselves between and during events. Userspace never sees it. */

/* An allocator call between its entry and its return. */
struct dt_call {
	__u64 stack;                    /* where its return address lies; 0: the thread is in no call */
	__u64 bytes;                    /* asked for */
	__u64 block;                    /* OUT: where the block is stored; REALLOC: the block that went in */
	struct dt_block old;            /* REALLOC: what was booked for it */
	__u64 segments;                 /* of the image at the entry */
	__u32 site;
	__u32 has_old;
};

/* The block that a thread got last from a source. Blocks have no numbers: another one that is like it in all of this is it. */
struct dt_last {
	__u64 address;                  /* 0: none, or it has gone */
	__u64 bytes, traceback;
	__u32 domain, born;
};

#define LAST_ROWS 4                     /* a power of two, so that a mask bounds an index */
_Static_assert(DT_SOURCE_COUNT <= LAST_ROWS, "sources have outgrown LAST_ROWS");

/* What is kept of a thread. Its image is looked up once: while the slot still has this number, it is that one. */
struct dt_thread {
	__u32 slot;
	__u32 image;                    /* 0: not known */
	__u64 freed;                    /* what a function of CPython's allocators was last given back */
	struct dt_call calls[DT_SOURCES_CALLED]; /* by source: a call of one may be made in a call of another */
	struct dt_call outers[DT_SOURCES_CALLED]; /* what those have interrupted */
	__u64 booked;                   /* the block of the last of these calls that has returned */
	struct dt_call operator_new;    /* the innermost that the thread is in, or has left by an exception */
	__u64 operator_new_return_address;
	__u64 released;                 /* the block that the last function got that hands blocks on to another one (RELEASE) */
	__u64 released_stack;           /* … and where its return address lies */
	__u64 released_generation;      /* … and when */
	struct dt_last lasts[LAST_ROWS]; /* by source */
};

/* What a thread waits for at a marker (marker.bpf.h). */
struct marker_wait {
	__u64 readable;                 /* an address whose page nobody has to wait for */
	__u64 begun_ns;
	__u32 slot, image;
	__u32 what;                     /* enum marker_what */
	__u32 number;                   /* of the marker, when it has turned */
	__u32 place;
	__u32 state;                    /* enum marker_state */
	char label[DT_MARKER_LABEL_BYTES];
};

#define PAGE_MASK 4095

/* A mapping of a file, as the kernel has it. */
struct file_mapping {
	__u64 start, bytes;             /* bytes 0: none */
	__u64 file_offset;              /* of its start */
	struct dt_file_key file_key;
	__u32 image;                    /* that it was found for; 0: none */
	__u32 reserved;
	__u64 check;                    /* the XOR of the rest: rows are written without a lock */
};

#define FILE_SETS 1024                  /* powers of two: images, by slot, of which mappings are kept, */
#define FILE_WAYS 8                     /* and how many of each */

struct file_set {
	__u64 next;                     /* way to be written, modulo FILE_WAYS; 64 bits: see atomic.bpf.h */
	struct file_mapping ways[FILE_WAYS];
};

/* The frame that the native walk has come to. */
struct native_state {
	__u64 pc, stack, frame_pointer;
	__u64 start, bytes;             /* of the mapping that the last frame was in; bytes 0: none yet */
	__u64 base;                     /* … and its table */
	__u32 pages, page_count;
	__u32 flags;
	__u32 file;
	__u64 window;                   /* where the words in dt_scratch.stack come from */
	__u32 window_bytes;             /* how many of them are there */
	__u32 how;                      /* DT_FRAME_…: what pc is */
	__u32 frame_pointer_unknown;
	__u32 is_outermost;             /* nobody called this frame */
	__s32 index;                    /* of this frame in the traceback; −1: not kept */
	__u32 rule;                     /* of this frame */
	struct file_mapping mapping;    /* NATIVE_BY_FILE: that of the last frame */
	__u32 tries;                    /* how often the kernel's mappings were found locked */
	__u32 reserved;
};

/* A rule that was looked up before, so that it need not be searched again. */
struct native_known_rule {
	__u64 address;
	__u32 mappings_version;         /* 0: nothing is known */
	__u16 rule;
	__u16 flags;                    /* of the mapping: DT_MAPPING_… */
	__u32 file;
	__u32 image;                    /* found by file.bpf.h: it holds for this image alone; 0: for all that have these mappings */
	__u64 place;                    /* … where the address is then: DT_FRAME_PLACE() */
};

#define NATIVE_KNOWN_BITS 8

#define STACK_WINDOW_WORDS 256          /* a power of two, so that a mask bounds an index */

/* Two windows of the target's memory, in which frames of CPython are looked for. */
#define PYTHON_WINDOW_WORDS 256         /* a power of two, so that a mask bounds an index */

struct python_window {
	__u64 start, bytes;
};

struct python_state {
	__u64 frame;                    /* the next frame; 0: none is left */
	struct python_window windows[2]; /* on the stack of frames; elsewhere */
	__u64 words[2 * PYTHON_WINDOW_WORDS];
	__u32 strays;                   /* frames in a row that were elsewhere */
	__s32 first_traceable;          /* of the code object below, */
	__u64 number;                   /* and its number */
	union {
		struct dt_code_event event; /* a code object that is being read */
		__u64 event_words[sizeof(struct dt_code_event) / 8];
	};
};

struct dt_scratch {
	__u32 busy;
	__u32 phase;                    /* enum walk_phase */
	__u32 kept[2];                  /* frames by kind */
	__u32 is_cut;                   /* a mixed traceback has reached a limit */
	__u32 unplaced_from;            /* frames before those that had no place; ~0: all have */
	__u32 image;
	__u32 python_unread;            /* whether the thread runs Python could not be read */
	struct native_state native;
	struct python_state python;
	__u64 stack[STACK_WINDOW_WORDS]; /* a piece of the native stack */
	struct native_known_rule known_rules[1 << NATIVE_KNOWN_BITS];
	struct dt_traceback_event traceback;
};

/* What the turns of a walk have in common. */
struct walk {
	const struct dt_process *process;
	struct dt_scratch *scratch;
};

/*
 * A code object that is in use, at its address. What is kept of it holds until it is freed, which is seen; nothing is kept of
 * processes where it is not. `check` is the XOR of the rest: rows are written without a lock.
 */
struct python_known {
	__u64 code;
	__u64 number;
	__u32 image;
	__s32 first_traceable;
	__u64 check;
};

#define PYTHON_KNOWN_SETS 16384         /* a power of two */
#define PYTHON_KNOWN_WAYS 2

struct python_known_set {
	struct python_known ways[PYTHON_KNOWN_WAYS];
};
