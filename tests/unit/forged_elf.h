/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * forged_elf: an ELF file made in memory: one segment at FORGED_VADDR with whatever is put into it, symbols, relocations, sections.
 * Errors of the test itself abort.
 */
#ifndef TEST_FORGED_ELF_H
#define TEST_FORGED_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "target/elf.h"

#define FORGED_VADDR 0x400000ull
#define FORGED_BYTES 0x20000
#define FORGED_MAX 32

struct forged {
	uint8_t bytes[FORGED_BYTES];
	size_t used;
	Elf64_Sym symbols[FORGED_MAX];
	size_t symbol_count;
	Elf64_Rela relocations[FORGED_MAX];
	size_t relocation_count;
	Elf64_Shdr sections[FORGED_MAX];
	size_t section_count;
	char names[2048];
	size_t names_used;
};

static inline uint32_t forged_name(struct forged *forged, const char *name)
{
	size_t at = forged->names_used;

	if (at + strlen(name) + 1 > sizeof(forged->names))
		abort();
	strcpy(forged->names + at, name);
	forged->names_used += strlen(name) + 1;
	return (uint32_t)at;
}

/* Puts bytes (or, where `data` is NULL, zeros) at the next multiple of 16; returns their vaddr. */
static inline uint64_t forged_put(struct forged *forged, const void *data, size_t size)
{
	size_t at = (forged->used + 15) / 16 * 16;

	if (at + size > sizeof(forged->bytes))
		abort();
	if (data)
		memcpy(forged->bytes + at, data, size);
	forged->used = at + size;
	return FORGED_VADDR + at;
}

static inline uint8_t *forged_at(struct forged *forged, uint64_t vaddr)
{
	return forged->bytes + (vaddr - FORGED_VADDR);
}

static inline void forged_store(struct forged *forged, uint64_t vaddr, uint64_t value, size_t size)
{
	memcpy(forged_at(forged, vaddr), &value, size);
}

static inline void forged_symbol(struct forged *forged, const char *name, int type, uint64_t vaddr, uint64_t size)
{
	if (forged->symbol_count >= FORGED_MAX)
		abort();
	forged->symbols[forged->symbol_count++] = (Elf64_Sym){
		.st_name = forged_name(forged, name), .st_info = (unsigned char)ELF64_ST_INFO(STB_GLOBAL, type), .st_shndx = 1,
		.st_value = vaddr, .st_size = size,
	};
}

static inline void forged_relocation(struct forged *forged, uint64_t vaddr, uint32_t type, uint32_t symbol, int64_t addend)
{
	if (forged->relocation_count >= FORGED_MAX)
		abort();
	forged->relocations[forged->relocation_count++] = (Elf64_Rela){ vaddr, ELF64_R_INFO((uint64_t)symbol, type), addend };
}

static inline uint32_t forged_section(struct forged *forged, const char *name, uint32_t type, uint64_t vaddr, uint64_t size)
{
	if (forged->section_count >= FORGED_MAX)
		abort();
	forged->sections[forged->section_count] = (Elf64_Shdr){
		.sh_name = forged_name(forged, name), .sh_type = type, .sh_flags = SHF_ALLOC, .sh_addr = vaddr,
		.sh_offset = vaddr - FORGED_VADDR, .sh_size = size, .sh_addralign = 1,
	};
	return (uint32_t)forged->section_count++;
}

/* Begins an empty one: the headers, and section 0 and 1. */
static inline void forged_init(struct forged *forged)
{
	memset(forged, 0, sizeof(*forged));
	forged->names_used = 1;
	forged->symbol_count = 1;
	forged_put(forged, NULL, sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr));
	forged->section_count = 1;
	forged_section(forged, ".text", SHT_PROGBITS, FORGED_VADDR, 0);
}

/* Symbol numbers, as relocations name them, are those of the order in which symbols were added, from 1 on. */
static inline struct dt_elf *forged_open(struct forged *forged)
{
	uint64_t symbols = forged_put(forged, forged->symbols, forged->symbol_count * sizeof(Elf64_Sym)), names, headers;
	uint64_t relocations = forged_put(forged, forged->relocations, forged->relocation_count * sizeof(Elf64_Rela));
	uint32_t table = forged_section(forged, ".dynsym", SHT_DYNSYM, symbols, forged->symbol_count * sizeof(Elf64_Sym)), strings;
	struct dt_elf *elf = NULL;
	Elf64_Ehdr header = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT, .e_phoff = sizeof(Elf64_Ehdr),
		.e_ehsize = sizeof(Elf64_Ehdr), .e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1, .e_shentsize = sizeof(Elf64_Shdr),
	};
	Elf64_Phdr segment = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = FORGED_VADDR, .p_align = 4096 };

	forged->sections[table].sh_entsize = sizeof(Elf64_Sym);
	forged->sections[table].sh_info = 1;
	if (forged->relocation_count) {
		uint32_t section = forged_section(forged, ".rela.dyn", SHT_RELA, relocations,
						  forged->relocation_count * sizeof(Elf64_Rela));

		forged->sections[section].sh_entsize = sizeof(Elf64_Rela);
		forged->sections[section].sh_link = table;
	}
	strings = forged_section(forged, ".dynstr", SHT_STRTAB, 0, 0);
	names = forged_put(forged, forged->names, sizeof(forged->names));
	forged->sections[strings].sh_addr = names;
	forged->sections[strings].sh_offset = names - FORGED_VADDR;
	forged->sections[strings].sh_size = forged->names_used;
	forged->sections[table].sh_link = strings;
	headers = forged_put(forged, forged->sections, forged->section_count * sizeof(Elf64_Shdr));
	header.e_shoff = headers - FORGED_VADDR;
	header.e_shnum = (Elf64_Half)forged->section_count;
	header.e_shstrndx = (Elf64_Half)strings;
	segment.p_filesz = segment.p_memsz = forged->used;
	memcpy(forged->bytes, &header, sizeof(header));
	memcpy(forged->bytes + sizeof(header), &segment, sizeof(segment));
	return dt_elf_open_image(forged->bytes, forged->used, &elf) ? NULL : elf;
}

/* ---- code -------------------------------------------------------------------------------------------------------- */

/*
 * A function from a text of hexadecimal bytes; "@N" stands for the distance, in 4 bytes, from behind itself to targets[N],
 * "#N" for the lower 4 bytes of targets[N] themselves. Returns its vaddr.
 */
static inline uint64_t forged_code(struct forged *forged, const char *hex, const uint64_t *targets)
{
	uint64_t vaddr = forged_put(forged, NULL, 0);

	for (; *hex; hex++) {
		uint32_t word = 0;
		size_t size = 1;

		if (*hex == ' ')
			continue;
		if (*hex == '@' || *hex == '#') {
			bool relative = *hex++ == '@';

			word = (uint32_t)(targets[*hex - '0'] - (relative ? FORGED_VADDR + forged->used + 4 : 0));
			size = 4;
		} else {
			const char byte[] = { hex[0], hex[1], '\0' };

			word = (uint32_t)strtoul(byte, NULL, 16);
			hex++;
		}
		memcpy(forged->bytes + forged->used, &word, size);
		forged->used += size;
	}
	return vaddr;
}

/* The same with a symbol. */
static inline uint64_t forged_function(struct forged *forged, const char *name, const char *hex, const uint64_t *targets)
{
	uint64_t vaddr = forged_code(forged, hex, targets);

	forged_symbol(forged, name, STT_FUNC, vaddr, FORGED_VADDR + forged->used - vaddr);
	return vaddr;
}

#endif
