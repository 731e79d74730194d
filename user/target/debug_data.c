/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/debug_data.h"

#include <errno.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>

#define DECODER_BYTES_MAX (128u << 20)  /* xz -9 takes 65 MiB to unpack (xz(1)) */

static bool grow(lzma_stream *stream, uint8_t **image, size_t *room)
{
	size_t larger = *room ? 2 * *room : 1 << 20;
	uint8_t *grown = larger <= DT_DEBUG_DATA_BYTES_MAX ? realloc(*image, larger) : NULL;

	if (!grown)
		return false;
	*image = grown;
	stream->next_out = grown + stream->total_out;
	stream->avail_out = larger - stream->total_out;
	*room = larger;
	return true;
}

int dt_debug_data_unpack(const uint8_t *packed, size_t size, uint8_t **ret_image, size_t *ret_size)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_ret result = lzma_stream_decoder(&stream, DECODER_BYTES_MAX, 0);
	uint8_t *image = NULL;
	size_t room = 0;

	stream.next_in = packed;
	stream.avail_in = size;
	while (result == LZMA_OK) {
		if (!stream.avail_out && !grow(&stream, &image, &room))
			result = LZMA_MEM_ERROR;
		else
			result = lzma_code(&stream, LZMA_FINISH);
	}
	lzma_end(&stream);
	if (result != LZMA_STREAM_END) {
		free(image);
		return result == LZMA_MEM_ERROR || result == LZMA_MEMLIMIT_ERROR ? -ENOMEM : -EBADMSG;
	}
	*ret_image = image;
	*ret_size = stream.total_out;
	return 0;
}
