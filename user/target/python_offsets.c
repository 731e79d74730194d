/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/python_offsets.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "target/pointer.h"

/* ---- the table --------------------------------------------------------------------------------------------------- */

/*
 * One minor version a row: from its first release candidate on its structures do not change.
 *
 * 3.7 to 3.10: Include/frameobject.h (3.10: Include/cpython/frameobject.h), Include/code.h (Include/cpython/code.h),
 * Include/cpython/pystate.h, Include/cpython/unicodeobject.h, Include/bytesobject.h, Include/internal/pycore_pystate.h
 * (pycore_runtime.h). From 3.11 on frames are in Include/internal/pycore_frame.h (3.14: pycore_interpframe_structs.h).
 * Measured with gdb on 3.7.16, 3.8.18, 3.9.18, 3.10.13, 3.11.2 (Debian), 3.11.7, 3.12.1 and 3.13.0.
 */
#define UP_TO_3_11_STRINGS \
	.string_length = 16, .string_state = 32, .string_ascii_data = 48, .string_data = 72, .bytes_size = 16, .bytes_data = 32
#define SINCE_3_12_STRINGS \
	.string_length = 16, .string_state = 32, .string_ascii_data = 40, .string_data = 56, .bytes_size = 16, .bytes_data = 32
#define UP_TO_3_10_CODE \
	.code_first_line = 40, .code_filename = 104, .code_name = 112, .code_lines = 120
#define SINCE_3_11_CODE \
	.code_filename = 112, .code_name = 128, .code_lines = 136, .lines_format = DT_PYTHON_LOCATIONS, .frames_are_neighbours = 1

static const struct release {
	uint32_t first_hex, end_hex;    /* end exclusive */
	struct dt_python_offsets offsets;
} releases[] = {
	{ 0x030700c1, 0x03080000, {
		.layout = {
			.thread_frame = 24, .thread_thread_id = 176, .cframe_frame = DT_PYTHON_NO_CFRAME,
			.frame_bytes = 112, .frame_code = 32, .frame_previous = 24, .frame_instruction = 104, .instruction_unit = 1,
			.code_first_line = 36, .code_filename = 96, .code_name = 104, .code_lines = 112,
			.lines_format = DT_PYTHON_LNOTAB, UP_TO_3_11_STRINGS,
		},
		.thread_current = 1480, .thread_key = 1504, .code_basic_size = 144, .string_basic_size = 80,
	} },
	{ 0x030800c1, 0x03090000, {
		.layout = {
			.thread_frame = 24, .thread_thread_id = 176, .cframe_frame = DT_PYTHON_NO_CFRAME,
			.frame_bytes = 112, .frame_code = 32, .frame_previous = 24, .frame_instruction = 104, .instruction_unit = 1,
			UP_TO_3_10_CODE, .lines_format = DT_PYTHON_LNOTAB, UP_TO_3_11_STRINGS,
		},
		.thread_current = 1368, .thread_key = 1392, .code_basic_size = 176, .string_basic_size = 80,
	} },
	{ 0x030900c1, 0x030a0000, {
		.layout = {
			.thread_frame = 24, .thread_thread_id = 176, .cframe_frame = DT_PYTHON_NO_CFRAME,
			.frame_bytes = 112, .frame_code = 32, .frame_previous = 24, .frame_instruction = 104, .instruction_unit = 1,
			UP_TO_3_10_CODE, .lines_format = DT_PYTHON_LNOTAB, UP_TO_3_11_STRINGS,
		},
		.thread_current = 568, .thread_key = 584, .code_basic_size = 176, .string_basic_size = 80,
	} },
	{ 0x030a00c1, 0x030b0000, {
		.layout = {
			.thread_frame = 24, .thread_thread_id = 176, .cframe_frame = DT_PYTHON_NO_CFRAME,
			.frame_bytes = 104, .frame_code = 32, .frame_previous = 24, .frame_instruction = 96, .instruction_unit = 2,
			UP_TO_3_10_CODE, .lines_format = DT_PYTHON_LINETABLE, UP_TO_3_11_STRINGS,
		},
		.thread_current = 568, .thread_key = 584, .code_basic_size = 176, .string_basic_size = 80,
	} },
	{ 0x030b00c1, 0x030c0000, {
		.layout = {
			.thread_frame = 56, .thread_thread_id = 152, .cframe_frame = 8,
			.frame_bytes = 72, .frame_code = 32, .frame_previous = 48, .frame_instruction = 56, .frame_owner = 69,
			.frame_entry = 68, .entry_least = 1,            /* is_entry */
			.code_first_line = 72, SINCE_3_11_CODE, .code_first_traceable = 168, .code_bytecode = 184,
			UP_TO_3_11_STRINGS,
		},
		.thread_current = 576, .thread_key = 592, .code_basic_size = 184, .string_basic_size = 80,
	} },
	{ 0x030c00c1, 0x030d0000, {
		.layout = {
			.thread_frame = 56, .thread_thread_id = 136, .cframe_frame = 0,
			.frame_bytes = 72, .frame_code = 0, .frame_previous = 8, .frame_instruction = 56, .frame_owner = 70,
			.frame_entry = 70, .entry_least = 3,            /* FRAME_OWNED_BY_CSTACK */
			.code_first_line = 68, SINCE_3_11_CODE, .code_first_traceable = 176, .code_bytecode = 192,
			SINCE_3_12_STRINGS,
		},
		.thread_key = 1544, .code_basic_size = 192, .string_basic_size = 64,
	} },
	{ 0x030d00c1, 0x030e0000, {
		.layout = {
			.thread_frame = 72, .thread_thread_id = 152, .cframe_frame = DT_PYTHON_NO_CFRAME,
			.frame_bytes = 72, .frame_code = 0, .frame_previous = 8, .frame_instruction = 56, .frame_owner = 70,
			.frame_entry = 70, .entry_least = 3,
			.code_first_line = 68, SINCE_3_11_CODE, .code_first_traceable = 184, .code_bytecode = 200,
			SINCE_3_12_STRINGS,
		},
		.thread_key = 2160, .code_basic_size = 200, .string_basic_size = 64,
	} },
};

