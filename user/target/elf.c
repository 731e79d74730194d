/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The headers are copied when the file is opened; every table that they point to is checked against the file's size then, and
 * every symbol and name when it is used. Everything else is read as it is asked for (see target/image.h), so that no
 * pointer leads into a file that its owner changes meanwhile.
 */
#include "target/elf.h"

#include <elf.h>
#include <errno.h>
#include <libelf.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "target/image.h"

#define VERSION_HIDDEN 0x8000u          /* .gnu.version: another version of this symbol is the default one */
#define BUILD_ID_BYTES_MAX 64
#define SECTIONS_MAX 65536              /* ten times as many as linkers have ever been seen to leave in a program */
#define OVERLAP_BYTES_MAX (1u << 20)    /* segments meet in a page that both of them have */

/* Where a symbol table is. */
struct table {
	uint64_t offset, count;
	uint64_t names_offset, names_size; /* ends with a NUL */
	uint64_t versions_offset;       /* a uint16_t for each symbol; 0: there are none */
};

/* A compressed section, in an ELF image of its own that libelf may write to. */
struct unpacked {
	struct unpacked *next;
	size_t index;                   /* of the section in the file */
	Elf *libelf;
	const Elf_Data *data;
	struct {
		Elf64_Ehdr header;
		Elf64_Shdr sections[2];
		uint8_t bytes[];
	} image;
};

struct dt_elf {
	struct dt_image *image;
	Elf64_Ehdr header;
	Elf64_Phdr *segments;           /* all program headers */
	size_t segment_count;
	Elf64_Shdr *sections;
	size_t section_count;
	size_t section_names;           /* index of the section with the others' names */
	struct unpacked *unpacked;
	uint64_t entry;
	struct table tables[2];         /* .dynsym, .symtab */
	char *build_id;
	char *interpreter;
};

static bool in_file(const struct dt_elf *elf, uint64_t offset, uint64_t size)
{
	return offset <= dt_image_size(elf->image) && size <= dt_image_size(elf->image) - offset;
}

/* ---- headers ----------------------------------------------------------------------------------------------------- */

static int read_header(struct dt_elf *elf)
{
	Elf64_Ehdr *header = &elf->header;
	uint64_t size = dt_image_size(elf->image);
	int error;

	if (size < SELFMAG)
		return -ENOEXEC;
	error = dt_image_read(elf->image, 0, header, size < sizeof(*header) ? size : sizeof(*header));
	if (error)
		return error;
	if (memcmp(header->e_ident, ELFMAG, SELFMAG))
		return -ENOEXEC;
	if (size < sizeof(*header))
		return -EBADMSG;
	if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_ident[EI_DATA] != ELFDATA2LSB)
		return -ENOEXEC;
	if (header->e_ident[EI_VERSION] != EV_CURRENT)
		return -EBADMSG;
	return header->e_machine == EM_X86_64 && (header->e_type == ET_EXEC || header->e_type == ET_DYN) ? 0 : -ENOEXEC;
}

/* A table of headers that are `size` bytes each; its copy is the caller's. */
static int copy_headers(const struct dt_elf *elf, uint64_t offset, size_t count, size_t size, void *ret_headers)
{
	DT_FREE void *headers = NULL;
	int error;

	if (!in_file(elf, offset, (uint64_t)count * size))
		return -EBADMSG;
	headers = calloc(count + 1, size);
	if (!headers)
		return -ENOMEM;
	error = dt_image_read(elf->image, offset, headers, count * size);
	if (!error)
		*(void **)ret_headers = DT_TAKE(headers);
	return error;
}

static int check_segments(const struct dt_elf *elf)
{
	uint64_t loaded = 0;

	for (size_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type != PT_LOAD && segment->p_type != PT_NOTE && segment->p_type != PT_INTERP)
			continue;
		if (!in_file(elf, segment->p_offset, segment->p_filesz) || segment->p_vaddr + segment->p_filesz < segment->p_vaddr)
			return -EBADMSG;
		/* Segments that hold the same bytes again and again would make reading them all an endless task. */
		if (segment->p_type == PT_LOAD && (loaded += segment->p_filesz) > dt_image_size(elf->image) + OVERLAP_BYTES_MAX)
			return -EBADMSG;
	}
	return 0;
}

