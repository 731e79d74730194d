/* SPDX-License-Identifier: BSD-2-Clause */
/* Layouts: the table, what interpreters tell of themselves, and whether they agree with the types of real files. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "target/python_offsets.h"

static void test_versions(void **state)
{
	static const struct { uint32_t hex; bool known; } cases[] = {
		{ 0x03060ff0, false }, { 0x030700b1, false }, { 0x030700c1, true }, { 0x030b02f0, true }, { 0x030c00a1, false },
		{ 0x030d00f0, true }, { 0x030e00a1, false }, { 0x030e00f0, false }, { 0, false }, { UINT32_MAX, false },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++)
		assert_int_equal(!!dt_python_offsets_find(cases[i].hex), cases[i].known);
	for (uint32_t minor = 7; minor <= 13; minor++) {
		const struct dt_python_offsets *offsets = dt_python_offsets_find(0x030000f0 | minor << 16);
		const struct dt_python_layout *layout = &offsets->layout;

		/* As the programs lean on it. */
		assert_true(layout->thread_thread_id > layout->thread_frame);
		assert_true(layout->thread_thread_id - layout->thread_frame < 1016);
		assert_true(layout->frame_bytes % 8 == 0 && layout->frame_bytes <= 1024);
		assert_true(layout->frame_code + 8u <= layout->frame_bytes && layout->frame_previous + 8u <= layout->frame_bytes);
		assert_true(layout->frame_instruction + 4u <= layout->frame_bytes && layout->frame_owner < layout->frame_bytes);
		assert_true(layout->frame_entry < layout->frame_bytes);
		assert_int_equal(!offsets->thread_current, minor >= 12);
		assert_int_not_equal(offsets->thread_key, 0);
	}
}

/* ---- what 3.14 tells of itself ----------------------------------------------------------------------------------- */

/* Include/internal/pycore_debug_offsets.h of 3.14.0, with the values of its x86-64 builds. */
static const struct { uint16_t at, value; } fields[] = {
	{ 208, 72 }, { 216, 152 },                                              /* thread_state.current_frame, thread_id */
	{ 256, 8 }, { 264, 0 }, { 272, 56 }, { 288, 74 },                       /* interpreter_frame.previous, executable, instr_ptr, owner */
	{ 320, 112 }, { 328, 120 }, { 336, 128 }, { 344, 136 }, { 352, 68 }, { 384, 208 }, /* code_object.filename … co_code_adaptive */
	{ 600, 16 }, { 608, 32 },                                               /* bytes_object.ob_size, ob_sval */
	{ 616, 64 }, { 624, 32 }, { 632, 16 }, { 640, 40 },                     /* unicode_object.size, state, length, asciiobject_size */
};

#define HEX_3_14 0x030e00f0u

static void forge(uint8_t told[DT_PYTHON_DEBUG_OFFSETS_BYTES], uint32_t version)
{
	memset(told, 0, DT_PYTHON_DEBUG_OFFSETS_BYTES);
	memcpy(told, "xdebugpy", 8);
	memcpy(told + 8, &version, sizeof(version));
	for (size_t i = 0; i < DT_ARRAY_SIZE(fields); i++)
		memcpy(told + fields[i].at, &fields[i].value, sizeof(fields[i].value));
}

static int read_told(const uint8_t *told, uint32_t version, struct dt_python_offsets *offsets)
{
	return dt_python_offsets_read(told, DT_PYTHON_DEBUG_OFFSETS_BYTES, version, offsets);
}

static void test_3_14(void **state)
{
	static const struct dt_python_layout expected = {
		.thread_frame = 72, .thread_thread_id = 152, .cframe_frame = DT_PYTHON_NO_CFRAME,
		.frame_bytes = 80, .frame_code = 0, .frame_previous = 8, .frame_instruction = 56, .frame_owner = 74,
		.frame_entry = 74, .entry_least = 3, .frames_are_neighbours = 1,
		.code_first_line = 68, .code_filename = 112, .code_name = 128, .code_lines = 136, .code_first_traceable = 192,
		.code_bytecode = 208, .lines_format = DT_PYTHON_LOCATIONS,
		.string_length = 16, .string_state = 32, .string_ascii_data = 40, .string_data = 56, .bytes_size = 16, .bytes_data = 32,
	};
	uint8_t told[DT_PYTHON_DEBUG_OFFSETS_BYTES];
	struct dt_python_offsets offsets;

	(void)state;
	forge(told, HEX_3_14);
	assert_int_equal(read_told(told, HEX_3_14, &offsets), 0);
	assert_memory_equal(&offsets.layout, &expected, sizeof(expected));
	assert_int_equal(offsets.code_basic_size, 208);
	assert_int_equal(offsets.string_basic_size, 64);
	assert_int_equal(offsets.thread_current, 0);
	assert_int_equal(offsets.thread_key, 0);
	forge(told, 0x030e02c1);
	assert_int_equal(read_told(told, 0x030e02c1, &offsets), 0);
}

