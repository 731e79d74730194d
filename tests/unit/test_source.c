/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every call of real programs, as several compilers describe them, against what LLVM's addr2line says. (binutils' names inlined
 * functions without a linkage name after what is around them, and miscounts the files of programs optimised at link time; elfutils'
 * finds nothing that clang compiled.)
 */
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
#include "target/call.h"
#include "target/demangle.h"
#include "target/source.h"

static void close_source(struct dt_source **source)
{
	dt_source_close(*source);
}

static void close_pipe(FILE **pipe)
{
	if (*pipe)
		pclose(*pipe);
}

/* Writes the addresses behind which a call may return: more than there really are, as calls are told by their bytes. */
static size_t write_calls(const char *program, const char *path)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	DT_FILE FILE *file = fopen(path, "w");
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size, count = 0;

	assert_non_null(file);
	assert_int_equal(dt_elf_open(open(program, O_RDONLY | O_CLOEXEC), &elf), 0);
	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++)
		for (size_t at = DT_CALL_BYTES_MAX; at <= size; at++)
			if (dt_call_length(bytes + at - DT_CALL_BYTES_MAX, DT_CALL_BYTES_MAX))
				count += fprintf(file, "%#llx\n", (unsigned long long)(vaddr + at - 1)) > 0;
	return count;
}

/* One frame as addr2line prints it: a line with the function, one with FILE:LINE. */
struct expected {
	char function[8192], file[4096];
	int line;
};

static bool read_line(FILE *from, char *line, size_t size)
{
	if (!fgets(line, (int)size, from))
		return false;
	line[strcspn(line, "\n")] = '\0';
	return true;
}

static bool read_expected(FILE *from, const char *function, struct expected *ret_expected)
{
	char place[4096], *colon;

	snprintf(ret_expected->function, sizeof(ret_expected->function), "%s", function);
	if (!read_line(from, place, sizeof(place)))
		return false;
	colon = strstr(place, " (discriminator");
	if (colon)
		*colon = '\0';
	colon = strrchr(place, ':');
	assert_non_null(colon);
	ret_expected->line = atoi(colon + 1);
	*colon = '\0';
	snprintf(ret_expected->file, sizeof(ret_expected->file), "%s", place);
	return true;
}

/* The compiler's file names, without the steps that cancel each other out. */
static void clean(const char *path, char *to)
{
	size_t length = 0;

	while (*path) {
		size_t part = strcspn(path, "/");

		if (part == 2 && !strncmp(path, "..", 2) && length && strncmp(to + length - 3 + (length < 3), "../", 3)) {
			for (length--; length && to[length - 1] != '/'; length--)
				;
		} else if (part != 1 || *path != '.') {
			memcpy(to + length, path, part);
			length += part;
			if (path[part] == '/' && (part || !length))
				to[length++] = '/';
		}
		path += part + (path[part] == '/');
	}
	to[length] = '\0';
}

/*
 * For the function that really is there LLVM takes the name of the symbol table: that of a part (f.cold), that of another variant of
 * a constructor that is the same code, or a linkage name where DWARF has none; then that must hold the short name.
 */
static bool is_same_function(const char *function, const char *expected)
{
	DT_FREE char *readable = dt_demangle(function), *expected_readable = dt_demangle(expected);
	size_t length = strlen(function);
	char name[256];

	if (!strncmp(expected, function, length) && (!expected[length] || expected[length] == '.'))
		return true;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(function, "<"), function);
	return expected_readable && (readable ? !strcmp(readable, expected_readable) : strstr(expected_readable, name) != NULL);
}

static void compare_frame(uint64_t address, const struct dt_source_frame *frame, const struct expected *expected)
{
	char ours[4096] = "??", theirs[4096];

	if (frame->file)
		clean(frame->file, ours);
	clean(expected->file, theirs);
	if (strcmp(ours, theirs) || frame->line != expected->line ||
	    (frame->function && !is_same_function(frame->function, expected->function)))
		fail_msg("%#llx: %s at %s:%d, addr2line says %s at %s:%d", (unsigned long long)address, frame->function ? frame->function : "-",
			 ours, frame->line, expected->function, theirs, expected->line);
}

struct sums {
	size_t addresses, frames, inlined;
};

/* Reads the frames of one address up to the line with the next one. */
static void compare_address(struct dt_source *source, FILE *from, uint64_t address, char *line, size_t size, struct sums *sums)
{
	struct dt_source_frame frames[DT_SOURCE_DEPTH_MAX];
	struct expected expected;
	size_t count = 0, at = 0;
	bool more;

	assert_int_equal(dt_source_find(source, address, frames, &count), 0);
	more = read_line(from, line, size);
	while (more && strncmp(line, "0x", 2)) {
		assert_true(read_expected(from, line, &expected));
		if (count || expected.line) {
			assert_true(at < count);
			compare_frame(address, &frames[at++], &expected);
		}
		more = read_line(from, line, size);
	}
	if (!more)
		line[0] = '\0';
	assert_int_equal(at, count);
	sums->addresses++;
	sums->frames += count;
	sums->inlined += count ? count - 1 : 0;
}

#define LLVM "llvm-addr2line"
#define BINUTILS "addr2line"

static struct sums compare_all(const char *program, const char *debug, const char *oracle)
{
	DT_CLEANUP(close_source) struct dt_source *source = NULL;
	DT_CLEANUP(close_pipe) FILE *from = NULL;
	struct sums sums = { 0 };
	char command[512], line[8192];

