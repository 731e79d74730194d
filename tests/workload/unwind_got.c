// SPDX-License-Identifier: BSD-2-Clause
/*
 * Calls of the allocator from libraries go through a slot of their own (System V ABI, "Procedure Linkage Table"): the stubs
 * are put there, so that these calls are told as the program's own are. The loader is left alone: it finds the allocator
 * in a way of its own.
 */
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "truth.h"
#include "unwind.h"

void __wrap_malloc(void);
void __wrap_calloc(void);
void __wrap_realloc(void);
void __wrap_aligned_alloc(void);

static const struct {
	const char *name;
	void (*stub)(void);
} stubs[] = {
	{"malloc", __wrap_malloc}, {"calloc", __wrap_calloc}, {"realloc", __wrap_realloc}, {"aligned_alloc", __wrap_aligned_alloc},
};

static void (*stub_of(const char *name))(void)
{
	for (size_t i = 0; i < sizeof(stubs) / sizeof(stubs[0]); i++)
		if (!strcmp(name, stubs[i].name))
			return stubs[i].stub;
	return NULL;
}

static void put_stub(uintptr_t slot, void (*stub)(void))
{
	uintptr_t page = slot & ~(uintptr_t)4095;

	if (mprotect((void *)page, 4096, PROT_READ | PROT_WRITE))
		truth_stop("unwind: a library's table of calls cannot be written\n");
	*(void (**)(void))slot = stub;
}

static void adopt_relocations(uintptr_t base, const ElfW(Rela) *relocations, size_t bytes, const ElfW(Sym) *symbols, const char *names)
{
	for (size_t i = 0; i < bytes / sizeof(*relocations); i++) {
		unsigned type = ELF64_R_TYPE(relocations[i].r_info);
		const char *name = names + symbols[ELF64_R_SYM(relocations[i].r_info)].st_name;

		if ((type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT) && stub_of(name))
			put_stub(base + relocations[i].r_offset, stub_of(name));
	}
}

/* The loader has made the addresses in here absolute (glibc, elf/get-dynamic-info.h), but for the vDSO's. */
static void adopt(uintptr_t base, const ElfW(Dyn) *dynamic)
{
	uintptr_t values[DT_NUM] = {0};

	for (; dynamic->d_tag != DT_NULL; dynamic++)
		if (dynamic->d_tag > 0 && dynamic->d_tag < DT_NUM)
			values[dynamic->d_tag] = dynamic->d_un.d_ptr;
	if (values[DT_RELA])
		adopt_relocations(base, (void *)values[DT_RELA], values[DT_RELASZ], (void *)values[DT_SYMTAB], (void *)values[DT_STRTAB]);
	if (values[DT_JMPREL])
		adopt_relocations(base, (void *)values[DT_JMPREL], values[DT_PLTRELSZ], (void *)values[DT_SYMTAB], (void *)values[DT_STRTAB]);
}

static int visit(struct dl_phdr_info *info, size_t size, void *unused)
{
	const char *name = strrchr(info->dlpi_name, '/');

	(void)size;
	(void)unused;
	if (!name || !strncmp(name, "/ld-", 4)) /* the program, the vDSO, the loader */
		return 0;
	for (unsigned i = 0; i < info->dlpi_phnum; i++)
		if (info->dlpi_phdr[i].p_type == PT_DYNAMIC)
			adopt(info->dlpi_addr, (void *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr));
	return 0;
}

void unwind_adopt_libraries(void)
{
	dl_iterate_phdr(visit, NULL);
}
