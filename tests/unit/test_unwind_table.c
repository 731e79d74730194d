/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unwind tables of whole files: what .eh_frame says (which test_eh_frame compares with libdw) stands in them unchanged;
 * programs that are compiled for this test have no .eh_frame, only .debug_frame, or nothing at all.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

#include <Zydis/Zydis.h>
#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "open_elf.h"
#include "target/eh_frame.h"
#include "target/rule_ranges.h"
#include "target/unwind_table.h"

#define RANGES_OWNED DT_CLEANUP(dt_rule_ranges_clear) struct dt_rule_ranges
#define TABLE_OWNED DT_CLEANUP(dt_unwind_table_clear) struct dt_unwind_table

static int add_range(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	return dt_rule_ranges_add(context, start, end, rule);
}

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

/* ---- whole files --------------------------------------------------------------------------------------------- */

static bool is_text(const struct dt_elf *elf, uint64_t vaddr)
{
	uint64_t start, end;

	for (size_t i = 0; dt_elf_text_range(elf, i, &start, &end); i++)
		if (vaddr >= start && vaddr < end)
			return true;
	return false;
}

static void expect_form(const struct dt_elf *elf, const struct dt_unwind_table *table)
{
	static const struct dt_unwind_rule none;

	for (size_t i = 0; i < table->count; i++) {
		const struct dt_unwind_row *row = &table->rows[i];

		assert_true(is_text(elf, row->vaddr) || !memcmp(&row->rule, &none, sizeof(none)));
		assert_in_range(row->rule.cfa, DT_CFA_NONE, DT_CFA_COUNT - 1);
		if (!i)
			continue;
		assert_true(row[-1].vaddr < row->vaddr);
		assert_memory_not_equal(&row[-1].rule, &row->rule, sizeof(row->rule));
	}
	if (table->count)
		assert_memory_equal(&table->rows[table->count - 1].rule, &none, sizeof(none));
}

/* Each range of .eh_frame has its rule at its first and its last byte, and no row in between. */
static void expect_eh_frame(struct dt_elf *elf, const struct dt_unwind_table *table)
{
	struct dt_eh_frame frame = { 0 };
	RANGES_OWNED ranges = { 0 };
	size_t row = 0;

	assert_int_equal(dt_elf_section(elf, ".eh_frame", &frame.bytes, &frame.size, &frame.vaddr), 0);
	assert_int_equal(dt_eh_frame_each(&frame, add_range, &ranges), 0);
	assert_int_equal(dt_rule_ranges_sort(&ranges), 0);
	for (size_t i = 0; i < ranges.count; i++) {
		const struct dt_rule_range *item = &ranges.items[i];
		struct dt_unwind_rule first = dt_unwind_table_find(table, item->start);
		struct dt_unwind_rule last = dt_unwind_table_find(table, item->end - 1);

		if (!is_text(elf, item->start))
			continue;
		assert_memory_equal(&first, &item->rule, sizeof(first));
		assert_memory_equal(&last, &item->rule, sizeof(last));
		while (row < table->count && table->rows[row].vaddr <= item->start)
			row++;
		assert_true(row == table->count || table->rows[row].vaddr >= item->end);
	}
}

/* What a python3 with NumPy maps, then others. */
static const char *const files[] = {
	"/usr/bin/python3.11", "/usr/lib/python3/dist-packages/numpy/core/_multiarray_umath.*.so",
	"/usr/lib/python3/dist-packages/numpy/linalg/_umath_linalg.*.so", "/usr/lib/python3/dist-packages/numpy/random/mtrand.*.so",
	"/usr/lib/x86_64-linux-gnu/libblas.so.3", "/usr/lib/x86_64-linux-gnu/liblapack.so.3", "/lib/x86_64-linux-gnu/libc.so.6",
	"/lib/x86_64-linux-gnu/libm.so.6", "/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libz.so.1",
	"/usr/lib/x86_64-linux-gnu/libexpat.so.1", "/lib/x86_64-linux-gnu/libgcc_s.so.1", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6",
	"/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "/usr/bin/redis-check-rdb", "/usr/lib/x86_64-linux-musl/libc.so", "/proc/self/exe",
};

