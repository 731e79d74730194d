/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * wire.h: everything that BPF programs and userspace share.
 *
 * Glossary (one meaning each, in code, manuals and messages):
 *   site       a function of the target that is probed
 *   source     who speaks of a block: libc's allocator, CPython's tracemalloc interface, …
 *   domain     a family of memory with its own accounting, within a source (tracemalloc numbers them)
 *   block      one allocation, known by (process, source, domain, address)
 *   live       allocated and not yet freed
 *   traceback  the frames that led to an event
 *   rule       how a frame's caller is found from it: one row of an unwind table says where a rule begins to hold
 *   trace      the books of one traceback in one domain of one process
 *   image      a program that runs in a process, from its exec or fork on to the next exec or the end
 *   heir       an image that was forked off another: the blocks that were live then are in its memory, too
 *   segment    the time between two steps of the clock, numbered from 1; a fork steps it, a clear, a snapshot, and domtrace's timer
 *   generation of an image: the time between two clears; blocks of an earlier one are forgotten
 *   half       one of two sets of counters; events write one while a snapshot reads the other
 *   loss       something that is missing from the tables
 *
 * Rules: fixed-width fields, no implicit padding, sizes asserted; every struct says which map or record holds it.
 * Includes nothing, so that BPF, userspace and host tests can bring their own integer types
 * (__u8 … __s64 as <linux/types.h> names them).
 */
#ifndef DOMTRACE_WIRE_H
#define DOMTRACE_WIRE_H

#define DT_NONE 255                     /* "no such argument" in sites.def */
#define DT_FRAMES_MAX 256               /* frames of one kind that a traceback keeps at most */
#define DT_TRACEBACK_FRAMES_MAX 512     /* frames of both kinds */
#define DT_FRAMES_WALKED_MAX 2048       /* frames that are walked to count them */
#define DT_FRAME_LIMIT_DEFAULT 64       /* frames kept unless the user says otherwise */
#define DT_DOMAIN_FILTER_MAX 32         /* domain numbers in one filter */
#define DT_COMM_BYTES 16                /* of a thread's name, with its NUL (include/linux/sched.h: TASK_COMM_LEN) */
#define DT_ALLOCATOR_CALLS_MAX 8        /* calls of free() from inside the allocator, per process */
#define DT_UNTOLD_MAX 16                /* calls behind which a block may be untold, per process */

/* Who speaks of a block. The value is part of map keys (8 bits). */
enum dt_source {
	DT_SOURCE_LIBC,                 /* malloc and its family */
	DT_SOURCE_PYTHON,               /* CPython's own allocators: tracemalloc's domain 0 */
	DT_SOURCE_TRACEMALLOC,          /* PyTraceMalloc_Track and _Untrack */
	DT_SOURCE_DECLARED,             /* the program itself, by <domtrace/domain.h> */
	DT_SOURCE_COUNT,
};

#define DT_SOURCES_CALLED 2             /* the first so many are functions whose return is awaited; a power of two */

enum dt_shape {
	DT_SHAPE_ALLOC,
	DT_SHAPE_OUT,
	DT_SHAPE_REALLOC,
	DT_SHAPE_FREE,
	DT_SHAPE_TRACK,
	DT_SHAPE_UNTRACK,
	DT_SHAPE_REALLOCF,
	DT_SHAPE_RESIZE,
	DT_SHAPE_NEW,
	DT_SHAPE_RELEASE,
	DT_SHAPE_NAME,
	DT_SHAPE_VFORK,
	DT_SHAPE_DROP,
	DT_SHAPE_CONTROL,
	DT_SHAPE_COUNT,
};

/*
 * Beside the number of a site in its cookie: most calls of this function were compiled into their callers, but for processes whose
 * tables of allocators hold aliases. Those of others are not booked at all, rather than some of them.
 */
#define DT_COOKIE_NEEDS_ALIASES 0x100

/* The sites, numbered in the order of sites.def: the number is in the BPF cookie of a probe. */
enum dt_site {
#define DT_SITE(symbol, source, shape, size, count, block, out) DT_SITE_##symbol,
#include "sites.def"
#undef DT_SITE
	DT_SITE_COUNT,
};

/* Tables whose size can be chosen. */
enum dt_table {
#define DT_TABLE(name, row_bytes, rows, help) DT_TABLE_##name,
#include "tables.def"
#undef DT_TABLE
	DT_TABLE_COUNT,
};