/* More than PN_XNUM of them, whose number then is elsewhere, are in core dumps alone (System V gABI 4.1, chapter 4). */
static int read_segments(struct dt_elf *elf)
{
	const Elf64_Ehdr *header = &elf->header;
	int error;

	if (!header->e_phoff || !header->e_phnum)
		return 0;
	if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == PN_XNUM)
		return -EBADMSG;
	error = copy_headers(elf, header->e_phoff, header->e_phnum, sizeof(Elf64_Phdr), &elf->segments);
	if (error)
		return error;
	elf->segment_count = header->e_phnum;
	return check_segments(elf);
}

/* A file without section headers has no symbols that could be read; it is not damaged. */
static int read_sections(struct dt_elf *elf)
{
	const Elf64_Ehdr *header = &elf->header;
	uint64_t count = header->e_shnum;
	Elf64_Shdr first;
	int error;

	if (!header->e_shoff)
		return 0;
	error = header->e_shentsize == sizeof(first) ? dt_image_read(elf->image, header->e_shoff, &first, sizeof(first)) : -EBADMSG;
	if (error)
		return error;
	if (!count)                     /* does not fit into its field (gABI 4.1, chapter 4: e_shnum, e_shstrndx) */
		count = first.sh_size;
	if (!count || count > SECTIONS_MAX)
		return -EBADMSG;
	error = copy_headers(elf, header->e_shoff, count, sizeof(first), &elf->sections);
	if (error)
		return error;
	elf->section_count = count;
	elf->section_names = header->e_shstrndx == SHN_XINDEX ? first.sh_link : header->e_shstrndx;
	return 0;
}

/* ---- notes and the interpreter ------------------------------------------------------------------------------------- */

static int store_build_id(struct dt_elf *elf, const uint8_t *id, size_t size)
{
	static const char digits[] = "0123456789abcdef";

	elf->build_id = malloc(2 * size + 1);
	if (!elf->build_id)
		return -ENOMEM;
	for (size_t i = 0; i < size; i++) {
		elf->build_id[2 * i] = digits[id[i] >> 4];
		elf->build_id[2 * i + 1] = digits[id[i] & 15];
	}
	elf->build_id[2 * size] = '\0';
	return 0;
}

static uint64_t align_up(uint64_t size, uint64_t align)
{
	return (size + align - 1) & ~(align - 1);
}

/* Notes follow each other at multiples of 4 bytes, or of 8 where the segment says so; one that does not fit ends them. */
static int read_notes(struct dt_elf *elf, const Elf64_Phdr *segment)
{
	uint64_t align = segment->p_align == 8 ? 8 : 4, at = 0, size = segment->p_filesz;
	const uint8_t *bytes;
	int error = dt_image_get(elf->image, segment->p_offset, size, &bytes);
	Elf64_Nhdr note;

	if (error)
		return error;
	while (!elf->build_id && size - at >= sizeof(note)) {
		uint64_t name = at + sizeof(note), id;

		memcpy(&note, bytes + at, sizeof(note));
		id = align_up(name + note.n_namesz, align);
		if (id > size || note.n_descsz > size - id)
			break;
		at = align_up(id + note.n_descsz, align);
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU") && note.n_descsz &&
		    note.n_descsz <= BUILD_ID_BYTES_MAX && !memcmp(bytes + name, "GNU", sizeof("GNU")))
			return store_build_id(elf, bytes + id, note.n_descsz);
		if (at > size)
			break;
	}
	return 0;
}

static int read_interpreter(struct dt_elf *elf, const Elf64_Phdr *segment)
{
	int error;

	if (segment->p_filesz > PATH_MAX || elf->interpreter)
		return -EBADMSG;
	elf->interpreter = malloc(segment->p_filesz);
	if (!elf->interpreter)
		return -ENOMEM;
	error = dt_image_read(elf->image, segment->p_offset, elf->interpreter, segment->p_filesz);
	return error ? error : elf->interpreter[segment->p_filesz - 1] ? -EBADMSG : 0;
}

static int read_facts(struct dt_elf *elf)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		int error = 0;

		if (!segment->p_filesz)
			continue;
		if (segment->p_type == PT_NOTE)
			error = read_notes(elf, segment);
		if (segment->p_type == PT_INTERP)
			error = read_interpreter(elf, segment);
		if (error)
			return error;
	}
	return 0;
}

/* ---- sections ------------------------------------------------------------------------------------------------------ */

/* A section whose bytes are all in the file; NULL. */
static const Elf64_Shdr *find_stored(const struct dt_elf *elf, size_t index)
{
	const Elf64_Shdr *section = index < elf->section_count ? &elf->sections[index] : NULL;

	return section && section->sh_type != SHT_NOBITS && in_file(elf, section->sh_offset, section->sh_size) ? section : NULL;
}

