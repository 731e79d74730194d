/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The headers are copied when the file is opened; every table that they point to is checked against the file's size then, and
 * every symbol and name when it is used. Everything else is read as it is asked for (see target/image.h), so that no
 * pointer leads into a file that its owner changes meanwhile.
 */
#include "target/elf_file.h"

#include <elf.h>
#include <errno.h>
#include <libelf.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define BUILD_ID_BYTES_MAX 64
#define SECTIONS_MAX 65536              /* ten times as many as linkers have ever been seen to leave in a program */
#define OVERLAP_BYTES_MAX (1u << 20)    /* segments meet in a page that both of them have */

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

	if (!dt_elf_file_holds(elf, offset, (uint64_t)count * size))
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
		if (!dt_elf_file_holds(elf, segment->p_offset, segment->p_filesz) || segment->p_vaddr + segment->p_filesz < segment->p_vaddr)
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

/* ---- the entry ----------------------------------------------------------------------------------------------------- */

/* DT_DEBUG, where debuggers find the loader's list: linkers give it to programs and not to libraries. */
static bool has_debug_tag(const struct dt_elf *elf)
{
	for (size_t i = 0; i < elf->segment_count; i++) {
		const Elf64_Phdr *segment = &elf->segments[i];
		const uint8_t *bytes;
		Elf64_Dyn tag;

		if (segment->p_type != PT_DYNAMIC || !dt_elf_file_holds(elf, segment->p_offset, segment->p_filesz) ||
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
	text = dt_elf_file_find_section(elf, ".text");
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
		error = dt_elf_file_read_tables(elf);
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

void dt_elf_trim(struct dt_elf *elf)
{
	dt_elf_file_forget_unpacked(elf);
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

bool dt_elf_moves(const struct dt_elf *elf)
{
	return elf->header.e_type == ET_DYN;
}

uint64_t dt_elf_entry(const struct dt_elf *elf)
{
	return elf->entry;
}
