/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/text.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <unictype.h>
#include <unistr.h>
#include <uniwidth.h>

#include "base/cleanup.h"

#define ELLIPSIS "..."
#define REPLACEMENT 0xfffd
#define REPLACEMENT_BYTES 3             /* as UTF-8; each stands for at least one byte */

int dt_text_decode(const char *bytes, const char **ret_text, size_t *ret_size, char **ret_own)
{
	size_t size = strlen(bytes), done = 0, written = 0;
	const uint8_t *from = (const uint8_t *)bytes;
	uint8_t *own;

	if (!u8_check(from, size)) {
		*ret_text = bytes;
		*ret_size = size;
		*ret_own = NULL;
		return 0;
	}
	own = malloc(size * REPLACEMENT_BYTES + 1);
	if (!own)
		return -ENOMEM;
	while (done < size) {
		ucs4_t character;

		done += (size_t)u8_mbtouc(&character, from + done, size - done);
		written += (size_t)u8_uctomb(own + written, character, REPLACEMENT_BYTES + 1);
	}
	own[written] = '\0';
	*ret_text = *ret_own = (char *)own;
	*ret_size = written;
	return 0;
}

/* Control characters, bidirectional overrides and other invisible ones, and separators that break the line. */
static bool is_unsafe(ucs4_t character)
{
	return character == REPLACEMENT ||
	       uc_is_general_category_withtable(character, UC_CATEGORY_MASK_Cc | UC_CATEGORY_MASK_Cf | UC_CATEGORY_MASK_Cs |
						UC_CATEGORY_MASK_Zl | UC_CATEGORY_MASK_Zp);
}

/* Writes the safe form; *ret_written bytes, never more than `size`, since each replacement is one byte. */
static void make_safe(const uint8_t *from, size_t size, uint8_t *to, size_t *ret_written)
{
	size_t done = 0, written = 0;

	while (done < size) {
		ucs4_t character;
		int taken = u8_mbtouc(&character, from + done, size - done);

		if (character == '\t') {
			to[written++] = ' ';
		} else if (is_unsafe(character)) {
			to[written++] = '?';
		} else {
			memcpy(to + written, from + done, (size_t)taken);
			written += (size_t)taken;
		}
		done += (size_t)taken;
	}
	*ret_written = written;
}

static size_t width_of(const uint8_t *text, size_t size)
{
	return (size_t)u8_width(text, size, "UTF-8");
}

/* Bytes of the longest beginning that takes at most `columns`. A mark belongs to the character before it. */
static size_t head_bytes(const uint8_t *text, size_t size, size_t columns)
{
	size_t done = 0, taken = 0;

	while (done < size) {
		ucs4_t character;
		int bytes = u8_mbtouc(&character, text + done, size - done);
		int width = uc_width(character, "UTF-8");

		taken += width > 0 ? (size_t)width : 0;
		if (taken > columns)
			break;
		done += (size_t)bytes;
	}
	return done;
}

/* Where the longest end that takes at most `columns` begins. */
static size_t tail_begin(const uint8_t *text, size_t size, size_t columns)
{
	size_t width = width_of(text, size);
	size_t begin = width > columns ? head_bytes(text, size, width - columns) : 0;

	while (begin < size && width_of(text + begin, size - begin) > columns)
		begin += (size_t)u8_mblen(text + begin, size - begin);
	/* Not in the middle of a character and its marks. */
	while (begin < size) {
		ucs4_t character;
		int bytes = u8_mbtouc(&character, text + begin, size - begin);

		if (uc_width(character, "UTF-8") > 0)
			break;
		begin += (size_t)bytes;
	}
	return begin;
}

char *dt_text_fit(const char *bytes, size_t size, size_t columns, enum dt_text_cut cut)
{
	uint8_t *text = malloc(size + sizeof(ELLIPSIS));
	size_t room = columns > strlen(ELLIPSIS) ? columns - strlen(ELLIPSIS) : 0;
	size_t written, head, tail, room_head;

	if (!text)
		return NULL;
	make_safe((const uint8_t *)bytes, size, text, &written);
	text[written] = '\0';
	if (width_of(text, written) <= columns)
		return (char *)text;
	/* The end of a path names the file: it gets two thirds. */
	room_head = cut == DT_TEXT_CUT_END ? room : cut == DT_TEXT_CUT_MIDDLE ? room / 3 : 0;
	head = head_bytes(text, written, room_head);
	tail = cut == DT_TEXT_CUT_END ? written : tail_begin(text, written, room - room_head);
	memmove(text + head + strlen(ELLIPSIS), text + tail, written - tail + 1);
	memcpy(text + head, ELLIPSIS, strlen(ELLIPSIS));
	return (char *)text;
}

void dt_text_share(size_t columns[], size_t count, size_t room)
{
	size_t most = room / (count ? count : 1), before, wide;

	/* Who takes less than an equal part leaves the rest to those who want more: the part grows until nobody is left. */
	do {
		size_t used = 0;

		wide = 0;
		before = most;
		for (size_t i = 0; i < count; i++) {
			used += columns[i] <= most ? columns[i] : 0;
			wide += columns[i] > most;
		}
		if (wide)
			most = (room - used) / wide;
	} while (wide && most > before);
	for (size_t i = 0; i < count; i++)
		columns[i] = columns[i] < most ? columns[i] : most;
}

size_t dt_text_width(const char *text)
{
	return width_of((const uint8_t *)text, strlen(text));
}
