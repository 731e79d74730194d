/* SPDX-License-Identifier: BSD-2-Clause */
/* The helper process: its answers are those of the same code here, it has no power, and it may die at any moment. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "programs.h"
#include "session/namer.h"
#include "shell.h"
#include "open_elf.h"

#define SECOND 1000000000ull

static void free_namer(struct dt_namer **namer)
{
	dt_namer_free(*namer);
}

static void close_names(struct dt_names **names)
{
	dt_names_close(*names);
}

static void build(void)
{
	shell_write("program.cpp", program_cpp);
	shell("g++ -O2 -g -std=c++17 -o program program.cpp && strip -o stripped program && objcopy --only-keep-debug program program.debug");
}

static struct dt_namer *start(uint64_t limit_ns)
{
	struct dt_namer *namer;

	assert_int_equal(dt_namer_new(&(struct dt_names_opts){ 0 }, limit_ns, &namer), 0);
	assert_int_equal(dt_namer_pid(namer), 0);
	assert_int_equal(dt_namer_fd(namer), -1);
	assert_int_equal(dt_namer_start(namer), 1);
	assert_int_equal(dt_namer_start(namer), 1);
	return namer;
}

static void open_file(struct dt_namer *namer, uint32_t number, const char *path, const char *debug, bool has_lines)
{
	DT_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	DT_FD int debug_fd = debug ? open(debug, O_RDONLY | O_CLOEXEC) : -1;
	struct dt_namer_answer answer;

	assert_int_equal(dt_namer_open(namer, number, fd, &debug_fd, debug ? 1 : 0, false), 0);
	assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), 0);
	assert_int_equal(answer.has_lines, has_lines);
	assert_null(answer.names);
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

static void test_answers(void **state)
{
	DT_CLEANUP(free_namer) struct dt_namer *namer = start(10 * SECOND);
	DT_CLEANUP(close_names) struct dt_names *names = NULL;
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	struct dt_namer_answer answer;
	const struct dt_name *found;
	const uint8_t *bytes;
	size_t size, count, frames = 0;
	uint64_t vaddr;

	(void)state;
	build();
	open_file(namer, 3, "stripped", "program.debug", true);
	open_file(namer, 60000, "stripped", NULL, false);
	assert_int_equal(dt_names_open(open("program", O_RDONLY | O_CLOEXEC), NULL, 0, &(struct dt_names_opts){ 0 }, &names), 0);
	assert_int_equal(dt_elf_open(open("program", O_RDONLY | O_CLOEXEC), &elf), 0);
	assert_true(dt_elf_text(elf, 0, &vaddr, &bytes, &size));
	for (size_t at = 0; at < size; at += 3) {
		assert_int_equal(dt_namer_ask(namer, 3, vaddr + at), 0);
		assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), 0);
		assert_int_equal(dt_names_find(names, vaddr + at, &found, &count), 0);
		assert_int_equal(answer.count, count);
		for (size_t i = 0; i < count; i++)
			compare(&answer.names[i], &found[i]);
		frames += count;
	}
	print_message("%zu frames, the same from the helper\n", frames);
	assert_int_equal(dt_namer_ask(namer, 4, vaddr), 0);
	assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), -EBADF);
	assert_int_equal(dt_namer_ask(namer, 65535, vaddr), 0);
	assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), -EBADF);
}

/* A name longer than a packet: as much of it as there is room for. */
static void test_long_name(void **state)
{
	DT_CLEANUP(free_namer) struct dt_namer *namer = start(10 * SECOND);
	DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;
	struct dt_namer_answer answer;
	struct dt_elf_symbol symbol;
	char first[32];

	(void)state;
	shell("awk 'BEGIN { s = \"f\"; while (length(s) < 200000) s = s s; print \"int \" s \"(void) { return 1; } int main(void) { return 0; }\" }' > long.c");
	shell("gcc -O0 -g -o long long.c");
	open_file(namer, 0, "long", NULL, true);
	assert_int_equal(dt_elf_open(open("long", O_RDONLY | O_CLOEXEC), &elf), 0);
	assert_int_equal(dt_elf_find_symbol(elf, "main", &symbol), 0);
	assert_int_equal(dt_namer_ask(namer, 0, symbol.vaddr - 1), 0);  /* the end of the function before */
	assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), 0);
	assert_int_equal(answer.count, 1);
	assert_true(strlen(answer.names[0].function) > 50000);
	snprintf(first, sizeof(first), "%.8s", answer.names[0].function);
	assert_string_equal(first, "ffffffff");
	assert_string_equal(answer.names[0].function + strlen(answer.names[0].function) - 3, "\xe2\x80\xa6");
}

/* Of all that this process can do, the helper can do nothing: see proc(5). */
static void test_has_no_power(void **state)
{
	DT_CLEANUP(free_namer) struct dt_namer *namer = start(10 * SECOND);
	DT_FREE char *text = NULL;
	char path[64];

	(void)state;
	shell_write("program.cpp", "int main() {}\n");
	shell("g++ -g -o program program.cpp");
	open_file(namer, 0, "program", NULL, true);             /* so that it has given up by now */
	snprintf(path, sizeof(path), "/proc/%d/status", (int)dt_namer_pid(namer));
	assert_int_equal(dt_file_read(path, &text, NULL), 0);
	assert_non_null(strstr(text, "\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"));
	assert_non_null(strstr(text, "\nNoNewPrivs:\t1\n"));
	assert_non_null(strstr(text, "\nSeccomp:\t2\n"));
	assert_non_null(strstr(text, "\nName:\tdomtrace-names\n") || !strncmp(text, "Name:\tdomtrace-names\n", 21) ? text : NULL);
}

