/* SPDX-License-Identifier: BSD-2-Clause */
/* The perf map of a process whose /tmp goes with it, and one that is removed and written anew. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "session/jit.h"

#define IMAGE 7
#define CODE 0x7f0000001000ull

static void write_map(pid_t pid, const char *name)
{
	char path[64];
	FILE *map;

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)pid);
	map = fopen(path, "w");
	assert_non_null(map);
	fprintf(map, "%llx 40 %s\n", CODE, name);
	assert_int_equal(fclose(map), 0);
}

static void remove_map(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)pid);
	assert_int_equal(unlink(path), 0);
}

static void expect(struct dt_jit *jits, const char *name)
{
	uint64_t offset;
	const char *found = dt_jit_find(jits, IMAGE, CODE + 1, &offset);

	if (!name) {
		assert_null(found);
		return;
	}
	assert_non_null(found);
	assert_string_equal(found, name);
	assert_int_equal(offset, 1);
}

/* Tells by a byte what came of it: 0, or the error that kept it from a /tmp of its own. */
static void live_apart(int told)
{
	unsigned char failed = 0;

	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) || mount("tmpfs", "/tmp", "tmpfs", 0, NULL))
		failed = (unsigned char)errno;
	else
		write_map(getpid(), "apart");
	if (write(told, &failed, 1) != 1)
		_exit(1);
	pause();
	_exit(0);
}

/* The pid; 0: there is no such process to be had here. */
static pid_t start_apart(void)
{
	unsigned char failed = EIO;
	int told[2];
	pid_t pid;

	assert_int_equal(pipe(told), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		live_apart(told[1]);
	close(told[1]);
	assert_int_equal(read(told[0], &failed, 1), 1);
	close(told[0]);
	if (!failed)
		return pid;
	print_message("a mount namespace: %s\n", strerror(failed));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return 0;
}

/* `opened`: while it lived. Else its map is out of reach, which is why it is opened. */
static void ask_after_its_end(bool opened)
{
	struct dt_traced traced = { .pid = start_apart(), .image = IMAGE };
	struct dt_jit *jits = NULL;

	if (!traced.pid)
		skip();
	dt_jit_add_process(&jits, &traced);
	if (opened)
		dt_jit_open(jits, IMAGE);
	assert_int_equal(kill(traced.pid, SIGKILL), 0);
	assert_int_equal(waitpid(traced.pid, NULL, 0), traced.pid);
	expect(jits, opened ? "apart" : NULL);
	dt_jit_clear(&jits);
}

static void test_namespace(void **state)
{
	(void)state;
	ask_after_its_end(true);
}

static void test_namespace_too_late(void **state)
{
	(void)state;
	ask_after_its_end(false);
}

static void test_written_anew(void **state)
{
	struct dt_traced traced = { .pid = getpid(), .image = IMAGE };
	struct dt_jit *jits = NULL;

	(void)state;
	write_map(traced.pid, "of an older process");
	dt_jit_add_process(&jits, &traced);
	dt_jit_open(jits, IMAGE);
	remove_map(traced.pid);
	expect(jits, "of an older process");    /* nothing newer is there */
	write_map(traced.pid, "new");
	dt_jit_look_again(jits);
	expect(jits, "new");
	remove_map(traced.pid);
	dt_jit_look_again(jits);
	expect(jits, "new");
	dt_jit_clear(&jits);
}

/* Of an image that is not known, nothing is opened or found. */
static void test_unknown(void **state)
{
	struct dt_jit *jits = NULL;

	(void)state;
	dt_jit_open(jits, IMAGE);
	expect(jits, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_namespace),
		cmocka_unit_test(test_namespace_too_late),
		cmocka_unit_test(test_written_anew),
		cmocka_unit_test(test_unknown),
	};

	return cmocka_run_group_tests_name("jit", tests, NULL, NULL);
}