enum dt_counter {
#define DT_COUNTER(name, kind, help) DT_COUNTER_##name,
#include "counters.def"
#undef DT_COUNTER
	DT_COUNTER_COUNT,
};

/* Why a traceback ends before the thread's outermost frame. Names in JSON: dt_truncation_name(). */
enum dt_truncation {
	DT_TRUNCATION_none,
#define DT_TRUNCATION(name, help) DT_TRUNCATION_##name,
#include "truncations.def"
#undef DT_TRUNCATION
	DT_TRUNCATION_lost,             /* the traceback itself was lost; a loss counter says why */
	DT_TRUNCATION_COUNT,
};

/* The counter of a truncation is DT_COUNTER_TRUNCATED + its number. */
#define DT_COUNTER_TRUNCATED (DT_COUNTER_truncated_unknown_mapping - DT_TRUNCATION_unknown_mapping)
_Static_assert(DT_COUNTER_TRUNCATED + DT_TRUNCATION_too_deep == DT_COUNTER_truncated_too_deep, "one list, one order");

/* Which frames a traceback holds. */
enum dt_stack {
	DT_STACK_AUTO,                  /* the native frames up to the innermost Python frame, then the Python frames */
	DT_STACK_PYTHON,                /* Python frames; native ones where the thread runs no Python */
	DT_STACK_NATIVE,                /* native frames alone */
	DT_STACK_MIXED,                 /* native frames, with Python frames in the places of the calls that run them */
};

/* ---- keys and values of the tables ------------------------------------------------------------------------ */

/*
 * Whose block: an image and a domain. `process` is the image's slot in the low 24 bits and enum dt_source in the high 8. A slot
 * is given to another image only when no row of any table speaks of it any more.
 */
struct dt_owner {
	__u32 process;
	__u32 domain;                   /* tracemalloc's domain number; 0 for libc and python */
};

#define DT_OWNER_SOURCE_SHIFT 24
#define DT_OWNER_SLOT_MASK ((1u << DT_OWNER_SOURCE_SHIFT) - 1)

/*
 * map `live`: one row a block, 40 bytes. The row of a block that has gone may stay: spare, for the next block at its address, or
 * because heirs look into it.
 */
struct dt_block_key {
	struct dt_owner owner;
	__u64 address;
};

struct dt_block {
	__u64 bytes;                    /* as the program asked for, in the low 48 bits; above them DT_BLOCK_… */
	__u64 traceback;                /* of its allocation */
	__u64 span;                     /* DT_SPAN(): in which segments it lived */
};

/*
 * No block has 2^48 bytes: what a program has not asked to lie higher lies below 2^47 (x86-64: Linux
 * Documentation/arch/x86/x86_64/5level-paging.rst). The first of the bits above tells that the row hides a block that was inherited
 * with the address; the others count the rows of `past` with blocks that were at the address before.
 */
#define DT_BLOCK_BYTES_MASK ((1ull << 48) - 1)
#define DT_BLOCK_HIDES (1ull << 48)
#define DT_BLOCK_PAST_SHIFT 49
#define DT_BLOCK_PAST_MAX 32767

/* Rows of the map `live`; further ones are in maps of `live_more`, each four times as large as the one before. */
#define DT_LIVE_ROWS_FIRST 262144
#define DT_LIVE_MORE_MAX 6
#define DT_ROWS_ASKED (1ll << 62)       /* a number of rows that is never reached */

/* `born` is 0 for a block that was inherited, `died` is 0 for a live one. */
#define DT_SPAN(born, died) ((__u64)(died) << 32 | (__u32)(born))
#define DT_SPAN_BORN(span) ((__u32)(span))
#define DT_SPAN_DIED(span) ((__u32)((span) >> 32))

/* map `past`: blocks that have gone and whose rows in `live` have been taken by others, while heirs may still have them. */
struct dt_past_key {
	struct dt_block_key block;
	__u32 index;                    /* 0, 1, 2 … in the order in which they died */
	__u32 reserved;
};

/*
 * map `traces`: the books of one traceback in one domain. Two tracebacks are reserved, whose rows are in map `totals`: TOTAL is the
 * domain's own row, the sum of all its traces; LOST takes what could not be booked on its own traceback.
 */
#define DT_TRACEBACK_TOTAL 0ull
#define DT_TRACEBACK_LOST 1ull
#define DT_TRACEBACK_FIRST 2ull         /* smallest number that a real traceback may have */

struct dt_trace_key {
	struct dt_owner owner;
	__u64 traceback;
	__u32 generation;
	__u32 reserved;
};

