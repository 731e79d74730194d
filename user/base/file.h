/* SPDX-License-Identifier: BSD-2-Clause */
/* Whole files: small ones read at once, others replaced as one step. */
#ifndef DT_BASE_FILE_H
#define DT_BASE_FILE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Reads a file of unknown size (procfs says 0) whole. *ret_data is NUL-terminated behind its size and is the caller's. */
int dt_file_read(const char *path, char **ret_data, size_t *ret_size);
/* Reads exactly `size` bytes at `offset`; -ENODATA when the file ends before. */
int dt_file_read_at(int fd, void *data, size_t size, uint64_t offset);
/* Writes all of `data`, restarting where the kernel took only a part. */
int dt_file_write_all(int fd, const void *data, size_t size);

#endif