static int read_table(const struct dt_elf *elf, size_t index, struct table *table)
{
	const Elf64_Shdr *section = find_stored(elf, index), *names = section ? find_stored(elf, section->sh_link) : NULL;
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

static int read_versions(const struct dt_elf *elf, size_t index, struct table *table)
{
	const Elf64_Shdr *section = find_stored(elf, index);

	if (!section || section->sh_size / sizeof(uint16_t) < table->count)
		return -EBADMSG;
	table->versions_offset = section->sh_offset;
	return 0;
}

static int read_tables(struct dt_elf *elf)
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

/* The index of a section of that name that has bytes in the file; 0: there is none. */
static size_t find_section(const struct dt_elf *elf, const char *name)
{
	const Elf64_Shdr *table = find_stored(elf, elf->section_names);
	const uint8_t *names;
	size_t size = strlen(name) + 1;

	if (!table || dt_image_get(elf->image, table->sh_offset, table->sh_size, &names))
		return 0;
	for (size_t i = 1; i < elf->section_count; i++) {
		uint64_t at = elf->sections[i].sh_name;

		if (elf->sections[i].sh_type != SHT_NOBITS && at < table->sh_size && size <= table->sh_size - at &&
		    !memcmp(names + at, name, size))
			return i;
	}
	return 0;
}

/* ---- the entry ----------------------------------------------------------------------------------------------------- */

/* DT_DEBUG, where debuggers find the loader's list: linkers give it to programs and not to libraries. */
static bool has_debug_tag(const struct dt_elf *elf)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		const uint8_t *bytes;
		Elf64_Dyn tag;

		if (segment->p_type != PT_DYNAMIC || !in_file(elf, segment->p_offset, segment->p_filesz) ||
		    dt_image_get(elf->image, segment->p_offset, segment->p_filesz, &bytes))
			continue;
		for (size_t at = 0; at + sizeof(tag) <= segment->p_filesz; at += sizeof(tag)) {
			memcpy(&tag, bytes + at, sizeof(tag));
			if (tag.d_tag == DT_DEBUG)
				return true;
		}
	}
	return false;
}

/*
 * Where no entry was named, GNU ld up to 2.37 made the beginning of .text the entry of a library (manual, "Setting the
 * entry point"): that one means nothing. The loader itself has no interpreter and no DT_DEBUG, but a true entry.
 */
static void read_entry(struct dt_elf *elf)
{
	size_t text;

	elf->entry = elf->header.e_entry;
	if (elf->header.e_type != ET_DYN || elf->interpreter || has_debug_tag(elf))
		return;
	text = find_section(elf, ".text");
	if (text && elf->sections[text].sh_addr == elf->entry)
		elf->entry = 0;
}

/* ---- opening and closing --------------------------------------------------------------------------------------------- */

static int read_all(struct dt_elf *elf)
{
	int error = read_header(elf);

	if (!error)
		error = read_segments(elf);
	if (!error)
		error = read_facts(elf);
	if (!error)
		error = read_sections(elf);
	if (!error)
		error = read_tables(elf);
	if (!error)
		read_entry(elf);
	dt_image_trim(elf->image);
	return error;
}

/* Takes the image over, also on failure. */
static int open_image(struct dt_image *image, struct dt_elf **ret_elf)
{
	struct dt_elf *elf = calloc(1, sizeof(*elf));
	int error;

	if (!elf) {
		dt_image_close(image);
		return -ENOMEM;
	}
	elf->image = image;
	error = read_all(elf);
	if (error) {
		dt_elf_close(elf);
		return error;
	}
	*ret_elf = elf;
	return 0;
}

int dt_elf_open(int fd, struct dt_elf **ret_elf)
{
	struct dt_image *image;
	int error = dt_image_open(fd, &image);

	return error ? error : open_image(image, ret_elf);
}

int dt_elf_open_image(const void *bytes, size_t size, struct dt_elf **ret_elf)
{
	struct dt_image *image;
	int error = dt_image_copy(bytes, size, &image);

	return error ? error : open_image(image, ret_elf);
}

static void free_unpacked(struct unpacked *unpacked)
{
	elf_end(unpacked->libelf);
	free(unpacked);
}

void dt_elf_trim(struct dt_elf *elf)
{
	for (struct unpacked *next; elf->unpacked; elf->unpacked = next) {
		next = elf->unpacked->next;
		free_unpacked(elf->unpacked);
	}
	dt_image_trim(elf->image);
}

