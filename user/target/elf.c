/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libelf reads the headers; every table they point to is checked once against the file's size when the file is opened,
 * and every name when it is used. Symbols are then read straight from the mapping, so that no lookup allocates.
 *
 * The file is mapped, not copied: a program can be gigabytes long. Who truncates a file while it is mapped kills its
 * readers, the traced process among them.
 */
#include "target/elf.h"

#include <errno.h>
#include <gelf.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define VERSION_HIDDEN 0x8000u          /* .gnu.version: another version of this symbol is the default one */
#define BUILD_ID_BYTES_MAX 64

struct table {
	const uint8_t *symbols;         /* Elf64_Sym, perhaps not aligned */
	size_t count;
	const char *names;              /* ends with a NUL */
	size_t names_size;
	const uint8_t *versions;        /* a uint16_t for each symbol, or NULL */
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
	uint8_t *bytes;
	size_t size;
	Elf *libelf;
	uint64_t entry;
	struct unpacked *unpacked;
	GElf_Phdr *segments;            /* all program headers */
	size_t segment_count;
	struct table tables[2];         /* .dynsym, .symtab */
	char *build_id;
	const char *interpreter;
};

static bool in_file(const struct dt_elf *elf, uint64_t offset, uint64_t size)
{
	return offset <= elf->size && size <= elf->size - offset;
}

static int map_file(struct dt_elf *elf, int fd)
{
	struct stat status;
	void *bytes;

	if (fstat(fd, &status))
		return -errno;
	if (!S_ISREG(status.st_mode) || status.st_size < SELFMAG)
		return -ENOEXEC;
	bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	elf->bytes = bytes;
	elf->size = (size_t)status.st_size;
	return 0;
}

/* A mapping as well, which no one can write to. */
static int copy_image(struct dt_elf *elf, const void *image, size_t size)
{
	void *bytes;

	if (size < SELFMAG)
		return -ENOEXEC;
	bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bytes == MAP_FAILED)
		return -errno;
	memcpy(bytes, image, size);
	elf->bytes = bytes;
	elf->size = size;
	return mprotect(bytes, size, PROT_READ) ? -errno : 0;
}

static int read_header(struct dt_elf *elf)
{
	GElf_Ehdr header;

	if (memcmp(elf->bytes, ELFMAG, SELFMAG))
		return -ENOEXEC;
	if (elf->size < sizeof(Elf64_Ehdr))
		return -EBADMSG;
	if (elf->bytes[EI_CLASS] != ELFCLASS64 || elf->bytes[EI_DATA] != ELFDATA2LSB)
		return -ENOEXEC;
	/* libelf's image is not const, but it is only read: the mapping would not let it do otherwise. */
	elf->libelf = elf_version(EV_CURRENT) == EV_NONE ? NULL : elf_memory((char *)elf->bytes, elf->size);
	if (!elf->libelf || !gelf_getehdr(elf->libelf, &header))
		return -EBADMSG;
	return header.e_machine == EM_X86_64 && (header.e_type == ET_EXEC || header.e_type == ET_DYN) ? 0 : -ENOEXEC;
}

static int read_segments(struct dt_elf *elf)
{
	if (elf_getphdrnum(elf->libelf, &elf->segment_count))
		return -EBADMSG;
	elf->segments = calloc(elf->segment_count + 1, sizeof(*elf->segments));
	if (!elf->segments)
		return -ENOMEM;
	for (size_t i = 0; i < elf->segment_count; i++) {
		GElf_Phdr *segment = &elf->segments[i];

		if (!gelf_getphdr(elf->libelf, (int)i, segment))
			return -EBADMSG;
		if (segment->p_type != PT_LOAD && segment->p_type != PT_NOTE && segment->p_type != PT_INTERP)
			continue;
		if (!in_file(elf, segment->p_offset, segment->p_filesz) || segment->p_vaddr + segment->p_filesz < segment->p_vaddr)
			return -EBADMSG;
	}
	return 0;
}

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