/*
 * A peak: above its bytes stands how often peaks had been reset, so that whatever is seen after a reset is above all that was seen
 * before. The bytes may be negative then: what an heir has freed of what it inherited.
 */
#define DT_PEAK_SHIFT 48
#define DT_PEAK_BYTES_MAX ((1ll << (DT_PEAK_SHIFT - 1)) - 1)
#define DT_PEAK(resets, bytes) (((__u64)(resets) << DT_PEAK_SHIFT) + (__u64)(bytes))
#define DT_PEAK_BYTES(peak) ((__s64)((peak) << (64 - DT_PEAK_SHIFT)) >> (64 - DT_PEAK_SHIFT))
#define DT_PEAK_RESETS(peak) (((peak) + (1ull << (DT_PEAK_SHIFT - 1))) >> DT_PEAK_SHIFT)
#define DT_PEAK_RESETS_MAX 65535

/* What events add up to; never decreases, but for what was live at a peak. */
struct dt_tally {
	__u64 allocations;
	__u64 allocated_bytes;
	__u64 frees;
	__u64 freed_bytes;
	__u64 peak;                     /* DT_PEAK() of the largest live_bytes seen while this half was the active one */
	/*
	 * Of a trace: what of it was live when live_bytes of its domain's row first came to `at_peak_of`. It is noted when the trace
	 * changes for the first time after that moment; until then, that is what it has live now. Peaks (DT_PEAK()) only grow, which tells
	 * them apart.
	 */
	__u64 at_peak_of;
	__s64 at_peak_bytes;
	__u64 temporary;                /* of the frees: by the thread that allocated, before it allocated again from that source */
};

/*
 * Events add to half[epoch & 1]. A snapshot turns the epoch, waits until no program that saw the old one runs, and
 * then reads a half that nobody writes: one moment, exactly, without holding the target.
 */
struct dt_trace {
	__s64 live_bytes;               /* now; both halves; only for finding the peaks */
	struct dt_tally half[2];
};

/*
 * The epoch: one word, the clock of all tables, read once by each event. Its lowest bit is the half that events write, the bits above
 * number the segment. So what was booked before a turn and what was born or died before it is the same.
 */
#define DT_EPOCH_HALF(epoch) ((__u32)(epoch) & 1)
#define DT_EPOCH_SEGMENT(epoch) ((__u32)((epoch) >> 1))
#define DT_EPOCH_STEP 2ull              /* added: the next segment */
#define DT_EPOCH_TURN(epoch) (DT_EPOCH_HALF(epoch) ? 1ull : 3ull) /* added: the next segment, in the other half */

/* ---- what userspace tells the programs -------------------------------------------------------------------- */

/* How a table of lines is written (CPython Objects/lnotab_notes.txt, Objects/locations.md). */
enum dt_python_lines {
	DT_PYTHON_LNOTAB,               /* up to 3.9: co_lnotab */
	DT_PYTHON_LINETABLE,            /* 3.10: co_linetable */
	DT_PYTHON_LOCATIONS,            /* 3.11 and later: co_linetable, too */
};

#define DT_PYTHON_NO_CFRAME 0xffff

/* Layout of CPython's structures in one process: byte offsets (sources beside the initialisers: target/python_offsets.c). */
struct dt_python_layout {
	__u16 thread_frame;             /* PyThreadState → frame (up to 3.10), cframe (3.11, 3.12), current_frame (3.13) */
	__u16 thread_thread_id;         /* → thread_id (pthread_self), behind thread_frame */
	__u16 cframe_frame;             /* _PyCFrame → current_frame; DT_PYTHON_NO_CFRAME: thread_frame is the frame itself */
	__u16 frame_bytes;              /* of a frame, up to the last field that is read */
	__u16 frame_code;               /* PyFrameObject or _PyInterpreterFrame → f_code, f_executable */
	__u16 frame_previous;           /* → f_back, previous */
	__u16 frame_instruction;        /* → f_lasti, prev_instr, instr_ptr */
	__u16 frame_owner;              /* → owner (a byte); 0: there is no such field */
	__u16 frame_entry;              /* the byte that tells whether the eval loop was entered with this frame */
	__u16 code_first_line;          /* PyCodeObject → co_firstlineno */
	__u16 code_filename;
	__u16 code_name;                /* → co_qualname (co_name before 3.11) */
	__u16 code_lines;               /* → co_linetable, co_lnotab */
	__u16 code_first_traceable;     /* → _co_firsttraceable; 0: there is no such field */
	__u16 code_bytecode;            /* → co_code_adaptive (an array, not a pointer) */
	__u16 string_length;            /* PyASCIIObject → length */
	__u16 string_state;             /* → state */
	__u16 string_ascii_data;        /* → characters of a compact ASCII string */
	__u16 string_data;              /* → characters of any other compact string */
	__u16 bytes_size;               /* PyBytesObject → ob_size */
	__u16 bytes_data;               /* → ob_sval */
	__u8 frames_are_neighbours;     /* 1: frames of calls of one thread lie side by side, callers at lower addresses */
	__u8 instruction_unit;          /* frame_instruction holds an index (int) of units of so many bytes; 0: it holds an address */
	__u8 entry_least;               /* it was entered with this frame if frame_entry holds this or more; 0: with every frame */
	__u8 lines_format;              /* enum dt_python_lines */
	__u8 reserved[2];
};