const struct dt_python_offsets *dt_python_offsets_find(uint32_t version_hex)
{
	for (size_t i = 0; i < DT_ARRAY_SIZE(releases); i++)
		if (version_hex >= releases[i].first_hex && version_hex < releases[i].end_hex)
			return &releases[i].offsets;
	return NULL;
}

/* ---- what an interpreter tells of itself ------------------------------------------------------------------------- */

#define COOKIE "xdebugpy"
#define COOKIE_BYTES 8
#define VERSION_AT 8
#define FREE_THREADED_AT 16

/* Where the fields of _Py_DebugOffsets that matter are: Include/internal/pycore_debug_offsets.h of 3.13.0 and of 3.14.0. */
static const struct debug_fields {
	uint16_t minor;
	uint16_t current_frame, thread_id;
	uint16_t previous, executable, instruction, owner;
	uint16_t filename, qualname, linetable, firstlineno, code_adaptive;
	uint16_t bytes_size, bytes_data;
	uint16_t string_size, string_state, string_length, ascii_size;
} debug_fields[] = {
	{ 13, 184, 192, 232, 240, 248, 264, 280, 296, 304, 312, 344, 520, 528, 536, 544, 552, 560 },
	{ 14, 208, 216, 256, 264, 272, 288, 320, 336, 344, 352, 384, 600, 608, 616, 624, 632, 640 },
};

#define WINDOW_BYTES_MAX 1024           /* the programs read no longer pieces of threads and frames (PYTHON_WINDOW_WORDS) */
#define FIRST_TRACEABLE_BEFORE 16       /* _co_firsttraceable stands before co_extra, which is followed by co_code_adaptive */
#define UTF8_BYTES 16                   /* utf8_length and utf8 of PyCompactUnicodeObject */