#define PYTHON_FILES 12

static void test_tables_of_whole_files(void **state)
{
	double all_ms = 0;
	size_t all_rows = 0;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(files); i++) {
		TABLE_OWNED table = { 0 };
		DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
		double begin;
		glob_t found;

		if (glob(files[i], 0, NULL, &found)) {
			print_message("skipped: there is no %s here\n", files[i]);
			continue;
		}
		begin = now_ms();
		elf = open_elf(found.gl_pathv[0]);
		assert_int_equal(dt_unwind_table_read(elf, &table), 0);
		begin = now_ms() - begin;
		print_message("%s: %zu rows in %.1f ms\n", found.gl_pathv[0], table.count, begin);
		if (i < PYTHON_FILES) {
			all_ms += begin;
			all_rows += table.count;
		}
		expect_form(elf, &table);
		expect_eh_frame(elf, &table);
		globfree(&found);
	}
	print_message("a python3 with NumPy: %zu rows in %.1f ms\n", all_rows, all_ms);
}

static void test_the_table_of_the_vdso(void **state)
{
	const uint8_t *image = (const uint8_t *)getauxval(AT_SYSINFO_EHDR);
	const Elf64_Ehdr *header = (const void *)image;
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	TABLE_OWNED table = { 0 };

	(void)state;
	if (!image) {
		print_message("skipped: this process has no vDSO\n");
		skip();
	}
	assert_int_equal(dt_elf_open_image(image, header->e_shoff + (size_t)header->e_shnum * header->e_shentsize, &elf), 0);
	assert_int_equal(dt_unwind_table_read(elf, &table), 0);
	expect_form(elf, &table);
	expect_eh_frame(elf, &table);
}

static void test_find(void **state)
{
	struct dt_unwind_row rows[] = { { 16, { .cfa = DT_CFA_STACK, .cfa_offset = 8 } },
					{ 20, { .cfa = DT_CFA_STACK, .cfa_offset = 16 } },
					{ 30, { .cfa = DT_CFA_NONE } } };
	struct dt_unwind_table table = { rows, DT_ARRAY_SIZE(rows) }, empty = { 0 };

	(void)state;
	assert_int_equal(dt_unwind_table_find(&table, 0).cfa, DT_CFA_NONE);
	assert_int_equal(dt_unwind_table_find(&table, 15).cfa, DT_CFA_NONE);
	assert_int_equal(dt_unwind_table_find(&table, 16).cfa_offset, 8);
	assert_int_equal(dt_unwind_table_find(&table, 19).cfa_offset, 8);
	assert_int_equal(dt_unwind_table_find(&table, 20).cfa_offset, 16);
	assert_int_equal(dt_unwind_table_find(&table, 29).cfa_offset, 16);
	assert_int_equal(dt_unwind_table_find(&table, 30).cfa, DT_CFA_NONE);
	assert_int_equal(dt_unwind_table_find(&table, UINT64_MAX).cfa, DT_CFA_NONE);
	assert_int_equal(dt_unwind_table_find(&empty, 16).cfa, DT_CFA_NONE);
}

/* ---- programs compiled for this test -------------------------------------------------------------------------- */