/* gelf_getnote ends at a note that does not fit into its segment. */
static int read_notes(struct dt_elf *elf, const GElf_Phdr *segment)
{
	Elf_Data *data = elf_getdata_rawchunk(elf->libelf, (int64_t)segment->p_offset, segment->p_filesz,
					      segment->p_align == 8 ? ELF_T_NHDR8 : ELF_T_NHDR);
	size_t at = 0, name, id;
	GElf_Nhdr note;

	while (data && !elf->build_id && (at = gelf_getnote(data, at, &note, &name, &id))) {
		if (note.n_type != NT_GNU_BUILD_ID || note.n_namesz != sizeof("GNU") || !note.n_descsz ||
		    note.n_descsz > BUILD_ID_BYTES_MAX || memcmp((char *)data->d_buf + name, "GNU", sizeof("GNU")))
			continue;
		return store_build_id(elf, (uint8_t *)data->d_buf + id, note.n_descsz);
	}
	return 0;
}

static int read_facts(struct dt_elf *elf)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const GElf_Phdr *segment = &elf->segments[i];
		int error = 0;

		if (!segment->p_filesz)
			continue;
		if (segment->p_type == PT_NOTE)
			error = read_notes(elf, segment);
		if (segment->p_type == PT_INTERP) {
			elf->interpreter = (const char *)elf->bytes + segment->p_offset;
			if (elf->interpreter[segment->p_filesz - 1])
				error = -EBADMSG;
		}
		if (error)
			return error;
	}
	return 0;
}

/* A section's bytes, all of them in the file. */
static int read_section(const struct dt_elf *elf, size_t index, GElf_Shdr *ret_section, const uint8_t **ret_bytes)
{
	Elf_Scn *handle = elf_getscn(elf->libelf, index);

	if (!handle || !gelf_getshdr(handle, ret_section) || ret_section->sh_type == SHT_NOBITS ||
	    !in_file(elf, ret_section->sh_offset, ret_section->sh_size))
		return -EBADMSG;
	*ret_bytes = elf->bytes + ret_section->sh_offset;
	return 0;
}

static int read_table(const struct dt_elf *elf, size_t index, struct table *table)
{
	GElf_Shdr section, names;
	const uint8_t *bytes;
	int error = read_section(elf, index, &section, &table->symbols);

	if (!error)
		error = read_section(elf, section.sh_link, &names, &bytes);
	if (error)
		return error;
	if (section.sh_entsize != sizeof(Elf64_Sym) || names.sh_type != SHT_STRTAB || !names.sh_size ||
	    bytes[names.sh_size - 1])
		return -EBADMSG;
	table->count = section.sh_size / sizeof(Elf64_Sym);
	table->names = (const char *)bytes;
	table->names_size = names.sh_size;
	return 0;
}

static int read_versions(const struct dt_elf *elf, size_t index, struct table *table)
{
	GElf_Shdr section;
	int error = read_section(elf, index, &section, &table->versions);

	return error ? error : section.sh_size / sizeof(uint16_t) < table->count ? -EBADMSG : 0;
}

/* A file without section headers has no symbols that could be read; it is not damaged. */
static int read_tables(struct dt_elf *elf)
{
	size_t count, versions = 0;
	GElf_Ehdr header;
	int error = 0;

	if (!gelf_getehdr(elf->libelf, &header) || elf_getshdrnum(elf->libelf, &count))
		return -EBADMSG;
	/* libelf takes a table that lies behind the end of the file for none. */
	if (header.e_shoff && (!count || !in_file(elf, header.e_shoff, (uint64_t)count * sizeof(Elf64_Shdr))))
		return -EBADMSG;
	for (size_t i = 1; i < count && !error; i++) {
		Elf_Scn *handle = elf_getscn(elf->libelf, i);
		GElf_Shdr section;

		if (!handle || !gelf_getshdr(handle, &section))
			return -EBADMSG;
		if (section.sh_type == SHT_DYNSYM)
			error = read_table(elf, i, &elf->tables[0]);
		if (section.sh_type == SHT_SYMTAB)
			error = read_table(elf, i, &elf->tables[1]);
		if (section.sh_type == SHT_GNU_versym)
			versions = i;
	}
	if (!error && versions && elf->tables[0].count)
		error = read_versions(elf, versions, &elf->tables[0]);
	return error;
}