struct dt_address_range {
	__u64 start, end;               /* end exclusive; 0, 0: none */
};

/* The CPython interpreter of one process. */
struct dt_interpreter {
	__u32 present;                  /* 0: none whose frames are understood; the rest is 0 then, too */
	__u32 frees_are_seen;           /* 1: of its code objects */
	__u64 thread_current;           /* address of the word that holds the running PyThreadState; 0: there is none */
	__u64 thread_key;               /* address of the Py_tss_t {int is_initialized; int key} of this thread's state */
	__u64 thread_variable;          /* place of this thread's state in the thread-local storage of module tls_module */
	__u32 current_is_local;         /* 1: thread_current is relative to the thread pointer */
	__u32 tls_module;               /* 0: none */
	__u32 tls_first_block;          /* struct pthread → specific_1stblock[0].data; 0: not a glibc */
	__u32 tls_blocks;               /* struct pthread → specific[0] */
	struct dt_address_range eval[2]; /* of _PyEval_EvalFrameDefault: its main part, its cold part */
	struct dt_python_layout layout;
};

/* Registers that every callee leaves as they were (System V AMD64 ABI 1.0, figure 3.4). */
enum dt_kept_register {
	DT_KEPT_RBX,
	DT_KEPT_RBP,
	DT_KEPT_R12,
	DT_KEPT_R13,
	DT_KEPT_R14,
	DT_KEPT_R15,
	DT_KEPT_COUNT,
};

/*
 * A block that a program tells of only if tracemalloc is on: NumPy from 2.5 on calls PyTraceMalloc_Untrack, and PyTraceMalloc_Track
 * behind it only if the answer was not that tracemalloc is off. What Track would be told is in registers at the first call already.
 */
struct dt_untold {
	__u64 untrack;                  /* return address of that call; 0: none */
	__u64 track;                    /* that of the call of Track behind it; 0: none was found */
	__u32 domain;                   /* of the block */
	__u8 address, bytes;            /* enum dt_kept_register; address DT_NONE: it is not known where the block is */
	__u8 factor;                    /* a second factor of its bytes; DT_NONE: 1 */
	__u8 reserved;
};

/*
 * What is known of a program's code. map `processes` leads from a tgid to the slot of its image, process_states[slot] to its row in
 * `process_rows`. A row that programs may see does not change: another one takes its place. Heirs begin with the row of whom they
 * were forked off.
 */
#define DT_PROCESSES_MAX 8192           /* powers of two, so that masks bound indexes */
#define DT_PROCESS_ROWS 16384
#define DT_PROCESS_ROW_NEW 1            /* of programs of which nothing is known yet */

struct dt_process {
	struct dt_interpreter python;
	__u32 first_mapping;            /* row in `mappings` */
	__u32 mapping_count;
	__u32 mappings_version;         /* their own, of all processes */
	__u32 removals;                 /* dt_process_state.removals when the mappings were read */
	__u32 python_aliases;           /* 1: the tables of its CPython's allocators hold aliases (DT_COOKIE_NEEDS_ALIASES) */
	__u32 reserved;
	__u64 loader_state;             /* address of _r_debug.r_state; 0: no loader */
	__u64 allocator_calls[DT_ALLOCATOR_CALLS_MAX]; /* return addresses of calls to free() made by the allocator itself */
	struct dt_untold untold[DT_UNTOLD_MAX];
};

/* SIGURG: what nobody has asked for is ignored (signal(7)), should it ever reach the program and not its tracer. */
#define DT_HOLD_SIGNAL 23

enum dt_image_phase {
	DT_IMAGE_NONE,                  /* the slot is free, or is being filled */
	DT_IMAGE_RUNS,
	DT_IMAGE_REPLACED,              /* by exec */
	DT_IMAGE_ENDED,
};

