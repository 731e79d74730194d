/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of addresses: code in this file with every kind of overlap, then all of libc against a plain search. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
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
#include "target/symbols.h"

static void free_symbols(struct dt_symbols **symbols)
{
	dt_symbols_free(*symbols);
}

/*
 * 0..15: no function. 16..47 outer, with 24..31 inner. 48..63: three names of one address, and a local, shorter one.
 * 64..79 without a size, up to 80. 80..87 the next, then a gap up to 96, where the last one starts.
 */
__asm__(".pushsection .text\n"
	".balign 16\n"
	"dt_sym_base: .skip 16, 0xcc\n"
	".globl dt_sym_outer\n.type dt_sym_outer, @function\ndt_sym_outer: .skip 8, 0x90\n"
	".type dt_sym_inner, @function\ndt_sym_inner: .skip 8, 0x90\n.size dt_sym_inner, 8\n"
	".skip 16, 0x90\n.size dt_sym_outer, 32\n"
	".globl dt_sym_same_c\n.type dt_sym_same_c, @function\ndt_sym_same_c:\n"
	".globl dt_sym_same_b\n.type dt_sym_same_b, @function\ndt_sym_same_b:\n"
	".globl dt_sym_same_long\n.type dt_sym_same_long, @function\ndt_sym_same_long:\n"
	".type dt_sym_s, @function\ndt_sym_s:\n"
	".skip 16, 0x90\n.size dt_sym_same_c, 16\n.size dt_sym_same_b, 16\n.size dt_sym_same_long, 16\n.size dt_sym_s, 16\n"
	".type dt_sym_no_size, @function\ndt_sym_no_size: .skip 16, 0x90\n"
	".type dt_sym_next, @function\ndt_sym_next: .skip 8, 0x90\n.size dt_sym_next, 8\n"
	".skip 8, 0xcc\n"
	".type dt_sym_last, @function\ndt_sym_last: .skip 8, 0x90\n.size dt_sym_last, 8\n"
	".popsection\n");
extern const char dt_sym_outer[];

static int find_base(struct dl_phdr_info *info, size_t size, void *context)
{
	(void)size;
	*(uint64_t *)context = info->dlpi_addr;
	return 1;
}

static void test_overlaps_aliases_and_gaps(void **state)
{
	static const struct { int from, to; const char *name; int start; } cases[] = {
		{ 16, 24, "dt_sym_outer", 16 },   { 24, 32, "dt_sym_inner", 24 }, { 32, 48, "dt_sym_outer", 16 },
		{ 48, 64, "dt_sym_same_b", 48 },  { 64, 80, "dt_sym_no_size", 64 }, { 80, 88, "dt_sym_next", 80 },
		{ 88, 96, NULL, 0 },              { 96, 104, "dt_sym_last", 96 },
	};
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	DT_CLEANUP(free_symbols) struct dt_symbols *symbols = NULL;
	uint64_t base, first, offset;

	(void)state;
	dl_iterate_phdr(find_base, &base);
	first = (uintptr_t)dt_sym_outer - base - 16;
	assert_int_equal(dt_elf_open(open("/proc/self/exe", O_RDONLY), &elf), 0);
	assert_int_equal(dt_symbols_new(elf, -1, &symbols), 0);
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		for (int at = cases[i].from; at < cases[i].to; at++) {
			const char *name = dt_symbols_find(symbols, first + (uint64_t)at, &offset);

			if (!cases[i].name) {
				assert_null(name);
				continue;
			}
			assert_non_null(name);
			assert_string_equal(name, cases[i].name);
			assert_int_equal(offset, at - cases[i].start);
		}
	}
	assert_null(dt_symbols_find(symbols, 0, &offset));
	assert_null(dt_symbols_find(symbols, UINT64_MAX, &offset));
	dt_symbols_free(NULL);
}

/* ---- all of libc, the slow way ------------------------------------------------------------------------------- */

struct slow {
	struct dt_elf_symbol functions[16384];
	size_t count;
};

static int keep_function(void *context, const struct dt_elf_symbol *symbol)
{
	struct slow *slow = context;

	if (symbol->function && slow->count < DT_ARRAY_SIZE(slow->functions))
		slow->functions[slow->count++] = *symbol;
	return 0;
}

static bool better(const struct dt_elf_symbol *a, const struct dt_elf_symbol *b)
{
	if (a->vaddr != b->vaddr)
		return a->vaddr > b->vaddr;
	if (a->global != b->global)
		return a->global;
	if (strlen(a->name) != strlen(b->name))
		return strlen(a->name) < strlen(b->name);
	return strcmp(a->name, b->name) < 0;
}

/* The end of a function without a size: the nearest start behind its own. */
static uint64_t slow_end(const struct slow *slow, const struct dt_elf_symbol *function)
{
	uint64_t end = UINT64_MAX;

	if (function->size)
		return function->vaddr + function->size;
	for (size_t i = 0; i < slow->count; i++)
		if (slow->functions[i].vaddr > function->vaddr && slow->functions[i].vaddr < end)
			end = slow->functions[i].vaddr;
	return end;
}

static const struct dt_elf_symbol *slow_find(const struct slow *slow, uint64_t vaddr)
{
	const struct dt_elf_symbol *best = NULL;

	for (size_t i = 0; i < slow->count; i++) {
		const struct dt_elf_symbol *function = &slow->functions[i];

		if (vaddr >= function->vaddr && vaddr < slow_end(slow, function) && (!best || better(function, best)))
			best = function;
	}
	return best;
}

