/* SPDX-License-Identifier: BSD-2-Clause */
/* The eval loop and what frees code objects, in forged files and in the CPythons that are here. */
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "forged_elf.h"
#include "target/python_eval.h"

static struct forged forged;

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

enum { HOT, HOT_MIDDLE, HOT_END, COLD, COLD_MIDDLE, OTHER, TARGETS };

static uint64_t targets[TARGETS];

/* .eh_frame with an entry for each range, and the table of them. */
static void put_functions(const uint64_t (*ranges)[2], uint32_t count)
{
	uint64_t header = forged_put(&forged, NULL, 12 + 8 * count), entries = forged_put(&forged, NULL, 24 * count);
	const uint8_t form[] = { 1, 0x1b, 0x03, 0x3b };

	memcpy(forged_at(&forged, header), form, sizeof(form));
	forged_store(&forged, header + 8, count, 4);
	for (uint32_t i = 0; i < count; i++) {
		uint64_t entry = entries + 24 * i;

		forged_store(&forged, header + 12 + 8 * i, ranges[i][0] - header, 4);
		forged_store(&forged, header + 16 + 8 * i, entry - header, 4);
		forged_store(&forged, entry, 20, 4);
		forged_store(&forged, entry + 8, ranges[i][0] - (entry + 8), 4);
		forged_store(&forged, entry + 12, ranges[i][1] - ranges[i][0], 4);
	}
	forged_section(&forged, ".eh_frame_hdr", SHT_PROGBITS, header, 12 + 8 * count);
}

/* The three functions stand at fixed places, 256 bytes each, in this order: cold part, some other function, the eval loop. */
static struct dt_elf *open_functions(const char *hot, const char *cold, const char *other, uint64_t symbol_size)
{
	uint64_t ranges[3][2];

	forged_init(&forged);
	targets[COLD] = forged_put(&forged, NULL, 256);
	targets[OTHER] = forged_put(&forged, NULL, 256);
	targets[HOT] = forged_put(&forged, NULL, 256);
	targets[COLD_MIDDLE] = targets[COLD] + 8;
	targets[HOT_MIDDLE] = targets[HOT] + 16;
	targets[HOT_END] = targets[HOT] + 256;
	for (int i = 0; i < 3; i++) {
		const int which[] = { COLD, OTHER, HOT };

		forged.used = targets[which[i]] - FORGED_VADDR;
		memset(forged.bytes + forged.used, 0x90, 256);
		forged_code(&forged, i == 0 ? cold : i == 1 ? other : hot, targets);
		ranges[i][0] = targets[which[i]];
		ranges[i][1] = targets[which[i]] + (which[i] == COLD ? 200 : 256);
	}
	forged.used = targets[HOT_END] - FORGED_VADDR;
	forged_symbol(&forged, "_PyEval_EvalFrameDefault", STT_FUNC, targets[HOT], symbol_size);
	put_functions((const uint64_t (*)[2])ranges, 3);
	return forged_open(&forged);
}

static void expect_ranges(struct dt_elf *elf, bool has_cold)
{
	struct dt_address_range ranges[2] = { { 1, 1 }, { 1, 1 } };

	assert_non_null(elf);
	dt_python_eval_find(elf, ranges);
	assert_int_equal(ranges[0].start, targets[HOT]);
	assert_int_equal(ranges[0].end, targets[HOT_END]);
	assert_int_equal(ranges[1].start, has_cold ? targets[COLD] : 0);
	assert_int_equal(ranges[1].end, has_cold ? targets[COLD] + 200 : 0);
	dt_elf_close(elf);
}

static void test_cold_parts(void **state)
{
	static const struct { const char *hot, *cold, *other; bool has_cold; } cases[] = {
		{ "0f 84 @3 c3", "e9 @1", "c3", true },                         /* je cold; jmp back */
		{ "90 90 0f 84 @4 c3", "90 90 90 90 90 90 90 90 e9 @1", "c3", true }, /* into its middle */
		{ "e9 @5", "e9 @1", "c3", false },                              /* a tail call, and nothing else */
		{ "e8 @3 c3", "e9 @1", "c3", false },                           /* called, not jumped to */
		{ "0f 84 @3 c3", "c3", "c3", false },                           /* does not come back */
		{ "0f 84 @3 c3", "e9 @0", "c3", false },                        /* calls it anew */
		{ "0f 84 @3 c3", "e8 @1 c3", "c3", false },
		{ "e9 @5 0f 84 @3 c3", "74 00 e9 @1", "e9 @0", true },          /* after a tail call */
		{ "eb 02 ff e0 c3", "e9 @1", "c3", false },                     /* jumps of its own */
		{ "06", "e9 @1", "c3", false },                                 /* no instruction */
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		expect_ranges(open_functions(cases[i].hot, cases[i].cold, cases[i].other, 256), cases[i].has_cold);
		expect_ranges(open_functions(cases[i].hot, cases[i].cold, cases[i].other, 0), cases[i].has_cold);
	}
}

