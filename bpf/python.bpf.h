/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * python: the frames of the CPython code that the current thread runs, innermost first.
 *
 * thread:  up to 3.11 _PyRuntime names the state of the thread that holds the GIL; since 3.12 a thread-local variable names
 *          that of the thread itself while it holds the GIL. Also without it, the pthread key autoTSSkey names it: since 3.12
 *          always the one that the thread has used last (CPython 3.12 Python/pystate.c, bind_gilstate_tstate), before
 *          the first one of the thread. A state is the right one if its thread_id is our thread pointer (pthread_self()).
 * frames:  frame (up to 3.10), current_frame, then `previous`. A frame that CPython calls incomplete (still being set up,
 *          before its RESUME instruction) is left out, as _PyFrame_IsIncomplete() makes tracemalloc and traceback leave it
 *          out (CPython 3.11 Include/internal/pycore_frame.h). Since 3.12 each call of the eval loop begins with a frame that
 *          only marks it (3.12 Include/internal/pycore_frame.h, FRAME_OWNED_BY_CSTACK; 3.14 also FRAME_OWNED_BY_INTERPRETER).
 */

#define PYTHON_OWNED_BY_GENERATOR 1     /* CPython 3.11 enum _frameowner */
#define PYTHON_OWNED_BY_CSTACK 3        /* 3.12; from here on none of them are frames of Python code */
#define PYTHON_CODE_UNIT_BYTES 2
#define PYTHON_POINTER_MASK (~7ull)     /* since 3.14 the low bits of a _PyStackRef are marks */

/* ---- the thread -------------------------------------------------------------------------------------------------- */

/*
 * struct pthread → the value of a key: 32 in the block inside of it, the others in blocks of 32 that are made when needed
 * (glibc 2.36 nptl/pthread_getspecific.c; struct pthread_key_data {uintptr_t seq; void *data}).
 */
static __always_inline __u64 python_thread_specific(const struct dt_interpreter *interpreter, struct dt_scratch *scratch,
						    __u64 thread_pointer)
{
	struct { __u32 is_initialized, key; } tss; /* Py_tss_t, CPython Include/cpython/pythread.h */
	__u64 block, value = 0;

	if (!interpreter->tls_first_block)
		return 0;
	if (!read_bytes(&tss, sizeof(tss), interpreter->thread_key)) {
		scratch->python_unread = 1;
		return 0;
	}
	if (!tss.is_initialized || tss.key >= 1024)
		return 0;
	if (tss.key < 32)
		scratch->python_unread |= !read_u64(thread_pointer + interpreter->tls_first_block + 16 * tss.key, &value);
	else if (read_u64(thread_pointer + interpreter->tls_blocks + 8 * (tss.key / 32), &block) && block)
		read_u64(block + 16 * (tss.key % 32) + 8, &value);
	return value;
}

/* A thread-local variable of a module: the second word of struct pthread is the vector of the modules' blocks (glibc tcbhead_t.dtv). */
static __always_inline __u64 python_thread_variable(const struct dt_interpreter *interpreter, __u64 thread_pointer)
{
	__u64 vector, block, value = 0;

	if (interpreter->tls_module && interpreter->tls_first_block && read_u64(thread_pointer + 8, &vector) &&
	    read_u64(vector + 16ull * interpreter->tls_module, &block) && block != ~0ull)
		read_u64(block + interpreter->thread_variable, &value);
	return value;
}

/* Reads a PyThreadState from its frame to its thread_id into the first words; true if it is the state of this thread. */
static __always_inline bool python_read_thread(const struct dt_interpreter *interpreter, struct dt_scratch *scratch,
					       __u64 state, __u64 thread_pointer)
{
	__u32 offset = interpreter->layout.thread_thread_id - interpreter->layout.thread_frame;
	struct python_state *python = &scratch->python;
	__u32 bytes = offset + 8;

	if (!state || bytes > sizeof(python->words))
		return false;
	if (!read_bytes(python->words, bytes, state + interpreter->layout.thread_frame)) {
		scratch->python_unread = 1;
		return false;
	}
	return python->words[(offset / 8) & (PYTHON_WINDOW_WORDS - 1)] == thread_pointer;
}

/*
 * False: it runs no Python, or, python_unread, that could not be found out: the kernel takes pages away for a moment (to move them, or to
 * make a huge one of them), and no program may wait for them.
 */
static __always_inline bool python_find_thread(const struct dt_interpreter *interpreter, struct dt_scratch *scratch)
{
	__u64 thread_pointer = arch_thread_pointer(), address, state = 0;
	__u32 unread;

	if (interpreter->thread_current) {
		address = interpreter->thread_current + (interpreter->current_is_local ? thread_pointer : 0);
		scratch->python_unread |= !read_u64(address, &state);
		if (python_read_thread(interpreter, scratch, state, thread_pointer))
			return true;
	}
	state = python_thread_specific(interpreter, scratch, thread_pointer);
	if (python_read_thread(interpreter, scratch, state, thread_pointer))
		return true;
	/* What stands there may be anything: the vector may be shorter. */
	unread = scratch->python_unread;
	state = python_thread_variable(interpreter, thread_pointer);
	if (python_read_thread(interpreter, scratch, state, thread_pointer))
		return true;
	scratch->python_unread = unread;
	return false;
}

