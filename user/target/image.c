/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/image.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

/* A range of the file that was read. There are a few at a time: a segment, a table, their names. */
struct piece {
	struct piece *next;
	uint64_t offset;
	size_t size;
	bool kept;
	uint8_t bytes[];
};

struct dt_image {
	int fd;                         /* −1: a copy in memory */
	uint8_t *copy;
	uint64_t size;
	struct piece *pieces;
	uint64_t piece_bytes;           /* of all of them */
};

static int image_new(int fd, uint64_t size, struct dt_image **ret_image)
{
	struct dt_image *image = calloc(1, sizeof(*image));

	if (!image)
		return -ENOMEM;
	image->fd = fd;
	image->size = size;
	*ret_image = image;
	return 0;
}

int dt_image_open(int fd, struct dt_image **ret_image)
{
	DT_FD int file = fd;
	struct stat status;
	int error;

	if (fstat(file, &status))
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -ENOEXEC;
	error = image_new(file, (uint64_t)status.st_size, ret_image);
	if (!error)
		file = -1;
	return error;
}

int dt_image_copy(const void *bytes, size_t size, struct dt_image **ret_image)
{
	uint8_t *copy = malloc(size ? size : 1);
	int error = copy ? image_new(-1, size, ret_image) : -ENOMEM;

	if (error) {
		free(copy);
		return error;
	}
	memcpy(copy, bytes, size);
	(*ret_image)->copy = copy;
	return 0;
}

int dt_image_fd(const struct dt_image *image)
{
	return image->fd;
}

static void remove_pieces(struct dt_image *image, bool all)
{
	for (struct piece **link = &image->pieces; *link;) {
		struct piece *piece = *link;

		if (piece->kept && !all) {
			link = &piece->next;
			continue;
		}
		*link = piece->next;
		image->piece_bytes -= piece->size;
		free(piece);
	}
}

void dt_image_close(struct dt_image *image)
{
	if (!image)
		return;
	remove_pieces(image, true);
	if (image->fd >= 0)
		close(image->fd);
	free(image->copy);
	free(image);
}

uint64_t dt_image_size(const struct dt_image *image)
{
	return image->size;
}

static bool holds(const struct dt_image *image, uint64_t offset, uint64_t size)
{
	return offset <= image->size && size <= image->size - offset;
}

int dt_image_read(const struct dt_image *image, uint64_t offset, void *to, size_t size)
{
	int error;

	if (!holds(image, offset, size))
		return -EBADMSG;
	if (image->copy) {
		memcpy(to, image->copy + offset, size);
		return 0;
	}
	error = dt_file_read_at(image->fd, to, size, offset);
	return error == -ENODATA ? -EBADMSG : error;
}

#define COMPARED_BYTES 65536            /* at a time */

bool dt_image_is_same(const struct dt_image *image, const struct dt_image *other)
{
	DT_FREE uint8_t *bytes = malloc(2 * COMPARED_BYTES);

	if (!bytes || image->size != other->size || image->size > DT_IMAGE_BYTES_MAX)
		return false;
	for (uint64_t at = 0; at < image->size; at += COMPARED_BYTES) {
		size_t size = image->size - at < COMPARED_BYTES ? image->size - at : COMPARED_BYTES;

		if (dt_image_read(image, at, bytes, size) || dt_image_read(other, at, bytes + COMPARED_BYTES, size) ||
		    memcmp(bytes, bytes + COMPARED_BYTES, size))
			return false;
	}
	return true;
}

static struct piece *find_piece(const struct dt_image *image, uint64_t offset, size_t size, bool kept)
{
	struct piece *piece = image->pieces;

	while (piece && (piece->kept < kept || offset < piece->offset || offset - piece->offset > piece->size ||
			 size > piece->size - (offset - piece->offset)))
		piece = piece->next;
	return piece;
}

static int add_piece(struct dt_image *image, uint64_t offset, size_t size, struct piece **ret_piece)
{
	DT_FREE struct piece *piece = NULL;
	int error;

	if (!holds(image, offset, size))
		return -EBADMSG;
	if (image->piece_bytes + size > DT_IMAGE_BYTES_MAX)
		return -EFBIG;
	piece = malloc(sizeof(*piece) + size);
	if (!piece)
		return -ENOMEM;
	error = dt_image_read(image, offset, piece->bytes, size);
	if (error)
		return error;
	piece->offset = offset;
	piece->size = size;
	piece->kept = false;
	piece->next = image->pieces;
	image->piece_bytes += size;
	*ret_piece = image->pieces = DT_TAKE(piece);
	return 0;
}

static int get_piece(struct dt_image *image, uint64_t offset, size_t size, bool keep, const uint8_t **ret_bytes)
{
	struct piece *piece;
	int error;

	if (image->copy) {
		if (!holds(image, offset, size))
			return -EBADMSG;
		*ret_bytes = image->copy + offset;
		return 0;
	}
	piece = find_piece(image, offset, size, keep);
	if (!piece) {
		error = add_piece(image, offset, size, &piece);
		if (error)
			return error;
		piece->kept = keep;
	}
	*ret_bytes = piece->bytes + (offset - piece->offset);
	return 0;
}

int dt_image_get(struct dt_image *image, uint64_t offset, size_t size, const uint8_t **ret_bytes)
{
	return get_piece(image, offset, size, false, ret_bytes);
}

int dt_image_keep(struct dt_image *image, uint64_t offset, size_t size, const uint8_t **ret_bytes)
{
	return get_piece(image, offset, size, true, ret_bytes);
}

void dt_image_trim(struct dt_image *image)
{
	remove_pieces(image, false);
}
