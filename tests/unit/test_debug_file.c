/* SPDX-License-Identifier: BSD-2-Clause */
/* Separate debug files in every place, in a root directory made for it; and what only looks like one. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "programs.h"
#include "shell.h"
#include "open_elf.h"
#include "target/debug_file.h"

/* A program under root/srv/bin, stripped, and its debug file, in the directory of this test. `options`: of the linker. */
static struct dt_elf *build(const char *options)
{
	struct dt_elf *elf;

	shell("rm -rf root && mkdir -p root/srv/bin root/usr/lib/debug");
	shell_write("program.c", program_c);
	shell("gcc -O2 -g %s -o program program.c", options);
	shell("objcopy --only-keep-debug program program.debug");
	shell("strip program && objcopy --add-gnu-debuglink=program.debug program root/srv/bin/program");
	assert_int_equal(dt_elf_open(open("root/srv/bin/program", O_RDONLY | O_CLOEXEC), &elf), 0);
	return elf;
}

/* How many files are found, and that the first that matches is the one with this path. NULL: none does. */
static void expect(struct dt_elf *elf, size_t expected_count, const char *expected)
{
	DT_FD int root = open("root", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fds[DT_DEBUG_FILES_MAX];
	size_t count = dt_debug_file_open(elf, "/srv/bin/program", root, fds);
	struct stat wanted = { 0 }, found = { 0 };

	assert_int_equal(count, expected_count);
	if (expected)
		assert_int_equal(stat(expected, &wanted), 0);
	for (size_t i = 0; i < count; i++) {
		if (!found.st_ino && dt_debug_file_matches(elf, fds[i]))
			assert_int_equal(fstat(fds[i], &found), 0);
		close(fds[i]);
	}
	assert_int_equal(found.st_ino, wanted.st_ino);
}

static void test_by_build_id(void **state)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = build("-Wl,--build-id=0x0123456789abcdef");

	(void)state;
	expect(elf, 0, NULL);
	shell("mkdir -p root/usr/lib/debug/.build-id/01 && cp program.debug root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	expect(elf, 1, "root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	/* Named by this id, but of another program. */
	shell("gcc -O1 -g -Wl,--build-id=0x1111111111111111 -o other program.c && objcopy --only-keep-debug other "
	      "root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	expect(elf, 1, NULL);
	shell("cp program.debug root/srv/bin/");
	expect(elf, 2, "root/srv/bin/program.debug");
	shell("echo text > root/usr/lib/debug/.build-id/01/23456789abcdef.debug");
	expect(elf, 2, "root/srv/bin/program.debug");
}

static void test_by_link(void **state)
{
	static const char *const places[] = { "srv/bin/program.debug", "srv/bin/.debug/program.debug", "usr/lib/debug/srv/bin/program.debug" };
	DT_CLEANUP(close_elf) struct dt_elf *elf = build("-Wl,--build-id=none");
	char path[128];

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(places); i++) {
		snprintf(path, sizeof(path), "root/%s", places[i]);
		shell("mkdir -p root/srv/bin/.debug root/usr/lib/debug/srv/bin && cp program.debug %s", path);
		expect(elf, 1, path);
		shell("printf x >> %s", path);  /* another check sum */
		expect(elf, 1, NULL);
		shell("rm %s", path);
		expect(elf, 0, NULL);
	}
}

static void test_links_stay_in_the_root(void **state)
{
	DT_CLEANUP(close_elf) struct dt_elf *elf = build("-Wl,--build-id=none");

	(void)state;
	shell("mkdir -p root/elsewhere && cp program.debug root/elsewhere/ && ln -s /elsewhere/program.debug root/srv/bin/program.debug");
	expect(elf, 1, "root/elsewhere/program.debug");
	/* Leads out of it when it is followed as we would. */
	shell("ln -sf %s/program.debug root/srv/bin/program.debug", shell_directory);
	expect(elf, 0, NULL);
	shell("ln -sf ../../../../../../../../../..%s/program.debug root/srv/bin/program.debug", shell_directory);
	expect(elf, 0, NULL);
	shell("ln -sf program.debug root/srv/bin/program.debug");
	expect(elf, 0, NULL);
	/* No regular file, and none that opening would wait for. */
	shell("rm root/srv/bin/program.debug && mkfifo root/srv/bin/program.debug");
	expect(elf, 0, NULL);
	shell("rm root/srv/bin/program.debug && mkdir root/srv/bin/program.debug");
	expect(elf, 0, NULL);
}

/* .gnu_debuglink as a hostile file has it: a path, without an end, without a check sum, the file's own name. */
static void test_forged_links(void **state)
{
	static const char *const sections[] = { "../x\\0\\0\\0\\0abcd", "/x\\0abcd", "xxxxxxxx", "xxx\\0ab", "", "\\0\\0\\0\\0abcd", "program\\0abcd" };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(sections); i++) {
		DT_CLEANUP(close_elf) struct dt_elf *elf = NULL;

		dt_elf_close(build("-Wl,--build-id=none"));
		shell("cp program.debug root/srv/x; cp program.debug root/x; cp program.debug root/srv/bin/xxxxxxxx; cp program.debug root/srv/bin/xxx");
		shell("printf '%s' > section && objcopy --add-section .gnu_debuglink=section program root/srv/bin/program", sections[i]);
		assert_int_equal(dt_elf_open(open("root/srv/bin/program", O_RDONLY | O_CLOEXEC), &elf), 0);
		expect(elf, 0, NULL);
	}
}

static void test_root(void **state)
{
	struct stat ours, theirs;
	bool own = false;
	int fd = dt_debug_root_open(getpid(), &own);

	(void)state;
	assert_true(fd >= 0);
	assert_true(own);
	assert_int_equal(fstat(fd, &theirs), 0);
	assert_int_equal(stat("/", &ours), 0);
	assert_int_equal(theirs.st_ino, ours.st_ino);
	close(fd);
	assert_int_equal(dt_debug_root_open(0x3fffff, &own), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_by_build_id),
		cmocka_unit_test(test_by_link),
		cmocka_unit_test(test_links_stay_in_the_root),
		cmocka_unit_test(test_forged_links),
		cmocka_unit_test(test_root),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