static const char source[] =
	"#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <pthread.h>\n"
	"#define KEPT __attribute__((noinline, used))\n"
	"KEPT int leaf(int a) { return a * 3; }\n"
	"KEPT int frame(int n) { char *p = __builtin_alloca(n); memset(p, n, n); return leaf(p[n / 2]) + 1; }\n"
	"KEPT int many(int a, int b, int c, int d, int e, int f, int g, int h) { int x = leaf(a) + leaf(b) * leaf(c);\n"
	"  int y = leaf(d) - leaf(e); int z = leaf(f) ^ leaf(g); return x + y + z + leaf(h); }\n"
	"KEPT int recurse(int n) { return n ? recurse(n - 1) + many(n, n, n, n, n, n, n, n) : frame(n + 100); }\n"
	"static void *thread(void *p) { void *q = malloc(10); free(q); return p; }\n"
	"int main(int argc, char **argv) { pthread_t t; char *p = malloc(argc); signal(SIGUSR1, SIG_IGN);\n"
	"  if (!pthread_create(&t, NULL, thread, argv)) pthread_join(t, NULL);\n"
	"  printf(\"%d %p\\n\", recurse(argc), p); free(p); exit(0); }\n";

struct built {
	char directory[64];
	struct dt_elf *elf;
};

static void free_built(struct built *built)
{
	DT_FREE char *path = NULL;

	dt_elf_close(built->elf);
	if (!*built->directory)
		return;
	if (asprintf(&path, "%s/program", built->directory) > 0)
		unlink(path);
	rmdir(built->directory);
}

#define BUILT_OWNED DT_CLEANUP(free_built) struct built

/* False: there is no such compiler. */
static bool build(struct built *built, const char *compiler)
{
	DT_FREE char *command = NULL, *path = NULL;
	FILE *to;

	strcpy(built->directory, "/tmp/test_unwind_table.XXXXXX");
	assert_non_null(mkdtemp(built->directory));
	assert_true(asprintf(&path, "%s/program", built->directory) > 0);
	assert_true(asprintf(&command, "%s -o %s -x c - -pthread 2>/dev/null", compiler, path) > 0);
	to = popen(command, "w");
	assert_non_null(to);
	fputs(source, to);
	if (pclose(to)) {
		print_message("skipped: '%s' cannot compile a program here\n", compiler);
		return false;
	}
	built->elf = open_elf(path);
	return true;
}

static const char *const functions[] = { "leaf", "frame", "many", "recurse", "main" };

static struct dt_elf_symbol find_symbol(const struct dt_elf *elf, const char *name)
{
	struct dt_elf_symbol symbol = { 0 };

	if (dt_elf_find_symbol(elf, name, &symbol))
		fail_msg("there is no %s", name);
	return symbol;
}

/* The code is the same, byte by byte, and so are the rules, wherever the compiler has put them. */
static void test_debug_frame_where_there_is_no_eh_frame(void **state)
{
	BUILT_OWNED with = { 0 };
	BUILT_OWNED without = { 0 };
	TABLE_OWNED table = { 0 };
	TABLE_OWNED debug_table = { 0 };
	struct dt_eh_frame frame = { 0 };

	(void)state;
	if (!build(&with, "cc -O2") || !build(&without, "cc -O2 -g -fno-asynchronous-unwind-tables -fno-unwind-tables"))
		skip();
	assert_int_equal(dt_elf_section(without.elf, ".debug_frame", &frame.bytes, &frame.size, &frame.vaddr), 0);
	assert_int_equal(dt_unwind_table_read(with.elf, &table), 0);
	assert_int_equal(dt_unwind_table_read(without.elf, &debug_table), 0);
	expect_form(without.elf, &debug_table);
	for (size_t i = 0; i < DT_ARRAY_SIZE(functions); i++) {
		struct dt_elf_symbol one = find_symbol(with.elf, functions[i]), other = find_symbol(without.elf, functions[i]);

		assert_int_equal(one.size, other.size);
		for (uint64_t at = 0; at < one.size; at++) {
			struct dt_unwind_rule rule = dt_unwind_table_find(&table, one.vaddr + at);
			struct dt_unwind_rule debug_rule = dt_unwind_table_find(&debug_table, other.vaddr + at);

			assert_memory_equal(&rule, &debug_rule, sizeof(rule));
			assert_int_not_equal(rule.cfa, DT_CFA_NONE);
		}
	}
}

