/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a thread's state is kept, from the code that compilers make of CPython's functions; no real ones are needed here. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "forged_elf.h"
#include "target/pointer.h"
#include "target/python_thread.h"

enum { RUNTIME, SLOT, PAIR, FUNCTION, WORD, POINTER, TARGETS };

static struct forged forged;
static uint64_t targets[TARGETS];

/* _PyRuntime; a slot of the GOT for it; two words of a TLS module; some function; a slot for a TLS offset; a pointer to _PyRuntime. */
static void begin(void)
{
	forged_init(&forged);
	targets[RUNTIME] = forged_put(&forged, NULL, 4096);
	targets[SLOT] = forged_put(&forged, NULL, 8);
	targets[PAIR] = forged_put(&forged, NULL, 16);
	targets[WORD] = forged_put(&forged, NULL, 8);
	targets[POINTER] = forged_put(&forged, NULL, 8);
	targets[FUNCTION] = forged_code(&forged, "31 c0 c3", targets);
	forged_symbol(&forged, "_PyRuntime", STT_OBJECT, targets[RUNTIME], 4096);
	forged_relocation(&forged, targets[SLOT], R_X86_64_GLOB_DAT, 1, 0);
	forged_relocation(&forged, targets[PAIR], R_X86_64_DTPMOD64, 0, 0);
	forged_relocation(&forged, targets[WORD], R_X86_64_TPOFF64, 0, 0);
	forged_relocation(&forged, targets[POINTER], R_X86_64_RELATIVE, 0, (int64_t)targets[RUNTIME]);
}

static struct dt_python_thread find(const char *name, const char *code)
{
	struct dt_python_thread thread;
	struct dt_elf *elf;

	begin();
	forged_function(&forged, name, code, targets);
	elf = forged_open(&forged);
	assert_non_null(elf);
	dt_python_thread_find(elf, &thread);
	dt_elf_close(elf);
	return thread;
}

static void test_current_words(void **state)
{
	static const struct { const char *code; uint64_t offset; } cases[] = {
		{ "48 8b 05 @0 c3", 0 },                                        /* mov word(%rip), %rax */
		{ "f3 0f 1e fa 48 8b 05 @0 c3", 0 },                            /* endbr64 */
		{ "48 8b 05 @1 48 8b 80 58 05 00 00 c3", 0x558 },               /* through the GOT */
		{ "48 8b 05 @5 48 8b 80 58 05 00 00 c3", 0x558 },               /* the same, of a hidden symbol */
		{ "48 8d 05 @0 48 8b 80 40 02 00 00 c3", 0x240 },               /* lea */
		{ "48 8b 04 25 #0 c3", 0 },                                     /* mov word, %rax */
		{ "48 c7 c0 #0 48 8b 40 10 c3", 0x10 },                         /* mov $address, %rax */
		{ "48 8b 05 @1 48 8b 80 40 02 00 00 48 85 c0 74 01 c3 50 e8 @3", 0x240 }, /* test %rax, %rax; je */
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_python_thread thread = find("PyThreadState_Get", cases[i].code);

		if (thread.current_vaddr != targets[RUNTIME] + cases[i].offset)
			fail_msg("%s: %#lx", cases[i].code, (long)thread.current_vaddr);
		assert_int_equal(thread.variable, DT_PYTHON_VARIABLE_NONE);
		assert_int_equal(thread.key_vaddr, 0);
	}
}

static void test_thread_variables(void **state)
{
	static const struct { const char *code; enum dt_python_variable variable; int place; int64_t offset, addend; } cases[] = {
		{ "64 48 8b 04 25 f8 ff ff ff c3", DT_PYTHON_VARIABLE_OFFSET, -1, -8, 0 },              /* mov %fs:-8, %rax */
		{ "64 48 8b 04 25 00 00 00 00 48 8b 40 f0 c3", DT_PYTHON_VARIABLE_OFFSET, -1, -16, 0 }, /* mov %fs:0, %rax; mov -16(%rax) */
		{ "48 8b 05 @4 64 48 8b 00 c3", DT_PYTHON_VARIABLE_SLOT, WORD, 0, 0 },                  /* mov slot(%rip), %rax; mov %fs:(%rax) */
		{ "48 8b 05 @4 64 48 8b 40 08 c3", DT_PYTHON_VARIABLE_SLOT, WORD, 0, 8 },
		{ "64 48 8b 04 25 00 00 00 00 48 03 05 @4 48 8b 00 c3", DT_PYTHON_VARIABLE_SLOT, WORD, 0, 0 }, /* add slot(%rip), %rax */
		{ "48 83 ec 08 66 48 8d 3d @2 66 66 48 e8 @3 48 8b 00 48 83 c4 08 c3", DT_PYTHON_VARIABLE_MODULE, PAIR, 0, 0 },
		{ "50 48 8d 3d @2 e8 @3 48 8b 80 18 00 00 00 5a c3", DT_PYTHON_VARIABLE_MODULE, PAIR, 0, 24 },
	};
	static const char *const names[] = {
		"PyThreadState_GetUnchecked", "_PyThreadState_UncheckedGet", "_PyThreadState_GetCurrent", "PyThreadState_Get",
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++)
		for (size_t k = 0; k < DT_ARRAY_SIZE(names); k++) {
			struct dt_python_thread thread = find(names[k], cases[i].code);

			if (thread.variable != cases[i].variable)
				fail_msg("%s: %d", cases[i].code, thread.variable);
			assert_int_equal(thread.variable_place, cases[i].place < 0 ? (uint64_t)cases[i].offset : targets[cases[i].place]);
			assert_int_equal(thread.variable_addend, cases[i].addend);
			assert_int_equal(thread.current_vaddr, 0);
		}
}

