/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/debug_data.h"

struct entry {
	uint64_t start, end;            /* end exclusive; 0: not known yet */
	uint64_t reach;                 /* largest end of this and all entries before: where to stop looking back */
	const char *name;
	bool global;
};

struct dt_symbols {
	struct entry *entries;          /* by start; of one start the best name last */
	size_t count, room;
	int debug_fd;                   /* what the names of `debug` and `data` are in */
	uint8_t *image;
	Elf *debug, *data;
};

static int add_entry(struct dt_symbols *symbols, const struct dt_elf_symbol *symbol)
{
	if (symbols->count == symbols->room) {
		size_t room = symbols->room ? 2 * symbols->room : 1024;
		struct entry *grown = reallocarray(symbols->entries, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		symbols->entries = grown;
		symbols->room = room;
	}
	symbols->entries[symbols->count++] = (struct entry){
		.start = symbol->vaddr,
		.end = !symbol->size ? 0 : symbol->size > UINT64_MAX - symbol->vaddr ? UINT64_MAX : symbol->vaddr + symbol->size,
		.name = symbol->name,
		.global = symbol->global,
	};
	return 0;
}

static int add_symbol(void *context, const struct dt_elf_symbol *symbol)
{
	return symbol->function ? add_entry(context, symbol) : 0;
}

/* ---- other files with symbols of this one ------------------------------------------------------------------------ */

static int add_table(struct dt_symbols *symbols, Elf *elf, Elf_Scn *section, const GElf_Shdr *header)
{
	Elf_Data *data = elf_getdata(section, NULL);
	GElf_Sym symbol;
	int error = 0;

	for (int i = 0; !error && data && gelf_getsym(data, i, &symbol); i++) {
		int type = GELF_ST_TYPE(symbol.st_info);
		const char *name;

		if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS ||
		    symbol.st_shndx == SHN_COMMON)
			continue;
		name = elf_strptr(elf, header->sh_link, symbol.st_name);
		if (!name || !*name)
			continue;
		error = add_entry(symbols, &(struct dt_elf_symbol){ .name = name, .vaddr = symbol.st_value, .size = symbol.st_size,
								    .global = GELF_ST_BIND(symbol.st_info) != STB_LOCAL });
	}
	return error;
}

/*
 * Straight with libelf: files that hold nothing but debug information keep program headers that point nowhere (NOBITS sections),
 * so dt_elf_open() takes them for damaged.
 */
static int add_tables(struct dt_symbols *symbols, Elf *elf)
{
	Elf_Scn *section = NULL;
	GElf_Ehdr file;
	GElf_Shdr header;
	int error = 0;

	if (!elf || !gelf_getehdr(elf, &file) || file.e_machine != EM_X86_64)
		return 0;
	while (!error && (section = elf_nextscn(elf, section)))
		if (gelf_getshdr(section, &header) && header.sh_type == SHT_SYMTAB)
			error = add_table(symbols, elf, section, &header);
	return error;
}

static int add_debug_file(struct dt_symbols *symbols, int debug_fd)
{
	symbols->debug_fd = fcntl(debug_fd, F_DUPFD_CLOEXEC, 0);
	if (symbols->debug_fd < 0)
		return -errno;
	symbols->debug = elf_begin(symbols->debug_fd, ELF_C_READ_MMAP, NULL);
	return add_tables(symbols, symbols->debug);
}

static int add_debug_data(struct dt_symbols *symbols, struct dt_elf *elf)
{
	const uint8_t *packed;
	size_t size, image_size;
	uint64_t vaddr;
	int error = dt_elf_section(elf, ".gnu_debugdata", &packed, &size, &vaddr);

	/* One that is too large is left out as a damaged one is. */
	if (error || dt_debug_data_unpack(packed, size, &symbols->image, &image_size))
		return 0;
	symbols->data = elf_memory((char *)symbols->image, image_size);
	return add_tables(symbols, symbols->data);
}

/* ---- order ------------------------------------------------------------------------------------------------------- */

static int compare_entries(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;
	size_t a_length, b_length;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->global != b->global)
		return a->global ? 1 : -1;
	a_length = strlen(a->name);
	b_length = strlen(b->name);
	if (a_length != b_length)
		return a_length < b_length ? 1 : -1;
	return strcmp(b->name, a->name);
}

/* Where the code that holds `vaddr` ends: the last function without a size goes on to there. */
static uint64_t find_text_end(const struct dt_elf *elf, uint64_t vaddr)
{
	uint64_t start, end;

	for (size_t i = 0; dt_elf_text_range(elf, i, &start, &end); i++)
		if (vaddr >= start && vaddr < end)
			return end;
	return vaddr;
}

/* From the back, so that the next function is known; a function without a size does not leave its segment. */
static void set_ends(const struct dt_elf *elf, struct dt_symbols *symbols)
{
	uint64_t next = UINT64_MAX, start = UINT64_MAX, reach = 0;

	for (size_t i = symbols->count; i--;) {
		struct entry *entry = &symbols->entries[i];

		if (entry->start != start) {
			next = start;
			start = entry->start;
		}
		if (!entry->end) {
			uint64_t text_end = find_text_end(elf, start);

			entry->end = next < text_end ? next : text_end;
		}
	}
	for (size_t i = 0; i < symbols->count; i++) {
		if (symbols->entries[i].end > reach)
			reach = symbols->entries[i].end;
		symbols->entries[i].reach = reach;
	}
}

int dt_symbols_new(struct dt_elf *elf, int debug_fd, struct dt_symbols **ret_symbols)
{
	struct dt_symbols *symbols = calloc(1, sizeof(*symbols));
	int error;

	if (!symbols)
		return -ENOMEM;
	symbols->debug_fd = -1;
	elf_version(EV_CURRENT);
	error = dt_elf_each_symbol(elf, add_symbol, symbols);
	if (!error || error == -EBADMSG)
		error = add_debug_data(symbols, elf);
	if (!error && debug_fd >= 0)
		error = add_debug_file(symbols, debug_fd);
	if (error) {
		dt_symbols_free(symbols);
		return error;
	}
	if (symbols->count)
		qsort(symbols->entries, symbols->count, sizeof(*symbols->entries), compare_entries);
	set_ends(elf, symbols);
	*ret_symbols = symbols;
	return 0;
}

void dt_symbols_free(struct dt_symbols *symbols)
{
	if (!symbols)
		return;
	elf_end(symbols->debug);
	elf_end(symbols->data);
	if (symbols->debug_fd >= 0)
		close(symbols->debug_fd);
	free(symbols->image);
	free(symbols->entries);
	free(symbols);
}

/*
 * Functions can lie within others (assembly with inner entries), so the nearest start need not be the one: look back
 * until one holds the address, or none before reaches that far. The first that is met starts nearest.
 */
const char *dt_symbols_find(const struct dt_symbols *symbols, uint64_t vaddr, uint64_t *ret_offset)
{
	size_t low = 0, high = symbols->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (symbols->entries[middle].start <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- && symbols->entries[low].reach > vaddr) {
		const struct entry *entry = &symbols->entries[low];

		if (vaddr >= entry->end)
			continue;
		*ret_offset = vaddr - entry->start;
		return entry->name;
	}
	return NULL;
}