/*
 * An image: what programs note of it for themselves, and where its row is. `image` is written last when a slot is filled. Slots of
 * images that have gone are emptied by userspace.
 */
struct dt_process_state {
	__u32 image;                    /* its number, no other has it; 0: nobody's */
	__u32 row;                      /* 0: the process is not traced */
	__u32 tgid;
	__u32 phase;                    /* enum dt_image_phase */
	__u64 forks;                    /* DT_FORKS_…: of heirs */
	__u32 parent;                   /* slot of the image whose blocks it inherited */
	__u32 parent_segment;           /* the last segment of that one before the fork; 0: it inherited nothing */
	__u32 parent_generation;        /* of that one, at the fork */
	__u32 heirs;                    /* images that inherited from it and may still look into its rows */
	__u32 removals;                 /* odd while the loader unmaps files; even otherwise */
	__u32 hold;                     /* 1: its main thread is sent DT_HOLD_SIGNAL when the loader has mapped files */
	__u32 ppid;                     /* when it began; 0: not known */
	__u32 sharers;                  /* other processes that run in its memory: vfork() */
	__u32 generation;               /* of its blocks: the first segment of it */
	__u32 ancestors;                /* how many images it may have blocks of, one above the other */
	char comm[DT_COMM_BYTES];
	__u64 started_ns;               /* when it began, as CLOCK_MONOTONIC has it; 0: before it was traced */
	__u64 process_started_ns;       /* when its process did, as CLOCK_BOOTTIME has it; 0: userspace has it from /proc */
	__u64 asked_ns;                 /* when DT_EVENT_UNKNOWN was last sent; since boot */
};

/* The segment of an event, and the generation. An event may see a clear before it sees the step of the clock: it is after it. */
#define DT_SEGMENTS(segment, generation) \
	((__u64)(generation) << 32 | ((segment) < (generation) ? (generation) : (segment)))
#define DT_SEGMENTS_NOW(segments) ((__u32)(segments))
#define DT_SEGMENTS_GENERATION(segments) ((__u32)((segments) >> 32)) /* generations are numbered by their first segments */

/* The last segment in which an heir was forked off; above it, how many are just being: in which segment is not known yet. */
#define DT_FORKS_LAST(forks) ((__u32)(forks))
#define DT_FORKS_UNDER_WAY(forks) ((__u32)((forks) >> 32))
#define DT_FORKS_ONE_UNDER_WAY (1ull << 32)

#define DT_ANCESTORS_MAX 64             /* images that inherited from one another, looked through for a block */

/* ---- unwind tables ------------------------------------------------------------------------------------------ */

/*
 * map `mappings`: the executable mappings of all traced processes; those of one process are neighbours, ordered by
 * address. Pages that are in no table (page_count is 0 for a mapping without one) are walked by frame pointers.
 */
#define DT_MAPPINGS_MAX 65536           /* a power of two */

#define DT_MAPPING_REMOVABLE 1          /* the file may have been unloaded since the mappings were read */
#define DT_MAPPING_RETURN_PROBES 2      /* the kernel's page for return probes: "[uprobes]" */
#define DT_MAPPING_TABLE_LOST 4         /* there was no room for its table */
#define DT_MAPPING_ALLOCATOR 8          /* of a file with functions that allocate */

struct dt_mapping_row {
	__u64 start, end;               /* addresses, end exclusive */
	__u64 base;                     /* address of the file's first page that the table describes, a multiple of the page size */
	__u32 pages;                    /* word at which the table's index of pages begins, an even number */
	__u32 page_count;
	__u32 flags;                    /* DT_MAPPING_… */
	__u32 file;                     /* DT_MAPPING_REMOVABLE: tells it from others that are mapped there later */
};

/*
 * map `files`: files whose unwind tables are there, by what the kernel knows them by. Frames in mappings that userspace has not read
 * yet, as those of a program's first milliseconds, are walked by these. Only files whose code is mapped with one distance between
 * offsets and addresses have a row.
 */
#define DT_FILES_MAX 16384

struct dt_file_key {
	__u64 inode;
	__u32 device;                   /* of its file system: major << 20 | minor (include/linux/kdev_t.h: MKDEV()) */
	__u32 reserved;
};