static void test_keys(void **state)
{
	static const struct { const char *code; uint64_t offset; } cases[] = {
		{ "48 8b 05 @1 48 83 b8 40 02 00 00 00 74 0c 48 8d b8 48 02 00 00 e9 @3 31 c0 c3", 0x248 },
		{ "48 8b 05 @1 53 48 8d 98 08 06 00 00 48 89 df e8 @3 85 c0 74 0a 48 89 df 5b e9 @3", 0x608 },
		{ "48 8d 3d @0 e9 @3", 0 },                             /* lea */
		{ "bf #0 e9 @3", 0 },                                   /* mov $address, %edi */
		{ "48 8b 05 @1 8b b8 54 02 00 00 e9 @3", 0x250 },       /* the key itself, for pthread_getspecific() */
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_python_thread thread = find("PyGILState_GetThisThreadState", cases[i].code);

		if (thread.key_vaddr != targets[RUNTIME] + cases[i].offset)
			fail_msg("%s: %#lx", cases[i].code, (long)thread.key_vaddr);
		assert_int_equal(thread.current_vaddr, 0);
		assert_int_equal(thread.variable, DT_PYTHON_VARIABLE_NONE);
	}
}

/* Code that says nothing, or is none: nothing is found, nothing is read beyond it. */
static void test_other_code(void **state)
{
	static const char *const codes[] = {
		"", "31 c0 c3", "e9 @3", "e8 @3 c3", "48 8b 07 c3", "48 8b 04 c8 c3", "64 8b 07 c3", "06", "48 8b 05", "48 8d 3d @0 e8 @3 48 8b 00 c3",
		"90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 90 c3", "65 48 8b 04 25 08 00 00 00 c3",
		"48 8b 05 @4 64 48 8b 04 08 c3", "64 48 8b 04 25 00 00 00 00 c3",
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(codes); i++) {
		struct dt_python_thread state_of = find("PyThreadState_Get", codes[i]);
		struct dt_python_thread key_of = find("PyGILState_GetThisThreadState", codes[i]);

		assert_int_equal(state_of.variable, DT_PYTHON_VARIABLE_NONE);
		if (state_of.current_vaddr)
			fail_msg("%s: %#lx", codes[i], (long)state_of.current_vaddr);
		assert_int_equal(key_of.variable, DT_PYTHON_VARIABLE_NONE);
	}
	for (int byte = 0; byte < 256; byte++) {
		char code[32];

		snprintf(code, sizeof(code), "%02x %02x", byte, byte ^ 0x48);
		find("PyThreadState_Get", code);
	}
}

/* ---- pointers ---------------------------------------------------------------------------------------------------- */

static void test_pointers(void **state)
{
	enum dt_pointer_kind kind;
	struct dt_elf *elf;
	uint64_t target, undefined;

	(void)state;
	begin();
	undefined = forged_put(&forged, NULL, 8);
	forged_symbol(&forged, "imported", STT_OBJECT, 0, 0);
	forged.symbols[2].st_shndx = SHN_UNDEF;
	forged_relocation(&forged, undefined, R_X86_64_64, 2, 0);
	forged_relocation(&forged, targets[RUNTIME] + 8, R_X86_64_64, 1, 24);
	forged_relocation(&forged, targets[RUNTIME] + 16, R_X86_64_64, 99, 0);
	forged_relocation(&forged, targets[RUNTIME] + 24, R_X86_64_COPY, 1, 0);
	forged_store(&forged, targets[RUNTIME], 0x1234, 8);
	elf = forged_open(&forged);
	assert_non_null(elf);
	assert_int_equal(dt_pointer_read(elf, targets[SLOT], &target, &kind), 0);
	assert_int_equal(target, targets[RUNTIME]);
	assert_int_equal(kind, DT_POINTER_SLOT);
	assert_int_equal(dt_pointer_read(elf, targets[POINTER], &target, &kind), 0);
	assert_int_equal(target, targets[RUNTIME]);
	assert_int_equal(kind, DT_POINTER_RELATIVE);
	assert_int_equal(dt_pointer_read(elf, targets[RUNTIME] + 8, &target, &kind), 0);
	assert_int_equal(target, targets[RUNTIME] + 24);
	assert_int_equal(kind, DT_POINTER_ABSOLUTE);
	assert_int_equal(dt_pointer_read(elf, targets[RUNTIME], &target, &kind), 0);
	assert_int_equal(target, 0x1234);
	assert_int_equal(kind, DT_POINTER_PLAIN);
	assert_int_equal(dt_pointer_read(elf, targets[PAIR], &target, &kind), 0);
	assert_int_equal(kind, DT_POINTER_TLS_MODULE);
	assert_int_equal(dt_pointer_read(elf, undefined, &target, &kind), -ENOENT);
	assert_int_equal(dt_pointer_read(elf, targets[RUNTIME] + 16, &target, &kind), -ENOENT); /* no such symbol */
	assert_int_equal(dt_pointer_read(elf, targets[RUNTIME] + 24, &target, &kind), -ENOENT);
	assert_int_equal(dt_pointer_read(elf, 0, &target, &kind), -ENOENT);
	assert_int_equal(dt_pointer_read(elf, UINT64_MAX - 3, &target, &kind), -ENOENT);
	dt_elf_close(elf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_current_words),
		cmocka_unit_test(test_thread_variables),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_other_code),
		cmocka_unit_test(test_pointers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