static void test_dies(void **state)
{
	DT_CLEANUP(free_namer) struct dt_namer *namer = start(10 * SECOND);
	struct dt_namer_answer answer;

	(void)state;
	build();
	open_file(namer, 0, "program", NULL, true);
	kill(dt_namer_pid(namer), SIGKILL);
	usleep(20000);
	assert_int_equal(dt_namer_ask(namer, 0, 0x1000), 0);
	assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), -EPIPE);
	assert_int_equal(dt_namer_pid(namer), 0);
	assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), -EPIPE);
	assert_int_equal(dt_namer_start(namer), 2);
	open_file(namer, 0, "program", NULL, true);
}

static void test_hangs(void **state)
{
	DT_CLEANUP(free_namer) struct dt_namer *namer = start(SECOND / 5);
	struct dt_namer_answer answer;
	pid_t pid = dt_namer_pid(namer);

	(void)state;
	build();
	open_file(namer, 0, "program", NULL, true);
	kill(pid, SIGSTOP);
	assert_int_equal(dt_namer_ask(namer, 0, 0x1000), 0);
	assert_int_equal(dt_namer_wait(namer, 0, &answer), -EAGAIN);
	assert_int_equal(dt_namer_wait(namer, SECOND / 100, &answer), -EAGAIN);
	assert_int_equal(dt_namer_wait(namer, 10 * SECOND, &answer), -ETIMEDOUT);
	assert_int_equal(kill(pid, 0), -1);                     /* gone, and no zombie */
	assert_int_equal(dt_namer_start(namer), 2);
}

/* Where the debug information of a file lies: sections named .debug_*, side by side. */
static void find_debug_bytes(const char *file, size_t *ret_start, size_t *ret_end)
{
	const Elf64_Ehdr *header = (const void *)file;
	const Elf64_Shdr *sections = (const void *)(file + header->e_shoff);
	const char *names = file + sections[header->e_shstrndx].sh_offset;

	*ret_start = SIZE_MAX;
	*ret_end = 0;
	for (size_t i = 1; i < header->e_shnum; i++) {
		if (strncmp(names + sections[i].sh_name, ".debug_", strlen(".debug_")))
			continue;
		if (sections[i].sh_offset < *ret_start)
			*ret_start = sections[i].sh_offset;
		if (sections[i].sh_offset + sections[i].sh_size > *ret_end)
			*ret_end = sections[i].sh_offset + sections[i].sh_size;
	}
	assert_true(*ret_start < *ret_end);
}

/* Debug information with random damage: whatever becomes of the helper, this process goes on and every answer is well-formed. */
static void test_forged_debug_information(void **state)
{
	DT_CLEANUP(free_namer) struct dt_namer *namer = start(2 * SECOND);
	DT_FREE char *file = NULL, *damaged = NULL;
	size_t size, begin, end, frames = 0, refused = 0, died = 0, late = 0;

	(void)state;
	shell_write("program.c", program_c);
	shell("gcc -O2 -g -o program program.c");
	assert_int_equal(dt_file_read("program", &file, &size), 0);
	find_debug_bytes(file, &begin, &end);
	damaged = malloc(size);
	assert_non_null(damaged);
	srand(1);
	for (int round = 0; round < 400; round++) {
		DT_FD int fd = memfd_create("damaged", MFD_CLOEXEC);
		struct dt_namer_answer answer;
		int error;

		memcpy(damaged, file, size);
		for (int i = 0; i < 1 + round % 40; i++)
			damaged[begin + (size_t)rand() % (end - begin)] = (char)(rand() % 3 ? rand() : rand() % 2 - 1);
		assert_int_equal(dt_file_write_all(fd, damaged, size), 0);
		assert_true(dt_namer_start(namer) > 0);
		assert_int_equal(dt_namer_open(namer, 0, fd, NULL, 0, false), 0);
		error = dt_namer_wait(namer, 10 * SECOND, &answer);
		for (uint64_t vaddr = 0x1040; vaddr < 0x1300 && !error; vaddr += 7) {
			assert_int_equal(dt_namer_ask(namer, 0, vaddr), 0);
			error = dt_namer_wait(namer, 10 * SECOND, &answer);
			for (size_t i = 0; i < answer.count && !error; i++)
				frames += 1 + (answer.names[i].function ? strlen(answer.names[i].function) == SIZE_MAX : 0) +
					  (answer.names[i].file ? strlen(answer.names[i].file) == SIZE_MAX : 0);
		}
		died += error == -EPIPE;
		late += error == -ETIMEDOUT;
		refused += error && error != -EPIPE && error != -ETIMEDOUT;
	}
	print_message("400 damaged files: %zu frames, %zu refused, the helper died %zu times and was late %zu times\n", frames, refused, died, late);
}

/* It does not outlive the one that it works for. */
static void test_ends_with_its_owner(void **state)
{
	struct dt_namer *namer = start(10 * SECOND);
	pid_t pid = dt_namer_pid(namer);

	(void)state;
	assert_int_equal(kill(pid, 0), 0);
	dt_namer_free(namer);
	assert_int_equal(kill(pid, 0), -1);
	dt_namer_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_long_name),
		cmocka_unit_test(test_has_no_power),
		cmocka_unit_test(test_dies),
		cmocka_unit_test(test_hangs),
		cmocka_unit_test(test_forged_debug_information),
		cmocka_unit_test(test_ends_with_its_owner),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
