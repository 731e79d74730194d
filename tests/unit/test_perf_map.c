/* SPDX-License-Identifier: BSD-2-Clause */
/* Maps as JIT compilers write them, damaged ones, and the one of this very process. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "shell.h"
#include "target/perf_map.h"

static void free_map(struct dt_perf_map **map)
{
	dt_perf_map_free(*map);
}

static void expect(const struct dt_perf_map *map, uint64_t address, const char *name, uint64_t offset)
{
	uint64_t found_offset = ~0ull;
	const char *found = dt_perf_map_find(map, address, &found_offset);

	if (!name) {
		assert_null(found);
		return;
	}
	assert_non_null(found);
	assert_string_equal(found, name);
	assert_int_equal(found_offset, offset);
}

static void test_names(void **state)
{
	static const char text[] =
		"7f0000001000 10 first\n"
		"7f0000001010 20 LazyCompile:~second /srv/a b.js:1:2\n"
		"0x7f0000002000 0X100 third\n"
		"7F0000003000 8 UPPER\n"
		"7f0000002080 10 within third\n"
		"7f0000001000 18 instead of first\n"
		"ffffffffffffff00 ff last\n";
	DT_CLEANUP(free_map) struct dt_perf_map *map = NULL;

	(void)state;
	assert_int_equal(dt_perf_map_parse(text, strlen(text), &map), 0);
	expect(map, 0x7f0000000fff, NULL, 0);
	expect(map, 0x7f0000001000, "instead of first", 0);
	expect(map, 0x7f0000001017, "instead of first", 0x17);
	expect(map, 0x7f0000001018, "LazyCompile:~second /srv/a b.js:1:2", 8);
	expect(map, 0x7f000000102f, "LazyCompile:~second /srv/a b.js:1:2", 0x1f);
	expect(map, 0x7f0000001030, NULL, 0);
	expect(map, 0x7f000000207f, "third", 0x7f);
	expect(map, 0x7f0000002080, "within third", 0);
	expect(map, 0x7f0000002090, "third", 0x90);
	expect(map, 0x7f0000003007, "UPPER", 7);
	expect(map, 0x7f0000003008, NULL, 0);
	expect(map, 0xfffffffffffffffe, "last", 0xfe);
	expect(map, 0xffffffffffffffff, NULL, 0);
}

/* What is damaged is passed over, and nothing else. */
static void test_damaged_lines(void **state)
{
	static const char text[] =
		"\n \n1000\n1000 \n1000 10\n1000 10 \n1000 0 empty\nxyz 10 no number\n1000 xyz no number\n"
		"11112222333344445 10 too long\n1000 11112222333344445 too long\nffffffffffffffff 10 beyond the end\n-1000 10 minus\n"
		"1000\t10\ttabs\n0x 10 nothing\n2000 10 right\n3000 10 \xff\xfe\n4000 10 no newline at its end";
	DT_CLEANUP(free_map) struct dt_perf_map *map = NULL, *empty = NULL;

	(void)state;
	assert_int_equal(dt_perf_map_parse(text, strlen(text), &map), 0);
	for (uint64_t address = 0; address < 0x5000; address++)
		expect(map, address, address >= 0x2000 && address < 0x2010 ? "right" : address >= 0x3000 && address < 0x3010 ? "\xff\xfe" : NULL,
		       address & 0xfff);
	expect(map, ~0ull, NULL, 0);
	assert_int_equal(dt_perf_map_parse("", 0, &empty), 0);
	expect(empty, 0, NULL, 0);
	dt_perf_map_free(NULL);
}

/* Random overlapping functions, against the plain way: the last line that holds an address. */
static void test_as_without_an_index(void **state)
{
	static struct { unsigned int start, size; } rows[500];
	DT_CLEANUP(free_map) struct dt_perf_map *map = NULL;
	DT_FREE char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	(void)state;
	srand(1);
	for (size_t i = 0; i < DT_ARRAY_SIZE(rows); i++) {
		rows[i].start = (unsigned int)rand() % 10000;
		rows[i].size = 1 + (unsigned int)rand() % (i % 7 ? 40 : 2000);
		fprintf(file, "%x %x f%zu\n", rows[i].start, rows[i].size, i);
	}
	fclose(file);
	assert_int_equal(dt_perf_map_parse(text, size, &map), 0);
	for (unsigned int address = 0; address < 13000; address++) {
		char name[16] = "";
		size_t last = 0;

		for (size_t i = 0; i < DT_ARRAY_SIZE(rows); i++) {
			if (address < rows[i].start || address - rows[i].start >= rows[i].size)
				continue;
			snprintf(name, sizeof(name), "f%zu", i);
			last = i;
		}
		expect(map, address, *name ? name : NULL, address - rows[last].start);
	}
}