	assert_true(write_calls(program, "calls") > 0);
	assert_int_equal(dt_source_open(open(debug, O_RDONLY | O_CLOEXEC), &source), 0);
	snprintf(command, sizeof(command), "%s -a -i -f -e %s < calls", oracle, debug);
	from = popen(command, "r");
	assert_non_null(from);
	assert_true(read_line(from, line, sizeof(line)));
	while (line[0])
		compare_address(source, from, strtoull(line, NULL, 16), line, sizeof(line), &sums);
	print_message("%s: %zu addresses, %zu frames, %zu of them inlined, as addr2line says\n", program, sums.addresses, sums.frames, sums.inlined);
	assert_true(sums.frames > 0);
	return sums;
}

static void test_c(void **state)
{
	static const char *const options[] = {
		"gcc -O2 -g", "gcc -O2 -g -gdwarf-4", "gcc -O2 -g -gz=zlib", "gcc -O2 -g -no-pie", "gcc -O2 -g -flto", "gcc -O0 -g",
		"gcc -O2 -g -ffunction-sections -Wl,--gc-sections", "clang -O2 -g", "clang -O2 -g -gdwarf-4", "clang -O1 -gline-tables-only",
	};

	(void)state;
	shell_write("program.c", program_c);
	for (size_t i = 0; i < DT_ARRAY_SIZE(options); i++) {
		print_message("%s: ", options[i]);
		shell("%s -o c-%zu program.c", options[i], i);
		char name[32];

		snprintf(name, sizeof(name), "c-%zu", i);
		compare_all(name, name, LLVM);
	}
}

static void test_cpp(void **state)
{
	static const char *const options[] = { "g++ -O2 -g", "g++ -O0 -g", "g++ -O2 -g -gdwarf-4 -static", "clang++ -O2 -g" };

	(void)state;
	shell_write("program.cpp", program_cpp);
	for (size_t i = 0; i < DT_ARRAY_SIZE(options); i++) {
		char name[32];

		print_message("%s: ", options[i]);
		shell("%s -std=c++17 -o cpp-%zu program.cpp", options[i], i);
		snprintf(name, sizeof(name), "cpp-%zu", i);
		compare_all(name, name, LLVM);
	}
}

static void test_rust(void **state)
{
	(void)state;
	if (!shell_has("rustc")) {
		print_message("no rustc: its DWARF is not compared\n");
		skip();
	}
	shell_write("program.rs", program_rust);
	shell("rustc -g -O -o rust program.rs 2>rustc.log");
	/* Where the linker has folded equal functions into one, LLVM names another of them than DWARF does. */
	compare_all("rust", "rust", BINUTILS);
}

static void test_separate_file(void **state)
{
	(void)state;
	shell_write("program.c", program_c);
	shell("gcc -O2 -g -o whole program.c");
	shell("objcopy --only-keep-debug whole whole.debug && strip -o stripped whole");
	assert_int_equal(compare_all("stripped", "whole.debug", LLVM).frames, compare_all("whole", "whole", LLVM).frames);
}

static void test_without_dwarf(void **state)
{
	struct dt_source *source;

	(void)state;
	shell_write("program.c", program_c);
	shell("gcc -O2 -s -o bare program.c");
	assert_int_equal(dt_source_open(open("bare", O_RDONLY | O_CLOEXEC), &source), -ENODATA);
	assert_int_equal(dt_source_open(open("program.c", O_RDONLY | O_CLOEXEC), &source), -ENODATA);
	assert_int_equal(dt_source_open(open("/dev/null", O_RDONLY | O_CLOEXEC), &source), -ENODATA);
	dt_source_close(NULL);
}

/* 40 functions in each other: more than are kept; the innermost ones and the one that is really there are. */
static void test_too_deep(void **state)
{
	DT_CLEANUP(close_source) struct dt_source *source = NULL;
	struct dt_source_frame frames[DT_SOURCE_DEPTH_MAX];
	DT_FILE FILE *file = fopen("deep.c", "w");
	size_t count, deepest = 0;

	(void)state;
	assert_non_null(file);
	fprintf(file, "#include <stdlib.h>\nstatic inline __attribute__((always_inline)) void *f0(void)\n{ return malloc(1); }\n");
	for (int i = 1; i < 40; i++)
		fprintf(file, "static inline __attribute__((always_inline)) void *f%d(void)\n{ return f%d(); }\n", i, i - 1);
	fprintf(file, "int main(void)\n{ return !f39(); }\n");
	fflush(file);
	shell("gcc -O2 -g -o deep deep.c");
	write_calls("deep", "calls");
	assert_int_equal(dt_source_open(open("deep", O_RDONLY | O_CLOEXEC), &source), 0);
	DT_FILE FILE *calls = fopen("calls", "r");
	char line[64];

	while (fgets(line, sizeof(line), calls)) {
		assert_int_equal(dt_source_find(source, strtoull(line, NULL, 16), frames, &count), 0);
		if (count < deepest)
			continue;
		deepest = count;
		if (count == DT_SOURCE_DEPTH_MAX) {
			assert_string_equal(frames[0].function, "f0");
			assert_int_equal(frames[0].line, 3);
			assert_string_equal(frames[count - 1].function, "main");
			assert_int_equal(frames[count - 1].line, 83);
		}
	}
	assert_int_equal(deepest, DT_SOURCE_DEPTH_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_c),
		cmocka_unit_test(test_cpp),
		cmocka_unit_test(test_rust),
		cmocka_unit_test(test_separate_file),
		cmocka_unit_test(test_without_dwarf),
		cmocka_unit_test(test_too_deep),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
