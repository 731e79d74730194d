/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/input.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"

#define RAW_BYTES ((size_t)64 << 10)
/*
 * Snapshots become 10 to 100 times smaller. Compressed data that grow beyond both are meant to fill the memory.
 * zlib's own bound is 1032 (zlib.net, "Technical Details"), zstd has none.
 */
#define GROWTH_MAX 300
#define GROWTH_ALWAYS ((uint64_t)256 << 20)
/* RFC 1952, 2.3.1; RFC 8878, 3.1.1 */
static const unsigned char gzip_magic[] = { 0x1f, 0x8b };
static const unsigned char zstd_magic[] = { 0x28, 0xb5, 0x2f, 0xfd };

enum packing { PACKING_NONE, PACKING_GZIP, PACKING_ZSTD };

struct dt_input {
	int fd;
	bool own_fd, seekable, at_end, cut;
	enum packing packing;
	off_t start;                    /* of standard input, where we found it */
	z_stream gzip;
	bool gzip_ready, frame_open;    /* the latter: within compressed data, which may not end here */
	ZSTD_DStream *zstd;
	uint64_t bytes_in, bytes_out;
	size_t at, end;                 /* of what `raw` has */
	unsigned char raw[RAW_BYTES];
};

/* Adds to what `raw` has. */
static int read_raw(struct dt_input *input)
{
	ssize_t n;

	if (input->at == input->end)
		input->at = input->end = 0;
	do
		n = read(input->fd, input->raw + input->end, sizeof(input->raw) - input->end);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	input->at_end = !n;
	input->end += (size_t)n;
	input->bytes_in += (size_t)n;
	return 0;
}

static void end_packing(struct dt_input *input)
{
	if (input->gzip_ready)
		inflateEnd(&input->gzip);
	input->gzip_ready = false;
	ZSTD_freeDStream(input->zstd);
	input->zstd = NULL;
	input->packing = PACKING_NONE;
}

static bool begins_with(const struct dt_input *input, const unsigned char *magic, size_t size)
{
	return input->end - input->at >= size && !memcmp(input->raw + input->at, magic, size);
}

static int start_packing(struct dt_input *input)
{
	if (begins_with(input, gzip_magic, sizeof(gzip_magic))) {
		memset(&input->gzip, 0, sizeof(input->gzip));
		/* 15: the largest window; +16: a gzip header (zlib.h, inflateInit2) */
		if (inflateInit2(&input->gzip, 15 + 16) != Z_OK)
			return -ENOMEM;
		input->gzip_ready = true;
		input->packing = PACKING_GZIP;
	} else if (begins_with(input, zstd_magic, sizeof(zstd_magic))) {
		input->zstd = ZSTD_createDStream();
		if (!input->zstd)
			return -ENOMEM;
		input->packing = PACKING_ZSTD;
	}
	return 0;
}

/* Reads enough to know whether it is compressed. */
static int start(struct dt_input *input)
{
	int error = 0;

	input->at = input->end = 0;
	input->bytes_in = input->bytes_out = 0;
	input->at_end = input->cut = input->frame_open = false;
	end_packing(input);
	while (!error && !input->at_end && input->end < sizeof(zstd_magic))
		error = read_raw(input);
	return error ? error : start_packing(input);
}

int dt_input_open(const char *path, struct dt_input **ret_input)
{
	struct dt_input *input = calloc(1, sizeof(*input));
	struct stat status;
	int error = 0;

	if (!input)
		return -ENOMEM;
	input->own_fd = strcmp(path, "-") != 0;
	input->fd = input->own_fd ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
	if (input->fd < 0 || fstat(input->fd, &status) < 0)
		error = -errno;
	else if (S_ISDIR(status.st_mode))
		error = -EISDIR;
	if (!error) {
		input->start = lseek(input->fd, 0, SEEK_CUR);
		input->seekable = S_ISREG(status.st_mode) && input->start >= 0;
		error = start(input);
	}
	if (error)
		dt_input_close(input);
	else
		*ret_input = input;
	return error;
}

void dt_input_close(struct dt_input *input)
{
	if (!input)
		return;
	end_packing(input);
	if (input->own_fd && input->fd >= 0)
		close(input->fd);
	free(input);
}

bool dt_input_is_cut(const struct dt_input *input)
{
	return input->cut;
}

bool dt_input_is_seekable(const struct dt_input *input)
{
	return input->seekable;
}

int dt_input_rewind(struct dt_input *input)
{
	if (!input->seekable)
		return -ESPIPE;
	if (lseek(input->fd, input->start, SEEK_SET) < 0)
		return -errno;
	return start(input);
}

/* gzip data may be several such files in a row (RFC 1952, 2.2). */
static int unpack_gzip(struct dt_input *input, unsigned char *buffer, size_t size, size_t *ret_made)
{
	z_stream *gzip = &input->gzip;
	int status;

	if (!input->frame_open && inflateReset(gzip) != Z_OK)
		return -EBADMSG;
	input->frame_open = true;
	gzip->next_in = input->raw + input->at;
	gzip->avail_in = (uInt)(input->end - input->at);
	gzip->next_out = buffer;
	gzip->avail_out = (uInt)size;
	status = inflate(gzip, Z_NO_FLUSH);
	input->at = input->end - gzip->avail_in;
	*ret_made = size - gzip->avail_out;
	if (status == Z_STREAM_END)
		input->frame_open = false;
	if (status == Z_MEM_ERROR)
		return -ENOMEM;
	return status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR ? 0 : -EBADMSG;
}

static int unpack_zstd(struct dt_input *input, unsigned char *buffer, size_t size, size_t *ret_made)
{
	ZSTD_inBuffer from = { input->raw + input->at, input->end - input->at, 0 };
	ZSTD_outBuffer to = { buffer, size, 0 };
	size_t status = ZSTD_decompressStream(input->zstd, &to, &from);

	input->at += from.pos;
	*ret_made = to.pos;
	if (ZSTD_isError(status))
		return -EBADMSG;
	input->frame_open = status != 0;
	return 0;
}

static ssize_t read_packed(struct dt_input *input, unsigned char *buffer, size_t size)
{
	size_t made = 0;
	int error = 0;

	while (!error && !made) {
		if (input->at == input->end && !input->at_end)
			error = read_raw(input);
		/* What is still inside the unpacker comes out without new bytes, if within a frame. */
		if (error || (input->at == input->end && !input->frame_open))
			break;
		error = input->packing == PACKING_GZIP ? unpack_gzip(input, buffer, size, &made) :
							 unpack_zstd(input, buffer, size, &made);
		if (!error && !made && input->at == input->end && input->at_end && input->frame_open) {
			input->cut = true;
			break;
		}
	}
	input->bytes_out += made;
	if (!error && input->bytes_out > GROWTH_ALWAYS && input->bytes_out / GROWTH_MAX > input->bytes_in)
		return -EFBIG;
	return error ? error : (ssize_t)made;
}

ssize_t dt_input_read(struct dt_input *input, void *buffer, size_t size)
{
	size_t have;
	ssize_t n;

	if (size > SSIZE_MAX / 2)
		size = SSIZE_MAX / 2;
	if (input->packing != PACKING_NONE)
		return read_packed(input, buffer, size < UINT32_MAX ? size : UINT32_MAX);
	have = input->end - input->at;
	if (have) {
		have = have < size ? have : size;
		memcpy(buffer, input->raw + input->at, have);
		input->at += have;
		return (ssize_t)have;
	}
	do
		n = read(input->fd, buffer, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}
