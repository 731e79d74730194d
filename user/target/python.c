/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/python.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* One minor version: from its first final release up to the next version's first alpha its structures do not change. */
struct release {
	uint32_t first_hex, end_hex;    /* end exclusive */
	uint32_t thread_current;        /* _PyRuntime → gilstate.tstate_current */
	uint32_t thread_key;            /* _PyRuntime → gilstate.autoTSSkey */
	struct dt_python_layout layout;
};

static const struct release releases[] = {
	{
		/*
		 * CPython 3.11: Include/internal/pycore_runtime.h, Include/cpython/pystate.h (PyThreadState, _PyCFrame),
		 * Include/internal/pycore_frame.h, Include/cpython/code.h, unicodeobject.h and bytesobject.h of v3.11.0 to
		 * v3.11.9; measured with gdb on Debian's 3.11.2 and on 3.11.7 built with a shared libpython.
		 */
		.first_hex = 0x030b00f0,
		.end_hex = 0x030c0000,
		.thread_current = 576,
		.thread_key = 592,
		.layout = {
			.thread_cframe = 56,
			.cframe_current_frame = 8,
			.thread_thread_id = 152,
			.frame_code = 32,
			.frame_previous = 48,
			.frame_instruction = 56,
			.frame_owner = 69,
			.code_first_line = 72,
			.code_filename = 112,
			.code_name = 128,
			.code_lines = 136,
			.code_first_traceable = 168,
			.code_bytecode = 184,
			.string_length = 16,
			.string_state = 32,
			.string_ascii_data = 48,
			.string_data = 72,
			.bytes_size = 16,
			.bytes_data = 32,
		},
	},
};

/* Exactly `size` bytes of the file at an address. */
static bool read_bytes(const struct dt_elf *elf, uint64_t vaddr, void *to, size_t size)
{
	const uint8_t *bytes;
	size_t have;

	if (dt_elf_bytes(elf, vaddr, size, &bytes, &have) || have != size)
		return false;
	memcpy(to, bytes, size);
	return true;
}

/* ---- the version --------------------------------------------------------------------------------------------- */

/* The levels of a release as PY_VERSION_HEX has them (Include/patchlevel.h) and as they are written. */
static const struct { uint8_t number; const char *name; } levels[] = {
	{ 0xa, "a" }, { 0xb, "b" }, { 0xc, "rc" }, { 0xf, "" },
};

static bool write_version(uint32_t hex, char *text, size_t size)
{
	unsigned int level = hex >> 4 & 15, serial = hex & 15;

	for (size_t i = 0; i < DT_ARRAY_SIZE(levels); i++) {
		int n;

		if (levels[i].number != level || (hex >> 24) != 3)
			continue;
		n = snprintf(text, size, "%u.%u.%u%s", hex >> 24, hex >> 16 & 255, hex >> 8 & 255, levels[i].name);
		if (level != 0xf)
			snprintf(text + n, size - (size_t)n, "%u", serial);
		return true;
	}
	return false;
}

/* Digits of a number of at most `max`, and moves behind them. */
static bool read_number(const char **text, unsigned long max, uint32_t *ret_number)
{
	unsigned long number;
	char *end;

	if (**text < '0' || **text > '9')
		return false;
	number = strtoul(*text, &end, 10);
	if (number > max)
		return false;
	*text = end;
	*ret_number = (uint32_t)number;
	return true;
}

/* "3.10.13", "3.9.0rc2", "3.8.0+": nothing else may follow. */
static bool parse_version(const char *text, uint32_t *ret_hex)
{
	uint32_t minor, micro, serial = 0, level = 0xf;

	if (strncmp(text, "3.", 2))
		return false;
	text += 2;
	if (!read_number(&text, 255, &minor) || *text++ != '.' || !read_number(&text, 255, &micro))
		return false;
	for (size_t i = 0; i < DT_ARRAY_SIZE(levels) && level == 0xf; i++) {
		size_t length = strlen(levels[i].name);

		if (!length || strncmp(text, levels[i].name, length))
			continue;
		text += length;
		level = levels[i].number;
		if (!read_number(&text, 15, &serial))
			return false;
	}
	if (*text == '+')
		text++;
	if (*text)
		return false;
	*ret_hex = 3u << 24 | minor << 16 | micro << 8 | level << 4 | serial;
	return true;
}

static bool read_version_at(const struct dt_elf *elf, uint64_t vaddr, uint32_t *ret_hex)
{
	const uint8_t *bytes;
	char text[24];
	size_t size;

	if (dt_elf_bytes(elf, vaddr, sizeof(text), &bytes, &size) || !memchr(bytes, '\0', size))
		return false;
	memcpy(text, bytes, size);
	return parse_version(text, ret_hex);
}

