/* SPDX-License-Identifier: BSD-2-Clause */
/* Code of a function that is to be probed: where in it the entry is, then the code, which is put into a good ELF file. */
#include "fuzz.h"

#include <elf.h>
#include <errno.h>

#include "target/probe_site.h"

#define TEXT_VADDR 0x1000

static struct dt_elf *make_elf(const uint8_t *code, size_t size)
{
	struct {
		Elf64_Ehdr header;
		Elf64_Phdr text;
	} head = {
		.header = {
			.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			.e_type = ET_DYN, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			.e_phoff = sizeof(Elf64_Ehdr), .e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
		},
		.text = { .p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_offset = sizeof(head), .p_vaddr = TEXT_VADDR,
			  .p_filesz = size, .p_memsz = size },
	};
	uint8_t *file = malloc(sizeof(head) + size);
	struct dt_elf *elf;

	FUZZ_EXPECT(file);
	memcpy(file, &head, sizeof(head));
	memcpy(file + sizeof(head), code, size);
	FUZZ_EXPECT(!dt_elf_open(fuzz_file(file, sizeof(head) + size), &elf));
	free(file);
	return elf;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	uint64_t entry = TEXT_VADDR + fuzz_number(&bytes, 2), returns[4];
	struct dt_elf *elf = make_elf(bytes.at, bytes.size);
	struct dt_probe_site site;
	size_t count;
	int error = dt_probe_site_find(elf, entry, &site);

	FUZZ_EXPECT(!error || error == -ENXIO || error == -ENOTSUP);
	FUZZ_EXPECT((error == -ENXIO) == (entry - TEXT_VADDR >= bytes.size));
	if (!error) {
		FUZZ_EXPECT(site.vaddr == entry + site.distance && site.distance <= 16);
		FUZZ_EXPECT(site.size && site.size <= 15 && site.vaddr - TEXT_VADDR + site.size <= bytes.size);
		FUZZ_EXPECT(!memcmp(site.bytes, bytes.at + (site.vaddr - TEXT_VADDR), site.size));
		FUZZ_EXPECT(memcmp(site.bytes, "\x0f\x1f\x44\0\0", 5) || site.size != 5);
		FUZZ_EXPECT(strnlen(site.instruction, sizeof(site.instruction)) < sizeof(site.instruction));
	}
	error = dt_probe_site_find_callers(elf, entry, 0, UINT64_MAX, returns, 4, &count);
	for (size_t i = 0; !error && i < count && i < 4; i++)
		FUZZ_EXPECT(returns[i] >= TEXT_VADDR + 5 && returns[i] <= TEXT_VADDR + bytes.size);
	dt_elf_close(elf);
	return 0;
}
