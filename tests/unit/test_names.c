/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions, files and lines together: readable and raw, in one file and split, with and without DWARF. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "programs.h"
#include "shell.h"
#include "open_elf.h"
#include "target/demangle.h"
#include "target/names.h"
#include "target/symbols.h"

static void free_symbols(struct dt_symbols **symbols)
{
	dt_symbols_free(*symbols);
}

static void close_names(struct dt_names **names)
{
	dt_names_close(*names);
}

static struct dt_names *open_names(const char *path, const char *debug, const struct dt_names_opts *opts)
{
	int debug_fds[] = { open("program.cpp", O_RDONLY | O_CLOEXEC), debug ? open(debug, O_RDONLY | O_CLOEXEC) : -1 };
	struct dt_names *names;

	assert_int_equal(dt_names_open(open(path, O_RDONLY | O_CLOEXEC), debug_fds, debug ? 2 : 1, opts, &names), 0);
	return names;
}

static void build(void)
{
	shell_write("program.cpp", program_cpp);
	shell("g++ -O2 -g -std=c++17 -o whole program.cpp");
	shell("objcopy --only-keep-debug whole whole.debug && strip -o stripped whole && strip -g -o symbols whole");
}

static void find_text(const char *path, uint64_t *ret_vaddr, size_t *ret_size)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	const uint8_t *bytes;

	assert_int_equal(dt_elf_open(open(path, O_RDONLY | O_CLOEXEC), &elf), 0);
	assert_true(dt_elf_text(elf, 0, ret_vaddr, &bytes, ret_size));
}

static void compare(const struct dt_name *left, const struct dt_name *right)
{
	assert_int_equal(!left->function, !right->function);
	if (left->function)
		assert_string_equal(left->function, right->function);
	assert_int_equal(!left->file, !right->file);
	if (left->file)
		assert_string_equal(left->file, right->file);
	assert_int_equal(left->line, right->line);
	assert_int_equal(left->offset, right->offset);
	assert_int_equal(left->inlined, right->inlined);
}

/* Everything that the whole file says, its two parts say together. */
static void test_split_file(void **state)
{
	DT_CLEANUP(close_names) struct dt_names *whole = NULL, *split = NULL;
	const struct dt_name *left, *right;
	size_t size, count, other_count, frames = 0;
	uint64_t vaddr;

	(void)state;
	build();
	whole = open_names("whole", NULL, &(struct dt_names_opts){ 0 });
	split = open_names("stripped", "whole.debug", &(struct dt_names_opts){ 0 });
	assert_true(dt_names_have_lines(whole) && dt_names_have_lines(split));
	find_text("whole", &vaddr, &size);
	for (size_t at = 0; at < size; at++) {
		assert_int_equal(dt_names_find(whole, vaddr + at, &left, &count), 0);
		assert_int_equal(dt_names_find(split, vaddr + at, &right, &other_count), 0);
		assert_int_equal(count, other_count);
		for (size_t i = 0; i < count; i++)
			compare(&left[i], &right[i]);
		assert_false(left[count - 1].inlined);
		frames += count;
	}
	print_message("%zu addresses, %zu frames, the same from a split file\n", size, frames);
}

/* The function that really is there is the one of the symbol table, whatever DWARF leaves out of its name. */
static void test_names_of_functions(void **state)
{
	DT_CLEANUP(close_names) struct dt_names *names = NULL, *raw = NULL, *bare = NULL;
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	DT_CLEANUP(free_symbols) struct dt_symbols *symbols = NULL;
	const struct dt_name *found, *raw_found, *bare_found;
	size_t size, count, raw_count, bare_count, named = 0;
	uint64_t vaddr, offset;

	(void)state;
	build();
	names = open_names("whole", NULL, &(struct dt_names_opts){ 0 });
	raw = open_names("whole", NULL, &(struct dt_names_opts){ .raw = true });
	bare = open_names("whole", NULL, &(struct dt_names_opts){ .no_lines = true });
	assert_false(dt_names_have_lines(bare));
	assert_int_equal(dt_elf_open(open("whole", O_RDONLY | O_CLOEXEC), &elf), 0);
	assert_int_equal(dt_symbols_new(elf, -1, &symbols), 0);
	find_text("whole", &vaddr, &size);
	for (uint64_t at = vaddr; at < vaddr + size; at++) {
		const char *symbol = dt_symbols_find(symbols, at, &offset);
		DT_FREE char *readable = symbol ? dt_demangle(symbol) : NULL;

		assert_int_equal(dt_names_find(names, at, &found, &count), 0);
		assert_int_equal(dt_names_find(raw, at, &raw_found, &raw_count), 0);
		assert_int_equal(dt_names_find(bare, at, &bare_found, &bare_count), 0);
		assert_int_equal(count, raw_count);
		assert_int_equal(bare_count, 1);
		assert_null(bare_found->file);
		if (!symbol) {
			assert_null(bare_found->function);
			continue;
		}
		assert_string_equal(bare_found->function, readable ? readable : symbol);
		assert_int_equal(bare_found->offset, offset);
		/* DWARF has the name of the whole function where the symbol has that of a part, and of a constructor one of its names. */
		if (readable && !strstr(readable, "[clone"))
			assert_string_equal(found[count - 1].function, readable);
		for (size_t i = 0; i < count; i++) {
			DT_FREE char *own = dt_demangle(raw_found[i].function);

			assert_string_equal(found[i].function, own ? own : raw_found[i].function);
		}
		named++;
	}
	print_message("%zu addresses have the function of their symbol\n", named);
	assert_true(named > 1000);
}

static void test_no_elf(void **state)
{
	struct dt_names *names;
	int debug_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	shell_write("text", "not an ELF file at all");
	assert_int_equal(dt_names_open(open("text", O_RDONLY | O_CLOEXEC), &debug_fd, 1, &(struct dt_names_opts){ 0 }, &names), -ENOEXEC);
	assert_int_equal(fcntl(debug_fd, F_GETFD), -1);         /* taken over all the same */
	dt_names_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_file),
		cmocka_unit_test(test_names_of_functions),
		cmocka_unit_test(test_no_elf),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