void dt_elf_close(struct dt_elf *elf)
{
	if (!elf)
		return;
	dt_elf_trim(elf);
	dt_image_close(elf->image);
	free(elf->segments);
	free(elf->sections);
	free(elf->build_id);
	free(elf->interpreter);
	free(elf);
}

int dt_elf_fd(const struct dt_elf *elf)
{
	return dt_image_fd(elf->image);
}

const char *dt_elf_build_id(const struct dt_elf *elf)
{
	return elf->build_id;
}

bool dt_elf_is_same(const struct dt_elf *elf, const struct dt_elf *other)
{
	return dt_image_is_same(elf->image, other->image);
}

const char *dt_elf_interpreter(const struct dt_elf *elf)
{
	return elf->interpreter;
}

uint64_t dt_elf_entry(const struct dt_elf *elf)
{
	return elf->entry;
}

/* ---- addresses ------------------------------------------------------------------------------------------------------- */

/* The segment whose part in the file holds the address; NULL. */
static const Elf64_Phdr *find_segment(const struct dt_elf *elf, uint64_t vaddr)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type == PT_LOAD && vaddr >= segment->p_vaddr && vaddr - segment->p_vaddr < segment->p_filesz)
			return segment;
	}
	return NULL;
}

int dt_elf_vaddr_to_offset(const struct dt_elf *elf, uint64_t vaddr, uint64_t *ret_offset)
{
	const Elf64_Phdr *segment = find_segment(elf, vaddr);

	if (!segment)
		return -ENXIO;
	*ret_offset = segment->p_offset + (vaddr - segment->p_vaddr);
	return 0;
}

int dt_elf_offset_to_vaddr(const struct dt_elf *elf, uint64_t offset, uint64_t *ret_vaddr)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type != PT_LOAD || offset < segment->p_offset || offset - segment->p_offset >= segment->p_filesz)
			continue;
		*ret_vaddr = segment->p_vaddr + (offset - segment->p_offset);
		return 0;
	}
	return -ENXIO;
}

#define PAGE_BYTES 4096ull

int dt_elf_text_vaddr(const struct dt_elf *elf, uint64_t offset, uint64_t *ret_vaddr)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || offset < (segment->p_offset & -PAGE_BYTES) ||
		    offset >= segment->p_offset + segment->p_filesz)
			continue;
		*ret_vaddr = segment->p_vaddr + offset - segment->p_offset;
		return 0;
	}
	return -ENXIO;
}

int dt_elf_bytes(const struct dt_elf *elf, uint64_t vaddr, size_t size, const uint8_t **ret_bytes, size_t *ret_size)
{
	const Elf64_Phdr *segment = find_segment(elf, vaddr);
	uint64_t left;
	int error;

	if (!segment)
		return -ENXIO;
	left = segment->p_filesz - (vaddr - segment->p_vaddr);
	if (size > left)
		size = left;
	error = dt_image_get(elf->image, segment->p_offset + (vaddr - segment->p_vaddr), size, ret_bytes);
	if (!error)
		*ret_size = size;
	return error;
}

int dt_elf_read(const struct dt_elf *elf, uint64_t vaddr, void *to, size_t size)
{
	const Elf64_Phdr *segment = find_segment(elf, vaddr);

	if (!segment || size > segment->p_filesz - (vaddr - segment->p_vaddr))
		return -ENXIO;
	return dt_image_read(elf->image, segment->p_offset + (vaddr - segment->p_vaddr), to, size);
}

static const Elf64_Phdr *find_text(const struct dt_elf *elf, size_t index)
{
	for (size_t i = 0; i < elf->segment_count; i++)
		if (elf->segments[i].p_type == PT_LOAD && elf->segments[i].p_flags & PF_X && !index--)
			return &elf->segments[i];
	return NULL;
}

bool dt_elf_text_range(const struct dt_elf *elf, size_t index, uint64_t *ret_start, uint64_t *ret_end)
{
	const Elf64_Phdr *segment = find_text(elf, index);

	if (!segment)
		return false;
	*ret_start = segment->p_vaddr;
	*ret_end = segment->p_vaddr + segment->p_filesz;
	return true;
}

bool dt_elf_text(const struct dt_elf *elf, size_t index, uint64_t *ret_vaddr, const uint8_t **ret_bytes,
		 size_t *ret_size)
{
	const Elf64_Phdr *segment = find_text(elf, index);

	if (!segment)
		return false;
	*ret_vaddr = segment->p_vaddr;
	*ret_size = segment->p_filesz;
	if (dt_image_get(elf->image, segment->p_offset, segment->p_filesz, ret_bytes)) {
		*ret_bytes = NULL;
		*ret_size = 0;
	}
	return true;
}

