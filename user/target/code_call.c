/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Decoding all code of a large program takes long, and calls out of what is described are rare. So bytes that could be such
 * a call are searched for, and only the range that they are in is decoded: it begins with an instruction.
 */
#include "target/code_call.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/cleanup.h"

#define CALL 0xe8                       /* call rel32 */
#define CALL_BYTES 5

struct search {
	ZydisDecoder decoder;
	const struct dt_rule_ranges *known, *gaps;
	uint64_t vaddr;                 /* of the code in `bytes` */
	const uint8_t *bytes;
	size_t size;
	size_t index;                   /* the range of `known` that is looked at */
	uint64_t decoded;               /* up to here, from the beginning of that range on */
	dt_code_call_fn fn;
	void *context;
};

static bool is_in(const struct dt_rule_ranges *ranges, uint64_t vaddr)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->items[middle].end <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ranges->count && ranges->items[low].start <= vaddr;
}

/* Whether an instruction begins there, which is asked for ascending addresses. */
static bool is_instruction(struct search *search, uint64_t vaddr)
{
	const struct dt_rule_ranges *known = search->known;

	while (search->index < known->count && known->items[search->index].end <= vaddr)
		search->index++;
	if (search->index == known->count || known->items[search->index].start > vaddr)
		return false;
	if (search->decoded < known->items[search->index].start)
		search->decoded = known->items[search->index].start;
	while (search->decoded < vaddr && search->decoded >= search->vaddr) {
		size_t at = search->decoded - search->vaddr;
		ZydisDecodedInstruction instruction;

		if (ZYAN_FAILED(ZydisDecoderDecodeInstruction(&search->decoder, NULL, search->bytes + at, search->size - at,
							      &instruction)))
			search->decoded++;
		else
			search->decoded += instruction.length;
	}
	return search->decoded == vaddr;
}

static int search_calls(struct search *search)
{
	const uint8_t *at = search->bytes, *end = search->bytes + search->size;
	int result = 0;

	while (!result && end - at >= CALL_BYTES && (at = memchr(at, CALL, (size_t)(end - at) - CALL_BYTES + 1))) {
		uint64_t vaddr = search->vaddr + (uint64_t)(at - search->bytes), target;
		int32_t distance;

		memcpy(&distance, at + 1, sizeof(distance));
		target = vaddr + CALL_BYTES + (uint64_t)(int64_t)distance;
		if (is_in(search->gaps, target) && is_instruction(search, vaddr))
			result = search->fn(search->context, target);
		at++;
	}
	return result;
}

int dt_code_call_each(const struct dt_elf *elf, const struct dt_rule_ranges *text, const struct dt_rule_ranges *known,
		      const struct dt_rule_ranges *gaps, dt_code_call_fn fn, void *context)
{
	struct search search = { .known = known, .gaps = gaps, .fn = fn, .context = context };
	int result = 0;

	if (!known->count || !gaps->count ||
	    ZYAN_FAILED(ZydisDecoderInit(&search.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return 0;
	for (size_t i = 0; i < text->count && !result; i++) {
		uint64_t size = text->items[i].end - text->items[i].start;
		DT_FREE uint8_t *bytes = NULL;

		if (size > DT_CODE_CALL_BYTES_MAX)
			continue;
		bytes = malloc(size);
		if (!bytes)
			return -ENOMEM;
		search.vaddr = text->items[i].start;
		search.bytes = bytes;
		search.size = size;
		if (!dt_elf_read(elf, search.vaddr, bytes, size))
			result = search_calls(&search);
	}
	return result;
}