/* The descriptor of our own map, or an error. */
static int open_own(void)
{
	struct dt_perf_map_owner owner;
	int fd;

	assert_int_equal(dt_perf_map_owner_open(getpid(), &owner), 0);
	assert_int_equal(owner.pid, getpid());
	assert_int_equal(owner.own_pid, getpid());
	assert_int_equal(owner.uid, geteuid());
	fd = dt_perf_map_open(&owner);
	dt_perf_map_owner_close(&owner);
	assert_int_equal(owner.root_fd, -1);
	return fd;
}

static void test_own_map(void **state)
{
	DT_CLEANUP(free_map) struct dt_perf_map *map = NULL, *grown = NULL;
	char path[64];
	int fd;

	(void)state;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	unlink(path);
	assert_int_equal(open_own(), -ENOENT);
	assert_int_equal(symlink("/etc/passwd", path), 0);
	assert_int_equal(open_own(), -ELOOP);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(open_own(), -ENOENT);
	unlink(path);
	shell_write(path, "1000 10 first\n");
	fd = open_own();
	assert_true(fd >= 0);
	assert_int_equal(dt_perf_map_load(fd, &map), 0);
	expect(map, 0x1008, "first", 8);
	shell_write(path, "1000 10 first\n2000 10 second\n");
	unlink(path);                   /* the descriptor stays good */
	assert_int_equal(dt_perf_map_load(fd, &grown), 0);
	expect(grown, 0x2008, "second", 8);
	close(fd);
	assert_int_equal(open_own(), -ENOENT);
}

/* Whoever was asked for in time is known after its end. */
static void test_map_of_a_process_that_has_ended(void **state)
{
	DT_CLEANUP(free_map) struct dt_perf_map *map = NULL;
	struct dt_perf_map_owner owner;
	char path[64];
	pid_t child = fork();
	int fd;

	(void)state;
	assert_true(child >= 0);
	if (!child) {
		pause();
		_exit(0);
	}
	assert_int_equal(dt_perf_map_owner_open(child, &owner), 0);
	assert_int_equal(kill(child, SIGKILL), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	assert_int_equal(dt_perf_map_open(&owner), -ENOENT);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)child);
	shell_write(path, "1000 10 first\n");
	fd = dt_perf_map_open(&owner);
	unlink(path);
	dt_perf_map_owner_close(&owner);
	assert_true(fd >= 0);
	assert_int_equal(dt_perf_map_load(fd, &map), 0);
	expect(map, 0x1008, "first", 8);
	close(fd);
	assert_int_equal(dt_perf_map_owner_open(child, &owner), -ENOENT);
}

/* Whoever may write to /tmp must not name the functions of another user's process. */
static void test_map_of_another_user(void **state)
{
	char path[64];
	int fd;

	(void)state;
	if (geteuid()) {
		print_message("not root: no file can be given to another user\n");
		skip();
	}
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	shell_write(path, "1000 10 first\n");
	assert_int_equal(chown(path, 65534, 65534), 0);
	fd = open_own();
	unlink(path);
	assert_int_equal(fd, -EPERM);
}

/* A sparse file of more than is read: its end counts. */
static void test_large(void **state)
{
	DT_CLEANUP(free_map) struct dt_perf_map *map = NULL;
	int fd = open("large", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "1000 10 first\n", 14, 0), 14);
	assert_int_equal(pwrite(fd, "\n2000 10 last\n", 14, 3ll * DT_PERF_MAP_BYTES_MAX), 14);
	assert_int_equal(dt_perf_map_load(fd, &map), 0);
	expect(map, 0x1008, NULL, 0);
	expect(map, 0x2008, "last", 8);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_damaged_lines),
		cmocka_unit_test(test_as_without_an_index),
		cmocka_unit_test(test_own_map),
		cmocka_unit_test(test_map_of_a_process_that_has_ended),
		cmocka_unit_test(test_map_of_another_user),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
