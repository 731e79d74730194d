/* SPDX-License-Identifier: BSD-2-Clause */
/* CPython's allocators: their tables and functions from code as compilers make it; then those of the real ones. */
#include <errno.h>
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
#include "open_elf.h"
#include "target/python_alloc.h"

enum { TABLE, SLOT, FUNCTIONS, TARGETS = FUNCTIONS + 4 };

static struct forged forged;
static uint64_t targets[TARGETS];

static const char *const names[DT_PYTHON_TABLES][DT_PYTHON_CALLS] = {
	{ "PyMem_RawMalloc", "PyMem_RawCalloc", "PyMem_RawRealloc", "PyMem_RawFree" },
	{ "PyMem_Malloc", "PyMem_Calloc", "PyMem_Realloc", "PyMem_Free" },
	{ "PyObject_Malloc", "PyObject_Calloc", "PyObject_Realloc", "PyObject_Free" },
};

/*
 * The table of one family, and the four functions of the API that load from it with the code given, whose targets are: 0 ctx,
 * 1 the pointer, 2 a word that leads to the table, 3 the function.
 */
static void put_family(enum dt_python_table family, const char *code)
{
	uint64_t table = forged_put(&forged, NULL, 64), slot = forged_put(&forged, NULL, 8);

	for (size_t i = 0; i < DT_PYTHON_CALLS; i++) {
		uint64_t words[4] = { table, table + 8 + i * 8, slot, targets[FUNCTIONS + i] };
		char text[256], *to = text;

		for (const char *from = code; *from; from++) {
			if (*from == 'O')       /* the pointer's offset in the table */
				to += sprintf(to, "%02x", (unsigned int)(8 + i * 8));
			else
				*to++ = *from;
		}
		*to = '\0';
		forged_store(&forged, table + 8 + i * 8, targets[FUNCTIONS + i], 8);
		forged_function(&forged, names[family][i], text, words);
	}
	forged_relocation(&forged, slot, R_X86_64_RELATIVE, 0, (int64_t)table);
}

/* 16 bytes that end with these; what follows stands at the next multiple of 16. */
static void put_padding(const char *padding)
{
	char text[64] = "";

	for (size_t n = (strlen(padding) + 1) / 3; n < 16; n++)
		strcat(text, "cc ");
	forged_code(&forged, strcat(text, padding), targets);
}

static struct dt_elf *forge(const char *padding, const char *const code[DT_PYTHON_TABLES])
{
	struct dt_elf *elf;

	forged_init(&forged);
	for (size_t i = 0; i < DT_PYTHON_CALLS; i++) {
		put_padding(padding);
		targets[FUNCTIONS + i] = forged_code(&forged, "48 8d 46 ff c3", targets);
	}
	for (size_t family = 0; family < DT_PYTHON_TABLES; family++)
		put_family((enum dt_python_table)family, code[family]);
	elf = forged_open(&forged);
	assert_non_null(elf);
	return elf;
}

#define STUB "48 89 fe 48 8b 3d @0 ff 25 @1"                                    /* mov %rdi, %rsi; mov ctx, %rdi; jmp *pointer */
#define THROUGH_SLOT "48 8b 05 @2 48 8b 38 ff 60 O"                             /* mov slot, %rax; mov (%rax), %rdi; jmp *O(%rax) */
#define BY_REGISTER "48 8b 05 @2 48 8b 08 48 8b 40 O 48 89 cf ff e0"
#define BY_ADDRESS "48 8d 05 @0 48 8b 38 ff 60 O"                               /* lea table, %rax */
#define ABSOLUTE "48 8b 3c 25 #0 ff 24 25 #1"
/* mov pointer, %rax; mov ctx, %rdi; cmp $function, %rax; jne 1f; xor %eax, %eax; ret; 1: jmp *%rax */
#define COPIED "48 8b 05 @1 48 8b 3d @0 48 3d #3 75 03 31 c0 c3 ff e0"
#define COPIED_BY_LEA "48 8b 05 @1 48 8b 3d @0 48 8d 15 @3 48 39 d0 75 03 31 c0 c3 53 ff d0 5b c3"
#define COPIED_OTHER_REGISTER "4c 8b 05 @1 48 8b 3d @0 49 81 f8 #3 74 03 41 ff e0 31 c0 c3"
/* The same comparison, and what follows calls something else: CPython asks itself which allocator it has. */
#define COMPARED "48 8b 05 @1 48 8b 3d @0 48 8d 15 @3 48 39 d0 75 03 31 c0 c3 b8 01 00 00 00 c3"
#define COMPARED_IN_MEMORY "48 8b 05 @1 48 8b 3d @0 48 8d 15 @3 48 39 15 @1 75 02 ff e0 c3"
#define STORED "48 8b 05 @1 48 8b 3d @0 48 8d 15 @3 48 89 15 @1 ff e0"

