/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/json_reader.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <unistr.h>

#define BUFFER_BYTES ((size_t)256 << 10)
/*
 * Files are read from page to page: where source and destination lie otherwise in their pages, some processors copy many times
 * slower (AMD's rep movsb; tests/bench/README.md).
 */
#define PAGE_BYTES ((size_t)4096)
#define SKIPPED_BYTES_MAX ((uint64_t)16 << 30) /* of one line; what never ends is no file */
#define BEHIND_BYTES sizeof(uint64_t)   /* so that a word can be read from anywhere */
#define TOKEN_BYTES 64                  /* more than any number, key of ours or literal takes */

struct dt_json {
	struct dt_input *input;
	char *memory;                   /* the buffer is in it, at the beginning of a page */
	char *buffer;                   /* with BEHIND_BYTES more than `room`, of which that behind `end` is 0 */
	size_t room, at, end;
	bool at_end;
	uint64_t offset;                /* of buffer[0] in the file */
	uint64_t line, line_offset;
	int error, input_error;         /* the first of any kind; the one that ended the reading of the file */
	uint64_t error_line, error_byte;
	char key[TOKEN_BYTES];
	char reason[320];
};

static size_t round_up(size_t size)
{
	return (size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

/* A buffer with room for so much, a whole number of pages, and what the one before had. False: no memory. */
static bool make_room(struct dt_json *json, size_t room)
{
	char *memory = calloc(1, room + PAGE_BYTES + BEHIND_BYTES), *buffer;

	if (!memory)
		return false;
	buffer = memory + (round_up((uintptr_t)memory) - (uintptr_t)memory);
	if (json->memory)
		memcpy(buffer, json->buffer, json->end + 1);
	free(json->memory);
	json->memory = memory;
	json->buffer = buffer;
	json->room = room;
	return true;
}

int dt_json_new(struct dt_input *input, struct dt_json **ret_json)
{
	struct dt_json *json = calloc(1, sizeof(*json));

	if (!json)
		return -ENOMEM;
	json->input = input;
	if (!make_room(json, BUFFER_BYTES)) {
		free(json);
		return -ENOMEM;
	}
	dt_json_restart(json);
	*ret_json = json;
	return 0;
}

void dt_json_free(struct dt_json *json)
{
	if (json)
		free(json->memory);
	free(json);
}

void dt_json_restart(struct dt_json *json)
{
	json->at = json->end = 0;
	json->buffer[0] = '\0';
	json->at_end = false;
	json->offset = json->line_offset = 0;
	json->line = 1;
	json->error = json->input_error = 0;
	json->reason[0] = '\0';
}

int dt_json_error(const struct dt_json *json)
{
	return json->error;
}

const char *dt_json_reason(const struct dt_json *json, uint64_t *ret_line, uint64_t *ret_byte)
{
	*ret_line = json->error_line;
	*ret_byte = json->error_byte;
	return json->reason;
}

bool dt_json_fail(struct dt_json *json, int error, const char *format, ...)
{
	va_list arguments;

	if (json->error)
		return false;
	json->error = error;
	json->error_line = json->line;
	json->error_byte = json->offset + json->at - json->line_offset;
	va_start(arguments, format);
	vsnprintf(json->reason, sizeof(json->reason), format, arguments);
	va_end(arguments);
	return false;
}

/* ---- bytes --------------------------------------------------------------------------------------------------- */

static bool fail_input(struct dt_json *json, int error)
{
	if (error == -EBADMSG)
		return dt_json_fail(json, error, "the compressed data are damaged");
	if (error == -EFBIG)
		return dt_json_fail(json, error, "the compressed data grow to more than 300 times their size, as no snapshot does");
	return dt_json_fail(json, error, "it cannot be read: %s", strerror(-error));
}

/* Drops what is before `keep` and reads on, to where a page begins: what is kept is put in front of that. */
static void fill(struct dt_json *json, size_t keep)
{
	size_t rest = json->end - keep, begin = round_up(rest) - rest;
	ssize_t n;

	if (json->at_end || json->error)
		return;
	memmove(json->buffer + begin, json->buffer + keep, rest);
	json->offset += keep - begin;   /* may pass below 0, of which only differences are taken */
	json->at -= keep - begin;
	json->end -= keep - begin;
	n = dt_input_read(json->input, json->buffer + json->end, json->room - json->end);
	if (n < 0) {
		json->input_error = (int)n;
		fail_input(json, (int)n);
	}
	json->at_end = n <= 0;
	json->end += n > 0 ? (size_t)n : 0;
	json->buffer[json->end] = '\0';
}

/* Makes a whole short token available, or all that is left. */
static inline void want_token(struct dt_json *json)
{
	while (__builtin_expect(json->end - json->at < TOKEN_BYTES, 0) && !json->at_end && !json->error)
		fill(json, json->at);
}

static inline bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

/* The next byte that is no space; '\0' at the end, in the middle of an error, or for a NUL in the file. */
static inline char peek(struct dt_json *json)
{
	want_token(json);
	while (is_space(json->buffer[json->at])) {
		json->at++;
		want_token(json);
	}
	return json->error ? '\0' : json->buffer[json->at];
}

/* Says that something else was expected than what is there. */
static bool fail_token(struct dt_json *json, const char *expected)
{
	char c = peek(json);

	if (json->at == json->end)
		return dt_json_fail(json, -ENODATA, "the file ends where %s should be", expected);
	if (c == '\n')
		return dt_json_fail(json, -EBADMSG, "the line ends where %s should be: it is cut off, or the snapshot is spread over "
				    "several lines (jq -c . makes one of them)", expected);
	if (c > ' ' && c < 0x7f)
		return dt_json_fail(json, -EBADMSG, "'%c' stands where %s should be", c, expected);
	return dt_json_fail(json, -EBADMSG, "the byte 0x%02x stands where %s should be", (unsigned char)c, expected);
}

/* ---- lines --------------------------------------------------------------------------------------------------- */

bool dt_json_has_line(struct dt_json *json)
{
	want_token(json);
	return !json->error && json->at < json->end;
}

static void begin_line(struct dt_json *json)
{
	json->at++;
	json->line++;
	json->line_offset = json->offset + json->at;
}

bool dt_json_end_line(struct dt_json *json)
{
	if (peek(json) == '\n') {
		begin_line(json);
		return true;
	}
	if (!json->error && json->at < json->end)
		return fail_token(json, "the end of the line");
	return false;
}

bool dt_json_skip_line(struct dt_json *json)
{
	uint64_t begin = json->offset + json->at;

	json->error = 0;
	for (;;) {
		const char *newline = memchr(json->buffer + json->at, '\n', json->end - json->at);

		if (newline) {
			json->at = (size_t)(newline - json->buffer);
			begin_line(json);
			return true;
		}
		json->at = json->end;
		if (json->offset + json->at - begin > SKIPPED_BYTES_MAX)
			return dt_json_fail(json, -EFBIG, "it goes on for more than 16 GiB without a newline");
		if (json->at_end || json->error) {
			json->error = json->input_error; /* which cannot be passed */
			return false;
		}
		fill(json, json->at);
	}
}

/* ---- structure ----------------------------------------------------------------------------------------------- */

static const char *bracket_words(char bracket)
{
	switch (bracket) {
	case '{':
		return "an object ('{')";
	case '[':
		return "a list ('[')";
	case '}':
		return "',' or '}'";
	default:
		return "',' or ']'";
	}
}

bool dt_json_open(struct dt_json *json, char bracket)
{
	if (peek(json) != bracket)
		return fail_token(json, bracket_words(bracket));
	json->at++;
	return true;
}

bool dt_json_next(struct dt_json *json, char bracket, bool *first)
{
	char c = peek(json);

	if (json->error)
		return false;
	if (c == bracket) {
		json->at++;
		return false;
	}
	if (*first) {
		*first = false;
		return true;
	}
	if (c != ',')
		return fail_token(json, bracket_words(bracket));
	json->at++;
	return true;
}

static bool take_colon(struct dt_json *json)
{
	if (peek(json) != ':')
		return fail_token(json, "':'");
	json->at++;
	return true;
}

bool dt_json_take_key(struct dt_json *json, const char *key, size_t size)
{
	const char *at;

	if (size + 3 > TOKEN_BYTES || peek(json) != '"')
		return false;
	at = json->buffer + json->at;
	if (json->end - json->at < size + 3 || memcmp(at + 1, key, size) || at[size + 1] != '"' || at[size + 2] != ':')
		return false;
	json->at += size + 3;
	return true;
}

bool dt_json_key(struct dt_json *json, const char **ret_key, size_t *ret_size)
{
	const char *key;
	size_t size;

	if (peek(json) != '"')
		return fail_token(json, "a key ('\"')");
	if (!dt_json_text(json, &key, &size))
		return false;
	/* The text may move when its colon is read. No key that anyone knows is so long. */
	size = size < sizeof(json->key) - 1 ? size : sizeof(json->key) - 1;
	memcpy(json->key, key, size);
	json->key[size] = '\0';
	*ret_key = json->key;
	*ret_size = size;
	return take_colon(json);
}

/* ---- text ---------------------------------------------------------------------------------------------------- */

/* Reads on within a text that begins at `at`, of which the buffer may have to become larger. */
static bool fill_text(struct dt_json *json)
{
	if (json->at_end)
		return json->error ? false : dt_json_fail(json, -ENODATA, "the file ends within a text");
	if (round_up(json->end - json->at) >= json->room - PAGE_BYTES) {
		if (json->room >= DT_JSON_TEXT_BYTES_MAX)
			return dt_json_fail(json, -EFBIG, "a text has more than %zu bytes", DT_JSON_TEXT_BYTES_MAX - 2 * PAGE_BYTES);
		if (!make_room(json, json->room * 2))
			return dt_json_fail(json, -ENOMEM, "there is not enough memory for a text of %zu bytes", json->room);
	}
	fill(json, json->at);
	return !json->error;
}

/* Finds the end of a text; *ret_size without its quotation marks, *ret_plain: it means what it says, byte by byte. */
static bool find_text(struct dt_json *json, size_t *ret_size, bool *ret_escaped, bool *ret_ascii)
{
	size_t size = 1;
	unsigned char all = 0;

	*ret_escaped = *ret_ascii = false;
	*ret_size = 0;
	for (;; size++) {
		unsigned char c = (unsigned char)json->buffer[json->at + size];

		if (__builtin_expect(c < ' ', 0)) {
			while (json->at + size >= json->end && fill_text(json))
				;
			if (json->error)
				return false;
			c = (unsigned char)json->buffer[json->at + size];
			if (c < ' ') {
				json->at += size;
				return c == '\n' ? dt_json_fail(json, -EBADMSG, "the line ends within a text") :
						   dt_json_fail(json, -EBADMSG, "a text has the control character 0x%02x", c);
			}
		}
		if (c == '"')
			break;
		all |= c;
		if (c == '\\') {
			*ret_escaped = true;
			/* What it escapes is looked at later; it may be a quotation mark, and may not be read yet. */
			while (json->at + size + 1 >= json->end && fill_text(json))
				;
			if (json->error)
				return false;
			if ((unsigned char)json->buffer[json->at + size + 1] >= ' ')
				size++;
		}
	}
	*ret_ascii = all < 0x80;
	*ret_size = size - 1;
	return true;
}

/* Four hexadecimal digits, or -1. */
static int hex4(const char *text, size_t size)
{
	int value = 0;

	if (size < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = text[i], low = (char)(c | 0x20);

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if (low >= 'a' && low <= 'f')
			value = value * 16 + (low - 'a' + 10);
		else
			return -1;
	}
	return value;
}

/* One \uXXXX, or two that are a surrogate pair. Bytes taken, or 0. */
static size_t unescape_unicode(struct dt_json *json, const char *from, size_t size, char **to)
{
	int unit = hex4(from, size), low = -1;
	size_t taken = 4;
	int made;

	if (unit < 0 || !unit) {
		dt_json_fail(json, -EBADMSG, unit ? "\\u has no four hexadecimal digits behind it" :
						    "a text has the character NUL, which no name has");
		return 0;
	}
	if (unit >= 0xd800 && unit < 0xdc00 && size >= 10 && from[4] == '\\' && from[5] == 'u') {
		low = hex4(from + 6, size - 6);
		taken = 10;
	}
	if (low >= 0xdc00 && low < 0xe000)
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
	made = u8_uctomb((uint8_t *)*to, (ucs4_t)unit, 4);
	if (made <= 0) {
		dt_json_fail(json, -EBADMSG, "\\u%04x is half of a surrogate pair, and its other half is not there", (unsigned)unit);
		return 0;
	}
	*to += made;
	return taken;
}

/* In place: nothing becomes longer. */
static bool unescape(struct dt_json *json, char *text, size_t *size)
{
	static const char names[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	char *to = text;

	for (const char *from = text, *end = text + *size; from < end;) {
		const char *name;
		size_t taken;

		if (*from != '\\') {
			*to++ = *from++;
			continue;
		}
		from++;
		name = from < end ? memchr(names, *from, sizeof(names) - 1) : NULL;
		if (name) {
			*to++ = bytes[name - names];
			from++;
			continue;
		}
		if (from >= end || *from != 'u')
			return dt_json_fail(json, -EBADMSG, "a text has a backslash with nothing behind it that JSON knows");
		taken = unescape_unicode(json, from + 1, (size_t)(end - from) - 1, &to);
		if (!taken)
			return false;
		from += 1 + taken;
	}
	*size = (size_t)(to - text);
	return true;
}

bool dt_json_text(struct dt_json *json, const char **ret_text, size_t *ret_size)
{
	bool escaped, ascii;
	size_t size;
	char *text;

	if (peek(json) != '"')
		return fail_token(json, "a text ('\"')");
	if (!find_text(json, &size, &escaped, &ascii))
		return false;
	text = json->buffer + json->at + 1;
	if (!ascii && u8_check((const uint8_t *)text, size)) {
		json->at += 1 + (size_t)(u8_check((const uint8_t *)text, size) - (const uint8_t *)text);
		return dt_json_fail(json, -EILSEQ, "the byte 0x%02x is not UTF-8 here", (unsigned char)json->buffer[json->at]);
	}
	json->at += size + 2;
	if (escaped && !unescape(json, text, &size))
		return false;
	text[size] = '\0';
	*ret_text = text;
	*ret_size = size;
	return true;
}

/* ---- numbers and words --------------------------------------------------------------------------------------- */

static bool take_word(struct dt_json *json, const char *word)
{
	size_t size = strlen(word);

	peek(json);
	if (json->error || json->end - json->at < size || memcmp(json->buffer + json->at, word, size))
		return false;
	json->at += size;
	return true;
}

bool dt_json_take_null(struct dt_json *json)
{
	return peek(json) == 'n' && take_word(json, "null");
}

bool dt_json_bool(struct dt_json *json, bool *ret_value)
{
	bool value = take_word(json, "true");

	if (!value && !take_word(json, "false"))
		return fail_token(json, "true or false");
	*ret_value = value;
	return true;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits, as far as 64 bits go; what is behind them must not belong to the number. */
static bool read_digits(struct dt_json *json, uint64_t maximum, uint64_t *ret_value)
{
	const char *digit = json->buffer + json->at, *begin = digit;
	uint64_t value = 0;

	while (is_digit(*digit)) {
		unsigned next = (unsigned)(*digit - '0');

		if (__builtin_expect(value >= UINT64_MAX / 10, 0) &&
		    (value > UINT64_MAX / 10 || next > UINT64_MAX % 10))
			return dt_json_fail(json, -ERANGE, "a number is more than %" PRIu64, maximum);
		value = value * 10 + next;
		digit++;
	}
	if (digit == begin)
		return fail_token(json, "a number");
	if (*digit == '.' || *digit == 'e' || *digit == 'E')
		return dt_json_fail(json, -EBADMSG, "a number is not written as a whole one");
	if (*begin == '0' && digit > begin + 1)
		return dt_json_fail(json, -EBADMSG, "a number begins with 0");
	if (value > maximum)
		return dt_json_fail(json, -ERANGE, "the number %" PRIu64 " is more than %" PRIu64, value, maximum);
	json->at += (size_t)(digit - begin);
	*ret_value = value;
	return true;
}

bool dt_json_u64(struct dt_json *json, uint64_t maximum, uint64_t *ret_value)
{
	if (peek(json) == '-')
		return dt_json_fail(json, -ERANGE, "a number is negative, which it cannot be");
	return read_digits(json, maximum, ret_value);
}

bool dt_json_i64(struct dt_json *json, int64_t minimum, int64_t maximum, int64_t *ret_value)
{
	bool negative = peek(json) == '-';
	uint64_t value;

	json->at += negative;
	if (!read_digits(json, negative ? -(uint64_t)minimum : (uint64_t)maximum, &value))
		return false;
	*ret_value = negative ? (int64_t)-value : (int64_t)value;
	return true;
}

/* ---- short cuts ---------------------------------------------------------------------------------------------- */

#define DIGITS_SAFE 19                  /* so many always fit into 64 bits */
#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Of more than 8 bytes, or of 8, by words: the last ones overlap. */
static inline bool is_equal(const char *at, const char *text, size_t size)
{
	uint64_t one, other;

	for (size_t i = 0; i < size; i += sizeof(one)) {
		i = i + sizeof(one) < size ? i : size - sizeof(one);
		memcpy(&one, at + i, sizeof(one));
		memcpy(&other, text + i, sizeof(other));
		if (one != other)
			return false;
	}
	return true;
}

/*
 * A number of up to 7 digits at once, without a branch for each. How many these were; 0: none, or more. (Where bytes are added up, a carry comes
 * only out of one that is no digit, and changes only what is behind it.)
 */
static inline unsigned read_few_digits(const char *at, uint64_t *ret_value)
{
	uint64_t word, others;
	unsigned count;

	memcpy(&word, at, sizeof(word));
	word = le64toh(word) ^ EACH_BYTE('0'); /* digits become 0 … 9 */
	others = (word | (word + EACH_BYTE(0x80 - 10))) & EACH_BYTE(0x80);
	if (!others || others & 0x80)
		return 0;
	count = (unsigned)__builtin_ctzll(others) / 8;
	word <<= 64 - 8 * count; /* zeros in front */
	/* The first digit is in the lowest byte: neighbours become one of two digits, these of four, those of eight. */
	word = (word * 10 + (word >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
	word = (word * 100 + (word >> 16)) & UINT64_C(0x0000ffff0000ffff);
	*ret_value = (word * 10000 + (word >> 32)) & UINT32_MAX;
	return count;
}

/* Behind a number that is within bounds, and whole; NULL: it is not such a one. The 0 behind the buffer ends it, too. */
static inline const char *take_plain(const char *at, uint64_t maximum, uint64_t *ret_value)
{
	const char *begin = at;
	uint64_t value = 0;

	at += read_few_digits(at, &value);
	for (; is_digit(*at); at++)
		value = value * 10 + (unsigned)(*at - '0');
	if (at == begin || at - begin > DIGITS_SAFE || value > maximum || (*begin == '0' && at > begin + 1))
		return NULL;
	if (*at != ',' && *at != '}' && *at != ']')
		return NULL;
	*ret_value = value;
	return at;
}

bool dt_json_take_member(struct dt_json *json, const char *member, size_t size, uint64_t maximum, uint64_t *ret_value)
{
	const char *at = json->buffer + json->at, *end;

	if (json->error || size < sizeof(uint64_t) || json->end - json->at < size || !is_equal(at, member, size))
		return false;
	end = take_plain(at + size, maximum, ret_value);
	if (!end)
		return false;
	json->at += (size_t)(end - at);
	return true;
}

size_t dt_json_take_elements(struct dt_json *json, uint32_t *values, size_t room)
{
	const char *at = json->buffer + json->at;
	size_t count = 0;

	while (!json->error && count < room && *at == ',') {
		uint64_t value;
		const char *end = take_plain(at + 1, UINT32_MAX, &value);

		if (!end)
			break;
		values[count++] = (uint32_t)value;
		at = end;
	}
	json->at = (size_t)(at - json->buffer);
	return count;
}

/* ---- what nobody wants --------------------------------------------------------------------------------------- */

static bool skip_digits(struct dt_json *json)
{
	bool any = false;

	for (want_token(json); is_digit(json->buffer[json->at]); want_token(json)) {
		json->at++;
		any = true;
	}
	return any ? true : fail_token(json, "a digit");
}

/* RFC 8259, 6; of any length. */
static bool skip_number(struct dt_json *json)
{
	bool zero;

	json->at += json->buffer[json->at] == '-';
	want_token(json);
	zero = json->buffer[json->at] == '0';
	if (zero)
		json->at++;
	else if (!skip_digits(json))
		return false;
	want_token(json);
	if (json->buffer[json->at] == '.') {
		json->at++;
		if (!skip_digits(json))
			return false;
	}
	if ((json->buffer[json->at] | 0x20) != 'e')
		return true;
	json->at++;
	want_token(json);
	json->at += json->buffer[json->at] == '+' || json->buffer[json->at] == '-';
	return skip_digits(json);
}

static bool skip_plain(struct dt_json *json)
{
	const char *text;
	size_t size;
	char c = peek(json);

	if (c == '"')
		return dt_json_text(json, &text, &size);
	if (c == '-' || is_digit(c))
		return skip_number(json);
	if (take_word(json, "true") || take_word(json, "false") || take_word(json, "null"))
		return true;
	return fail_token(json, "a value");
}

/* Opens or passes one value; an open array or object is noted in `brackets`. */
static bool skip_step(struct dt_json *json, char brackets[DT_JSON_DEPTH_MAX], size_t *depth, bool *first)
{
	char c = peek(json);

	if (c != '{' && c != '[')
		return skip_plain(json);
	if (*depth == DT_JSON_DEPTH_MAX)
		return dt_json_fail(json, -EBADMSG, "lists and objects are more than %d deep", DT_JSON_DEPTH_MAX);
	json->at++;
	brackets[(*depth)++] = c == '{' ? '}' : ']';
	*first = true;
	return true;
}

bool dt_json_skip(struct dt_json *json)
{
	char brackets[DT_JSON_DEPTH_MAX];
	size_t depth = 0, size;
	bool first = false;
	const char *key;

	if (!skip_step(json, brackets, &depth, &first))
		return false;
	while (depth) {
		if (!dt_json_next(json, brackets[depth - 1], &first)) {
			if (json->error)
				return false;
			depth--;
			first = false;
			continue;
		}
		if (brackets[depth - 1] == '}' && !dt_json_key(json, &key, &size))
			return false;
		if (!skip_step(json, brackets, &depth, &first))
			return false;
	}
	return true;
}