/* ---- symbols --------------------------------------------------------------------------------------------------------- */

/* A symbol table in memory. */
struct view {
	const struct table *table;
	const uint8_t *symbols, *versions; /* Elf64_Sym and uint16_t, perhaps not aligned; versions may be NULL */
	const char *names;
};

static int open_view(const struct dt_elf *elf, size_t which, struct view *ret_view)
{
	const struct table *table = &elf->tables[which];
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

/* ---- sections by name ------------------------------------------------------------------------------------------------ */

/* The image of a compressed section, not unpacked yet. */
static int copy_packed(const struct dt_elf *elf, const Elf64_Shdr *section, struct unpacked **ret_unpacked)
{
	struct unpacked *unpacked;
	Elf64_Chdr packed;
	int error = section->sh_size < sizeof(packed) ? -EBADMSG : dt_image_read(elf->image, section->sh_offset, &packed, sizeof(packed));

	if (error)
		return error;
	if (section->sh_size > DT_IMAGE_BYTES_MAX || packed.ch_size > DT_IMAGE_BYTES_MAX)
		return -EFBIG;
	unpacked = calloc(1, sizeof(*unpacked) + section->sh_size);
	if (!unpacked)
		return -ENOMEM;
	unpacked->image.header = elf->header;
	unpacked->image.header.e_phnum = 0;
	unpacked->image.header.e_phoff = 0;
	unpacked->image.header.e_shoff = sizeof(unpacked->image.header);
	unpacked->image.header.e_shnum = DT_ARRAY_SIZE(unpacked->image.sections);
	unpacked->image.header.e_shstrndx = SHN_UNDEF;
	unpacked->image.sections[1] = *section;
	unpacked->image.sections[1].sh_offset = sizeof(unpacked->image);
	*ret_unpacked = unpacked;
	return dt_image_read(elf->image, section->sh_offset, unpacked->image.bytes, section->sh_size);
}

/*
 * libelf replaces a compressed section in the image that it was read from, so it gets one that holds nothing else. It refuses
 * sizes that no deflated data can reach (elf_compress.c of elfutils 0.188), and such as the header does not tell.
 */
static int unpack(struct dt_elf *elf, size_t index, const struct unpacked **ret_unpacked)
{
	struct unpacked *unpacked = NULL;
	int error = copy_packed(elf, &elf->sections[index], &unpacked);
	Elf_Scn *handle;

	if (error) {
		free(unpacked);
		return error;
	}
	unpacked->index = index;
	if (elf_version(EV_CURRENT) != EV_NONE)
		unpacked->libelf = elf_memory((char *)&unpacked->image, sizeof(unpacked->image) + elf->sections[index].sh_size);
	handle = unpacked->libelf ? elf_getscn(unpacked->libelf, 1) : NULL;
	if (!handle || elf_compress(handle, 0, 0) < 0 || !(unpacked->data = elf_getdata(handle, NULL))) {
		free_unpacked(unpacked);
		return -EBADMSG;
	}
	unpacked->next = elf->unpacked;
	*ret_unpacked = elf->unpacked = unpacked;
	return 0;
}

static int read_packed(struct dt_elf *elf, size_t index, const uint8_t **ret_bytes, size_t *ret_size)
{
	const struct unpacked *unpacked = elf->unpacked;
	int error;

	while (unpacked && unpacked->index != index)
		unpacked = unpacked->next;
	error = unpacked ? 0 : unpack(elf, index, &unpacked);
	if (error)
		return error;
	*ret_bytes = unpacked->data->d_buf;
	*ret_size = unpacked->data->d_size;
	return 0;
}

int dt_elf_section(struct dt_elf *elf, const char *name, const uint8_t **ret_bytes, size_t *ret_size,
		   uint64_t *ret_vaddr)
{
	size_t index = find_section(elf, name), size;
	const Elf64_Shdr *section = index ? find_stored(elf, index) : NULL;
	const uint8_t *bytes;
	int error;

	if (!section)
		return index ? -EBADMSG : -ENOENT;
	size = section->sh_size;
	if (section->sh_flags & SHF_COMPRESSED)
		error = read_packed(elf, index, &bytes, &size);
	else
		error = dt_image_get(elf->image, section->sh_offset, size, &bytes);
	if (error)
		return error;
	*ret_bytes = bytes;
	*ret_size = size;
	*ret_vaddr = section->sh_flags & SHF_ALLOC ? section->sh_addr : 0;
	return 0;
}