static void test_libc_as_without_an_index(void **state)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	DT_CLEANUP(free_symbols) struct dt_symbols *symbols = NULL;
	DT_FREE struct slow *slow = calloc(1, sizeof(*slow));
	uint64_t vaddr, offset;
	const uint8_t *bytes;
	size_t size, named = 0;
	Dl_info info;

	(void)state;
	assert_non_null(slow);
	/* Under AddressSanitizer malloc is its own: any other function of libc will do. */
	assert_true(dladdr(dlsym(RTLD_NEXT, "getppid"), &info));
	assert_int_equal(dt_elf_open(open(info.dli_fname, O_RDONLY), &elf), 0);
	assert_int_equal(dt_symbols_new(elf, -1, &symbols), 0);
	assert_int_equal(dt_elf_each_symbol(elf, keep_function, slow), 0);
	assert_true(slow->count < DT_ARRAY_SIZE(slow->functions));
	assert_true(dt_elf_text(elf, 0, &vaddr, &bytes, &size));
	/* A prime step, so that starts, ends and gaps are all met. */
	for (size_t at = 0; at < size; at += 61) {
		const struct dt_elf_symbol *expected = slow_find(slow, vaddr + at);
		const char *name = dt_symbols_find(symbols, vaddr + at, &offset);

		assert_int_equal(!name, !expected);
		if (!name)
			continue;
		assert_string_equal(name, expected->name);
		assert_int_equal(offset, vaddr + at - expected->vaddr);
		named++;
	}
	print_message("%zu addresses of libc compared, %zu of them in a function\n", size / 61 + 1, named);
	assert_true(named > 0);
}

/* ---- symbols that are elsewhere ------------------------------------------------------------------------------ */

/* Opens a file and what may be its debug file (NULL: none). */
static void open_symbols(const char *path, const char *debug, struct dt_elf **ret_elf, struct dt_symbols **ret_symbols)
{
	DT_FD int debug_fd = debug ? open(debug, O_RDONLY | O_CLOEXEC) : -1;

	assert_int_equal(dt_elf_open(open(path, O_RDONLY | O_CLOEXEC), ret_elf), 0);
	assert_int_equal(dt_symbols_new(*ret_elf, debug_fd, ret_symbols), 0);
}

/* Every byte of the code has the same function with both; how many have one. */
static size_t compare_files(const char *path, const char *debug, const char *whole)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL, *whole_elf = NULL;
	DT_CLEANUP(free_symbols) struct dt_symbols *symbols = NULL, *whole_symbols = NULL;
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size, named = 0;

	open_symbols(path, debug, &elf, &symbols);
	open_symbols(whole, NULL, &whole_elf, &whole_symbols);
	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++) {
		for (size_t at = 0; at < size; at++) {
			uint64_t offset = 0, whole_offset = 0;
			const char *name = dt_symbols_find(symbols, vaddr + at, &offset);
			const char *whole_name = dt_symbols_find(whole_symbols, vaddr + at, &whole_offset);

			assert_int_equal(!name, !whole_name);
			if (name)
				assert_string_equal(name, whole_name);
			assert_int_equal(offset, whole_offset);
			named += name != NULL;
		}
	}
	return named;
}

static void build_parts(void)
{
	shell_write("program.cpp", program_cpp);
	shell("g++ -O2 -g -o whole program.cpp");
	shell("objcopy --only-keep-debug whole whole.debug && strip -o stripped whole");
	/* gdb manual, "MiniDebugInfo" */
	shell("objcopy --strip-debug whole.debug mini && xz -k -f mini && objcopy --add-section .gnu_debugdata=mini.xz stripped packed");
}

static void test_separate_symbols(void **state)
{
	size_t named;

	(void)state;
	build_parts();
	named = compare_files("whole", NULL, "whole");
	assert_true(named > compare_files("stripped", NULL, "stripped"));
	assert_int_equal(compare_files("stripped", "whole.debug", "whole"), named);
	assert_int_equal(compare_files("packed", NULL, "whole"), named);
	assert_int_equal(compare_files("packed", "whole.debug", "whole"), named);
	/* As elfutils splits: the program headers stay as they were. */
	if (shell_has("eu-strip")) {
		shell("cp whole split && eu-strip -f split.debug split");
		assert_int_equal(compare_files("split", "split.debug", "whole"), named);
	}
	print_message("%zu bytes of code are in a function, wherever its symbol is\n", named);
}

/* Damaged parts are left out, what is right stays. */
static void test_damaged_parts(void **state)
{
	size_t named;

	(void)state;
	build_parts();
	named = compare_files("stripped", NULL, "stripped");
	shell("head -c 200 mini.xz > part && objcopy --add-section .gnu_debugdata=part stripped damaged");
	assert_int_equal(compare_files("damaged", NULL, "stripped"), named);
	shell("echo no xz > part && objcopy --add-section .gnu_debugdata=part stripped damaged");
	assert_int_equal(compare_files("damaged", NULL, "stripped"), named);
	shell("echo no ELF | xz > part && objcopy --add-section .gnu_debugdata=part stripped damaged");
	assert_int_equal(compare_files("damaged", NULL, "stripped"), named);
	shell("head -c 300M /dev/zero | xz -0 > part && objcopy --add-section .gnu_debugdata=part stripped damaged");
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	struct dt_symbols *symbols = NULL;

	assert_int_equal(dt_elf_open(open("damaged", O_RDONLY | O_CLOEXEC), &elf), 0);
	assert_int_equal(dt_symbols_new(elf, -1, &symbols), 0);
	dt_symbols_free(symbols);
	for (int size = 0; size < 4000; size += 97) {
		shell("head -c %d whole.debug > part", size);
		assert_int_equal(compare_files("stripped", "part", "stripped"), named);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_overlaps_aliases_and_gaps),
		cmocka_unit_test(test_libc_as_without_an_index),
		cmocka_unit_test(test_separate_symbols),
		cmocka_unit_test(test_damaged_parts),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