static uint64_t read_u64(const uint8_t *bytes, size_t offset)
{
	uint64_t value;

	memcpy(&value, bytes + offset, sizeof(value));
	return value;
}

/* One offset, that of a field of `size` bytes; false: none that a structure of CPython has. */
static bool read_offset(const uint8_t *runtime, uint16_t field, unsigned int size, uint16_t *to)
{
	uint64_t value = read_u64(runtime, field);

	*to = (uint16_t)value;
	return value < 4096 && value % size == 0;
}

static uint16_t larger(uint16_t a, uint16_t b)
{
	return a > b ? a : b;
}

static bool read_layout(const uint8_t *runtime, const struct debug_fields *fields, struct dt_python_layout *layout)
{
	if (!read_offset(runtime, fields->current_frame, 8, &layout->thread_frame) ||
	    !read_offset(runtime, fields->thread_id, 8, &layout->thread_thread_id) ||
	    !read_offset(runtime, fields->previous, 8, &layout->frame_previous) ||
	    !read_offset(runtime, fields->executable, 8, &layout->frame_code) ||
	    !read_offset(runtime, fields->instruction, 8, &layout->frame_instruction) ||
	    !read_offset(runtime, fields->owner, 1, &layout->frame_owner) ||
	    !read_offset(runtime, fields->filename, 8, &layout->code_filename) ||
	    !read_offset(runtime, fields->qualname, 8, &layout->code_name) ||
	    !read_offset(runtime, fields->linetable, 8, &layout->code_lines) ||
	    !read_offset(runtime, fields->firstlineno, 4, &layout->code_first_line) ||
	    !read_offset(runtime, fields->code_adaptive, 8, &layout->code_bytecode) ||
	    !read_offset(runtime, fields->bytes_size, 8, &layout->bytes_size) ||
	    !read_offset(runtime, fields->bytes_data, 8, &layout->bytes_data) ||
	    !read_offset(runtime, fields->string_state, 4, &layout->string_state) ||
	    !read_offset(runtime, fields->string_length, 8, &layout->string_length) ||
	    !read_offset(runtime, fields->ascii_size, 8, &layout->string_ascii_data))
		return false;
	layout->cframe_frame = DT_PYTHON_NO_CFRAME;
	layout->frame_entry = layout->frame_owner;
	layout->entry_least = 3;        /* FRAME_OWNED_BY_CSTACK; in 3.14 FRAME_OWNED_BY_INTERPRETER */
	layout->frame_bytes = larger(larger(layout->frame_previous, layout->frame_code) + 8u,
				     larger(layout->frame_instruction + 8u, (layout->frame_owner & ~7u) + 8u));
	layout->frames_are_neighbours = 1;
	layout->lines_format = DT_PYTHON_LOCATIONS;
	layout->string_data = layout->string_ascii_data + UTF8_BYTES;
	layout->code_first_traceable = layout->code_bytecode - FIRST_TRACEABLE_BEFORE;
	return layout->frame_owner && layout->frame_bytes <= WINDOW_BYTES_MAX / 2 &&
	       layout->thread_thread_id > layout->thread_frame &&
	       layout->thread_thread_id - layout->thread_frame < WINDOW_BYTES_MAX - 8 &&
	       layout->code_bytecode > FIRST_TRACEABLE_BEFORE;
}

