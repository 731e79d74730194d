/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Three formats, each a list of entries by instruction; all that one says of the line is its change against the entry before.
 *
 * up to 3.9 (Objects/lnotab_notes.txt, 3.9): pairs of bytes: how many bytes of bytecode until the line changes, and by how much
 * (signed).
 *
 * 3.10 (Objects/lnotab_notes.txt, 3.10; PEP 626): pairs of bytes: by how much the line changes (signed, in the second byte), and
 * for how many bytes of bytecode it is so. A change of -128: these have no line.
 *
 * Since 3.11 (Objects/locations.md): entries that start with a byte whose bit 7 is set,
 *
 *	1 code:4 length-1:3
 *
 * where length counts code units of two bytes, then operands whose bit 7 is clear. The code says what the entry tells
 * of its instructions; columns are passed over.
 */
#include "target/python_lines.h"

#include <limits.h>
#include <stdbool.h>

#define START 0x80u
#define CODE_UNIT_BYTES 2u

enum code {
	CODE_ONE_LINE_0 = 10,           /* same line; 11 and 12: one and two further */
	CODE_ONE_LINE_2 = 12,
	CODE_NO_COLUMNS = 13,           /* signed number: the change of the line */
	CODE_LONG = 14,                 /* the same, then end line and columns */
	CODE_NONE = 15,                 /* no line at all; the line that the next change counts from stays */
};

/* Six bits a byte, least significant first, bit 6: more follow; the lowest bit of the number is the sign. */
static bool read_signed(const uint8_t *at, const uint8_t *end, int64_t *ret_value)
{
	uint64_t value = 0;

	for (unsigned int shift = 0; at < end && !(*at & START) && shift < 36; shift += 6, at++) {
		value |= (uint64_t)(*at & 0x3f) << shift;
		if (*at & 0x40)
			continue;
		*ret_value = value & 1 ? -(int64_t)(value >> 1) : (int64_t)(value >> 1);
		return true;
	}
	return false;
}

/* How far the entry's line is from that of the entry before; false: the table is damaged. */
static bool read_change(enum code code, const uint8_t *operands, const uint8_t *end, int64_t *ret_change)
{
	*ret_change = 0;
	if (code == CODE_NO_COLUMNS || code == CODE_LONG)
		return read_signed(operands, end, ret_change);
	if (code >= CODE_ONE_LINE_0 && code <= CODE_ONE_LINE_2)
		*ret_change = code - CODE_ONE_LINE_0;
	return true;
}

static int line_in_range(int64_t line)
{
	return line < 0 || line > INT_MAX ? 0 : (int)line;
}

static int find_in_lnotab(const struct dt_python_line_table *table, uint32_t instruction)
{
	int64_t line = table->first_line;
	uint64_t begins = 0;

	for (size_t at = 0; at + 1 < table->size; at += 2) {
		begins += table->bytes[at];
		if (begins > instruction)
			break;
		line += (int8_t)table->bytes[at + 1];
	}
	return line_in_range(line);
}

#define NO_LINE (-128)

static int find_in_linetable(const struct dt_python_line_table *table, uint32_t instruction)
{
	int64_t line = table->first_line;
	uint64_t covered = 0;

	for (size_t at = 0; at + 1 < table->size; at += 2) {
		int8_t change = (int8_t)table->bytes[at + 1];

		covered += table->bytes[at];
		if (change != NO_LINE)
			line += change;
		if (instruction < covered)
			return change == NO_LINE ? 0 : line_in_range(line);
	}
	return 0;
}

static int find_in_locations(const struct dt_python_line_table *table, uint32_t instruction)
{
	const uint8_t *at = table->bytes, *end = at + table->size;
	int64_t line = table->first_line, change;
	uint64_t covered = 0;

	while (at < end) {
		enum code code = *at >> 3 & 15;

		if (!(*at & START) || !read_change(code, at + 1, end, &change))
			return 0;
		line += change;
		covered += ((*at & 7u) + 1) * CODE_UNIT_BYTES;
		if (instruction < covered)
			return code == CODE_NONE ? 0 : line_in_range(line);
		do
			at++;
		while (at < end && !(*at & START));
	}
	return 0;
}

int dt_python_line_find(const struct dt_python_line_table *table, uint32_t instruction)
{
	static int (*const finders[])(const struct dt_python_line_table *, uint32_t) = {
		[DT_PYTHON_LNOTAB] = find_in_lnotab,
		[DT_PYTHON_LINETABLE] = find_in_linetable,
		[DT_PYTHON_LOCATIONS] = find_in_locations,
	};

	if (instruction == DT_PYTHON_NOT_STARTED)
		return line_in_range(table->first_line);
	if ((unsigned int)table->format > DT_PYTHON_LOCATIONS || !table->bytes)
		return 0;
	return finders[table->format](table, instruction);
}
