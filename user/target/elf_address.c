/* SPDX-License-Identifier: BSD-2-Clause */
/* Virtual addresses and file offsets of an ELF file, and the bytes that are there. */
#include "target/elf_file.h"

#include <errno.h>

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
