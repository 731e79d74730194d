/* SPDX-License-Identifier: BSD-2-Clause */
/* Readable names against binutils', for every function of the C++ library and of Rust's; plain names stay as they are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "shell.h"
#include "target/demangle.h"

static void test_known(void **state)
{
	static const struct { const char *name, *readable; } cases[] = {
		{ "_ZN3foo3barEv", "foo::bar()" },
		{ "_Znwm", "operator new(unsigned long)" },
		{ "_ZN9__gnu_cxx13new_allocatorIiE8allocateEmPKv", "__gnu_cxx::new_allocator<int>::allocate(unsigned long, void const*)" },
		{ "_ZZ4mainENKUliE_clEi", "main::{lambda(int)#1}::operator()(int) const" },
		{ "_Z4workv.part.0", "work() [clone .part.0]" },
		{ "_ZN12_GLOBAL__N_14PileD2Ev", "(anonymous namespace)::Pile::~Pile()" },
		{ "_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad" },
		{ "_RNvNtCs1234_7mycrate3foo3bar", "mycrate::foo::bar" },
		{ "_RNvMs3_NtCslNYArtu3iFV_5alloc7raw_vecINtB5_6RawVecINtNtB7_3vec3VechEE8grow_oneCsjrHSEGnQ3l9_3std",
		  "<alloc::raw_vec::RawVec<alloc::vec::Vec<u8>>>::grow_one" },
	};
	static const char *const plain[] = { "", "main", "malloc", "_start", "__libc_start_main", "f__i", "_Z", "_R", "pkg__proc", "_D4mainFZv", "a b", "_ZN3foo" };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		DT_FREE char *readable = dt_demangle(cases[i].name);

		assert_non_null(readable);
		assert_string_equal(readable, cases[i].readable);
	}
	for (size_t i = 0; i < DT_ARRAY_SIZE(plain); i++)
		assert_null(dt_demangle(plain[i]));
}

/* The names that a library exports, one a line, without versions. */
static void write_names(const char *option, const char *library, const char *path)
{
	shell("nm -D -p --defined-only %s %s | sed -E 's/^[0-9a-f]+ . //; s/@+[A-Z][A-Za-z0-9_.]*$//' > %s", option, library, path);
}

static void compare_all(const char *library, const char *what)
{
	DT_FREE char *name = NULL, *expected = NULL;
	size_t name_room = 0, expected_room = 0, count = 0;

	write_names("", library, "names");
	write_names("-C", library, "readable");
	DT_FILE FILE *from = fopen("names", "r");
	DT_FILE FILE *readable_from = fopen("readable", "r");

	assert_non_null(from);
	assert_non_null(readable_from);
	while (getline(&name, &name_room, from) > 0) {
		DT_FREE char *readable = NULL;

		assert_true(getline(&expected, &expected_room, readable_from) > 0);
		name[strcspn(name, "\n")] = expected[strcspn(expected, "\n")] = '\0';
		readable = dt_demangle(name);
		assert_string_equal(readable ? readable : name, expected);
		count += readable != NULL;
	}
	print_message("%zu names of %s, as nm says\n", count, what);
	assert_true(count > 1000);
}

static void test_cpp_library(void **state)
{
	(void)state;
	compare_all("\"$(g++ -print-file-name=libstdc++.so.6)\"", "libstdc++");
}

static void test_rust_library(void **state)
{
	(void)state;
	if (!shell_has("rustc")) {
		print_message("no rustc: the names of its library are not compared\n");
		skip();
	}
	compare_all("\"$(rustc --print sysroot)\"/lib/rustlib/*/lib/libstd-*.so", "Rust's std");
}

/* Forged ones end, and without eating the stack. */
static void test_hostile(void **state)
{
	static const struct { const char *head, *body, *tail; } cases[] = {
		{ "_Z1f", "P", "i" }, { "_ZN", "1a", "Ev" }, { "_Z1fI", "I", "" }, { "_Z1f", "N", "" }, { "_RI", "I", "" }, { "_RNv", "Nv", "C1a" },
		{ "_Z1fDT", "ad", "E" }, { "_RMC0", "R", "e" }, { "_Z1fF", "FvvE", "E" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		for (size_t repeat = 1; repeat <= 1u << 20; repeat *= 4) {
			size_t length = strlen(cases[i].body) * repeat + 16;
			DT_FREE char *name = malloc(length + 1), *readable = NULL;
			char *end;

			assert_non_null(name);
			end = stpcpy(name, cases[i].head);
			for (size_t j = 0; j < repeat; j++)
				end = stpcpy(end, cases[i].body);
			strcpy(end, cases[i].tail);
			readable = dt_demangle(name);
			if (repeat == 1u << 20)
				assert_null(readable);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_cpp_library),
		cmocka_unit_test(test_rust_library),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
