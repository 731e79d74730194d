/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * python: the frames of the CPython code that the current thread runs, and the code objects behind them.
 *
 * thread:  _PyRuntime names the state of the thread that holds the GIL; it is ours if its thread_id is our thread
 *          pointer (glibc's pthread_self()). Otherwise our own is in the pthread key autoTSSkey.
 * frames:  current_frame, then `previous`. A frame that CPython calls incomplete (still being set up, before its RESUME
 *          instruction) is left out, as _PyFrame_IsIncomplete() makes tracemalloc and traceback leave it out
 *          (CPython 3.11 Include/internal/pycore_frame.h).
 * code:    known by a number made of its address and of what identifies its contents, so that an address that is used
 *          again is another code object.
 */

#define PYTHON_FRAME_OWNED_BY_GENERATOR 1       /* CPython 3.11 enum _frameowner */
#define PYTHON_CODE_UNIT_BYTES 2
#define PYTHON_CODE_WINDOW_BYTES 112            /* co_firstlineno … _co_firsttraceable, no byte beyond the object */
#define PYTHON_FRAME_WINDOW_BYTES 72            /* the fixed part of _PyInterpreterFrame */

/* Word at a byte offset of a window; the mask shows the verifier that it lies inside. */
static __always_inline __u64 window_u64(const __u64 *window, __u32 offset)
{
	return window[(offset / 8) & (WINDOW_BYTES / 8 - 1)];
}

static __always_inline __u32 window_u32(const __u64 *window, __u32 offset)
{
	return window_u64(window, offset) >> (8 * (offset & 4));
}

static __always_inline __u8 window_u8(const __u64 *window, __u32 offset)
{
	return window_u64(window, offset) >> (8 * (offset & 7));
}

/* struct pthread → the value of a key: 32 in the block inside of it, the others in blocks of 32 that are made when needed
 * (glibc 2.36 nptl/pthread_getspecific.c; struct pthread_key_data {uintptr_t seq; void *data}). */
static __always_inline __u64 python_thread_specific(const struct dt_process *process, __u64 thread_pointer)
{
	struct { __u32 is_initialized, key; } tss; /* Py_tss_t, CPython Include/cpython/pythread.h */
	__u64 block, value = 0;

	if (!read_bytes(&tss, sizeof(tss), process->python.thread_key) || !tss.is_initialized || tss.key >= 1024)
		return 0;
	if (tss.key < 32)
		read_u64(thread_pointer + process->python.tls_first_block + 16 * tss.key, &value);
	else if (read_u64(thread_pointer + process->python.tls_blocks + 8 * (tss.key / 32), &block) && block)
		read_u64(block + 16 * (tss.key % 32) + 8, &value);
	return value;
}

/* Reads the piece of a PyThreadState that holds cframe and thread_id; true if it is the state of this thread. */
static __always_inline bool python_read_thread(const struct dt_process *process, struct dt_scratch *scratch,
					       __u64 state, __u64 thread_pointer)
{
	const struct dt_python_layout *layout = &process->python.layout;

	return state && read_bytes(scratch->python.window, WINDOW_BYTES, state + layout->thread_cframe) &&
	       window_u64(scratch->python.window, layout->thread_thread_id - layout->thread_cframe) == thread_pointer;
}

/* The innermost frame of this thread; 0: it runs no Python. */
static __always_inline __u64 python_innermost_frame(const struct dt_process *process, struct dt_scratch *scratch)
{
	__u64 thread_pointer = arch_thread_pointer(), state = 0, frame = 0;

	read_u64(process->python.thread_current, &state);
	if (!python_read_thread(process, scratch, state, thread_pointer)) {
		state = python_thread_specific(process, thread_pointer);
		if (!python_read_thread(process, scratch, state, thread_pointer))
			return 0;
	}
	read_u64(scratch->python.window[0] + process->python.layout.cframe_current_frame, &frame);
	return frame;
}

static __always_inline __u32 python_code_window_offset(const struct dt_python_layout *layout, __u32 field)
{
	return field - (layout->code_first_line & ~7u);
}

static __always_inline bool python_read_code(const struct dt_python_layout *layout, struct dt_scratch *scratch, __u64 code)
{
	return read_bytes(scratch->python.code, PYTHON_CODE_WINDOW_BYTES, code + (layout->code_first_line & ~7u));
}

/* A number for the code object in the window. */
static __always_inline __u64 python_code_number(const struct dt_python_layout *layout, const __u64 *window, __u64 code)
{
	__u64 hash = hash_mix(config.hash_seed, code);

	hash = hash_mix(hash, window_u32(window, python_code_window_offset(layout, layout->code_first_line)));
	hash = hash_mix(hash, window_u64(window, python_code_window_offset(layout, layout->code_filename)));
	hash = hash_mix(hash, window_u64(window, python_code_window_offset(layout, layout->code_name)));
	return hash_mix(hash, window_u64(window, python_code_window_offset(layout, layout->code_lines)));
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
	__u64 code, bytecode, instruction;
	enum python_step step;
	int index;

	if (!scratch->python.frame)
		return PYTHON_END;
	if (!read_bytes(scratch->python.window, PYTHON_FRAME_WINDOW_BYTES, scratch->python.frame))
		return PYTHON_FAILED;
	code = window_u64(scratch->python.window, layout->frame_code);
	instruction = window_u64(scratch->python.window, layout->frame_instruction);
	if (!python_read_code(layout, scratch, code))
		return PYTHON_FAILED;
	scratch->python.frame = window_u64(scratch->python.window, layout->frame_previous);
	step = window_u8(scratch->python.window, layout->frame_owner - 1) ? PYTHON_ENTRY : PYTHON_MORE;
	bytecode = code + layout->code_bytecode;
	if (window_u8(scratch->python.window, layout->frame_owner) != PYTHON_FRAME_OWNED_BY_GENERATOR &&
	    (__s64)(instruction - bytecode) < PYTHON_CODE_UNIT_BYTES *
	    (__s64)(__s32)window_u32(scratch->python.code, python_code_window_offset(layout, layout->code_first_traceable)))
		return step;            /* incomplete */
	index = frame_push(scratch, DT_FRAME_PYTHON, python_code_number(layout, scratch->python.code, code), instruction - bytecode);
	if (index >= 0)
		scratch->code_addresses[index & (DT_TRACEBACK_FRAMES_MAX - 1)] = code;
	return step;
}

/* False: the thread runs no Python. */
static __always_inline bool python_begin(const struct dt_process *process, struct dt_scratch *scratch)
{
	scratch->python.frame = process->python.present ? python_innermost_frame(process, scratch) : 0;
	return scratch->python.frame;
}

/* ---- new code objects -------------------------------------------------------------------------------------------- */

/*
 * Copies a compact str. PyASCIIObject.state: interned 2 bits, kind 3, compact 1, ascii 1 (CPython 3.11
 * Include/cpython/unicodeobject.h); characters follow the header, whose size depends on `ascii`.
 */
static __always_inline bool python_send_string(const struct dt_python_layout *layout, __u64 string,
					       struct dt_code_string *to, __u8 *bytes, __u32 room)
{
	__u64 length, size;
	__u32 state;

	if (!read_u64(string + layout->string_length, &length) ||
	    !read_bytes(&state, sizeof(state), string + layout->string_state) || !(state >> 5 & 1))
		return false;
	to->kind = state >> 2 & 7;
	to->length = length;
	size = length * to->kind;
	if (length > room || size > room)
		size = room;
	return read_bytes(bytes, size, string + (state >> 6 & 1 ? layout->string_ascii_data : layout->string_data));
}

static __always_inline bool python_send_lines(const struct dt_python_layout *layout, __u64 lines, struct dt_code_event *to)
{
	__u64 size;

	if (!read_u64(lines + layout->bytes_size, &size))
		return false;
	to->lines_address = lines + layout->bytes_data;
	to->lines_size = size;
	if (size > DT_CODE_LINES_BYTES)
		size = DT_CODE_LINES_BYTES;
	return read_bytes(to->lines, size, to->lines_address);
}

struct python_send {
	const struct dt_process *process;
	struct dt_scratch *scratch;
};

/* Sends the code object of one frame, unless it was sent before. */
static long python_send_step(__u32 index, void *context)
{
	struct python_send *send = context;
	struct dt_scratch *scratch = send->scratch;
	const struct dt_python_layout *layout = &send->process->python.layout;
	struct dt_code_key key = { .tgid = scratch->traceback.event.tgid };
	struct dt_code_event *event;
	__u64 code, number;
	__u8 sent = 1;

	if (index >= DT_TRACEBACK_FRAMES_MAX)
		return 1;
	if (scratch->traceback.frames[index].kind != DT_FRAME_PYTHON)
		return 0;
	code = scratch->code_addresses[index];
	number = scratch->traceback.frames[index].where;
	key.code = number;
	if (bpf_map_lookup_elem(&codes, &key))
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		count_add(DT_COUNTER_code_lost);
		return 0;
	}
	event->event.type = DT_EVENT_CODE;
	event->event.tgid = key.tgid;
	event->code = number;
	event->lines_size = 0;
	event->lines_address = 0;
	event->file_string = event->name_string = (struct dt_code_string){ 0 };
	event->reserved = 0;
	event->unreadable = 1;
	if (python_read_code(layout, scratch, code)) {
		const __u64 *window = scratch->python.code;

		event->first_line = window_u32(window, python_code_window_offset(layout, layout->code_first_line));
		event->unreadable =
			!python_send_string(layout, window_u64(window, python_code_window_offset(layout, layout->code_filename)),
					    &event->file_string, event->file, DT_CODE_FILE_BYTES) ||
			!python_send_string(layout, window_u64(window, python_code_window_offset(layout, layout->code_name)),
					    &event->name_string, event->name, DT_CODE_NAME_BYTES) ||
			!python_send_lines(layout, window_u64(window, python_code_window_offset(layout, layout->code_lines)), event);
	}
	if (event->unreadable)
		count_add(DT_COUNTER_code_unreadable);
	else
		bpf_map_update_elem(&codes, &key, &sent, BPF_ANY);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