/* DT_DEBUG, where debuggers find the loader's list: linkers give it to programs and not to libraries. */
static bool has_debug_tag(const struct dt_elf *elf)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const GElf_Phdr *segment = &elf->segments[i];
		Elf64_Dyn tag;

		if (segment->p_type != PT_DYNAMIC || !in_file(elf, segment->p_offset, segment->p_filesz))
			continue;
		for (size_t at = 0; at + sizeof(tag) <= segment->p_filesz; at += sizeof(tag)) {
			memcpy(&tag, elf->bytes + segment->p_offset + at, sizeof(tag));
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
	const uint8_t *bytes;
	uint64_t text = 0;
	GElf_Ehdr header;
	size_t size;

	if (!gelf_getehdr(elf->libelf, &header))
		return;
	if (header.e_type == ET_DYN && !elf->interpreter && !has_debug_tag(elf) &&
	    !dt_elf_section(elf, ".text", &bytes, &size, &text) && text == header.e_entry)
		return;
	elf->entry = header.e_entry;
}

static int read_all(struct dt_elf *elf)
{
	int error = read_header(elf);

	if (!error)
		error = read_segments(elf);
	if (!error)
		error = read_facts(elf);
	if (!error)
		error = read_tables(elf);
	if (!error)
		read_entry(elf);
	return error;
}

/* Opens a file, or an image where there is no file. */
static int open_either(int fd, const void *image, size_t size, struct dt_elf **ret_elf)
{
	struct dt_elf *elf = calloc(1, sizeof(*elf));
	int error;

	if (!elf)
		return -ENOMEM;
	error = image ? copy_image(elf, image, size) : map_file(elf, fd);
	if (!error)
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
	DT_FD int file = fd;

	return open_either(file, NULL, 0, ret_elf);
}

int dt_elf_open_image(const void *image, size_t size, struct dt_elf **ret_elf)
{
	return open_either(-1, image, size, ret_elf);
}

static void free_unpacked(struct unpacked *unpacked)
{
	elf_end(unpacked->libelf);
	free(unpacked);
}

void dt_elf_close(struct dt_elf *elf)
{
	if (!elf)
		return;
	for (struct unpacked *next; elf->unpacked; elf->unpacked = next) {
		next = elf->unpacked->next;
		free_unpacked(elf->unpacked);
	}
	elf_end(elf->libelf);
	if (elf->bytes)
		munmap(elf->bytes, elf->size);
	free(elf->segments);
	free(elf->build_id);
	free(elf);
}

void dt_elf_trim(struct dt_elf *elf)
{
	for (struct unpacked *next; elf->unpacked; elf->unpacked = next) {
		next = elf->unpacked->next;
		free_unpacked(elf->unpacked);
	}
}

const char *dt_elf_build_id(const struct dt_elf *elf)
{
	return elf->build_id;
}

const char *dt_elf_interpreter(const struct dt_elf *elf)
{
	return elf->interpreter;
}

uint64_t dt_elf_entry(const struct dt_elf *elf)
{
	return elf->entry;
}

/* The segment whose part in the file holds the address; NULL. */
static const GElf_Phdr *find_segment(const struct dt_elf *elf, uint64_t vaddr)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const GElf_Phdr *segment = &elf->segments[i];

		if (segment->p_type == PT_LOAD && vaddr >= segment->p_vaddr && vaddr - segment->p_vaddr < segment->p_filesz)
			return segment;
	}
	return NULL;
}

int dt_elf_vaddr_to_offset(const struct dt_elf *elf, uint64_t vaddr, uint64_t *ret_offset)
{
	const GElf_Phdr *segment = find_segment(elf, vaddr);

	if (!segment)
		return -ENXIO;
	*ret_offset = segment->p_offset + (vaddr - segment->p_vaddr);
	return 0;
}

int dt_elf_offset_to_vaddr(const struct dt_elf *elf, uint64_t offset, uint64_t *ret_vaddr)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const GElf_Phdr *segment = &elf->segments[i];

		if (segment->p_type != PT_LOAD || offset < segment->p_offset || offset - segment->p_offset >= segment->p_filesz)
			continue;
		*ret_vaddr = segment->p_vaddr + (offset - segment->p_offset);
		return 0;
	}
	return -ENXIO;
}

