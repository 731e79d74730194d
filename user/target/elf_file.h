/* SPDX-License-Identifier: BSD-2-Clause */
/* elf_file: the object behind elf.h, for the files that read it. */
#ifndef DT_TARGET_ELF_FILE_H
#define DT_TARGET_ELF_FILE_H

#include <elf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/elf.h"
#include "target/image.h"

/* Where a symbol table is. */
struct dt_elf_table {
	uint64_t offset, count;
	uint64_t names_offset, names_size; /* ends with a NUL */
	uint64_t versions_offset;       /* a uint16_t for each symbol; 0: there are none */
};

struct dt_elf_unpacked;

struct dt_elf {
	struct dt_image *image;
	Elf64_Ehdr header;
	Elf64_Phdr *segments;           /* all program headers */
	size_t segment_count;
	Elf64_Shdr *sections;
	size_t section_count;
	size_t section_names;           /* index of the section with the others' names */
	struct dt_elf_unpacked *unpacked; /* compressed sections that were asked for */
	uint64_t entry;
	struct dt_elf_table tables[2];         /* .dynsym, .symtab */
	char *build_id;
	char *interpreter;
};

/* elf_section.c */

/* Are the bytes there? */
bool dt_elf_file_holds(const struct dt_elf *elf, uint64_t offset, uint64_t size);
/* A section whose bytes are all in the file; NULL. */
const Elf64_Shdr *dt_elf_file_section(const struct dt_elf *elf, size_t index);
/* The index of a section of that name that has bytes in the file; 0: there is none. */
size_t dt_elf_file_find_section(const struct dt_elf *elf, const char *name);
/* Lets go of sections that were unpacked. */
void dt_elf_file_forget_unpacked(struct dt_elf *elf);

/* elf_symbol.c */

/* Finds the symbol tables. -EBADMSG. */
int dt_elf_file_read_tables(struct dt_elf *elf);

#endif
