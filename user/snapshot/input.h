/* SPDX-License-Identifier: BSD-2-Clause */
/* input: the bytes of a file, of standard input, or of what either has compressed (gzip, zstd; known by their first bytes). */
#ifndef DT_SNAPSHOT_INPUT_H
#define DT_SNAPSHOT_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct dt_input;

/* "-" is standard input. -errno: it cannot be opened or read, or -EISDIR. */
int dt_input_open(const char *path, struct dt_input **ret_input);
void dt_input_close(struct dt_input *input);
/*
 * Up to `size` bytes, 0 at the end. -EBADMSG: compressed data that are none; -EFBIG: they grow as no snapshot does. Compressed data
 * that stop in the middle just end, and dt_input_is_cut tells.
 */
ssize_t dt_input_read(struct dt_input *input, void *buffer, size_t size);
bool dt_input_is_cut(const struct dt_input *input);
/* A file, not what is read as it comes. */
bool dt_input_is_seekable(const struct dt_input *input);
/* Begins again with the first byte. -ESPIPE: it is not seekable. */
int dt_input_rewind(struct dt_input *input);

#endif