/*
 * No table at all: the rules at the calls are those that the compiler would have written. main() never returns: behind its
 * first call of a function of another file, which may not return either, nothing is known.
 */
static void test_code_where_there_is_no_table(void **state)
{
	BUILT_OWNED with = { 0 };
	BUILT_OWNED without = { 0 };
	TABLE_OWNED table = { 0 };
	TABLE_OWNED code_table = { 0 };
	ZydisDecoder decoder;

	(void)state;
	assert_true(ZYAN_SUCCESS(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	if (!build(&with, "cc -O2") || !build(&without, "cc -O2 -g0 -fno-asynchronous-unwind-tables -fno-unwind-tables"))
		skip();
	assert_int_equal(dt_unwind_table_read(with.elf, &table), 0);
	assert_int_equal(dt_unwind_table_read(without.elf, &code_table), 0);
	expect_form(without.elf, &code_table);
	for (size_t i = 0; i < DT_ARRAY_SIZE(functions); i++) {
		struct dt_elf_symbol one = find_symbol(with.elf, functions[i]), other = find_symbol(without.elf, functions[i]);
		const uint8_t *bytes;
		size_t size, calls = 0;

		assert_int_equal(dt_elf_bytes(without.elf, other.vaddr, other.size, &bytes, &size), 0);
		assert_int_equal(one.size, size);
		for (size_t at = 0; at < size;) {
			struct dt_unwind_rule rule, code_rule;
			ZydisDecodedInstruction instruction;

			assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, NULL, bytes + at, size - at, &instruction)));
			rule = dt_unwind_table_find(&table, one.vaddr + at);
			code_rule = dt_unwind_table_find(&code_table, other.vaddr + at);
			at += instruction.length;
			if (instruction.meta.category != ZYDIS_CATEGORY_CALL)
				continue;
			calls++;
			assert_int_equal(!!(code_rule.frame_pointer & DT_SAVED_DERIVED), code_rule.cfa != DT_CFA_NONE);
			code_rule.frame_pointer &= ~DT_SAVED_DERIVED;
			if (strcmp(functions[i], "main") || calls == 1 || code_rule.cfa != DT_CFA_NONE)
				assert_memory_equal(&rule, &code_rule, sizeof(rule));
		}
		assert_int_equal(!calls, !strcmp(functions[i], "leaf"));
	}
}

/* The rule of the call that ends before an address of a code sequence in a function. */
static struct dt_unwind_rule rule_of_call(struct dt_elf *elf, const struct dt_unwind_table *table, const char *function,
					  const char *code, size_t size)
{
	struct dt_elf_symbol symbol = find_symbol(elf, function);
	const uint8_t *bytes, *at;
	size_t length;

	assert_int_equal(dt_elf_bytes(elf, symbol.vaddr, symbol.size ? symbol.size : 64, &bytes, &length), 0);
	at = memmem(bytes, length, code, size);
	if (!at)
		fail_msg("%s has no such code", function);
	return dt_unwind_table_find(table, symbol.vaddr + (uint64_t)(at - bytes));
}