static void expect_tables(const struct dt_python_alloc *alloc)
{
	for (size_t family = 0; family < DT_PYTHON_TABLES; family++) {
		assert_int_equal(alloc->tables[family] % 8, 0);
		for (size_t i = 0; i < DT_PYTHON_CALLS; i++)
			assert_int_equal(alloc->functions[family][i], targets[FUNCTIONS + i]);
	}
}

static void test_forms(void **state)
{
	static const struct { const char *code; bool inlined; } cases[] = {
		{ STUB, false }, { THROUGH_SLOT, false }, { BY_REGISTER, false }, { BY_ADDRESS, false }, { ABSOLUTE, false },
		{ COPIED, true }, { COPIED_BY_LEA, true }, { COPIED_OTHER_REGISTER, true },
		{ COMPARED, false }, { COMPARED_IN_MEMORY, false }, { STORED, false },
		{ "f3 0f 1e fa " STUB, false },                 /* endbr64 */
		{ "48 85 ff 78 0e " STUB " 31 c0 c3", false },  /* test %rdi, %rdi; js */
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		ELF_OWNED elf = forge("90", (const char *const[]){ STUB, THROUGH_SLOT, cases[i].code });
		struct dt_python_alloc alloc;

		if (dt_python_alloc_find(elf, &alloc))
			fail_msg("%s: no tables", cases[i].code);
		expect_tables(&alloc);
		if (alloc.inlined != cases[i].inlined)
			fail_msg("%s: %d", cases[i].code, alloc.inlined);
		assert_null(alloc.unsupported);
	}
}

