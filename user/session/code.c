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
	free(code->lines);
	free(code);
}

/* One character of a CPython string; halves of surrogate pairs, which a str may hold alone, become U+FFFD. */
static ucs4_t character_at(const uint8_t *data, uint32_t kind, size_t index)
{
	ucs4_t character = 0;

	memcpy(&character, data + index * kind, kind);
	return character > 0x10ffff || (character >= 0xd800 && character < 0xe000) ? 0xfffd : character;
}

/* Decodes a string that was cut off at `room` bytes, if it is that long; then it ends with "…". */
static char *decode(const struct dt_code_string *string, const uint8_t *data, size_t room)
{
	static const uint8_t ellipsis[] = "\xe2\x80\xa6";
	size_t length = string->length, to = 0;
	uint8_t *text;

	if (string->kind != 1 && string->kind != 2 && string->kind != 4)
		length = 0;
	else if (length > room / string->kind)
		length = room / string->kind;
	text = malloc(length * 4 + sizeof(ellipsis));
	if (!text)
		return NULL;
	for (size_t i = 0; i < length; i++)
		to += (size_t)u8_uctomb(text + to, character_at(data, string->kind, i), 4);
	if (length < string->length) {
		memcpy(text + to, ellipsis, sizeof(ellipsis) - 1);
		to += sizeof(ellipsis) - 1;
	}
	text[to] = '\0';
	return (char *)text;
}

/*
 * The line table. One that is larger than the record belongs to a large function or module, which is running: the rest is
 * still there. That it is the same one is checked by its beginning.
 */
static int copy_lines(struct dt_code *code, const struct dt_code_event *event)
{
	DT_FREE uint8_t *lines = NULL;
	size_t sent = event->lines_size, size = event->lines_size;

	if (sent > DT_CODE_LINES_BYTES)
		sent = DT_CODE_LINES_BYTES;
	if (size > (16u << 20))         /* no code object has that; a forged one gets no lines */
		return 0;
	lines = malloc(size + 1);
	if (!lines)
		return -ENOMEM;
	memcpy(lines, event->lines, sent);
	if (size > sent) {
		if (dt_process_read_memory((pid_t)event->event.tgid, event->lines_address, lines, size) ||
		    memcmp(lines, event->lines, sent))
			return 0;
	}
	code->lines = DT_TAKE(lines);
	code->lines_size = size;
	return 0;
}

int dt_codes_add(struct dt_code **codes, const struct dt_code_event *event, size_t size)
{
	struct dt_code *code, *old;
	int error;

	if (size < sizeof(*event))
		return -EBADMSG;
	code = calloc(1, sizeof(*code));
	if (!code)
		return -ENOMEM;
	code->key.code = event->code;
	code->key.pid = event->event.tgid;
	code->first_line = event->first_line;
	if (!event->unreadable) {
		code->file = decode(&event->file_string, event->file, sizeof(event->file));
		code->name = decode(&event->name_string, event->name, sizeof(event->name));
		error = code->file && code->name ? copy_lines(code, event) : -ENOMEM;
		if (error) {
			code_free(code);
			return error;
		}
	}
	HASH_REPLACE(hh, *codes, key, sizeof(code->key), code, old);
	code_free(old);
	return 0;
}

const struct dt_code *dt_codes_find(struct dt_code *codes, pid_t pid, uint64_t number)
{
	struct dt_code *code, probe = { .key = { number, (uint64_t)pid } };

	HASH_FIND(hh, codes, &probe.key, sizeof(probe.key), code);
	return code;
}

static void remove_codes(struct dt_code **codes, pid_t pid, bool all)
{
	struct dt_code *code, *next;

	HASH_ITER(hh, *codes, code, next) {
		if (!all && code->key.pid != (uint64_t)pid)
			continue;
		HASH_DEL(*codes, code);
		code_free(code);
	}
}

void dt_codes_remove_process(struct dt_code **codes, pid_t pid)
{
	remove_codes(codes, pid, false);
}

void dt_codes_clear(struct dt_code **codes)
{
	remove_codes(codes, 0, true);
}
