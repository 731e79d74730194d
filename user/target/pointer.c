/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/pointer.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

/* The relocation of a word: the last one, as the loader applies them in their order. */
static bool find_relocation(struct dt_elf *elf, uint64_t vaddr, Elf64_Rela *ret_relocation)
{
	uint64_t section_vaddr;
	const uint8_t *bytes;
	bool found = false;
	size_t size;

	if (dt_elf_section(elf, ".rela.dyn", &bytes, &size, &section_vaddr))
		return false;
	for (size_t at = 0; at + sizeof(*ret_relocation) <= size; at += sizeof(*ret_relocation)) {
		uint64_t offset;

		memcpy(&offset, bytes + at, sizeof(offset));
		if (offset != vaddr)
			continue;
		memcpy(ret_relocation, bytes + at, sizeof(*ret_relocation));
		found = true;
	}
	return found;
}

static int read_symbol(struct dt_elf *elf, uint32_t index, uint64_t *ret_vaddr)
{
	uint64_t section_vaddr;
	const uint8_t *bytes;
	Elf64_Sym symbol;
	size_t size;

	if (dt_elf_section(elf, ".dynsym", &bytes, &size, &section_vaddr) || index >= size / sizeof(symbol))
		return -ENOENT;
	memcpy(&symbol, bytes + index * sizeof(symbol), sizeof(symbol));
	if (symbol.st_shndx == SHN_UNDEF)
		return -ENOENT;
	*ret_vaddr = symbol.st_value;
	return 0;
}

int dt_pointer_read(struct dt_elf *elf, uint64_t vaddr, uint64_t *ret_target, enum dt_pointer_kind *ret_kind)
{
	enum dt_pointer_kind kind = DT_POINTER_PLAIN;
	Elf64_Rela relocation;
	uint64_t target = 0;

	if (!find_relocation(elf, vaddr, &relocation)) {
		if (dt_elf_read(elf, vaddr, &target, sizeof(target)))
			return -ENOENT;
	} else {
		kind = (enum dt_pointer_kind)ELF64_R_TYPE(relocation.r_info);
		switch (kind) {
		case DT_POINTER_ABSOLUTE:
		case DT_POINTER_SLOT:
			if (read_symbol(elf, ELF64_R_SYM(relocation.r_info), &target))
				return -ENOENT;
			target += (uint64_t)relocation.r_addend;
			break;
		case DT_POINTER_RELATIVE:
			target = (uint64_t)relocation.r_addend;
			break;
		case DT_POINTER_TLS_MODULE:
		case DT_POINTER_TLS_OFFSET:
			break;
		default:
			return -ENOENT;
		}
	}
	*ret_target = target;
	*ret_kind = kind;
	return 0;
}
