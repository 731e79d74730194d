/* SPDX-License-Identifier: BSD-2-Clause */
/* The sections of an ELF file, by index and by name; libelf unpacks those that are compressed. */
#include "target/elf_file.h"

#include <errno.h>
#include <libelf.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* A compressed section, in an ELF image of its own that libelf may write to. */
struct dt_elf_unpacked {
	struct dt_elf_unpacked *next;
	size_t index;                   /* of the section in the file */
	Elf *libelf;
	const Elf_Data *data;
	struct {
		Elf64_Ehdr header;
		Elf64_Shdr sections[2];
		uint8_t bytes[];
	} image;
};

bool dt_elf_file_holds(const struct dt_elf *elf, uint64_t offset, uint64_t size)
{
	return offset <= dt_image_size(elf->image) && size <= dt_image_size(elf->image) - offset;
}

const Elf64_Shdr *dt_elf_file_section(const struct dt_elf *elf, size_t index)
{
	const Elf64_Shdr *section = index < elf->section_count ? &elf->sections[index] : NULL;

	return section && section->sh_type != SHT_NOBITS && dt_elf_file_holds(elf, section->sh_offset, section->sh_size) ? section : NULL;
}

size_t dt_elf_file_find_section(const struct dt_elf *elf, const char *name)
{
	const Elf64_Shdr *table = dt_elf_file_section(elf, elf->section_names);
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

static void free_unpacked(struct dt_elf_unpacked *unpacked)
{
	elf_end(unpacked->libelf);
	free(unpacked);
}

void dt_elf_file_forget_unpacked(struct dt_elf *elf)
{
	for (struct dt_elf_unpacked *next; elf->unpacked; elf->unpacked = next) {
		next = elf->unpacked->next;
		free_unpacked(elf->unpacked);
	}
}

/* The image of a compressed section, not unpacked yet. */
static int copy_packed(const struct dt_elf *elf, const Elf64_Shdr *section, struct dt_elf_unpacked **ret_unpacked)
{
	struct dt_elf_unpacked *unpacked;
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
static int unpack(struct dt_elf *elf, size_t index, const struct dt_elf_unpacked **ret_unpacked)
{
	struct dt_elf_unpacked *unpacked = NULL;
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
	const struct dt_elf_unpacked *unpacked = elf->unpacked;
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
	size_t index = dt_elf_file_find_section(elf, name), size;
	const Elf64_Shdr *section = index ? dt_elf_file_section(elf, index) : NULL;
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
