/* SPDX-License-Identifier: BSD-2-Clause */
/* fuzz: what the fuzzers share: hostile bytes as numbers, as a file, and what must hold whatever they are. */
#ifndef TEST_FUZZ_H
#define TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* libFuzzer's entry (LLVM 14, docs/LibFuzzer.rst). */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_EXPECT(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

struct fuzz_bytes {
	const uint8_t *at;
	size_t size;
};

/* The next little-endian number of so many bytes; what is missing is 0. */
static inline uint64_t fuzz_number(struct fuzz_bytes *bytes, size_t size)
{
	size_t have = size < bytes->size ? size : bytes->size;
	uint64_t number = 0;

	memcpy(&number, bytes->at, have);
	bytes->at += have;
	bytes->size -= have;
	return number;
}

/* A copy of the rest that is exactly as large, so that AddressSanitizer sees a read behind it. The caller's to free. */
static inline uint8_t *fuzz_copy(const struct fuzz_bytes *bytes)
{
	uint8_t *copy = malloc(bytes->size ? bytes->size : 1);

	FUZZ_EXPECT(copy);
	memcpy(copy, bytes->at, bytes->size);
	return copy;
}

/* A file in memory with these bytes; the caller's to close. */
static inline int fuzz_file(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	FUZZ_EXPECT(fd >= 0);
	for (size_t done = 0; done < size;) {
		ssize_t n = pwrite(fd, data + done, size - done, (off_t)done);

		FUZZ_EXPECT(n > 0);
		done += (size_t)n;
	}
	return fd;
}

/* Reads every byte of a string or a range, which AddressSanitizer then checks. */
static inline void fuzz_touch(const void *bytes, size_t size)
{
	static volatile uint8_t sum;
	const uint8_t *at = bytes;

	for (size_t i = 0; i < size; i++)
		sum = (uint8_t)(sum + at[i]);
}

#endif
