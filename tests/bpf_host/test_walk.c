/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracebacks: native ones along frame pointers, Python ones through a CPython 3.11 laid out in fake memory, their numbers. */
#include <stdio.h>

#include "books.h"

#define TOP (HOST_STACK(0) + 1024)
#define CALLER 0x55550000123a

/* ---- native ------------------------------------------------------------------------------------------------------ */

/* Writes a frame {caller's rbp, return address} at an address of the current stack. */
static void put_frame(__u64 at, __u64 next, __u64 return_address)
{
	*host_slot(at) = next;
	*host_slot(at + 8) = return_address;
}

/* The traceback of a malloc by CALLER whose rbp is `frame_pointer`, in a new generation, so that every one is new. */
static const struct dt_traceback_event *walk(__u64 frame_pointer)
{
	static __u64 address = 0x7700000000;

	host_drain();
	host_process(HOST_TGID)->generation++;
	host_frame_pointer = frame_pointer;
	host_enter(DT_SITE_malloc, TOP, CALLER, 8, 0, 0);
	host_leave(TOP, address += 16);
	return host_event(DT_EVENT_TRACEBACK, 0);
}

/* CALLER, then `wheres`. */
static void expect_native(__u64 frame_pointer, enum dt_truncation truncation, const __u64 *wheres, __u32 count)
{
	const struct dt_traceback_event *event = walk(frame_pointer);

	assert_non_null(event);
	assert_int_equal(event->event.tgid, HOST_TGID);
	assert_int_equal(event->frame_count, count + 1);
	assert_int_equal(event->total_frames, count + 1);
	assert_int_equal(event->truncation, truncation);
	assert_int_equal(event->frames[0].where, CALLER);
	for (__u32 i = 0; i < count; i++) {
		assert_int_equal(event->frames[i + 1].where, wheres[i]);
		assert_int_equal(event->frames[i + 1].kind, DT_FRAME_NATIVE);
		assert_int_equal(event->frames[i + 1].instruction, 0);
	}
}

