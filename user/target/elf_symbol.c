/* SPDX-License-Identifier: BSD-2-Clause */
/* The symbols of an ELF file: .dynsym with its versions, then .symtab. Each symbol and name is checked when it is used. */
#include "target/elf_file.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

#define VERSION_HIDDEN 0x8000u          /* .gnu.version: another version of this symbol is the default one */

static int read_table(const struct dt_elf *elf, size_t index, struct dt_elf_table *table)
{
	const Elf64_Shdr *section = dt_elf_file_section(elf, index), *names = section ? dt_elf_file_section(elf, section->sh_link) : NULL;
	char last;
	int error;

	if (!names || section->sh_entsize != sizeof(Elf64_Sym) || names->sh_type != SHT_STRTAB || !names->sh_size)
		return -EBADMSG;
	error = dt_image_read(elf->image, names->sh_offset + names->sh_size - 1, &last, 1);
	if (error || last)
		return error ? error : -EBADMSG;
	table->offset = section->sh_offset;
	table->count = section->sh_size / sizeof(Elf64_Sym);
	table->names_offset = names->sh_offset;
	table->names_size = names->sh_size;
	return 0;
}

static int read_versions(const struct dt_elf *elf, size_t index, struct dt_elf_table *table)
{
	const Elf64_Shdr *section = dt_elf_file_section(elf, index);

	if (!section || section->sh_size / sizeof(uint16_t) < table->count)
		return -EBADMSG;
	table->versions_offset = section->sh_offset;
	return 0;
}

int dt_elf_file_read_tables(struct dt_elf *elf)
{
	size_t versions = 0;
	int error = 0;

	for (size_t i = 1; i < elf->section_count && !error; i++) {
		if (elf->sections[i].sh_type == SHT_DYNSYM)
			error = read_table(elf, i, &elf->tables[0]);
		if (elf->sections[i].sh_type == SHT_SYMTAB)
			error = read_table(elf, i, &elf->tables[1]);
		if (elf->sections[i].sh_type == SHT_GNU_versym)
			versions = i;
	}
	if (!error && versions && elf->tables[0].count)
		error = read_versions(elf, versions, &elf->tables[0]);
	return error;
}

/* A symbol table in memory. */
struct view {
	const struct dt_elf_table *table;
	const uint8_t *symbols, *versions; /* Elf64_Sym and uint16_t, perhaps not aligned; versions may be NULL */
	const char *names;
};

static int open_view(const struct dt_elf *elf, size_t which, struct view *ret_view)
{
	const struct dt_elf_table *table = &elf->tables[which];
	struct view view = { .table = table };
	const uint8_t *names;
	int error;

	*ret_view = view;
	if (!table->count)
		return 0;
	error = dt_image_keep(elf->image, table->names_offset, table->names_size, &names);
	if (!error)
		error = dt_image_get(elf->image, table->offset, table->count * sizeof(Elf64_Sym), &view.symbols);
	if (!error && table->versions_offset)
		error = dt_image_get(elf->image, table->versions_offset, table->count * sizeof(uint16_t), &view.versions);
	if (error)
		return error;
	if (names[table->names_size - 1])
		return -EBADMSG;
	view.names = (const char *)names;
	*ret_view = view;
	return 0;
}

/*
 * Reads one symbol. 1: it is defined at an address. 0: it is not (imported, a constant, a section, a file name, an
 * offset of thread-local storage). -EBADMSG: its name is not in the string table.
 */
static int read_symbol(const struct view *view, size_t index, struct dt_elf_symbol *ret_symbol, bool *ret_hidden)
{
	uint16_t version = 0;
	Elf64_Sym symbol;
	int type;

	memcpy(&symbol, view->symbols + index * sizeof(symbol), sizeof(symbol));
	type = ELF64_ST_TYPE(symbol.st_info);
	if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS || symbol.st_shndx == SHN_COMMON ||
	    (type != STT_NOTYPE && type != STT_OBJECT && type != STT_FUNC && type != STT_GNU_IFUNC))
		return 0;
	if (symbol.st_name >= view->table->names_size)
		return -EBADMSG;
	if (!view->names[symbol.st_name])
		return 0;
	if (view->versions)
		memcpy(&version, view->versions + index * sizeof(version), sizeof(version));
	*ret_hidden = version & VERSION_HIDDEN;
	*ret_symbol = (struct dt_elf_symbol){
		.name = view->names + symbol.st_name,
		.vaddr = symbol.st_value,
		.size = symbol.st_size,
		.function = type == STT_FUNC || type == STT_GNU_IFUNC,
		.object = type == STT_OBJECT,
		.indirect = type == STT_GNU_IFUNC,
		.global = ELF64_ST_BIND(symbol.st_info) != STB_LOCAL,
	};
	return 1;
}

/* Of one name: global before local, then the default version before the others. */
static int find_in_table(const struct dt_elf *elf, size_t which, const char *name, struct dt_elf_symbol *ret_symbol)
{
	struct view view;
	int best = -1, error = open_view(elf, which, &view);

	for (size_t i = 0; !error && i < view.table->count; i++) {
		struct dt_elf_symbol symbol;
		bool hidden;
		int rank, defined = read_symbol(&view, i, &symbol, &hidden);

		if (defined < 0)
			return defined;
		if (!defined || strcmp(symbol.name, name))
			continue;
		rank = 2 * symbol.global + !hidden;
		if (rank <= best)
			continue;
		best = rank;
		symbol.dynamic = which == 0;
		*ret_symbol = symbol;
	}
	return error ? error : best < 0 ? -ENOENT : 0;
}

int dt_elf_find_symbol(const struct dt_elf *elf, const char *name, struct dt_elf_symbol *ret_symbol)
{
	struct dt_elf_symbol symbol;
	int error = find_in_table(elf, 0, name, &symbol);

	if (error == -ENOENT)
		error = find_in_table(elf, 1, name, &symbol);
	if (!error)
		*ret_symbol = symbol;
	return error;
}

static int each_in_table(const struct dt_elf *elf, size_t which, dt_elf_symbol_fn fn, void *context)
{
	struct view view;
	int result = open_view(elf, which, &view);

	for (size_t i = 0; !result && i < view.table->count; i++) {
		struct dt_elf_symbol symbol;
		bool hidden;

		result = read_symbol(&view, i, &symbol, &hidden);
		symbol.dynamic = which == 0;
		if (result > 0)
			result = fn(context, &symbol);
	}
	return result;
}

int dt_elf_each_symbol(const struct dt_elf *elf, dt_elf_symbol_fn fn, void *context)
{
	int result = each_in_table(elf, 0, fn, context);

	return result ? result : each_in_table(elf, 1, fn, context);
}