/*
 * Before 3.11 the version is no symbol. But Py_GetVersion formats it ("%.80s (%.80s) %.80s", PY_VERSION, …:
 * Python/getversion.c), so its code holds the address of a string that is PY_VERSION and nothing else: relative to the
 * next instruction, or absolute in an executable that is not position-independent.
 */
static bool find_version_in_code(const struct dt_elf *elf, const struct dt_elf_symbol *function, uint32_t *ret_hex)
{
	const uint8_t *bytes;
	size_t size;

	if (dt_elf_bytes(elf, function->vaddr, function->size ? function->size : 256, &bytes, &size))
		return false;
	for (size_t at = 0; at + sizeof(int32_t) <= size; at++) {
		uint64_t next = function->vaddr + at + sizeof(int32_t);
		int32_t word;

		memcpy(&word, bytes + at, sizeof(word));
		if (read_version_at(elf, next + (uint64_t)(int64_t)word, ret_hex) || read_version_at(elf, (uint32_t)word, ret_hex))
			return true;
	}
	return false;
}

/* ---- what it is ---------------------------------------------------------------------------------------------- */

/*
 * A table that is not right for this build would give wrong frames, so it must agree with what the file tells of
 * itself: PyCode_Type.tp_basicsize (at 32) is the offset of co_code_adaptive since 3.11 (Objects/codeobject.c).
 */
static bool agrees(const struct dt_elf *elf, const struct release *release, const struct dt_elf_symbol *runtime)
{
	struct dt_elf_symbol code_type;
	uint64_t basic_size;

	if (runtime->size && runtime->size < release->thread_key + 8)
		return false;
	if (dt_elf_find_symbol(elf, "PyCode_Type", &code_type) || !read_bytes(elf, code_type.vaddr + 32, &basic_size, 8))
		return false;
	return basic_size == release->layout.code_bytecode;
}

static void find_layout(const struct dt_elf *elf, struct dt_python *python)
{
	struct dt_elf_symbol runtime;

	if (dt_elf_find_symbol(elf, "_PyRuntime", &runtime))
		return;
	for (size_t i = 0; i < DT_ARRAY_SIZE(releases); i++) {
		const struct release *release = &releases[i];

		if (python->version_hex < release->first_hex || python->version_hex >= release->end_hex ||
		    !agrees(elf, release, &runtime))
			continue;
		python->layout = &release->layout;
		python->thread_current_vaddr = runtime.vaddr + release->thread_current;
		python->thread_key_vaddr = runtime.vaddr + release->thread_key;
	}
}

int dt_python_detect(const struct dt_elf *elf, struct dt_python *ret_python)
{
	struct dt_python python = { .version = "unknown" };
	struct dt_elf_symbol get_version, version;
	uint64_t hex;

	/* A program that only links with libpython imports the function and has not got it. */
	if (dt_elf_find_symbol(elf, "Py_GetVersion", &get_version) || !get_version.function)
		return -ENOENT;
	if (!dt_elf_find_symbol(elf, "Py_Version", &version) && read_bytes(elf, version.vaddr, &hex, sizeof(hex)) &&
	    hex <= UINT32_MAX)
		python.version_hex = (uint32_t)hex;
	else if (!find_version_in_code(elf, &get_version, &python.version_hex))
		python.version_hex = 0;
	if (!write_version(python.version_hex, python.version, sizeof(python.version)))
		python.version_hex = 0;
	find_layout(elf, &python);
	*ret_python = python;
	return 0;
}

/* ---- thread-specific data of glibc --------------------------------------------------------------------------- */

/* A descriptor of nptl_db/structs.def: size in bits, count, offset in bytes. */
static int read_descriptor(const struct dt_elf *libc, const char *name, uint32_t ret_words[3])
{
	struct dt_elf_symbol symbol;

	if (dt_elf_find_symbol(libc, name, &symbol) || !read_bytes(libc, symbol.vaddr, ret_words, 12))
		return -ENOENT;
	return 0;
}

int dt_python_read_tls_layout(const struct dt_elf *libc, uint32_t *ret_first_block, uint32_t *ret_blocks)
{
	uint32_t specific[3], block[3], data[3], first_size;

	if (read_descriptor(libc, "_thread_db_pthread_specific", specific) ||
	    read_descriptor(libc, "_thread_db_pthread_key_data_level2_data", block) ||
	    read_descriptor(libc, "_thread_db_pthread_key_data_data", data))
		return -ENOENT;
	/*
	 * nptl/descr.h: specific_1stblock, an array like that of every other block, stands right before the table of
	 * blocks. The layout tells of the table alone.
	 */
	if (__builtin_mul_overflow(block[0] / 8, block[1], &first_size) || first_size > specific[2] || data[2] >= first_size)
		return -ENOENT;
	*ret_first_block = specific[2] - first_size + data[2];
	*ret_blocks = specific[2];
	return 0;
}