/* The table is damaged: what the symbol tells is left. */
static void test_damaged_tables(void **state)
{
	struct dt_elf *elf;

	(void)state;
	for (uint32_t at = 0; at < 12 + 3 * 8; at++)
		for (int bit = 0; bit < 8; bit++) {
			struct dt_address_range ranges[2];
			uint64_t header;

			elf = open_functions("0f 84 @3 c3", "e9 @1", "c3", 256);
			dt_elf_close(elf);
			header = forged.sections[2].sh_addr;
			forged.bytes[header - FORGED_VADDR + at] ^= (uint8_t)(1 << bit);
			assert_int_equal(dt_elf_open_image(forged.bytes, forged.used, &elf), 0);
			dt_python_eval_find(elf, ranges);
			assert_int_equal(ranges[0].start, targets[HOT]);
			assert_int_equal(ranges[0].end, targets[HOT_END]);
			if (ranges[1].end)
				assert_int_equal(ranges[1].start, targets[COLD]);
			dt_elf_close(elf);
		}
}

static void test_no_eval_loop(void **state)
{
	struct dt_address_range ranges[2] = { { 1, 1 }, { 1, 1 } };
	struct dt_elf *elf;

	(void)state;
	forged_init(&forged);
	forged_symbol(&forged, "_PyEval_EvalFrameDefault", STT_OBJECT, FORGED_VADDR, 64);
	elf = forged_open(&forged);
	dt_python_eval_find(elf, ranges);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(ranges[i].start, 0);
		assert_int_equal(ranges[i].end, 0);
	}
	assert_int_equal(dt_python_code_free_find(elf), 0);
	dt_elf_close(elf);
}

/* ---- code objects ------------------------------------------------------------------------------------------------ */

static void test_code_free(void **state)
{
	static const struct { const char *code; bool found; } cases[] = {
		{ "c3", true },
		{ "e8 @0 e9 @0 0f 84 @0", true },               /* calls it, jumps to it */
		{ "48 8d 05 @0 c3", false },                    /* lea */
		{ "4c 8d 3d @0 c3", false },
		{ "48 3d #0 c3", false },                       /* cmp $address, %rax */
		{ "48 81 ff #0 c3", false },                    /* cmp $address, %rdi */
		{ "48 c7 c0 #0 c3", false },                    /* mov $address, %rax */
		{ "bf #0 c3", false },                          /* mov $address, %edi */
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++)
		for (int relocated = 0; relocated < 2; relocated++) {
			uint64_t type, function;
			struct dt_elf *elf;

			forged_init(&forged);
			type = forged_put(&forged, NULL, 416);
			function = forged_code(&forged, "53 5b c3", NULL);
			forged_code(&forged, cases[i].code, &function);
			forged_symbol(&forged, "PyCode_Type", STT_OBJECT, type, 416);
			if (relocated)
				forged_relocation(&forged, type + 48, R_X86_64_RELATIVE, 0, (int64_t)function);
			else
				forged_store(&forged, type + 48, function, 8);
			elf = forged_open(&forged);
			assert_non_null(elf);
			if (dt_python_code_free_find(elf) != (cases[i].found ? function : 0))
				fail_msg("%s: %#lx", cases[i].code, (long)dt_python_code_free_find(elf));
			dt_elf_close(elf);
		}
}

/* ---- real ones --------------------------------------------------------------------------------------------------- */

/* With .symtab the parts have names. */
static void check_file(const char *path)
{
	struct dt_address_range ranges[2];
	struct dt_elf_symbol hot, cold, free_function;
	struct dt_elf *elf;

	assert_int_equal(dt_elf_open(open(path, O_RDONLY | O_CLOEXEC), &elf), 0);
	dt_python_eval_find(elf, ranges);
	assert_int_equal(dt_elf_find_symbol(elf, "_PyEval_EvalFrameDefault", &hot), 0);
	assert_int_equal(ranges[0].start, hot.vaddr);
	assert_int_equal(ranges[0].end, hot.vaddr + hot.size);
	if (ranges[1].end && !dt_elf_find_symbol(elf, "_PyEval_EvalFrameDefault.cold", &cold))
		assert_int_equal(ranges[1].start, cold.vaddr);
	if (!dt_elf_find_symbol(elf, "code_dealloc", &free_function))
		assert_int_equal(dt_python_code_free_find(elf), free_function.vaddr);
	assert_int_not_equal(dt_python_code_free_find(elf), 0);
	print_message("%s: %#llx to %#llx, %#llx to %#llx\n", path, ranges[0].start, ranges[0].end, ranges[1].start, ranges[1].end);
	dt_elf_close(elf);
}

static void test_real_ones(void **state)
{
	const char *root = getenv("PYENV_ROOT");
	DT_FREE char *pattern = NULL;
	glob_t found = { 0 };

	(void)state;
	assert_true(asprintf(&pattern, "%s/versions/3*/lib/libpython3.*.so.1.0", root ? root : "~/.pyenv") > 0);
	glob(pattern, GLOB_TILDE, NULL, &found);
	if (!found.gl_pathc && access("/usr/bin/python3.11", R_OK)) {
		print_message("skipped: there is neither %s nor /usr/bin/python3.11\n", pattern);
		skip();
	}
	for (size_t i = 0; i < found.gl_pathc; i++)
		check_file(found.gl_pathv[i]);
	if (!access("/usr/bin/python3.11", R_OK))
		check_file("/usr/bin/python3.11");
	globfree(&found);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cold_parts),
		cmocka_unit_test(test_damaged_tables),
		cmocka_unit_test(test_no_eval_loop),
		cmocka_unit_test(test_code_free),
		cmocka_unit_test(test_real_ones),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
