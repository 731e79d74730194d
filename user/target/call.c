/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/call.h"

#include <stdbool.h>

/*
 * x86-64 near calls (Intel SDM volume 2A, CALL): E8 rel32, and FF /2 with a register or memory operand, whose length
 * follows from its ModRM byte (and SIB byte). One prefix byte may stand before either: REX, or a segment or padding
 * prefix as linkers write it (`addr32 call` where a GOT call was relaxed).
 */
static size_t indirect_operand_length(const uint8_t *modrm, size_t size)
{
	unsigned int mode = modrm[0] >> 6, operand = modrm[0] & 7;
	bool has_sib = mode != 3 && operand == 4;
	size_t length = has_sib ? 2 : 1;

	if (size < length)
		return length;
	if (mode == 1)
		return length + 1;
	if (mode == 2)
		return length + 4;
	if (mode == 0 && (has_sib ? (modrm[1] & 7) == 5 : operand == 5))
		return length + 4;
	return length;
}

static bool is_prefix(uint8_t byte)
{
	return (byte & 0xf0) == 0x40 || byte == 0x67 || byte == 0x2e || byte == 0x3e;
}

size_t dt_call_length(const uint8_t *bytes, size_t size)
{
	const uint8_t *end = bytes + size;

	for (size_t length = 2; length <= 7 && length <= size; length++) {
		const uint8_t *opcode = end - length;
		bool direct = length == 5 && opcode[0] == 0xe8;
		bool indirect = opcode[0] == 0xff && (opcode[1] >> 3 & 7) == 2 &&
				1 + indirect_operand_length(opcode + 1, length - 1) == length;

		if (direct || indirect)
			return length + (length < size && is_prefix(opcode[-1]));
	}
	return 0;
}