struct dt_file_row {
	__u64 base;                     /* offset in the file of the first page that the table describes; it may lie before the file: modulo 2^64 */
	__u32 pages, page_count;        /* as in struct dt_mapping_row */
	__u32 number;                   /* no other file of the session has it */
	__u32 flags;                    /* DT_MAPPING_ALLOCATOR */
	__u64 code_offset;              /* offset in the file of the first code that is mapped, in the order of addresses */
};

/*
 * The tables are one array of 32-bit words in chunks (map `unwind_chunks`: array of maps; each inner map is an array of
 * one value of DT_UNWIND_CHUNK_WORDS words), made as they are needed. Equal tables, of one build id, stand there once.
 *
 *   index of pages   two words a page of DT_UNWIND_PAGE_BYTES: number of the word with its first row, number of its rows
 *                    (1 … 4,096). An index may cross chunks, a pair does not.
 *   rows of a page   in one chunk, by address: offset in the page (low 16 bits), number of the rule that holds from there on
 *                    (high 16 bits). The first row of a page is for offset 0.
 */
#define DT_UNWIND_PAGE_BYTES 4096
#define DT_UNWIND_CHUNK_WORDS 65536     /* a power of two */
#define DT_UNWIND_CHUNKS_MAX 1024
#define DT_UNWIND_ROW(offset, rule) ((__u32)(rule) << 16 | (__u32)(offset))

struct dt_unwind_chunk {
	__u32 words[DT_UNWIND_CHUNK_WORDS];
};

/* How the canonical frame address (CFA: the stack pointer before the call that made the frame) is found. */
enum dt_cfa {
	DT_CFA_NONE,                    /* nothing is known of this code */
	DT_CFA_END,                     /* the outermost frame: nobody called it */
	DT_CFA_UNSUPPORTED,
	DT_CFA_STACK,                   /* stack pointer + cfa_offset */
	DT_CFA_FRAME,                   /* frame pointer + cfa_offset */
	DT_CFA_FRAME_INDIRECT,          /* the word at frame pointer + cfa_offset (functions that realign their stack) */
	DT_CFA_PLT,                     /* stack pointer + 8, + 8 more from byte cfa_offset of each 16 bytes of code on */
	DT_CFA_CHAIN,                   /* nothing is known of the whole page, as of code of a JIT compiler: by frame pointers */
	DT_CFA_SIGNAL,                  /* the registers that the kernel saved for a signal (struct rt_sigframe at the stack pointer) */
	DT_CFA_COUNT,
};

/* Where the caller's frame pointer is. The return address is always in the word below the CFA. */
enum dt_saved {
	DT_SAVED_NOT,                   /* in the register still */
	DT_SAVED_AT_CFA,                /* in the word at CFA + 8 × frame_pointer_words */
	DT_SAVED_AT_FRAME,              /* in the word at frame pointer + 8 × frame_pointer_words */
	DT_SAVED_UNKNOWN,               /* lost, or kept in a way that is not supported */
};

/*
 * Set beside an enum dt_saved: the rule is not the compiler's word but was derived from the code. A frame that is found by it is
 * checked, as those found along frame pointers are.
 */
#define DT_SAVED_DERIVED 0x80

/* map `unwind_rules`: array. Equal rules stand there once, for all files; two have numbers of their own. */
#define DT_UNWIND_RULES_MAX 65536
#define DT_UNWIND_RULE_NONE 0           /* DT_CFA_NONE */
#define DT_UNWIND_RULE_CHAIN 1          /* DT_CFA_CHAIN: also of pages that are in no table */

struct dt_unwind_rule {
	__s32 cfa_offset;
	__s16 frame_pointer_words;
	__u8 cfa;                       /* enum dt_cfa */
	__u8 frame_pointer;             /* enum dt_saved, perhaps DT_SAVED_DERIVED */
};

/* Which programs are traced besides those that userspace adds. */
enum dt_follow {
	DT_FOLLOW_NONE,
	DT_FOLLOW_CHILDREN,             /* those that descend from them */
	DT_FOLLOW_ALL,                  /* every one that is chosen, and what is forked off those without an exec */
};

/* Of every program these (DT_FOLLOW_ALL), as they are at their exec. Bits of `by` say which conditions there are; all must hold. */
#define DT_CHOICE_COMM 1
#define DT_CHOICE_UID 2
#define DT_CHOICE_CGROUP 4
#define DT_CHOICE_FILE 8
struct dt_choice {
	__u32 by;
	__u32 uid;                      /* of the initial user namespace */
	__u64 cgroup;                   /* its number, of cgroup v2: of it or below it */
	__u32 cgroup_level;             /* of it, below the root */
	__u32 file_device;              /* of the executable, as the kernel numbers devices: major << 20 | minor */
	__u64 file_inode;
	__u32 own_tgid;                 /* domtrace itself, which is never traced */
	__u32 reserved;
	char comm[DT_COMM_BYTES];
};

