/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * image: the bytes of a file, or of a copy in memory, read as they are asked for and let go of afterwards.
 *
 * A file is never mapped: who truncates a file that others have mapped kills them (SIGBUS), and a traced process may do that
 * with its own. What has become shorter since it was opened gives errors instead.
 */
#ifndef DT_TARGET_IMAGE_H
#define DT_TARGET_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DT_IMAGE_BYTES_MAX (512u << 20) /* of one image in memory at a time; more than any code or symbol table has */

struct dt_image;

/* Takes the descriptor over, also on failure. -ENOEXEC: no regular file. */
int dt_image_open(int fd, struct dt_image **ret_image);
int dt_image_copy(const void *bytes, size_t size, struct dt_image **ret_image);
void dt_image_close(struct dt_image *image);

/* The descriptor, owned by the image; −1: it is a copy. */
int dt_image_fd(const struct dt_image *image);
/* As it was when it was opened. */
uint64_t dt_image_size(const struct dt_image *image);
/* Copies exactly so many bytes. -EBADMSG: they are not (any more) there; or as pread() says. */
int dt_image_read(const struct dt_image *image, uint64_t offset, void *to, size_t size);
/* Have both the same bytes, all of them? Where that cannot be told, they have not. */
bool dt_image_is_same(const struct dt_image *image, const struct dt_image *other);
/* Bytes owned by the image, until dt_image_trim(). Also -ENOMEM; -EFBIG: more than DT_IMAGE_BYTES_MAX with what it holds. */
int dt_image_get(struct dt_image *image, uint64_t offset, size_t size, const uint8_t **ret_bytes);
/* The same, until dt_image_close(). */
int dt_image_keep(struct dt_image *image, uint64_t offset, size_t size, const uint8_t **ret_bytes);
void dt_image_trim(struct dt_image *image);

#endif