int dt_python_offsets_read(const uint8_t *runtime, size_t size, uint32_t version_hex, struct dt_python_offsets *ret_offsets)
{
	struct dt_python_offsets offsets = { .thread_key = 0 };

	if (size < DT_PYTHON_DEBUG_OFFSETS_BYTES || memcmp(runtime, COOKIE, COOKIE_BYTES) ||
	    read_u64(runtime, VERSION_AT) != version_hex)
		return -ENOENT;
	if (read_u64(runtime, FREE_THREADED_AT))
		return -ENOTSUP;
	for (size_t i = 0; i < DT_ARRAY_SIZE(debug_fields); i++) {
		if (version_hex >> 16 != (0x0300u | debug_fields[i].minor) || (version_hex & 0xff) < 0xc1)
			continue;       /* before its first release candidate it may look otherwise */
		if (!read_layout(runtime, &debug_fields[i], &offsets.layout))
			return -ENOENT;
		offsets.code_basic_size = offsets.layout.code_bytecode;
		offsets.string_basic_size = (uint16_t)read_u64(runtime, debug_fields[i].string_size);
		*ret_offsets = offsets;
		return 0;
	}
	return -ENOENT;
}

/* ---- agreement --------------------------------------------------------------------------------------------------- */

/* PyTypeObject, all versions (Include/cpython/object.h), and PyMemberDef (Include/structmember.h, Include/descrobject.h). */
#define TYPE_BASIC_SIZE 32
#define TYPE_MEMBERS 240
#define MEMBER_BYTES 40
#define MEMBER_OFFSET 16
#define MEMBERS_MAX 64
#define MEMBERS_LEAST 3                 /* co_filename, co_firstlineno and co_name are there in all versions */
#define MEMBER_NAME_BYTES 16

static bool has_basic_size(struct dt_elf *elf, const char *type, uint64_t expected)
{
	struct dt_elf_symbol symbol;
	uint64_t size;

	return !dt_elf_find_symbol(elf, type, &symbol) && !dt_elf_read(elf, symbol.vaddr + TYPE_BASIC_SIZE, &size, sizeof(size)) &&
	       size == expected;
}

/*
 * Does a member of PyCodeObject, as Python programs see it, stand where the layout has it? Those that are not looked at may stand
 * anywhere.
 */
static bool member_agrees(const struct dt_python_layout *layout, const char *name, uint64_t offset, unsigned int *agreed)
{
	const struct { const char *name; uint16_t offset; } members[] = {
		{ "co_filename", layout->code_filename },
		{ "co_firstlineno", layout->code_first_line },
		{ "co_qualname", layout->code_name },
		{ "co_name", layout->code_first_traceable ? layout->code_name - 8u : layout->code_name },
		{ "co_linetable", layout->code_lines },
	};

	for (size_t i = 0; i < DT_ARRAY_SIZE(members); i++)
		if (!strcmp(members[i].name, name)) {
			++*agreed;
			return members[i].offset == offset;
		}
	return true;
}

static bool members_agree(struct dt_elf *elf, const struct dt_python_layout *layout)
{
	enum dt_pointer_kind kind;
	struct dt_elf_symbol type;
	uint64_t members, name, offset;
	unsigned int agreed = 0;

	if (dt_elf_find_symbol(elf, "PyCode_Type", &type) || dt_pointer_read(elf, type.vaddr + TYPE_MEMBERS, &members, &kind))
		return false;
	for (int i = 0; i < MEMBERS_MAX; i++, members += MEMBER_BYTES) {
		char text[MEMBER_NAME_BYTES];

		if (dt_pointer_read(elf, members, &name, &kind))
			return false;
		if (!name)
			return agreed >= MEMBERS_LEAST;
		if (dt_elf_read(elf, members + MEMBER_OFFSET, &offset, sizeof(offset)) || dt_elf_read(elf, name, text, sizeof(text)))
			return false;
		text[sizeof(text) - 1] = '\0';
		if (!member_agrees(layout, text, offset, &agreed))
			return false;
	}
	return false;
}

bool dt_python_offsets_agree(struct dt_elf *elf, const struct dt_python_offsets *offsets)
{
	return has_basic_size(elf, "PyCode_Type", offsets->code_basic_size) &&
	       has_basic_size(elf, "PyUnicode_Type", offsets->string_basic_size) && members_agree(elf, &offsets->layout);
}