int dt_elf_bytes(const struct dt_elf *elf, uint64_t vaddr, size_t size, const uint8_t **ret_bytes, size_t *ret_size)
{
	const GElf_Phdr *segment = find_segment(elf, vaddr);
	uint64_t left;

	if (!segment)
		return -ENXIO;
	left = segment->p_filesz - (vaddr - segment->p_vaddr);
	*ret_bytes = elf->bytes + segment->p_offset + (vaddr - segment->p_vaddr);
	*ret_size = size < left ? size : left;
	return 0;
}

int dt_elf_read(const struct dt_elf *elf, uint64_t vaddr, void *to, size_t size)
{
	const uint8_t *bytes;
	size_t have;

	if (dt_elf_bytes(elf, vaddr, size, &bytes, &have) || have != size)
		return -ENXIO;
	memcpy(to, bytes, size);
	return 0;
}

bool dt_elf_text(const struct dt_elf *elf, size_t index, uint64_t *ret_vaddr, const uint8_t **ret_bytes,
		 size_t *ret_size)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const GElf_Phdr *segment = &elf->segments[i];

		if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || index--)
			continue;
		*ret_vaddr = segment->p_vaddr;
		*ret_bytes = elf->bytes + segment->p_offset;
		*ret_size = segment->p_filesz;
		return true;
	}
	return false;
}

/*
 * Reads one symbol. 1: it is defined at an address. 0: it is not (imported, a constant, a section, a file name, an
 * offset of thread-local storage). -EBADMSG: its name is not in the string table.
 */
static int read_symbol(const struct dt_elf *elf, size_t which, size_t index, struct dt_elf_symbol *ret_symbol,
		       bool *ret_hidden)
{
	const struct table *table = &elf->tables[which];
	uint16_t version = 0;
	Elf64_Sym symbol;
	int type;

	memcpy(&symbol, table->symbols + index * sizeof(symbol), sizeof(symbol));
	type = ELF64_ST_TYPE(symbol.st_info);
	if (symbol.st_shndx == SHN_UNDEF || symbol.st_shndx == SHN_ABS || symbol.st_shndx == SHN_COMMON ||
	    (type != STT_NOTYPE && type != STT_OBJECT && type != STT_FUNC && type != STT_GNU_IFUNC))
		return 0;
	if (symbol.st_name >= table->names_size)
		return -EBADMSG;
	if (!table->names[symbol.st_name])
		return 0;
	if (table->versions)
		memcpy(&version, table->versions + index * sizeof(version), sizeof(version));
	*ret_hidden = version & VERSION_HIDDEN;
	*ret_symbol = (struct dt_elf_symbol){
		.name = table->names + symbol.st_name,
		.vaddr = symbol.st_value,
		.size = symbol.st_size,
		.function = type == STT_FUNC || type == STT_GNU_IFUNC,
		.object = type == STT_OBJECT,
		.indirect = type == STT_GNU_IFUNC,
		.global = ELF64_ST_BIND(symbol.st_info) != STB_LOCAL,
		.dynamic = which == 0,
	};
	return 1;
}