static void test_padding(void **state)
{
	static const struct { const char *padding; unsigned int alias; } cases[] = {
		{ "90", 1 }, { "66 90", 1 }, { "0f 1f 40 00", 4 }, { "0f 1f 84 00 00 00 00 00", 8 },
		{ "66 2e 0f 1f 84 00 00 00 00 00", 8 }, { "cc", 0 }, { "c3", 0 }, { "0f 1f 44 00", 0 }, { "0f 1f 40 01", 4 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		ELF_OWNED elf = forge(cases[i].padding, (const char *const[]){ STUB, STUB, COPIED });
		struct dt_python_alloc alloc;

		assert_int_equal(dt_python_alloc_find(elf, &alloc), 0);
		assert_true(alloc.inlined);
		assert_int_equal(!alloc.unsupported, cases[i].alias != 0);
		for (size_t k = 0; k < DT_PYTHON_CALLS; k++) {
			uint64_t function = alloc.functions[DT_PYTHON_OBJECT][k], alias = alloc.aliases[DT_PYTHON_OBJECT][k];

			if ((alias ? function - alias : 0) != cases[i].alias)
				fail_msg("%s: %d", cases[i].padding, (int)(function - alias));
		}
	}
}

static void test_what_is_not_understood(void **state)
{
	static const char *const cases[] = {
		"c3", "48 8b 3d @0 c3", "ff 25 @1", "31 c0 c3", "e8 @3", "06", "48 8b 3d @0 ff 24 c5 #1",
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		ELF_OWNED elf = forge("90", (const char *const[]){ STUB, STUB, cases[i] });
		struct dt_python_alloc alloc = { .inlined = true };

		if (dt_python_alloc_find(elf, &alloc) != -ENOENT)
			fail_msg("%s", cases[i]);
		assert_true(alloc.inlined);
	}
}

static uint32_t random_number(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

/* Files that somebody has damaged: any answer, and an end. */
static void test_damage(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct dt_python_alloc alloc;
		struct dt_elf *elf = forge("66 90", (const char *const[]){ STUB, THROUGH_SLOT, round % 2 ? COPIED : COPIED_BY_LEA });

		dt_elf_close(elf);
		for (int i = 0; i < 8; i++)
			forged.bytes[random_number(&seed) % forged.used] = (uint8_t)random_number(&seed);
		elf = NULL;
		if (dt_elf_open_image(forged.bytes, forged.used, &elf))
			continue;
		dt_python_alloc_find(elf, &alloc);
		dt_elf_close(elf);
	}
}

/* ---- real ones ------------------------------------------------------------------------------------------------- */

static const char *const functions[DT_PYTHON_TABLES][DT_PYTHON_CALLS] = {
	{ "_PyMem_RawMalloc", "_PyMem_RawCalloc", "_PyMem_RawRealloc", "_PyMem_RawFree" },
	{ "_PyObject_Malloc", "_PyObject_Calloc", "_PyObject_Realloc", "_PyObject_Free" },
	{ "_PyObject_Malloc", "_PyObject_Calloc", "_PyObject_Realloc", "_PyObject_Free" },
};

/* Those that have a symbol table say themselves where the functions are. */
static void expect_symbols(struct dt_elf *elf, const struct dt_python_alloc *alloc)
{
	for (size_t family = 0; family < DT_PYTHON_TABLES; family++)
		for (size_t i = 0; i < DT_PYTHON_CALLS; i++) {
			struct dt_elf_symbol symbol;

			if (!dt_elf_find_symbol(elf, functions[family][i], &symbol))
				assert_int_equal(alloc->functions[family][i], symbol.vaddr);
		}
}

static void expect_real(const char *path, bool inlined)
{
	ELF_OWNED elf = open_elf(path);
	struct dt_python_alloc alloc;

	if (dt_python_alloc_find(elf, &alloc))
		fail_msg("%s: its tables are not found", path);
	if (alloc.inlined != inlined || alloc.unsupported)
		fail_msg("%s: %d %s", path, alloc.inlined, alloc.unsupported ? alloc.unsupported : "");
	expect_symbols(elf, &alloc);
	for (size_t family = 0; family < DT_PYTHON_TABLES; family++)
		for (size_t i = 0; i < DT_PYTHON_CALLS && inlined; i++)
			assert_in_range(alloc.functions[family][i] - alloc.aliases[family][i], 1, 15);
}

/* Built with a profile: Debian's program. Without: its library, and what pyenv builds. */
static void test_real(void **state)
{
	static const char *const patterns[] = {
		"/usr/lib/x86_64-linux-gnu/libpython3.*.so.1.0", "/root/.pyenv/versions/3.*/lib/libpython3.*.so.1.0",
	};
	size_t count = 0;

	(void)state;
	if (!access("/usr/bin/python3.11", R_OK)) {
		expect_real("/usr/bin/python3.11", true);
		count++;
	}
	for (size_t i = 0; i < DT_ARRAY_SIZE(patterns); i++) {
		glob_t found = { 0 };

		if (glob(patterns[i], 0, NULL, &found))
			continue;
		for (size_t k = 0; k < found.gl_pathc; k++)
			expect_real(found.gl_pathv[k], false);
		count += found.gl_pathc;
		globfree(&found);
	}
	if (!count) {
		print_message("SKIP: there is no CPython on this machine\n");
		skip();
	}
}

static void test_others(void **state)
{
	ELF_OWNED elf = open_elf("/bin/sh");
	struct dt_python_alloc alloc;

	(void)state;
	assert_int_equal(dt_python_alloc_find(elf, &alloc), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_padding),
		cmocka_unit_test(test_what_is_not_understood),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