#define expect_walk(frame_pointer, truncation, ...) \
	do { \
		const __u64 wheres[] = { 0, ##__VA_ARGS__ }; \
		expect_native(frame_pointer, DT_TRUNCATION_##truncation, wheres + 1, sizeof(wheres) / 8 - 1); \
	} while (0)

static void test_frame_pointers(void **state)
{
	__u64 last = HOST_STACK(0) + sizeof(host_current->stack) - 16, far = TOP + (1ull << 32);
	static __u64 other[2] = { 0, 0xd };

	(void)state;
	put_frame(TOP + 8, TOP + 24, 0xa);
	put_frame(TOP + 24, last, 0xb);
	put_frame(last, 0, 0xc);
	expect_walk(TOP + 8, none, 0xa, 0xb, 0xc);      /* one close behind the other */
	expect_walk(last, none, 0xc);
	expect_walk(0, none);
	put_frame(last, 0x1234567, 0xe);
	expect_walk(TOP + 8, no_frame_pointer, 0xa, 0xb, 0xe);
	put_frame(last, last, 0xf);                     /* does not climb */
	expect_walk(TOP + 8, no_frame_pointer, 0xa, 0xb, 0xf);
	put_frame(TOP + 24, TOP + 32, 0x10);            /* overlaps the one before */
	expect_walk(TOP + 8, no_frame_pointer, 0xa, 0x10);
	put_frame(TOP + 24, 0, 0);                      /* no return address */
	expect_walk(TOP + 8, no_frame_pointer, 0xa);
	put_frame(TOP + 24, ~0ull, ~0ull);
	*host_slot(TOP + 40) = ~0ull;
	put_frame(TOP + 8, TOP + 28, 0x11);             /* not aligned */
	expect_walk(TOP + 8, no_frame_pointer, 0x11);
	expect_walk(TOP, no_frame_pointer);             /* below the stack pointer */
	expect_walk(last + 16, no_frame_pointer);       /* unreadable */
	/* As far from the stack pointer as is believed, and one word further. */
	host_memory(far + 8, other, sizeof(other));
	expect_walk(far + 8, none, 0xd);
	host_ranges[host_range_count - 1].start += 8;
	expect_walk(far + 16, no_frame_pointer);
}

static __u64 chain[2 * (DT_FRAMES_WALKED_MAX + 8)];

/* A stack of so many frames above the caller. */
static __u64 put_chain(size_t frames)
{
	__u64 start = TOP + 0x1000000;

	for (size_t i = 0; i < frames; i++) {
		chain[2 * i] = i + 1 < frames ? start + 16 * (i + 1) : 0;
		chain[2 * i + 1] = 0x1000 + i;
	}
	host_range_count = 8;
	host_memory(start, chain, sizeof(chain));
	return start;
}

static void test_deep_stacks(void **state)
{
	static const struct { size_t frames; __u32 limit, kept; enum dt_truncation truncation; } cases[] = {
		{ 9, 10, 10, DT_TRUNCATION_none },
		{ 10, 10, 10, DT_TRUNCATION_none },
		{ 3, 1, 1, DT_TRUNCATION_none },
		{ 255, 256, 256, DT_TRUNCATION_none },
		{ 256, 256, 256, DT_TRUNCATION_none },
		{ DT_FRAMES_WALKED_MAX - 1, 256, 256, DT_TRUNCATION_none },
		{ DT_FRAMES_WALKED_MAX, 256, 256, DT_TRUNCATION_none },
		{ DT_FRAMES_WALKED_MAX + 1, 256, 256, DT_TRUNCATION_too_deep },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct dt_traceback_event *event;
		bool too_deep = cases[i].truncation;

		host_config()->frame_limit = cases[i].limit;
		event = walk(put_chain(cases[i].frames));
		assert_int_equal(event->frame_count, cases[i].kept);
		assert_int_equal(event->total_frames, too_deep ? DT_FRAMES_WALKED_MAX + 1 : cases[i].frames + 1);
		assert_int_equal(event->truncation, cases[i].truncation);
		for (__u32 k = 1; k < cases[i].kept; k++)
			assert_int_equal(event->frames[k].where, 0x1000 + k - 1);
	}
	books_expect_counted(COUNTED(truncated_too_deep, 1));
}

/* Everything that a traceback shows makes it another one. */
static void test_numbers(void **state)
{
	__u64 numbers[8];
	int count = 0;

	(void)state;
	host_config()->frame_limit = 2;
	for (size_t frames = 0; frames < 4; frames++)
		numbers[count++] = walk(put_chain(frames))->traceback;
	put_chain(1);
	chain[1] = 0x9999;
	numbers[count++] = walk(TOP + 0x1000000)->traceback;
	chain[0] = 1;                   /* the same frames, cut off */
	numbers[count++] = walk(TOP + 0x1000000)->traceback;
	host_config()->hash_seed++;
	numbers[count++] = walk(TOP + 0x1000000)->traceback;
	for (int i = 0; i < count; i++)
		for (int k = 0; k < i; k++)
			assert_int_not_equal(numbers[i], numbers[k]);
	host_config()->hash_seed--;
	assert_int_equal(walk(TOP + 0x1000000)->traceback, numbers[count - 2]);
}

/* A hash that falls on a reserved number makes way. */
static void test_reserved_numbers(void **state)
{
	struct dt_scratch *scratch = scratch_claim();
	__u64 inverse = 1;

	(void)state;
	for (int i = 0; i < 6; i++)     /* of the odd factor, modulo 2^64, by Newton */
		inverse *= 2 - 0x9e3779b97f4a7c15ull * inverse;
	for (__u64 wanted = 0; wanted < 4; wanted++) {
		/* hash_mix(seed, 0) is `wanted`: for small numbers the shift adds nothing. */
		host_config()->hash_seed = wanted * inverse;
		scratch->traceback = (struct dt_traceback_event){ .traceback = host_config()->hash_seed };
		traceback_number(&scratch->traceback);
		assert_int_equal(scratch->traceback.traceback, wanted < 2 ? 2 : wanted);
	}
}

/* ---- CPython --------------------------------------------------------------------------------------------------- */

static const struct dt_python_layout layout = {
	.thread_cframe = 56, .cframe_current_frame = 8, .thread_thread_id = 152,
	.frame_code = 32, .frame_previous = 48, .frame_instruction = 56, .frame_owner = 69,
	.code_first_line = 72, .code_filename = 112, .code_name = 128, .code_lines = 136, .code_first_traceable = 168,
	.code_bytecode = 184,
	.string_length = 16, .string_state = 32, .string_ascii_data = 48, .string_data = 72,
	.bytes_size = 16, .bytes_data = 32,
};

/* Where things are, and their bytes. */
#define RUNTIME 0x10000
#define KEY 0x10100
#define THREADS 0x11000                 /* two thread states of 512 bytes */
#define CFRAME 0x12000
#define FRAMES 0x20000                  /* of 128 bytes */
#define CODES 0x60000                   /* of 256 bytes */
#define STRINGS 0x70000                 /* of 8192 bytes: file and name of each code object, then its line table */
#define FRAMES_MAX (DT_FRAMES_WALKED_MAX + 8)

static uint8_t runtime[0x200], threads[0x400], cframe[16], frames[FRAMES_MAX * 128], codes_memory[16 * 256], strings[24 * 8192];

static void put(uint8_t *memory, size_t offset, __u64 value, size_t size)
{
	memcpy(memory + offset, &value, size);
}

static void put_string(int index, unsigned int kind, bool ascii, bool compact, const void *data, size_t length)
{
	uint8_t *at = strings + index * 8192;

	memset(at, 0, 8192);
	put(at, layout.string_length, length, 8);
	put(at, layout.string_state, 1 | kind << 2 | (unsigned int)compact << 5 | (unsigned int)ascii << 6, 4);
	memcpy(at + (ascii ? layout.string_ascii_data : layout.string_data), data, length * kind < 8000 ? length * kind : 8000);
}

static void put_lines(int index, size_t size)
{
	uint8_t *at = strings + index * 8192;

	put(at, layout.bytes_size, size, 8);
	for (size_t i = 0; i < size && i < 8000; i++)
		at[layout.bytes_data + i] = (uint8_t)(i * 7);
}

/* Code object `index`, with file "file<index>", name "name<index>", a table of 10 bytes, traceable from unit 3 on. */
static void put_code(int index)
{
	uint8_t *at = codes_memory + index * 256;
	char text[16];

	put(at, layout.code_first_line, 100u + (unsigned int)index, 4);
	put(at, layout.code_filename, STRINGS + (__u64)index * 3 * 8192, 8);
	put(at, layout.code_name, STRINGS + (__u64)index * 3 * 8192 + 8192, 8);
	put(at, layout.code_lines, STRINGS + (__u64)index * 3 * 8192 + 16384, 8);
	put(at, layout.code_first_traceable, 3, 4);
	snprintf(text, sizeof(text), "file%d", index);
	put_string(index * 3, 1, true, true, text, 5);
	snprintf(text, sizeof(text), "name%d", index);
	put_string(index * 3 + 1, 1, true, true, text, 5);
	put_lines(index * 3 + 2, 10);
}

static __u64 code_at(int index)
{
	return CODES + (__u64)index * 256;
}

/* Frame `index` executes byte `offset` of a code object; frame 0 is the innermost. */
static void put_python_frame(int index, int code, int offset, bool last)
{
	uint8_t *at = frames + index * 128;

	put(at, layout.frame_code, code_at(code), 8);
	put(at, layout.frame_previous, last ? 0 : FRAMES + (__u64)(index + 1) * 128, 8);
	put(at, layout.frame_instruction, code_at(code) + layout.code_bytecode + (__u64)(__s64)offset, 8);
	put(at, layout.frame_owner, 0, 1);
}

/* The current thread holds the GIL and runs code 0, called by code 1, called by code 0. */
static void start_python(void)
{
	struct dt_process *process = host_process(HOST_TGID);

	memset(threads, 0, sizeof(threads));
	process->python = layout;
	process->thread_current = RUNTIME;
	process->thread_key = KEY;
	process->tls_first_block = 0x318;
	process->tls_blocks = 0x510;
	put(runtime, 0, THREADS, 8);
	put(runtime, KEY - RUNTIME, 0, 8);
	put(threads, layout.thread_cframe, CFRAME, 8);
	put(threads, layout.thread_thread_id, host_current->task.thread.fsbase, 8);
	put(cframe, layout.cframe_current_frame, FRAMES, 8);
	put_code(0);
	put_code(1);
	put_python_frame(0, 0, 20, false);
	put_python_frame(1, 1, 6, false);
	put_python_frame(2, 0, 400, true);
	host_range_count = 8;
	host_memory(RUNTIME, runtime, sizeof(runtime));
	host_memory(THREADS, threads, sizeof(threads));
	host_memory(CFRAME, cframe, sizeof(cframe));
	host_memory(FRAMES, frames, sizeof(frames));
	host_memory(CODES, codes_memory, sizeof(codes_memory));
	host_memory(STRINGS, strings, sizeof(strings));
}

/* The traceback must be these frames: pairs of code object and offset. */
static void expect_python(enum dt_truncation truncation, const int (*pairs)[2], __u32 count)
{
	const struct dt_traceback_event *event = walk(0);
	__u64 numbers[2] = { 0, 0 };

	assert_non_null(event);
	assert_int_equal(event->truncation, truncation);
	assert_int_equal(event->frame_count, count);
	assert_int_equal(event->total_frames, count);
	for (__u32 i = 0; i < count; i++) {
		__u64 *number = &numbers[pairs[i][0]];

		assert_int_equal(event->frames[i].kind, DT_FRAME_PYTHON);
		assert_int_equal(event->frames[i].instruction, pairs[i][1]);
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
	const struct dt_traceback_event *event = walk(0);

	assert_non_null(event);
	assert_int_equal(event->frame_count, 1);
	assert_int_equal(event->frames[0].kind, DT_FRAME_NATIVE);
}

static void test_python_frames(void **state)
{
	(void)state;
	start_python();
	expect_frames(NONE, { 0, 20 }, { 1, 6 }, { 0, 400 });
	put_python_frame(0, 0, 4, false);       /* incomplete: before its RESUME */
	put_python_frame(1, 1, -2, false);
	expect_frames(NONE, { 0, 400 });
	put(frames, layout.frame_owner, PYTHON_FRAME_OWNED_BY_GENERATOR, 1);
	expect_frames(NONE, { 0, 4 }, { 0, 400 });
	put_python_frame(2, 0, 5, true);
	put_python_frame(0, 0, 4, false);
	expect_no_python();                     /* none is complete */
	put_python_frame(1, 1, 8, false);
	put(frames + 128, layout.frame_previous, 0x666, 8);
	expect_frames(UNREADABLE, { 1, 8 });
	put_python_frame(1, 1, 10, false);
	put(frames + 256, layout.frame_code, 0x666, 8);
	expect_frames(UNREADABLE, { 1, 10 });
	put_python_frame(1, 1, 12, true);
	put(cframe, layout.cframe_current_frame, FRAMES + 128, 8);
	expect_frames(NONE, { 1, 12 });
	put(cframe, layout.cframe_current_frame, 0, 8);
	expect_no_python();
	put(cframe, layout.cframe_current_frame, 0x666, 8);
	expect_no_python();
}

static void test_deep_python(void **state)
{
	const struct dt_traceback_event *event;

	(void)state;
	host_config()->frame_limit = DT_FRAMES_MAX;
	start_python();
	for (int depth = DT_FRAMES_WALKED_MAX - 1; depth <= DT_FRAMES_WALKED_MAX + 1; depth++) {
		bool too_deep = depth > DT_FRAMES_WALKED_MAX;

		for (int i = 0; i < depth; i++)
			put_python_frame(i, 0, 6 + 2 * i, i == depth - 1);
		event = walk(0);
		assert_int_equal(event->frame_count, DT_FRAMES_MAX);
		assert_int_equal(event->total_frames, too_deep ? DT_FRAMES_WALKED_MAX : depth);
		assert_int_equal(event->truncation, too_deep ? DT_TRUNCATION_too_deep : DT_TRUNCATION_none);
		for (__u32 i = 0; i < DT_FRAMES_MAX; i++)
			assert_int_equal(event->frames[i].instruction, 6 + 2 * i);
		/* Sent once, though it is in all frames. */
		assert_int_equal(!!host_event(DT_EVENT_CODE, 0), depth == DT_FRAMES_WALKED_MAX - 1);
		assert_null(host_event(DT_EVENT_CODE, 1));
	}
}

/* Another thread holds the GIL: the thread's own state is in glibc's table of thread-specific data. */
static void test_thread_without_the_gil(void **state)
{
	static const __u32 keys[] = { 0, 31, 32, 1023 };
	static __u64 thread[0x1000 / 8], block[64];
	__u64 pointer = host_current->task.thread.fsbase;

	(void)state;
	start_python();
	host_memory(pointer, thread, sizeof(thread));
	host_memory(0x50000, block, sizeof(block));
	put(threads, layout.thread_thread_id, 0x7abc, 8);
	put(threads, 512 + layout.thread_cframe, CFRAME, 8);
	put(threads, 512 + layout.thread_thread_id, pointer, 8);
	expect_no_python();                     /* the key is not initialised */
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
		put_python_frame(0, 0, 20 + 2 * (int)i, true);
		expect_python(DT_TRUNCATION_none, (const int[][2]){ { 0, 20 + 2 * (int)i } }, 1);
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
	put(runtime, 0, 0, 8);                  /* nobody holds the GIL */
	thread[0x510 / 8 + 31] = 0x50000;
	block[2 * 31 + 1] = THREADS;            /* the state of another thread */
	expect_no_python();
	block[2 * 31 + 1] = 0x666;
	expect_no_python();
}

/* ---- code objects ------------------------------------------------------------------------------------------------- */

/* Runs code object 0 and gives what was sent of it. */
static const struct dt_code_event *send_code(void)
{
	struct dt_code_key key = { .tgid = HOST_TGID };
	const struct dt_traceback_event *traceback;
	const struct dt_code_event *event;

	put_python_frame(0, 0, 20, true);
	traceback = walk(0);
	assert_int_equal(traceback->frame_count, 1);
	event = host_event(DT_EVENT_CODE, 0);
	if (event) {
		assert_int_equal(event->event.tgid, HOST_TGID);
		assert_int_equal(event->code, traceback->frames[0].where);
		key.code = event->code;
		assert_int_equal(!!bpf_map_lookup_elem(&codes, &key), !event->unreadable);
		bpf_map_delete_elem(&codes, &key);
	}
	return event;
}

static void test_code(void **state)
{
	const struct dt_code_event *event;

	(void)state;
	start_python();
	event = send_code();
	assert_int_equal(event->unreadable, 0);
	assert_int_equal(event->first_line, 100);
	assert_int_equal(event->file_string.length, 5);
	assert_int_equal(event->file_string.kind, 1);
	assert_memory_equal(event->file, "file0", 5);
	assert_int_equal(event->name_string.length, 5);
	assert_memory_equal(event->name, "name0", 5);
	assert_int_equal(event->lines_size, 10);
	assert_int_equal(event->lines_address, STRINGS + 16384 + layout.bytes_data);
	for (int i = 0; i < 10; i++)
		assert_int_equal(event->lines[i], i * 7);
	books_expect_nothing_counted();
}

static void test_strings_of_every_kind(void **state)
{
	static const uint32_t wide[DT_CODE_FILE_BYTES] = { 0x1f40d, 0x61 };
	const struct dt_code_event *event;

	(void)state;
	start_python();
	put_string(0, 4, false, true, wide, 2);
	put_string(1, 2, false, true, u"\u0142x", 2);
	event = send_code();
	assert_int_equal(event->file_string.kind, 4);
	assert_memory_equal(event->file, wide, 8);
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
	assert_int_equal(event->unreadable, 0);
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
	assert_memory_equal(event->file, wide, DT_CODE_FILE_BYTES);
	assert_memory_equal(event->name, wide, DT_CODE_NAME_BYTES);
	books_expect_nothing_counted();
}

static void test_code_that_cannot_be_read(void **state)
{
	(void)state;
	start_python();
	put_string(0, 1, true, false, "x", 1);          /* not compact */
	assert_int_equal(send_code()->unreadable, 1);
	put_code(0);
	put(codes_memory, layout.code_name, 0x666, 8);
	assert_int_equal(send_code()->unreadable, 1);
	put_code(0);
	put(codes_memory, layout.code_lines, 0x666, 8);
	assert_int_equal(send_code()->unreadable, 1);
	books_expect_counted(COUNTED(code_unreadable, 3));
	put_code(0);
	assert_int_equal(send_code()->unreadable, 0);
}

static void test_code_is_sent_again_after_a_loss(void **state)
{
	(void)state;
	start_python();
	host_trap = (struct host_trap){ HOST_RING, &events, 1, -ENOSPC, NULL };
	assert_null(send_code());
	books_expect_counted(COUNTED(code_lost, 1));
	assert_non_null(send_code());
	/* The same address, another code object. */
	walk(0);
	walk(0);
	assert_null(host_event(DT_EVENT_CODE, 0));
	put(codes_memory, layout.code_first_line, 99, 4);
	walk(0);
	assert_int_equal(((const struct dt_code_event *)host_event(DT_EVENT_CODE, 0))->first_line, 99);
}

/* ---- the loader -------------------------------------------------------------------------------------------------------- */

static void test_mappings(void **state)
{
	struct pt_regs registers = { 0 };

	(void)state;
	mappings_enter(&registers);
	assert_non_null(host_event(DT_EVENT_MAPPINGS, 0));
	assert_int_equal(host_signal, 0);
	host_process(HOST_TGID)->hold_signal = 23;
	mappings_enter(&registers);
	assert_int_equal(((const struct dt_event *)host_event(DT_EVENT_MAPPINGS, 1))->tgid, HOST_TGID);
	assert_int_equal(host_signal, 23);
	host_current->tgid++;
	mappings_enter(&registers);
	assert_null(host_event(DT_EVENT_MAPPINGS, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		host_test(test_frame_pointers),
		host_test(test_deep_stacks),
		host_test(test_numbers),
		host_test(test_reserved_numbers),
		host_test(test_python_frames),
		host_test(test_deep_python),
		host_test(test_thread_without_the_gil),
		host_test(test_code),
		host_test(test_strings_of_every_kind),
		host_test(test_code_that_cannot_be_read),
		host_test(test_code_is_sent_again_after_a_loss),
		host_test(test_mappings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