/* Of one name: global before local, then the default version before the others. */
static int find_in_table(const struct dt_elf *elf, size_t which, const char *name, struct dt_elf_symbol *ret_symbol)
{
	int best = -1;

	for (size_t i = 0; i < elf->tables[which].count; i++) {
		struct dt_elf_symbol symbol;
		bool hidden;
		int rank, defined = read_symbol(elf, which, i, &symbol, &hidden);

		if (defined < 0)
			return defined;
		if (!defined || strcmp(symbol.name, name))
			continue;
		rank = 2 * symbol.global + !hidden;
		if (rank <= best)
			continue;
		best = rank;
		*ret_symbol = symbol;
	}
	return best < 0 ? -ENOENT : 0;
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

int dt_elf_each_symbol(const struct dt_elf *elf, dt_elf_symbol_fn fn, void *context)
{
	for (size_t which = 0; which < DT_ARRAY_SIZE(elf->tables); which++) {
		for (size_t i = 0; i < elf->tables[which].count; i++) {
			struct dt_elf_symbol symbol;
			bool hidden;
			int result = read_symbol(elf, which, i, &symbol, &hidden);

			if (result > 0)
				result = fn(context, &symbol);
			if (result)
				return result;
		}
	}
	return 0;
}

/*
 * libelf replaces a compressed section in the image that it was read from, and the file's mapping cannot be written to: so
 * it gets an image that holds nothing else. It refuses sizes that no deflated data can reach (elf_compress.c of elfutils
 * 0.188), which bounds what a forged header makes it allocate.
 */
static int unpack(struct dt_elf *elf, size_t index, const GElf_Shdr *section, const uint8_t *bytes,
		  const struct unpacked **ret_unpacked)
{
	struct unpacked *unpacked = calloc(1, sizeof(*unpacked) + section->sh_size);
	Elf_Scn *handle;

	if (!unpacked)
		return -ENOMEM;
	unpacked->index = index;
	memcpy(&unpacked->image.header, elf->bytes, sizeof(unpacked->image.header));
	unpacked->image.header.e_phnum = 0;
	unpacked->image.header.e_phoff = 0;
	unpacked->image.header.e_shoff = sizeof(unpacked->image.header);
	unpacked->image.header.e_shentsize = sizeof(Elf64_Shdr);
	unpacked->image.header.e_shnum = DT_ARRAY_SIZE(unpacked->image.sections);
	unpacked->image.header.e_shstrndx = SHN_UNDEF;
	unpacked->image.sections[1] = *section;
	unpacked->image.sections[1].sh_offset = sizeof(unpacked->image);
	memcpy(unpacked->image.bytes, bytes, section->sh_size);
	unpacked->libelf = elf_memory((char *)&unpacked->image, sizeof(unpacked->image) + section->sh_size);
	handle = unpacked->libelf ? elf_getscn(unpacked->libelf, 1) : NULL;
	if (!handle || elf_compress(handle, 0, 0) < 0 || !(unpacked->data = elf_getdata(handle, NULL))) {
		free_unpacked(unpacked);
		return -EBADMSG;
	}
	unpacked->next = elf->unpacked;
	*ret_unpacked = elf->unpacked = unpacked;
	return 0;
}

static int read_packed(struct dt_elf *elf, size_t index, const GElf_Shdr *section, const uint8_t **ret_bytes,
		       size_t *ret_size)
{
	const struct unpacked *unpacked = elf->unpacked;
	const uint8_t *bytes = elf->bytes + section->sh_offset;
	int error;

	while (unpacked && unpacked->index != index)
		unpacked = unpacked->next;
	error = unpacked ? 0 : unpack(elf, index, section, bytes, &unpacked);
	if (error)
		return error;
	*ret_bytes = unpacked->data->d_buf;
	*ret_size = unpacked->data->d_size;
	return 0;
}

/* The index of a section of that name that has bytes in the file; 0: there is none. */
static size_t find_section(const struct dt_elf *elf, const char *name)
{
	size_t count = 0, names;

	if (elf_getshdrnum(elf->libelf, &count) || elf_getshdrstrndx(elf->libelf, &names))
		return 0;
	for (size_t i = 1; i < count; i++) {
		Elf_Scn *handle = elf_getscn(elf->libelf, i);
		const char *is;
		GElf_Shdr section;

		if (!handle || !gelf_getshdr(handle, &section) || section.sh_type == SHT_NOBITS)
			continue;
		is = elf_strptr(elf->libelf, names, section.sh_name);
		if (is && !strcmp(is, name))
			return i;
	}
	return 0;
}

int dt_elf_section(struct dt_elf *elf, const char *name, const uint8_t **ret_bytes, size_t *ret_size,
		   uint64_t *ret_vaddr)
{
	size_t index = find_section(elf, name), size;
	const uint8_t *bytes;
	GElf_Shdr section;
	int error;

	if (!index)
		return -ENOENT;
	error = read_section(elf, index, &section, &bytes);
	size = section.sh_size;
	if (!error && section.sh_flags & SHF_COMPRESSED)
		error = read_packed(elf, index, &section, &bytes, &size);
	if (error)
		return error;
	*ret_bytes = bytes;
	*ret_size = size;
	*ret_vaddr = section.sh_flags & SHF_ALLOC ? section.sh_addr : 0;
	return 0;
}
