/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole files: of any size, of none, from procfs and pipes; what is not there, and what takes only a part at a time. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"

#define SIZE_MAX_TESTED 200000

static uint8_t pattern[SIZE_MAX_TESTED];

static int make_pattern(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pattern); i++)
		pattern[i] = (uint8_t)(i * 31 + i / 251);
	return 0;
}

static void test_read_of_every_size(void **state)
{
	static const size_t sizes[] = { 0, 1, 4094, 4095, 4096, 4097, 8191, 8192, SIZE_MAX_TESTED };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(sizes); i++) {
		DT_FD int fd = memfd_create("t", MFD_CLOEXEC);
		DT_FREE char *data = NULL;
		char path[64];
		size_t size = 1;

		assert_int_equal(dt_file_write_all(fd, pattern, sizes[i]), 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		assert_int_equal(dt_file_read(path, &data, &size), 0);
		assert_int_equal(size, sizes[i]);
		assert_memory_equal(data, pattern, size);
		assert_int_equal(data[size], 0);
	}
}

static void test_read_of_procfs(void **state)
{
	DT_FREE char *data = NULL;

	(void)state;
	assert_int_equal(dt_file_read("/proc/self/comm", &data, NULL), 0);
	assert_string_equal(data, "test_file\n");
}

static void test_read_fails(void **state)
{
	char *data = (char *)pattern;
	size_t size = 77;

	(void)state;
	assert_int_equal(dt_file_read("/nonexistent/x", &data, &size), -ENOENT);
	assert_int_equal(dt_file_read("/proc/self", &data, &size), -EISDIR);
	assert_ptr_equal(data, pattern);
	assert_int_equal(size, 77);
}

static void test_read_at(void **state)
{
	DT_FD int fd = memfd_create("t", MFD_CLOEXEC);
	uint8_t data[100];

	(void)state;
	assert_int_equal(dt_file_write_all(fd, pattern, 1000), 0);
	assert_int_equal(dt_file_read_at(fd, data, 100, 900), 0);
	assert_memory_equal(data, pattern + 900, 100);
	assert_int_equal(dt_file_read_at(fd, data, 100, 901), -ENODATA);
	assert_int_equal(dt_file_read_at(fd, data, 0, 5000), 0);
	assert_int_equal(dt_file_read_at(fd, data, 1, UINT64_MAX), -EINVAL);
	assert_int_equal(dt_file_read_at(-1, data, 1, 0), -EBADF);
}

/* A pipe takes what fits; its reader is slow. */
static void test_write_all_into_a_pipe(void **state)
{
	DT_FREE char *data = NULL;
	char path[64];
	size_t size;
	int ends[2], status;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(ends[0]);
		_exit(dt_file_write_all(ends[1], pattern, sizeof(pattern)) ? 1 : 0);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	close(ends[1]);
	assert_int_equal(dt_file_read(path, &data, &size), 0);
	assert_int_equal(size, sizeof(pattern));
	assert_memory_equal(data, pattern, size);
	close(ends[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_write_fails(void **state)
{
	DT_FD int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	(void)state;
	assert_true(full >= 0);
	assert_int_equal(dt_file_write_all(full, pattern, 10), -ENOSPC);
	assert_int_equal(dt_file_write_all(-1, pattern, 10), -EBADF);
	assert_int_equal(dt_file_write_all(full, pattern, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_of_every_size),
		cmocka_unit_test(test_read_of_procfs),
		cmocka_unit_test(test_read_fails),
		cmocka_unit_test(test_read_at),
		cmocka_unit_test(test_write_all_into_a_pipe),
		cmocka_unit_test(test_write_fails),
	};

	return cmocka_run_group_tests(tests, make_pattern, NULL);
}
