/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/python.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "target/probe_site.h"
#include "target/process.h"
#include "target/python_eval.h"
#include "target/python_offsets.h"
#include "target/python_thread.h"

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

#define GET_VERSION_BYTES_MAX 256       /* the function is much shorter */

/*
 * Before 3.11 the version is no symbol. But Py_GetVersion formats it ("%.80s (%.80s) %.80s", PY_VERSION, …:
 * Python/getversion.c), so its code holds the address of a string that is PY_VERSION and nothing else: relative to the
 * next instruction, or absolute in an executable that is not position-independent.
 */
static bool find_version_in_code(const struct dt_elf *elf, const struct dt_elf_symbol *function, uint32_t *ret_hex)
{
	const uint8_t *bytes;
	size_t size;

	size = function->size && function->size < GET_VERSION_BYTES_MAX ? function->size : GET_VERSION_BYTES_MAX;
	if (dt_elf_bytes(elf, function->vaddr, size, &bytes, &size))
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

#define NOT_UNDERSTOOD "whose frames domtrace does not understand"
#define BUILT_OTHERWISE "which is built in another way than its release, so that domtrace does not understand its frames"
#define FREE_THREADED "built without the global interpreter lock, whose frames are not supported"

/* _PyRuntime, by its symbol or by the section that it has of its own (3.10 and later). */
static bool find_runtime(struct dt_elf *elf, struct dt_elf_symbol *runtime)
{
	const uint8_t *bytes;
	size_t size;

	if (!dt_elf_find_symbol(elf, "_PyRuntime", runtime))
		return true;
	*runtime = (struct dt_elf_symbol){ .object = true };
	if (dt_elf_section(elf, ".PyRuntime", &bytes, &size, &runtime->vaddr))
		return false;
	runtime->size = size;
	return runtime->vaddr;
}

/* The layout of this very file: what it tells of itself, if it does, or what the table has for its version. NULL or why not. */
static const char *find_offsets(struct dt_elf *elf, const struct dt_elf_symbol *runtime, uint32_t version_hex,
				struct dt_python_offsets *ret_offsets)
{
	const struct dt_python_offsets *listed = dt_python_offsets_find(version_hex);
	uint8_t told[DT_PYTHON_DEBUG_OFFSETS_BYTES];
	int error = -ENOENT;

	if (!dt_elf_read(elf, runtime->vaddr, told, sizeof(told)))
		error = dt_python_offsets_read(told, sizeof(told), version_hex, ret_offsets);
	if (error == -ENOTSUP)
		return FREE_THREADED;
	if (error && !listed)
		return NOT_UNDERSTOOD;
	if (error)
		*ret_offsets = *listed;
	else if (listed)
		ret_offsets->thread_key = listed->thread_key;
	return dt_python_offsets_agree(elf, ret_offsets) ? NULL : BUILT_OTHERWISE;
}

/*
 * The routes to a thread's state: as the code shows them, otherwise as the table has them. Where both are known they have to be
 * the same; a release that keeps them elsewhere in _PyRuntime is known by its code alone.
 */
static bool find_thread(struct dt_elf *elf, const struct dt_elf_symbol *runtime, const struct dt_python_offsets *offsets,
			struct dt_python *python)
{
	struct dt_python_thread thread;

	dt_python_thread_find(elf, &thread);
	if (offsets->thread_current) {
		python->thread_current_vaddr = runtime->vaddr + offsets->thread_current;
		if (thread.current_vaddr && thread.current_vaddr != python->thread_current_vaddr)
			return false;
	} else {
		python->variable = thread.variable;
		python->variable_place = thread.variable_place;
		python->variable_addend = thread.variable_addend;
	}
	if (thread.key_vaddr)
		python->thread_key_vaddr = thread.key_vaddr;
	else if (offsets->thread_key)
		python->thread_key_vaddr = runtime->vaddr + offsets->thread_key;
	if (!runtime->size)
		return true;
	return !python->thread_key_vaddr ||
	       (python->thread_key_vaddr >= runtime->vaddr && python->thread_key_vaddr - runtime->vaddr <= runtime->size - 8);
}

static void find_frames(struct dt_elf *elf, struct dt_python *python)
{
	struct dt_python_offsets offsets = { 0 };
	struct dt_python found = *python;
	struct dt_probe_site place;
	struct dt_elf_symbol runtime;
	uint64_t code_free;

	python->unsupported = NOT_UNDERSTOOD;
	if (!found.version_hex || !find_runtime(elf, &runtime))
		return;
	python->unsupported = find_offsets(elf, &runtime, found.version_hex, &offsets);
	if (python->unsupported)
		return;
	found.layout = offsets.layout;
	if (!find_thread(elf, &runtime, &offsets, &found)) {
		python->unsupported = BUILT_OTHERWISE;
		return;
	}
	dt_python_eval_find(elf, found.eval);
	code_free = dt_python_code_free_find(elf);
	if (code_free && !dt_probe_site_find(elf, code_free, &place))
		found.code_free_vaddr = place.vaddr;
	*python = found;
}

int dt_python_detect(struct dt_elf *elf, struct dt_python *ret_python)
{
	struct dt_python python = { .version = "unknown" };
	struct dt_elf_symbol get_version, version;
	uint64_t hex;

	/* A program that only links with libpython imports the function and has not got it. */
	if (dt_elf_find_symbol(elf, "Py_GetVersion", &get_version) || !get_version.function)
		return -ENOENT;
	if (!dt_elf_find_symbol(elf, "Py_Version", &version) && !dt_elf_read(elf, version.vaddr, &hex, sizeof(hex)) &&
	    hex <= UINT32_MAX)
		python.version_hex = (uint32_t)hex;
	else if (!find_version_in_code(elf, &get_version, &python.version_hex))
		python.version_hex = 0;
	if (!write_version(python.version_hex, python.version, sizeof(python.version)))
		python.version_hex = 0;
	find_frames(elf, &python);
	*ret_python = python;
	return 0;
}

/* ---- in a process ------------------------------------------------------------------------------------------------ */

/* The running state of a thread, where a thread-local variable holds it. */
static void place_variable(const struct dt_python *python, pid_t pid, uint64_t bias, struct dt_interpreter *interpreter)
{
	uint64_t words[2] = { 0 };

	if (python->variable == DT_PYTHON_VARIABLE_OFFSET) {
		interpreter->thread_current = python->variable_place;
		interpreter->current_is_local = 1;
	} else if (python->variable == DT_PYTHON_VARIABLE_SLOT) {
		/* 0 before the loader has been there */
		if (dt_process_read_memory(pid, python->variable_place + bias, words, sizeof(words[0])) || !words[0])
			return;
		interpreter->thread_current = words[0] + (uint64_t)python->variable_addend;
		interpreter->current_is_local = 1;
	} else if (python->variable == DT_PYTHON_VARIABLE_MODULE) {
		if (dt_process_read_memory(pid, python->variable_place + bias, words, sizeof(words)) || words[0] > UINT32_MAX)
			return;
		interpreter->tls_module = (uint32_t)words[0];
		interpreter->thread_variable = words[1] + (uint64_t)python->variable_addend;
	}
}

void dt_python_place(const struct dt_python *python, pid_t pid, uint64_t bias, struct dt_interpreter *interpreter)
{
	if (python->unsupported)
		return;
	interpreter->present = 1;
	interpreter->layout = python->layout;
	if (python->thread_current_vaddr)
		interpreter->thread_current = python->thread_current_vaddr + bias;
	if (python->thread_key_vaddr)
		interpreter->thread_key = python->thread_key_vaddr + bias;
	place_variable(python, pid, bias, interpreter);
	for (size_t i = 0; i < DT_ARRAY_SIZE(python->eval) && python->eval[i].end; i++) {
		interpreter->eval[i].start = python->eval[i].start + bias;
		interpreter->eval[i].end = python->eval[i].end + bias;
	}
}

/* ---- thread-specific data of glibc --------------------------------------------------------------------------- */

/* A descriptor of nptl_db/structs.def: size in bits, count, offset in bytes. */
static int read_descriptor(const struct dt_elf *libc, const char *name, uint32_t ret_words[3])
{
	struct dt_elf_symbol symbol;

	if (dt_elf_find_symbol(libc, name, &symbol) || dt_elf_read(libc, symbol.vaddr, ret_words, 12))
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