static void test_a_static_program_of_musl(void **state)
{
	BUILT_OWNED built = { 0 };
	BUILT_OWNED stripped = { 0 };
	TABLE_OWNED table = { 0 };
	TABLE_OWNED stripped_table = { 0 };
	struct dt_elf_symbol symbol;

	(void)state;
	if (!build(&built, "musl-gcc -static -O2") || !build(&stripped, "musl-gcc -static -s -O2"))
		skip();
	assert_int_equal(dt_unwind_table_read(built.elf, &table), 0);
	assert_int_equal(dt_unwind_table_read(stripped.elf, &stripped_table), 0);
	expect_form(built.elf, &table);
	/* _start: call _start_c; __clone: call *%r9; what calls main, and start, which calls a thread's function. */
	assert_int_equal(rule_of_call(built.elf, &table, "_start", "\xe8", 1).cfa, DT_CFA_END);
	assert_int_equal(rule_of_call(built.elf, &table, "__clone", "\x41\xff\xd1", 3).cfa, DT_CFA_END);
	assert_int_equal(rule_of_call(built.elf, &table, "libc_start_main_stage2", "\xff\xd3", 2).cfa, DT_CFA_STACK);
	assert_int_equal(rule_of_call(built.elf, &table, "start", "\xff\x13", 2).cfa, DT_CFA_STACK);
	symbol = find_symbol(built.elf, "__restore_rt");
	assert_int_equal(dt_unwind_table_find(&table, symbol.vaddr - 1).cfa, DT_CFA_SIGNAL);
	assert_int_equal(dt_unwind_table_find(&table, symbol.vaddr).cfa, DT_CFA_SIGNAL);
	/* Without symbols, the same code has the same rule or none. */
	for (size_t i = 0; i < stripped_table.count; i++) {
		struct dt_unwind_rule rule = dt_unwind_table_find(&table, stripped_table.rows[i].vaddr);
		struct dt_unwind_rule stripped_rule = stripped_table.rows[i].rule;

		rule.frame_pointer &= ~DT_SAVED_DERIVED;        /* where the program starts is known without the code */
		stripped_rule.frame_pointer &= ~DT_SAVED_DERIVED;
		if (stripped_rule.cfa != DT_CFA_NONE && rule.cfa != DT_CFA_NONE)
			assert_memory_equal(&rule, &stripped_rule, sizeof(rule));
	}
	for (const char *const *name = (const char *const[]){ "_start", "__clone", "libc_start_main_stage2", "start", NULL }; *name; name++) {
		symbol = find_symbol(built.elf, *name);
		assert_int_not_equal(dt_unwind_table_find(&stripped_table, symbol.vaddr).cfa, DT_CFA_NONE);
	}
}

/* ---- damage -------------------------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

/* Damages a whole program: headers, sections, tables, code. What opens must give a table of the right form. */
static void test_damaged_files_do_no_harm(void **state)
{
	static const uint64_t odd[] = { 0, 1, 0x7f, 0xff, 0xffff, 0x7fffffff, 0xffffffff, INT64_MAX, UINT64_MAX, 0x1000, 64 };
	DT_FREE char *bytes = NULL, *copy = NULL;
	uint64_t seed = 88172645463325252u;
	size_t size, opened = 0;

	(void)state;
	assert_int_equal(dt_file_read("/bin/true", &bytes, &size), 0);
	copy = malloc(size);
	assert_non_null(copy);
	for (int round = 0; round < 1000; round++) {
		DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
		TABLE_OWNED table = { 0 };

		memcpy(copy, bytes, size);
		for (uint64_t k = next_random(&seed) % 30 + 1; k; k--) {
			size_t width = 1u << next_random(&seed) % 4;
			size_t at = next_random(&seed) % (round & 1 ? 0x400 : size - 8);
			uint64_t value = odd[next_random(&seed) % DT_ARRAY_SIZE(odd)];

			memcpy(copy + at, &value, width);
		}
		if (dt_elf_open_image(copy, size, &elf))
			continue;
		opened++;
		assert_int_equal(dt_unwind_table_read(elf, &table), 0);
		expect_form(elf, &table);
	}
	print_message("%zu of 1000 damaged files could be opened\n", opened);
	assert_true(opened > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables_of_whole_files),
		cmocka_unit_test(test_the_table_of_the_vdso),
		cmocka_unit_test(test_find),
		cmocka_unit_test(test_debug_frame_where_there_is_no_eh_frame),
		cmocka_unit_test(test_code_where_there_is_no_table),
		cmocka_unit_test(test_a_static_program_of_musl),
		cmocka_unit_test(test_damaged_files_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
