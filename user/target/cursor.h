/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * cursor: reads numbers from bytes that nobody vouches for. A read behind the end gives 0 and marks the cursor as failed;
 * it is asked for that once, after a group of reads.
 */
#ifndef DT_TARGET_CURSOR_H
#define DT_TARGET_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct dt_cursor {
	const uint8_t *at, *end;
	bool failed;
};

static inline struct dt_cursor dt_cursor_of(const uint8_t *bytes, size_t size)
{
	return (struct dt_cursor){ .at = bytes, .end = bytes + size };
}

static inline size_t dt_cursor_left(const struct dt_cursor *cursor)
{
	return (size_t)(cursor->end - cursor->at);
}

/* The bytes that were skipped; NULL: there are not so many. */
static inline const uint8_t *dt_cursor_skip(struct dt_cursor *cursor, uint64_t size)
{
	const uint8_t *at = cursor->at;

	if (size > dt_cursor_left(cursor)) {
		cursor->failed = true;
		cursor->at = cursor->end;
		return NULL;
	}
	cursor->at += size;
	return at;
}

/* A little-endian number of 1, 2, 4 or 8 bytes (x86-64 only, as all that reads ELF files here). */
static inline uint64_t dt_cursor_fixed(struct dt_cursor *cursor, size_t size)
{
	const uint8_t *at = dt_cursor_skip(cursor, size);
	uint64_t value = 0;

	if (at)
		memcpy(&value, at, size);
	return value;
}

static inline uint8_t dt_cursor_byte(struct dt_cursor *cursor)
{
	return (uint8_t)dt_cursor_fixed(cursor, 1);
}

/* LEB128 (DWARF 5, 7.6). Bits that do not fit into 64 are dropped. */
static inline uint64_t dt_cursor_leb(struct dt_cursor *cursor, bool is_signed)
{
	uint64_t value = 0;
	unsigned int shift = 0;
	uint8_t byte;

	do {
		byte = dt_cursor_byte(cursor);
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		shift += shift < 64 ? 7 : 0;
	} while (byte & 0x80);
	if (is_signed && byte & 0x40 && shift < 64)
		value |= ~0ull << shift;
	return value;
}

static inline uint64_t dt_cursor_uleb(struct dt_cursor *cursor)
{
	return dt_cursor_leb(cursor, false);
}

static inline int64_t dt_cursor_sleb(struct dt_cursor *cursor)
{
	return (int64_t)dt_cursor_leb(cursor, true);
}

#endif