/* False: the thread runs no Python. */
static __always_inline bool python_begin(const struct dt_process *process, struct dt_scratch *scratch)
{
	const struct dt_interpreter *interpreter = &process->python;
	struct python_state *python = &scratch->python;
	__u64 frame;

	python->frame = 0;
	scratch->python_unread = 0;
	if (!interpreter->present || !python_find_thread(interpreter, scratch))
		return false;
	scratch->python_unread = 0;
	frame = python->words[0];
	if (interpreter->layout.cframe_frame == DT_PYTHON_NO_CFRAME)
		python->frame = frame;
	else if (frame && !read_u64(frame + interpreter->layout.cframe_frame, &python->frame))
		scratch->python_unread = 1; /* python->frame is 0 then */
	python->windows[0].bytes = python->windows[1].bytes = 0;
	python->strays = 0;
	return python->frame;
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

#define PYTHON_PAGE_MASK 4095ull
#define PYTHON_STACK_SPAN 65536         /* a frame that is no further below the last window is likely on the same stack */

static __always_inline bool python_window_holds(const struct python_window *window, __u64 frame, __u32 bytes)
{
	__u64 offset = frame - window->start;

	return offset < window->bytes && bytes <= window->bytes - offset;
}

/*
 * Since 3.11 frames lie on a stack of their own, callers at lower addresses: one read of two KiB, which costs little more than
 * one of a frame, serves several. It does not reach below the page where the frame begins: that one is mapped. Frames of
 * generators and those that mark a call of the eval loop are elsewhere, and leave the window alone.
 */
static __always_inline bool python_read_frame(const struct dt_python_layout *layout, struct python_state *python, __u64 frame)
{
	__u64 end = frame + layout->frame_bytes, start = end - PYTHON_WINDOW_WORDS * 8, bytes;
	struct python_window *window;
	__u32 first = 0;

	if (layout->frames_are_neighbours &&
	    (python->windows[0].start - frame < PYTHON_STACK_SPAN || !python->windows[0].bytes || python->strays)) {
		window = &python->windows[0];
		python->strays = 0;
		if (start < (frame & ~PYTHON_PAGE_MASK))
			start = frame & ~PYTHON_PAGE_MASK;
	} else {
		window = &python->windows[1];
		first = PYTHON_WINDOW_WORDS;
		python->strays = 1;
		start = frame;
	}
	bytes = end - start;
	if (bytes > PYTHON_WINDOW_WORDS * 8)
		bytes = PYTHON_WINDOW_WORDS * 8;
	window->start = start;
	window->bytes = bytes;
	if (read_bytes(&python->words[first], bytes, start))
		return true;
	window->bytes = 0;
	return false;
}

/* The number of the word where a frame begins, of those in the windows; −1: it cannot be read. */
static __always_inline int python_find_frame(const struct dt_python_layout *layout, struct python_state *python, __u64 frame)
{
	__u32 bytes = layout->frame_bytes;

	if (frame & 7)
		return -1;
	if (!python_window_holds(&python->windows[0], frame, bytes) && !python_window_holds(&python->windows[1], frame, bytes) &&
	    !python_read_frame(layout, python, frame))
		return -1;
	if (python_window_holds(&python->windows[0], frame, bytes)) {
		python->strays = 0;
		return (frame - python->windows[0].start) / 8;
	}
	return PYTHON_WINDOW_WORDS + (frame - python->windows[1].start) / 8;
}

static __always_inline __u64 python_word(const struct python_state *python, __u32 first, __u32 offset)
{
	return python->words[(first + offset / 8) & (2 * PYTHON_WINDOW_WORDS - 1)] >> (8 * (offset & 7));
}

/* The place in the bytecode, in bytes; negative where none of it was executed yet. */
static __always_inline __s64 python_instruction(const struct dt_python_layout *layout, const struct python_state *python,
						__u32 first, __u64 code)
{
	__u64 word = python_word(python, first, layout->frame_instruction);

	if (layout->instruction_unit)
		return (__s64)(__s32)word * layout->instruction_unit;
	return word - (code + layout->code_bytecode);
}

enum python_step {
	PYTHON_MORE,                    /* a frame was taken or passed over; more belong to the same call of the eval loop */
	PYTHON_ENTRY,                   /* it was the last one of its call */
	PYTHON_END,                     /* there is none */
	PYTHON_FAILED,                  /* it cannot be read */
};

/* Takes one frame, outwards. */
static __always_inline enum python_step python_step(const struct dt_process *process, struct dt_scratch *scratch)
{
	const struct dt_python_layout *layout = &process->python.layout;
	struct python_state *python = &scratch->python;
	__u64 code, frame = python->frame;
	enum python_step step;
	__s64 instruction;
	__u8 owner = 0;
	int first;

	if (!frame)
		return PYTHON_END;
	first = python_find_frame(layout, python, frame);
	if (first < 0)
		return PYTHON_FAILED;
	if (layout->frame_owner)
		owner = python_word(python, first, layout->frame_owner);
	step = (__u8)python_word(python, first, layout->frame_entry) >= layout->entry_least ? PYTHON_ENTRY : PYTHON_MORE;
	python->frame = python_word(python, first, layout->frame_previous);
	if (owner >= PYTHON_OWNED_BY_CSTACK)
		return step;
	code = python_word(python, first, layout->frame_code) & PYTHON_POINTER_MASK;
	instruction = python_instruction(layout, python, first, code);
	if (!python_code_find(process, scratch, code))
		return PYTHON_FAILED;
	if (owner != PYTHON_OWNED_BY_GENERATOR && instruction < PYTHON_CODE_UNIT_BYTES * (__s64)python->first_traceable)
		return step;            /* incomplete */
	frame_push(scratch, DT_FRAME_PYTHON, python->number, instruction < 0 ? ~0u : (__u32)instruction);
	return step;
}