/* Constants of the programs (read-only data of the object, set before load) */
struct dt_config {
	__u64 hash_seed;                /* random: no target can choose tracebacks that collide */
	__u32 frame_limit;              /* of each kind, 1 … DT_FRAMES_MAX */
	__u32 stack;                    /* enum dt_stack */
	__u32 domain_count;             /* filled entries of `domains` */
	__u32 domains_excluded;         /* 1: all domains but these; 0: only these (all where domain_count is 0) */
	__u32 domains[DT_DOMAIN_FILTER_MAX];
	__u32 follow;                   /* enum dt_follow */
	__u32 blocks_are_read;          /* 1: by snapshots, one by one: what dies at a marker is kept */
	struct dt_choice choice;
	__u64 pid_namespace_device;     /* of the namespace whose pids the tables use; inode 0: the initial one */
	__u64 pid_namespace_inode;
	__u32 defers_preemption;        /* 1: the kernel has bpf_preempt_disable() */
	__u32 scratch_count;            /* rows of the map `scratches`: DT_SCRATCHES_PER_CPU of each possible CPU, DT_SCRATCHES_MIN at least */
	__u32 awaits_pages;             /* 1: a program may wait for a page of its target's, as nobody else waits with it */
	__u32 reserved;
};

#define DT_SCRATCHES_PER_CPU 4
#define DT_SCRATCHES_MIN 32

/* ---- markers ----------------------------------------------------------------------------------------------- */

/*
 * A thread that comes to a marker turns the epoch itself: so the tables are of that line, whatever other threads do meanwhile. Between two
 * turns the half that was closed must be read, so there is one right to turn, which whoever turns holds until it has been.
 */
enum dt_turn {
	DT_TURN_FREE,
	DT_TURN_MARKER,                 /* a thread at a marker: it is about to turn, or has turned and userspace has not seen it */
	DT_TURN_SESSION,                /* userspace */
};

#define DT_MARKER_LABEL_BYTES 64        /* with its NUL; the rest of a longer one is cut off */
#define DT_MARKER_DECLARED 0            /* dt_marker.place: a DT_SNAPSHOT of include/domtrace/domain.h; others are userspace's numbers */

/* The marker that turned last; who holds the right to turn fills it in. */
struct dt_marker {
	__u32 number;                   /* 1, 2, 3 …; written last */
	__u32 slot;                     /* of the image */
	__u32 place;                    /* cookie of its probe */
	__u32 segment;                  /* the last one before the turn */
	__u64 turned_ns;                /* CLOCK_MONOTONIC */
	__u64 kept_before, lost_before; /* reading_kept and reading_lost */
	char label[DT_MARKER_LABEL_BYTES];
};

/* ---- records of the ring buffer `events` ------------------------------------------------------------------- */

enum dt_event_type {
	DT_EVENT_TRACEBACK,             /* struct dt_traceback_event */
	DT_EVENT_CODE,                  /* struct dt_code_event */
	DT_EVENT_MAPPINGS,              /* struct dt_event: the dynamic loader has mapped or unmapped something */
	DT_EVENT_UNKNOWN,               /* struct dt_event: a frame is in no known mapping; sent a few times a second at most */
	DT_EVENT_ROWS,                  /* struct dt_event: rows of live blocks grow scarce */
	DT_EVENT_IMAGE,                 /* struct dt_event: an image has begun or ended; all is in process_states */
	DT_EVENT_NAME,                  /* struct dt_name_event */
	DT_EVENT_MARKER,                /* struct dt_event: a thread is at a marker; all is in `marker` */
};

struct dt_event {
	__u32 type;
	__u32 slot;                     /* of the image */
};

enum dt_frame_kind {
	DT_FRAME_NATIVE,
	DT_FRAME_PYTHON,
};

/*
 * One frame. Native: `where` is the return address, `instruction` is 0 or what else there is to say (DT_FRAME_…). Python: `where` is the number of the code object, `instruction` the byte offset of
 * the instruction in its bytecode (~0: the frame has executed none yet).
 */
#define DT_FRAME_INTERRUPTED 1          /* not a return address: a signal came there, or its handler returns to there */
#define DT_FRAME_CHAINED 2              /* found along frame pointers, or by a derived rule: if no call stands before it, it is none */
#define DT_FRAME_IN_FILE 4              /* in a mapping that userspace has not read: `where` is DT_FRAME_PLACE() */

