/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/code.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "base/cleanup.h"
#include "target/process.h"

static void code_free(struct dt_code *code)
{
	if (!code)
		return;
	free(code->file);
	free(code->name);
	free(code->bytes);
	free(code);
}

/* One character of a CPython string; halves of surrogate pairs, which a str may hold alone, become U+FFFD. */
static ucs4_t character_at(const uint8_t *data, uint32_t kind, size_t index)
{
	ucs4_t character = 0;

	memcpy(&character, data + index * kind, kind);
	return character > 0x10ffff || (character >= 0xd800 && character < 0xe000) ? 0xfffd : character;
}

/* Longer parts than any code object has: forged ones are cut off, since each of many code objects could have them. */
#define LINES_BYTES_MAX (4u << 20)
#define STRING_BYTES_MAX (64u << 10)

/*
 * A part of a code object that is longer than its field in the record. It belongs to a function that is running, so mostly it is
 * still there; that it is the same one is checked by its beginning. NULL: it is not, or there is no memory for it.
 */
static uint8_t *read_part(pid_t pid, uint64_t address, size_t size, const uint8_t *sent, size_t sent_size)
{
	DT_FREE uint8_t *bytes = malloc(size);

	if (!bytes || dt_process_read_memory(pid, address, bytes, size) || memcmp(bytes, sent, sent_size))
		return NULL;
	return DT_TAKE(bytes);
}

/* Decodes `length` characters; one that was `cut` ends with "…". */
static char *decode(const uint8_t *data, uint32_t kind, size_t length, bool cut)
{
	static const uint8_t ellipsis[] = "\xe2\x80\xa6";
	uint8_t *text = malloc(length * 4 + sizeof(ellipsis));
	size_t to = 0;

	if (!text)
		return NULL;
	for (size_t i = 0; i < length; i++)
		to += (size_t)u8_uctomb(text + to, character_at(data, kind, i), 4);
	if (cut) {
		memcpy(text + to, ellipsis, sizeof(ellipsis) - 1);
		to += sizeof(ellipsis) - 1;
	}
	text[to] = '\0';
	return (char *)text;
}

static char *copy_string(pid_t pid, const struct dt_code_string *string, uint64_t address, const uint8_t *data, size_t room)
{
	DT_FREE uint8_t *whole = NULL;
	size_t fits;

	if (string->kind != 1 && string->kind != 2 && string->kind != 4)
		return decode(data, 1, 0, string->length);
	fits = room / string->kind;
	if (string->length <= fits)
		return decode(data, string->kind, string->length, false);
	if ((size_t)string->length * string->kind <= STRING_BYTES_MAX)
		whole = read_part(pid, address, (size_t)string->length * string->kind, data, fits * string->kind);
	return whole ? decode(whole, string->kind, string->length, false) : decode(data, string->kind, fits, true);
}

/* The table of lines; none where it is not there any more. */
static int copy_lines(struct dt_code *code, pid_t pid, const struct dt_code_event *event)
{
	size_t size = event->lines_size;

	if (size > DT_CODE_LINES_BYTES) {
		if (size > LINES_BYTES_MAX)
			return 0;
		code->bytes = read_part(pid, event->lines_address, size, event->lines, DT_CODE_LINES_BYTES);
		if (!code->bytes)
			return 0;
	} else {
		code->bytes = malloc(size + 1);
		if (!code->bytes)
			return -ENOMEM;
		memcpy(code->bytes, event->lines, size);
	}
	code->lines.bytes = code->bytes;
	code->lines.size = size;
	return 0;
}

static bool event_is_whole(const struct dt_code_event *event, size_t size)
{
	size_t lines = offsetof(struct dt_code_event, lines);

	if (size < lines)
		return false;
	return size - lines >= (event->lines_size < DT_CODE_LINES_BYTES ? event->lines_size : DT_CODE_LINES_BYTES);
}

int dt_codes_add(struct dt_code **codes, pid_t pid, const struct dt_code_event *event, size_t size)
{
	struct dt_code *code, *old;
	int error;

	if (!event_is_whole(event, size))
		return -EBADMSG;
	code = calloc(1, sizeof(*code));
	if (!code)
		return -ENOMEM;
	code->number = event->code;
	code->first_line = code->lines.first_line = event->first_line;
	code->lines.format = (enum dt_python_lines)event->lines_format;
	code->file = copy_string(pid, &event->file_string, event->file_address, event->file, sizeof(event->file));
	code->name = copy_string(pid, &event->name_string, event->name_address, event->name, sizeof(event->name));
	error = code->file && code->name ? copy_lines(code, pid, event) : -ENOMEM;
	if (error) {
		code_free(code);
		return error;
	}
	HASH_REPLACE(hh, *codes, number, sizeof(code->number), code, old);
	code_free(old);
	return 0;
}

const struct dt_code *dt_codes_find(struct dt_code *codes, uint64_t number)
{
	struct dt_code *code;

	HASH_FIND(hh, codes, &number, sizeof(number), code);
	return code;
}

void dt_codes_clear(struct dt_code **codes)
{
	struct dt_code *code, *next;

	HASH_ITER(hh, *codes, code, next) {
		HASH_DEL(*codes, code);
		code_free(code);
	}
}