static void test_what_is_not_told(void **state)
{
	uint8_t told[DT_PYTHON_DEBUG_OFFSETS_BYTES];
	struct dt_python_offsets offsets = { .thread_key = 7 };

	(void)state;
	forge(told, HEX_3_14);
	assert_int_equal(dt_python_offsets_read(told, sizeof(told) - 1, HEX_3_14, &offsets), -ENOENT);
	assert_int_equal(read_told(told, HEX_3_14 + 0x100, &offsets), -ENOENT); /* of another version */
	told[0] ^= 1;
	assert_int_equal(read_told(told, HEX_3_14, &offsets), -ENOENT);
	forge(told, 0x030e00a3);        /* before its layout was final */
	assert_int_equal(read_told(told, 0x030e00a3, &offsets), -ENOENT);
	forge(told, 0x030f00f0);        /* another layout, which is not known */
	assert_int_equal(read_told(told, 0x030f00f0, &offsets), -ENOENT);
	forge(told, 0x030c00f0);
	assert_int_equal(read_told(told, 0x030c00f0, &offsets), -ENOENT);
	forge(told, HEX_3_14);
	told[16] = 1;
	assert_int_equal(read_told(told, HEX_3_14, &offsets), -ENOTSUP);
	assert_int_equal(offsets.thread_key, 7);
}

/* Any value of any field: what comes out of it is bounded as the programs need it. */
static void test_forged_values(void **state)
{
	static const uint64_t values[] = { 0, 1, 4, 7, 8, 4088, 4092, 4095, 4096, 65535, 65536, 65544, 1ull << 32, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(fields); i++)
		for (size_t k = 0; k < DT_ARRAY_SIZE(values); k++) {
			uint8_t told[DT_PYTHON_DEBUG_OFFSETS_BYTES];
			struct dt_python_offsets offsets;
			const struct dt_python_layout *layout = &offsets.layout;
			int error;

			forge(told, HEX_3_14);
			memcpy(told + fields[i].at, &values[k], sizeof(values[k]));
			error = read_told(told, HEX_3_14, &offsets);
			if (fields[i].at != 328 && fields[i].at != 616 && values[k] >= 4096)    /* co_name and size are not used */
				assert_int_equal(error, -ENOENT);
			if (error)
				continue;
			assert_true(layout->thread_thread_id > layout->thread_frame);
			assert_true(layout->thread_thread_id - layout->thread_frame < 1016);
			assert_true(layout->frame_bytes % 8 == 0 && layout->frame_bytes <= 1024);
			assert_true(layout->frame_owner && layout->frame_owner < layout->frame_bytes);
			assert_true(layout->frame_instruction + 8u <= layout->frame_bytes);
			assert_true(layout->code_first_traceable > 0);
		}
}

/* ---- real files -------------------------------------------------------------------------------------------------- */

static struct dt_elf *open_elf(const char *path)
{
	struct dt_elf *elf = NULL;

	assert_int_equal(dt_elf_open(open(path, O_RDONLY | O_CLOEXEC), &elf), 0);
	return elf;
}

/* 3.13 tells the same of itself as the table does. */
static void check_debug_offsets(struct dt_elf *elf, uint32_t version)
{
	uint8_t told[DT_PYTHON_DEBUG_OFFSETS_BYTES];
	struct dt_python_offsets offsets;
	struct dt_elf_symbol runtime, hex;

	assert_int_equal(dt_elf_find_symbol(elf, "_PyRuntime", &runtime), 0);
	assert_int_equal(dt_elf_find_symbol(elf, "Py_Version", &hex), 0);
	assert_int_equal(dt_elf_read(elf, hex.vaddr, &version, sizeof(version)), 0);
	assert_int_equal(dt_elf_read(elf, runtime.vaddr, told, sizeof(told)), 0);
	assert_int_equal(read_told(told, version, &offsets), 0);
	offsets.thread_key = dt_python_offsets_find(version)->thread_key;
	assert_memory_equal(&offsets, dt_python_offsets_find(version), sizeof(offsets));
}

/* Each agrees with its own row; a row in which any offset that the file tells of is another one is refused. */
static void check_agreement(const char *path, uint32_t version)
{
	struct dt_python_offsets offsets = *dt_python_offsets_find(version);
	uint16_t *const told[] = {
		&offsets.code_basic_size, &offsets.string_basic_size, &offsets.layout.code_filename, &offsets.layout.code_first_line,
		&offsets.layout.code_name,
	};
	struct dt_elf *elf = open_elf(path);

	assert_true(dt_python_offsets_agree(elf, &offsets));
	for (size_t i = 0; i < DT_ARRAY_SIZE(told); i++) {
		*told[i] += 8;
		assert_false(dt_python_offsets_agree(elf, &offsets));
		*told[i] -= 8;
	}
	if (version >= 0x030d0000)
		check_debug_offsets(elf, version);
	dt_elf_close(elf);
}

static void test_real_ones(void **state)
{
	const char *root = getenv("PYENV_ROOT");
	unsigned int checked = 0;

	(void)state;
	for (unsigned int minor = 7; minor <= 13; minor++) {
		DT_FREE char *pattern = NULL;
		glob_t found = { 0 };

		assert_true(asprintf(&pattern, "%s/versions/3.%u.*/lib/libpython3.%u*.so.1.0", root ? root : "~/.pyenv", minor, minor) > 0);
		if (!glob(pattern, GLOB_TILDE, NULL, &found))
			check_agreement(found.gl_pathv[0], 0x030000f0 | minor << 16);
		else
			print_message("there is no %s\n", pattern);
		checked += !!found.gl_pathc;
		globfree(&found);
	}
	if (!access("/usr/bin/python3.11", R_OK)) {
		check_agreement("/usr/bin/python3.11", 0x030b00f0);
		checked++;
	}
	if (!checked)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_versions),
		cmocka_unit_test(test_3_14),
		cmocka_unit_test(test_what_is_not_told),
		cmocka_unit_test(test_forged_values),
		cmocka_unit_test(test_real_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
