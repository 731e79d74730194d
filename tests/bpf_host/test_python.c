/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPython's frames and code objects, laid out in fake memory as each version does: thread states by every route, marks of calls of
 * the eval loop, frames at the edges of what is mapped; numbers of code objects that come and go.
 */
#include <stdio.h>

#include "books.h"

#include "target/python_offsets.h"

#define TOP (HOST_STACK(0) + 1024)
#define CALLER 0x55550000123a

/* ---- versions ---------------------------------------------------------------------------------------------------- */

static struct dt_python_layout layout;  /* of the version that is tested */
static unsigned int minor;

/* _Py_DebugOffsets of 3.14, where only that tells of its structures (Include/internal/pycore_debug_offsets.h, 3.14.0). */
static void read_3_14(struct dt_python_offsets *offsets)
{
	static const struct { uint16_t at, value; } fields[] = {
		{ 208, 72 }, { 216, 152 }, { 256, 8 }, { 264, 0 }, { 272, 56 }, { 288, 74 }, { 320, 112 }, { 328, 120 }, { 336, 128 },
		{ 344, 136 }, { 352, 68 }, { 384, 208 }, { 600, 16 }, { 608, 32 }, { 616, 64 }, { 624, 32 }, { 632, 16 }, { 640, 40 },
	};
	uint8_t told[DT_PYTHON_DEBUG_OFFSETS_BYTES] = "xdebugpy";
	uint64_t version = 0x030e00f0;

	memcpy(told + 8, &version, sizeof(version));
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		memcpy(told + fields[i].at, &fields[i].value, sizeof(fields[i].value));
	assert_int_equal(dt_python_offsets_read(told, sizeof(told), (uint32_t)version, offsets), 0);
}

