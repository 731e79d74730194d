/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of snapshots in memory, for tests of what reads them. Needs cmocka and snapshot_sample.h before it. */
#ifndef DT_TESTS_SNAPSHOT_FILE_H
#define DT_TESTS_SNAPSHOT_FILE_H

#include <sys/mman.h>
#include <unistd.h>

/* A snapshot of tests/data as one line. The caller's to free. */
/* Not inline: gcc 12 takes what it returns for a pointer to a variable of sample_data (-Wdangling-pointer). */
static __attribute__((noinline, unused)) char *sample_line(const char *name)
{
	char *data = sample_data(name);

	for (char *c = data; *c; c++)
		if (*c == '\n')
			*c = ' ';
	data[strlen(data) - 1] = '\n';
	return data;
}

struct memory_file {
	int fd;
	char path[64];
};

static inline struct memory_file memory_file(const void *data, size_t size)
{
	struct memory_file file = { .fd = memfd_create("snapshots", MFD_CLOEXEC) };

	assert_true(file.fd >= 0);
	assert_int_equal(write(file.fd, data, size), size);
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	return file;
}

#endif