#define DT_FRAME_OFFSET_BITS 40
#define DT_FRAME_PLACE(number, offset) ((__u64)(number) << DT_FRAME_OFFSET_BITS | (offset)) /* dt_file_row.number, offset in the file */

struct dt_frame {
	__u64 where;
	__u32 instruction;
	__u32 kind;
};

/* A traceback that was not seen before in this domain; only `frame_count` frames are sent. Most recent call first. */
struct dt_traceback_event {
	struct dt_event event;
	__u64 traceback;
	__u32 frame_count;
	__u32 total_frames;             /* on the stack, kept or not */
	__u32 truncation;               /* enum dt_truncation */
	__u32 row;                      /* of process_rows: the mappings that it was walked by */
	struct dt_frame frames[DT_TRACEBACK_FRAMES_MAX];
};

#define DT_CODE_FILE_BYTES 2048
#define DT_CODE_NAME_BYTES 1024
#define DT_CODE_LINES_BYTES 4096

/* A CPython str: `length` characters of `kind` bytes each (1: Latin-1, 2: UCS-2, 4: UCS-4). */
struct dt_code_string {
	__u32 length;
	__u32 kind;
};

/*
 * A code object that was not seen before, read while the target was inside it. Data that is longer than its field is
 * cut off there; its size then says more, and the rest is read from the process, at its address. `lines` is sent as far as
 * it is filled.
 */
struct dt_code_event {
	struct dt_event event;
	__u64 code;                     /* number, as in dt_frame.where: equal code objects of a process have equal ones */
	__u64 file_address;             /* of the first character, in the target */
	__u64 name_address;
	__u64 lines_address;            /* of the first byte of the line table */
	__s32 first_line;
	__u32 lines_size;
	struct dt_code_string file_string;
	struct dt_code_string name_string;
	__u32 lines_format;             /* enum dt_python_lines */
	__u32 reserved;
	__u8 file[DT_CODE_FILE_BYTES];
	__u8 name[DT_CODE_NAME_BYTES];
	__u8 lines[DT_CODE_LINES_BYTES];
};

/* map `codes`: code objects that were sent, by their numbers; value __u8 */
struct dt_code_key {
	__u64 code;
	__u32 image;
	__u32 reserved;
};

/* A program names one of its domains. */
#define DT_NAME_BYTES 64                /* with its NUL */

struct dt_name_event {
	struct dt_event event;
	__u32 domain;
	__u32 segment;                  /* in which it did: children that were forked off later have the name, too */
	char name[DT_NAME_BYTES];
};

_Static_assert(sizeof(struct dt_name_event) == 16 + DT_NAME_BYTES, "name record has padding");
_Static_assert(sizeof(struct dt_block_key) == 16 && sizeof(struct dt_block) == 24, "live rows grew");
_Static_assert(sizeof(struct dt_trace_key) == 24 && sizeof(struct dt_trace) == 136, "trace rows grew");
_Static_assert(sizeof(struct dt_python_layout) == 48, "python layout has padding");
_Static_assert(sizeof(struct dt_interpreter) == 80 + sizeof(struct dt_python_layout), "interpreter has padding");
_Static_assert(sizeof(struct dt_process) == sizeof(struct dt_interpreter) + 32 + 8 * DT_ALLOCATOR_CALLS_MAX + 24 * DT_UNTOLD_MAX, "process row has padding");
_Static_assert(sizeof(struct dt_process_state) == 104 && sizeof(struct dt_choice) == 56, "image or choice has padding");
_Static_assert(sizeof(struct dt_marker) == 40 + DT_MARKER_LABEL_BYTES, "marker has padding");
_Static_assert(sizeof(struct dt_past_key) == 24, "past rows grew");
_Static_assert(sizeof(struct dt_mapping_row) == 40 && sizeof(struct dt_unwind_rule) == 8, "unwind tables grew");
_Static_assert(sizeof(struct dt_file_key) == 16 && sizeof(struct dt_file_row) == 32, "files have padding");
_Static_assert(sizeof(struct dt_frame) == 16 && sizeof(struct dt_traceback_event) == 32 + 16 * DT_TRACEBACK_FRAMES_MAX, "traceback record");
_Static_assert(sizeof(struct dt_code_event) == 72 + DT_CODE_FILE_BYTES + DT_CODE_NAME_BYTES + DT_CODE_LINES_BYTES, "code record");

#endif