static void choose_version(unsigned int number)
{
	struct dt_python_offsets offsets;

	minor = number;
	if (number == 14)
		read_3_14(&offsets);
	else
		offsets = *dt_python_offsets_find(0x030000f0 | number << 16);
	layout = offsets.layout;
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

/* Where things are, and their bytes. */
#define RUNTIME 0x10000ull
#define KEY (RUNTIME + 0x100)
#define THREADS 0x11000ull              /* two thread states of 512 bytes */
#define CFRAME 0x12000ull
#define STACK 0x100000ull               /* of frames, from its own page on */
#define STACK_BYTES 0xc0000
#define HEAP 0x200000ull                /* frames of generators, and marks: 256 bytes each */
#define HEAP_FRAMES 64
#define CODES 0x600000ull               /* of 256 bytes */
#define CODES_MAX 64
#define STRINGS 0x700000ull             /* of 8192 bytes: file and name of each code object, then its line table */
#define STRING_BYTES 8192

static uint8_t runtime[0x200], thread_memory[0x400], cframe[16], stack[STACK_BYTES], heap[HEAP_FRAMES * 256],
	codes_memory[CODES_MAX * 256], strings[3 * CODES_MAX * STRING_BYTES];

static void put(uint8_t *memory, size_t offset, __u64 value, size_t size)
{
	memcpy(memory + offset, &value, size);
}

static void put_string(int index, unsigned int kind, bool ascii, bool compact, const void *data, size_t length)
{
	uint8_t *at = strings + index * STRING_BYTES;
	unsigned int state = kind | (unsigned int)compact << 3 | (unsigned int)ascii << 4;

	memset(at, 0, STRING_BYTES);
	put(at, layout.string_length, length, 8);
	/* In 3.14 `interned` takes 16 bits. */
	put(at, layout.string_state, minor == 14 ? 3 | state << 16 : 1 | state << 2, 4);
	memcpy(at + (ascii ? layout.string_ascii_data : layout.string_data), data, length * kind < 8000 ? length * kind : 8000);
}

static void put_lines(int index, size_t size)
{
	uint8_t *at = strings + index * STRING_BYTES;

	put(at, layout.bytes_size, size, 8);
	for (size_t i = 0; i < size && i < 8000; i++)
		at[layout.bytes_data + i] = (uint8_t)(i * 7);
}

static __u64 code_at(int index)
{
	return CODES + (__u64)index * 256;
}

/* Code object `index` with the contents `contents`: "file<contents>", "name<contents>", a table of 10 bytes, traceable from unit 3 on. */
static void put_code(int index, int contents)
{
	uint8_t *at = codes_memory + index * 256;
	char text[16];

	put(at, 0, 1, 8);               /* ob_refcnt */
	put(at, layout.code_first_line, 100u + (unsigned int)contents, 4);
	put(at, layout.code_filename, STRINGS + (__u64)index * 3 * STRING_BYTES, 8);
	put(at, layout.code_name, STRINGS + ((__u64)index * 3 + 1) * STRING_BYTES, 8);
	put(at, layout.code_lines, STRINGS + ((__u64)index * 3 + 2) * STRING_BYTES, 8);
	if (layout.code_first_traceable)
		put(at, layout.code_first_traceable, 3, 4);
	snprintf(text, sizeof(text), "file%02d", contents);
	put_string(index * 3, 1, true, true, text, 6);
	snprintf(text, sizeof(text), "name%02d", contents);
	put_string(index * 3 + 1, 1, true, true, text, 6);
	put_lines(index * 3 + 2, 10);
}

#define MARK 3                          /* owner of frames that mark a call of the eval loop */
#define GENERATOR 1

struct frame {
	int code, instruction;          /* in bytes; −2: none was executed */
	__u8 owner;
	bool entry;                     /* the eval loop was entered with it (3.11) */
};

static __u64 frame_addresses[DT_FRAMES_WALKED_MAX + 16];

static uint8_t *frame_bytes(int index)
{
	__u64 address = frame_addresses[index];

	return address >= HEAP ? heap + (address - HEAP) : stack + (address - STACK);
}

static void put_instruction(uint8_t *at, const struct frame *frame)
{
	int units = layout.instruction_unit ? frame->instruction / layout.instruction_unit : 0;

	if (layout.instruction_unit)
		put(at, layout.frame_instruction, (__u64)(__s64)(frame->instruction < 0 ? -1 : units), 4);
	else
		put(at, layout.frame_instruction, code_at(frame->code) + layout.code_bytecode + (__u64)(__s64)frame->instruction, 8);
}

/* Frames, the innermost first. The ones of calls lie side by side, callers below; others elsewhere. Returns the innermost's address. */
static __u64 put_frames(const struct frame *frames, int count)
{
	__u64 at = STACK, elsewhere = HEAP;

	memset(heap, 0, sizeof(heap));
	for (int i = count - 1; i >= 0; i--) {
		bool stray = frames[i].owner || !layout.frames_are_neighbours;

		/* up to 3.10 frames are objects, wherever there is room */
		frame_addresses[i] = stray && elsewhere < HEAP + sizeof(heap) ? elsewhere : at;
		if (frame_addresses[i] == at)
			at += layout.frame_bytes + 8u * (1 + (unsigned int)i % 23);
		else
			elsewhere += 256;
		assert_true(at + 256 <= STACK + STACK_BYTES);
	}
	for (int i = 0; i < count; i++) {
		uint8_t *bytes = frame_bytes(i);

		put(bytes, layout.frame_code, code_at(frames[i].code) | (minor == 14), 8);
		put(bytes, layout.frame_previous, i + 1 < count ? frame_addresses[i + 1] : 0, 8);
		put_instruction(bytes, &frames[i]);
		if (layout.frame_owner)
			put(bytes, layout.frame_owner, frames[i].owner, 1);
		if (minor == 11)
			put(bytes, layout.frame_entry, frames[i].entry, 1);
	}
	put(thread_memory, layout.thread_frame, layout.cframe_frame == DT_PYTHON_NO_CFRAME ? frame_addresses[0] : CFRAME, 8);
	if (layout.cframe_frame != DT_PYTHON_NO_CFRAME)
		put(cframe, layout.cframe_frame, frame_addresses[0], 8);
	return frame_addresses[0];
}

#define put_chain(...) \
	do { \
		const struct frame chain[] = { __VA_ARGS__ }; \
		put_frames(chain, sizeof(chain) / sizeof(chain[0])); \
	} while (0)

/* The current thread holds the interpreter's lock; it has no frames yet. Two code objects. */
static void start_python(unsigned int version)
{
	struct dt_interpreter *interpreter = &host_process(HOST_TGID)->python;

	choose_version(version);
	host_config()->stack = DT_STACK_PYTHON;
	memset(runtime, 0, sizeof(runtime));
	memset(thread_memory, 0, sizeof(thread_memory));
	memset(cframe, 0, sizeof(cframe));
	memset(stack, 0, sizeof(stack));
	memset(codes_memory, 0, sizeof(codes_memory));
	*interpreter = (struct dt_interpreter){ .present = 1, .thread_current = RUNTIME, .thread_key = KEY,
						.tls_first_block = 0x318, .tls_blocks = 0x510, .layout = layout };
	put(runtime, 0, THREADS, 8);
	put(thread_memory, layout.thread_thread_id, host_current->task.thread.fsbase, 8);
	put_code(0, 0);
	put_code(1, 1);
	host_range_count = HOST_THREADS_MAX;
	host_memory(RUNTIME, runtime, sizeof(runtime));
	host_memory(THREADS, thread_memory, sizeof(thread_memory));
	host_memory(CFRAME, cframe, sizeof(cframe));
	host_memory(STACK, stack, sizeof(stack));
	host_memory(HEAP, heap, sizeof(heap));
	host_memory(CODES, codes_memory, sizeof(codes_memory));
	host_memory(STRINGS, strings, sizeof(strings));
}

static const unsigned int versions[] = { 7, 8, 9, 10, 11, 12, 13, 14 };

#define for_each_version(version) \
	for (size_t version_index = 0; version_index < sizeof(versions) / sizeof(versions[0]) && \
	     (start_python(versions[version_index]), true); version_index++)

/* ---- expectations ------------------------------------------------------------------------------------------------ */

/* The traceback of a malloc, in a new generation, so that every one is new. */
static const struct dt_traceback_event *walk(void)
{
	static __u64 address = 0x7700000000;

	host_drain();
	host_clear(HOST_TGID);
	host_enter(DT_SITE_malloc, TOP, CALLER, 8, 0, 0);
	host_leave(TOP, address += 16);
	return host_event(DT_EVENT_TRACEBACK, 0);
}

/* The traceback must be these frames: pairs of code object and offset. */
static void expect_python(enum dt_truncation truncation, const int (*pairs)[2], __u32 count)
{
	const struct dt_traceback_event *event = walk();
	__u64 numbers[2] = { 0, 0 };

	assert_non_null(event);
	assert_int_equal(event->truncation, truncation);
	assert_int_equal(event->frame_count, count);
	assert_int_equal(event->total_frames, count);
	for (__u32 i = 0; i < count; i++) {
		__u64 *number = &numbers[pairs[i][0]];

		assert_int_equal(event->frames[i].kind, DT_FRAME_PYTHON);
		assert_int_equal(event->frames[i].instruction, (__u32)pairs[i][1]);
		if (!*number)
			*number = event->frames[i].where;
		assert_int_equal(event->frames[i].where, *number);
	}
	assert_int_not_equal(numbers[0], numbers[1]);
}

#define expect_frames(truncation, ...) \
	do { \
		static const int pairs[][2] = { __VA_ARGS__ }; \
		expect_python(DT_TRUNCATION_##truncation, pairs, sizeof(pairs) / sizeof(pairs[0])); \
	} while (0)

static void expect_no_python(void)
{
	const struct dt_traceback_event *event = walk();

	assert_non_null(event);
	assert_int_not_equal(event->frame_count, 0);
	for (__u32 i = 0; i < event->frame_count; i++)
		assert_int_equal(event->frames[i].kind, DT_FRAME_NATIVE);
}

/* That the thread runs Python could not be found out, which is not the same as that it does not. */
static void expect_unread(bool unread)
{
	struct dt_scratch *scratch = scratch_claim();

	assert_false(python_begin(host_process(HOST_TGID), scratch));
	assert_int_equal(scratch->python_unread, unread);
	scratch_release(scratch);
	expect_no_python();
	if (unread)
		assert_int_equal(walk()->truncation, DT_TRUNCATION_python_unreadable);
	else
		assert_int_not_equal(walk()->truncation, DT_TRUNCATION_python_unreadable);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static void test_frames(void **state)
{
	(void)state;
	for_each_version(version) {
		bool has_marks = minor >= 12, has_incomplete = minor >= 11;

		put_chain({ 0, 20, 0, false }, { 1, 6, 0, false }, { 0, 400, 0, true });
		expect_frames(none, { 0, 20 }, { 1, 6 }, { 0, 400 });
		if (has_marks) {
			put_chain({ 0, 20, 0, false }, { 1, 0, MARK, false }, { 1, 6, 0, false }, { 1, 0, MARK + 1, false });
			expect_frames(none, { 0, 20 }, { 1, 6 });
			put_chain({ 1, 0, MARK, false }, { 0, 8, 0, false });
			expect_frames(none, { 0, 8 });
		}
		/* Before their RESUME; that of a generator is at its beginning. */
		put_chain({ 0, 4, 0, false }, { 1, -2, 0, false }, { 0, 4, GENERATOR, true }, { 1, 6, 0, true });
		if (has_incomplete)
			expect_frames(none, { 0, 4 }, { 1, 6 });
		else
			expect_frames(none, { 0, 4 }, { 1, -1 }, { 0, 4 }, { 1, 6 });
		put_chain({ 0, -2, GENERATOR, true }, { 1, 6, 0, true });
		expect_frames(none, { 0, -1 }, { 1, 6 });
		books_expect_nothing_counted();
	}
}

/* Which calls of the eval loop they belong to. */
static void expect_steps(const enum python_step *steps, int count)
{
	struct dt_scratch *scratch = scratch_claim();
	const struct dt_process *process = host_process(HOST_TGID);

	assert_true(python_begin(process, scratch));
	for (int i = 0; i < count; i++)
		assert_int_equal(python_step(process, scratch), steps[i]);
	scratch_release(scratch);
}

static void test_calls_of_the_eval_loop(void **state)
{
	static const enum python_step each[] = { PYTHON_ENTRY, PYTHON_ENTRY, PYTHON_ENTRY, PYTHON_END, PYTHON_END };
	static const enum python_step entries[] = { PYTHON_MORE, PYTHON_ENTRY, PYTHON_ENTRY, PYTHON_END };
	static const enum python_step marks[] = { PYTHON_MORE, PYTHON_MORE, PYTHON_ENTRY, PYTHON_MORE, PYTHON_ENTRY, PYTHON_END };

	(void)state;
	for_each_version(version) {
		if (minor < 12)
			put_chain({ 0, 20, 0, false }, { 1, 2, 0, true }, { 0, 400, 0, true }); /* the second one is incomplete */
		else
			put_chain({ 0, 20, 0, false }, { 1, 2, 0, false }, { 1, 0, MARK, false }, { 0, 400, 0, false },
				  { 1, 0, MARK, false });
		if (minor <= 10)
			expect_steps(each, 5);
		else if (minor == 11)
			expect_steps(entries, 4);
		else
			expect_steps(marks, 6);
	}
}

static void test_frames_that_cannot_be_read(void **state)
{
	(void)state;
	for_each_version(version) {
		put_chain({ 0, 20, 0, false }, { 1, 8, 0, true });
		put(frame_bytes(1), layout.frame_previous, 0x666660, 8);
		expect_frames(python_unreadable, { 0, 20 }, { 1, 8 });
		put(frame_bytes(1), layout.frame_previous, STACK + 4, 8);       /* not aligned */
		expect_frames(python_unreadable, { 0, 20 }, { 1, 8 });
		put_chain({ 0, 20, 0, false }, { 1, 8, 0, true });
		put(frame_bytes(1), layout.frame_code, 0x666660, 8);
		expect_frames(python_unreadable, { 0, 20 });
		put_chain({ 0, 20, 0, true });
		put(thread_memory, layout.thread_frame, 0, 8);
		expect_unread(false);
		put_chain({ 0, 20, 0, true });
		if (layout.cframe_frame != DT_PYTHON_NO_CFRAME) {
			put(cframe, layout.cframe_frame, 0, 8);
			expect_unread(false);
			put(thread_memory, layout.thread_frame, 0x666660, 8);
			expect_unread(true);
		}
		put_chain({ 0, 20, 0, true });
		put(runtime, 0, 0x666660, 8);
		expect_unread(true);
		put(runtime, 0, 0, 8);
		expect_unread(false);
		host_process(HOST_TGID)->python.thread_key = 0x666660;
		expect_unread(true);
		host_process(HOST_TGID)->python.thread_key = KEY;
		host_process(HOST_TGID)->python.present = 0;
		put_chain({ 0, 20, 0, true });
		expect_no_python();
	}
}

static void test_deep_stacks(void **state)
{
	static struct frame frames[DT_FRAMES_WALKED_MAX + 8];

	(void)state;
	host_config()->frame_limit = DT_FRAMES_MAX;
	for_each_version(version) {
		for (int depth = DT_FRAMES_WALKED_MAX - 1; depth <= DT_FRAMES_WALKED_MAX + 1; depth++) {
			/* The end of the chain is seen at a turn of the loop of its own. */
			bool too_deep = depth >= DT_FRAMES_WALKED_MAX;
			const struct dt_traceback_event *event;

			for (int i = 0; i < depth; i++)
				frames[i] = (struct frame){ 0, 6 + 2 * i, 0, false };
			put_frames(frames, depth);
			event = walk();
			assert_int_equal(event->frame_count, DT_FRAMES_MAX);
			assert_int_equal(event->total_frames, too_deep ? DT_FRAMES_WALKED_MAX : depth);
			assert_int_equal(event->truncation, too_deep ? DT_TRUNCATION_too_deep : DT_TRUNCATION_none);
			for (__u32 i = 0; i < DT_FRAMES_MAX; i++)
				assert_int_equal(event->frames[i].instruction, 6 + 2 * i);
		}
		put(frame_bytes(3), layout.frame_previous, frame_addresses[2], 8);      /* a circle */
		assert_int_equal(walk()->truncation, DT_TRUNCATION_too_deep);
	}
}

/* Whatever is mapped around them, and wherever pages end: the frames are found. */
static void test_windows(void **state)
{
	static struct frame frames[300];
	static const int strays[] = { 0, 7, 8, 9, 40, 41, 100, 299 };

	(void)state;
	host_config()->frame_limit = DT_FRAMES_MAX;
	for_each_version(version) {
		for (__u64 offset = 0; offset < 4096; offset += 248) {
			const struct dt_traceback_event *event;

			for (int i = 0; i < 300; i++)
				frames[i] = (struct frame){ i & 1, 6 + 2 * i, 0, false };
			for (size_t i = 0; i < sizeof(strays) / sizeof(strays[0]); i++)
				frames[strays[i]].owner = GENERATOR;
			/* Nothing is mapped below the page of the outermost frame, nothing behind the innermost one. */
			put_frames(frames, 300);
			for (size_t i = HOST_THREADS_MAX; i < host_range_count; i++)
				if (host_ranges[i].bytes == stack)
					host_ranges[i].size = (layout.frames_are_neighbours ? frame_addresses[1] - STACK : sizeof(stack)) +
							      layout.frame_bytes;
			event = walk();
			assert_int_equal(event->truncation, DT_TRUNCATION_none);
			assert_int_equal(event->total_frames, 300);
			for (__u32 i = 0; i < DT_FRAMES_MAX; i++)
				assert_int_equal(event->frames[i].instruction, 6 + 2 * i);
		}
	}
}

/* ---- threads ----------------------------------------------------------------------------------------------------------- */

static __u64 thread[0x1000 / 8], block[64];

/* The first state is that of another thread, the second one ours. */
static void start_another_thread(void)
{
	__u64 pointer = host_current->task.thread.fsbase;

	memset(thread, 0, sizeof(thread));
	memset(block, 0, sizeof(block));
	host_memory(pointer, thread, sizeof(thread));
	host_memory(0x50000, block, sizeof(block));
	put_chain({ 0, 20, 0, true });
	memcpy(thread_memory + 512, thread_memory, 512);
	put(thread_memory, layout.thread_thread_id, 0x7abc, 8);
}

static void test_pthread_keys(void **state)
{
	static const __u32 keys[] = { 0, 31, 32, 1023 };

	(void)state;
	for_each_version(version) {
		start_another_thread();
		expect_no_python();             /* the key is not initialised */
		for (size_t i = 0; i < 4; i++) {
			memset(thread, 0, sizeof(thread));
			memset(block, 0, sizeof(block));
			if (keys[i] < 32) {
				thread[(0x318 + 16 * keys[i]) / 8] = THREADS + 512;
			} else {
				thread[0x510 / 8 + keys[i] / 32] = 0x50000;
				block[2 * (keys[i] % 32) + 1] = THREADS + 512;
			}
			put(runtime, KEY - RUNTIME, 1 | (__u64)keys[i] << 32, 8);
			expect_frames(none, { 0, 20 });
		}
		put(runtime, KEY - RUNTIME, (__u64)1023 << 32, 8);
		expect_no_python();
		put(runtime, KEY - RUNTIME, 1 | 1024ull << 32, 8);
		thread[0x510 / 8 + 32] = 0x50000;       /* what lies behind the table is none of it */
		block[1] = THREADS + 512;
		expect_no_python();
		put(runtime, KEY - RUNTIME, 1 | 1023ull << 32, 8);
		thread[0x510 / 8 + 31] = 0;             /* no block yet */
		expect_no_python();
		put(runtime, 0, 0, 8);                  /* nobody holds the lock */
		thread[0x510 / 8 + 31] = 0x50000;
		block[2 * 31 + 1] = THREADS;            /* the state of another thread */
		expect_no_python();
		block[2 * 31 + 1] = 0x666660;
		expect_no_python();
		block[2 * 31 + 1] = THREADS + 512;
		expect_frames(none, { 0, 20 });
		host_process(HOST_TGID)->python.tls_first_block = 0;    /* not a glibc */
		expect_no_python();
	}
}

static void test_thread_variables(void **state)
{
	struct dt_interpreter *interpreter = &host_process(HOST_TGID)->python;

	(void)state;
	for_each_version(version) {
		interpreter = &host_process(HOST_TGID)->python;
		start_another_thread();
		/* at a fixed distance from the thread pointer */
		interpreter->thread_current = 0x800;
		interpreter->current_is_local = 1;
		expect_no_python();
		thread[0x800 / 8] = THREADS + 512;
		expect_frames(none, { 0, 20 });
		interpreter->thread_current = -16ull;
		host_memory(host_current->task.thread.fsbase - 16, &thread[0x800 / 8], 8);
		expect_frames(none, { 0, 20 });
		/* in the block of a module */
		interpreter->thread_current = 0;
		interpreter->thread_variable = 24;
		block[3] = THREADS + 512;
		thread[1] = host_current->task.thread.fsbase + 0x900;
		thread[0x900 / 8 + 2 * 5] = ~0ull;      /* the thread has no block yet */
		expect_no_python();
		interpreter->tls_module = 5;
		expect_no_python();
		thread[0x900 / 8 + 2 * 5] = 0x50000;
		expect_frames(none, { 0, 20 });
		block[3] = THREADS;
		expect_no_python();
	}
}

/* ---- code objects ------------------------------------------------------------------------------------------------ */

/* Runs code object 0 and gives what was sent of it. */
static const struct dt_code_event *send_code(void)
{
	const struct dt_traceback_event *traceback;
	const struct dt_code_event *event;
	struct dt_code_key key = { .image = host_image(HOST_TGID)->image };

	put_chain({ 0, 20, 0, true });
	traceback = walk();
	assert_int_equal(traceback->frame_count, 1);
	event = host_event(DT_EVENT_CODE, 0);
	if (event) {
		assert_int_equal(event->event.slot, host_slot_of(HOST_TGID));
		assert_int_equal(event->code, traceback->frames[0].where);
		key.code = event->code;
		assert_non_null(bpf_map_lookup_elem(&codes, &key));
		bpf_map_delete_elem(&codes, &key);
	}
	return event;
}

static __u64 number_of_code(void)
{
	put_chain({ 0, 20, 0, true });
	return walk()->frames[0].where;
}

static void test_code(void **state)
{
	(void)state;
	for_each_version(version) {
		const struct dt_code_event *event = send_code();

		assert_int_equal(event->first_line, 100);
		assert_int_equal(event->file_string.length, 6);
		assert_int_equal(event->file_string.kind, 1);
		assert_memory_equal(event->file, "file00", 6);
		assert_int_equal(event->file_address, STRINGS + layout.string_ascii_data);
		assert_int_equal(event->name_string.length, 6);
		assert_memory_equal(event->name, "name00", 6);
		assert_int_equal(event->name_address, STRINGS + STRING_BYTES + layout.string_ascii_data);
		assert_int_equal(event->lines_size, 10);
		assert_int_equal(event->lines_address, STRINGS + 2 * STRING_BYTES + layout.bytes_data);
		assert_int_equal(event->lines_format, minor < 10 ? DT_PYTHON_LNOTAB : minor == 10 ? DT_PYTHON_LINETABLE : DT_PYTHON_LOCATIONS);
		for (int i = 0; i < 10; i++)
			assert_int_equal(event->lines[i], i * 7);
		assert_int_equal(host_records->size, offsetof(struct dt_code_event, lines) + 10);
		books_expect_nothing_counted();
	}
}

static void test_strings_of_every_kind(void **state)
{
	static const uint32_t wide[DT_CODE_FILE_BYTES] = { 0x1f40d, 0x61 };

	(void)state;
	for_each_version(version) {
		const struct dt_code_event *event;

		put_string(0, 4, false, true, wide, 2);
		put_string(1, 2, false, true, u"\u0142x", 2);
		event = send_code();
		assert_int_equal(event->file_string.kind, 4);
		assert_memory_equal(event->file, wide, 8);
		assert_int_equal(event->file_address, STRINGS + layout.string_data);
		assert_int_equal(event->name_string.kind, 2);
		assert_memory_equal(event->name, u"\u0142x", 4);
		put_string(0, 1, false, true, "\xe4", 1);       /* Latin-1 */
		put_string(1, 1, true, true, "", 0);
		event = send_code();
		assert_memory_equal(event->file, "\xe4", 1);
		assert_int_equal(event->name_string.length, 0);
		/* As much as fits, and one more of each kind. */
		put_string(0, 4, false, true, wide, DT_CODE_FILE_BYTES / 4);
		put_string(1, 1, true, true, wide, DT_CODE_NAME_BYTES + 1);
		put_lines(2, DT_CODE_LINES_BYTES + 1);
		event = send_code();
		assert_int_equal(event->file_string.length, DT_CODE_FILE_BYTES / 4);
		assert_memory_equal(event->file, wide, DT_CODE_FILE_BYTES);
		assert_int_equal(event->name_string.length, DT_CODE_NAME_BYTES + 1);
		assert_memory_equal(event->name, wide, DT_CODE_NAME_BYTES);
		assert_int_equal(event->lines_size, DT_CODE_LINES_BYTES + 1);
		for (int i = 0; i < DT_CODE_LINES_BYTES; i++)
			assert_int_equal(event->lines[i], (uint8_t)(i * 7));
		/* A length that is none: nothing behind the record's fields is written. */
		put_string(0, 4, false, true, wide, 2);
		put(strings, layout.string_length, 1ull << 62 | 1, 8);
		event = send_code();
		assert_int_equal(event->file_string.length, UINT32_MAX);
		assert_memory_equal(event->file, wide, DT_CODE_FILE_BYTES);
		assert_memory_equal(event->name, wide, DT_CODE_NAME_BYTES);
		books_expect_nothing_counted();
	}
}

static void test_code_that_cannot_be_read(void **state)
{
	(void)state;
	start_python(11);
	host_process(HOST_TGID)->python.frees_are_seen = 1;
	put_string(0, 1, true, false, "x", 1);          /* not compact */
	assert_null(send_code());
	put_code(0, 0);
	put(codes_memory, layout.code_name, 0x666660, 8);
	assert_null(send_code());
	put_code(0, 0);
	put(codes_memory, layout.code_lines, 0x666660, 8);
	assert_null(send_code());
	books_expect_counted(COUNTED(code_unreadable, 3));
	put_code(0, 0);
	assert_non_null(send_code());
}

/* Equal contents have equal numbers wherever they are; other contents at the same place another one. */
static void test_numbers_of_code(void **state)
{
	(void)state;
	for_each_version(version) {
		__u64 numbers[16];
		int count = 0;

		numbers[count++] = number_of_code();
		assert_int_equal(number_of_code(), numbers[0]);
		put_code(1, 0);
		put_chain({ 1, 20, 0, true });
		assert_int_equal(walk()->frames[0].where, numbers[0]);
		put(codes_memory, layout.code_first_line, 99, 4);
		numbers[count++] = number_of_code();
		put_code(0, 0);
		put_string(0, 1, true, true, "file01", 6);
		numbers[count++] = number_of_code();
		put_string(0, 1, true, true, "file0", 5);
		numbers[count++] = number_of_code();
		put_string(0, 1, false, true, "file00", 6);     /* the same text, but no such str is made twice */
		assert_int_equal(number_of_code(), numbers[0]);
		put_string(0, 2, false, true, "file00", 3);
		numbers[count++] = number_of_code();
		put_code(0, 0);
		put_string(1, 1, true, true, "nam\0" "00", 6);
		numbers[count++] = number_of_code();
		put_code(0, 0);
		put_lines(2, 11);
		numbers[count++] = number_of_code();
		put_lines(2, 10);
		strings[2 * STRING_BYTES + layout.bytes_data + 9] ^= 1;
		numbers[count++] = number_of_code();
		put_string(0, 1, true, true, "", 0);            /* moves from one part into the other */
		put_string(1, 1, true, true, "file00name00", 12);
		numbers[count++] = number_of_code();
		put_string(0, 1, true, true, "file00name00", 12);
		put_string(1, 1, true, true, "", 0);
		numbers[count++] = number_of_code();
		for (int i = 0; i < count; i++)
			for (int k = 0; k < i; k++)
				assert_int_not_equal(numbers[i], numbers[k]);
	}
}

static void free_code(int index)
{
	struct pt_regs registers = { .rdi = code_at(index) };

	assert_int_equal(code_enter(&registers), 0);
}

/* What was read is kept until it is freed, and no longer. */
static void test_code_that_is_known(void **state)
{
	struct dt_interpreter *interpreter;
	__u64 first, second;

	(void)state;
	for_each_version(version) {
		interpreter = &host_process(HOST_TGID)->python;
		interpreter->frees_are_seen = 1;
		first = number_of_code();
		put_code(0, 2);                         /* nobody has told that the first one is gone */
		assert_int_equal(number_of_code(), first);
		free_code(1);
		assert_int_equal(number_of_code(), first);
		host_current++;
		host_current->tgid++;
		free_code(0);                           /* that was another process */
		host_current->tgid--;
		host_current--;
		assert_int_equal(number_of_code(), first);
		free_code(0);
		second = number_of_code();
		assert_int_not_equal(second, first);
		put_code(0, 0);
		free_code(0);
		assert_int_equal(number_of_code(), first);
		/* another program in the process */
		put_code(0, 2);
		host_image(HOST_TGID)->image += 100;
		assert_int_equal(number_of_code(), second);
		put_code(0, 0);
		/* where frees are not seen, nothing is kept */
		interpreter->frees_are_seen = 0;
		assert_int_equal(number_of_code(), first);
		put_code(0, 2);
		assert_int_equal(number_of_code(), second);
		free_code(0);
		/* one that is being freed is not kept either */
		interpreter->frees_are_seen = 1;
		host_image(HOST_TGID)->image += 100;
		put(codes_memory, 0, 0, 8);
		assert_int_equal(number_of_code(), second);
		put_code(0, 0);
		assert_int_equal(number_of_code(), first);
	}
}

/* Rows that are written by two processors at once are none. */
static void test_mixtures(void **state)
{
	struct python_known *row;

	(void)state;
	start_python(13);
	host_process(HOST_TGID)->python.frees_are_seen = 1;
	for (int i = 0; i < 4; i++) {
		__u64 number = number_of_code();

		row = &python_known_set(host_image(HOST_TGID)->image, code_at(0))->ways[0];
		assert_int_equal(row->code, code_at(0));
		assert_int_equal(row->number, number);
		if (i == 0)
			row->number ^= 1;
		else if (i == 1)
			row->first_traceable++;
		else if (i == 2)
			row->check ^= 1ull << 63;
		else
			row->image++;
		assert_int_equal(number_of_code(), number);
		assert_int_equal(row->number, number);  /* and is right again */
		assert_int_equal(row->first_traceable, 3);
	}
}

/* More code objects than there is room for where they belong: the last ones are known. */
static void test_ways_of_a_set(void **state)
{
	struct python_state python = { .number = 4 }, got = { 0 };
	__u64 same[4];
	int count = 0;

	(void)state;
	for (__u64 code = 0x1000; count < 4; code += 16)
		if (python_known_set(5, code) == python_known_set(5, 0x1000))
			same[count++] = code;
	for (int i = 0; i < 4; i++) {
		python.number = 10 + (__u64)i;
		python_known_put(5, same[i], &python);
		assert_true(python_known_get(&python_known_set(5, same[i])->ways[0], 5, same[i], &got) ||
			    python_known_get(&python_known_set(5, same[i])->ways[1], 5, same[i], &got));
		assert_int_equal(got.number, 10 + i);
	}
	python_known_remove(5, same[2]);
	python_known_remove(5, same[3]);
	for (int i = 2; i < 4; i++)
		for (int way = 0; way < 2; way++)
			assert_false(python_known_get(&python_known_set(5, same[i])->ways[way], 5, same[i], &got));
}

static void test_code_is_sent_again_after_a_loss(void **state)
{
	(void)state;
	start_python(11);
	host_process(HOST_TGID)->python.frees_are_seen = 1;
	host_trap = (struct host_trap){ HOST_RING, &events, 1, -ENOSPC, NULL };
	put_chain({ 0, 20, 0, true });
	walk();
	assert_null(host_event(DT_EVENT_CODE, 0));
	books_expect_counted(COUNTED(code_lost, 1));
	walk();
	assert_non_null(host_event(DT_EVENT_CODE, 0));
	walk();
	assert_null(host_event(DT_EVENT_CODE, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		host_test(test_frames),
		host_test(test_calls_of_the_eval_loop),
		host_test(test_frames_that_cannot_be_read),
		host_test(test_deep_stacks),
		host_test(test_windows),
		host_test(test_pthread_keys),
		host_test(test_thread_variables),
		host_test(test_code),
		host_test(test_strings_of_every_kind),
		host_test(test_code_that_cannot_be_read),
		host_test(test_numbers_of_code),
		host_test(test_code_that_is_known),
		host_test(test_mixtures),
		host_test(test_ways_of_a_set),
		host_test(test_code_is_sent_again_after_a_loss),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
