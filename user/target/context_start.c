// SPDX-License-Identifier: BSD-2-Clause
#include "target/context_start.h"

#include <stdbool.h>

#include <Zydis/Zydis.h>

#define CODE_BYTES_MAX 4096             /* glibc's has some 500 */

/* Is it `lea address(%rip), …`? */
static bool takes_address(const ZydisDecodedInstruction *head, const ZydisDecodedOperand *operands, uint64_t vaddr, uint64_t *ret_address)
{
	return head->mnemonic == ZYDIS_MNEMONIC_LEA && operands[1].mem.base == ZYDIS_REGISTER_RIP &&
	       ZYAN_SUCCESS(ZydisCalcAbsoluteAddress(head, &operands[1], vaddr, ret_address));
}

static size_t find_addresses(const uint8_t *code, size_t size, uint64_t vaddr, uint64_t starts[DT_CONTEXT_STARTS_MAX])
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction head;
	ZydisDecoder decoder;
	size_t count = 0;

	if (ZYAN_FAILED(ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)))
		return 0;
	for (size_t at = 0; at < size && count < DT_CONTEXT_STARTS_MAX; at += head.length) {
		if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, code + at, size - at, &head, operands)))
			break;
		count += takes_address(&head, operands, vaddr + at, &starts[count]);
	}
	return count;
}

size_t dt_context_start_find(const struct dt_elf *elf, uint64_t starts[DT_CONTEXT_STARTS_MAX])
{
	struct dt_elf_symbol symbol;
	uint8_t code[CODE_BYTES_MAX];

	if (dt_elf_find_symbol(elf, "makecontext", &symbol) || !symbol.function || !symbol.size || symbol.size > sizeof(code) ||
	    dt_elf_read(elf, symbol.vaddr, code, symbol.size))
		return 0;
	return find_addresses(code, symbol.size, symbol.vaddr, starts);
}
