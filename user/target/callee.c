/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/callee.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

static void add(uint64_t *list, size_t *count, uint64_t vaddr)
{
	if (*count < DT_CALLEE_WAYS_MAX)
		list[(*count)++] = vaddr;
}

static bool has(const uint64_t *list, size_t count, uint64_t vaddr)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == vaddr)
			return true;
	return false;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

struct names {
	struct dt_elf *elf;
	const uint8_t *symbols, *names; /* .dynsym, .dynstr */
	size_t symbols_size, names_size;
};

/* A section that may be missing: then it is empty. */
static int read_section(struct dt_elf *elf, const char *name, const uint8_t **ret_bytes, size_t *ret_size)
{
	uint64_t vaddr;
	int error = dt_elf_section(elf, name, ret_bytes, ret_size, &vaddr);

	if (error)
		*ret_size = 0;
	return error == -ENOMEM ? error : 0;
}

static const char *symbol_name(const struct names *names, uint32_t index)
{
	Elf64_Sym symbol;

	if (index >= names->symbols_size / sizeof(symbol))
		return "";
	memcpy(&symbol, names->symbols + index * sizeof(symbol), sizeof(symbol));
	if (symbol.st_name >= names->names_size || !memchr(names->names + symbol.st_name, 0, names->names_size - symbol.st_name))
		return "";
	return (const char *)names->names + symbol.st_name;
}

/* ---- ways to a function ------------------------------------------------------------------------------------------ */

static int find_slots(const struct names *names, const char *section, struct dt_callee *callees, size_t count)
{
	const uint8_t *bytes;
	Elf64_Rela relocation;
	size_t size;
	int error = read_section(names->elf, section, &bytes, &size);

	for (size_t at = 0; !error && at + sizeof(relocation) <= size; at += sizeof(relocation)) {
		const char *name;

		memcpy(&relocation, bytes + at, sizeof(relocation));
		if (ELF64_R_TYPE(relocation.r_info) != R_X86_64_JUMP_SLOT && ELF64_R_TYPE(relocation.r_info) != R_X86_64_GLOB_DAT)
			continue;
		name = symbol_name(names, (uint32_t)ELF64_R_SYM(relocation.r_info));
		for (size_t i = 0; i < count; i++)
			if (!strcmp(name, callees[i].name))
				add(callees[i].slots, &callees[i].slot_count, relocation.r_offset);
	}
	return error;
}

static uint64_t relative(const uint8_t *bytes, uint64_t end)
{
	int32_t offset;

	memcpy(&offset, bytes, sizeof(offset));
	return end + (uint64_t)(int64_t)offset;
}

/* endbr64 and a bnd prefix may stand before the jump of a stub (bfd/elfxx-x86.c, elf_x86_64_lazy_ibt_plt_entry). */
static void add_stub(struct dt_callee *callee, const uint8_t *bytes, size_t at, uint64_t vaddr)
{
	static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

	add(callee->stubs, &callee->stub_count, vaddr + at);
	if (at >= 1 && bytes[at - 1] == 0xf2)
		add(callee->stubs, &callee->stub_count, vaddr + --at);
	if (at >= sizeof(endbr64) && !memcmp(bytes + at - sizeof(endbr64), endbr64, sizeof(endbr64)))
		add(callee->stubs, &callee->stub_count, vaddr + at - sizeof(endbr64));
}

/* jmp *slot(%rip), wherever one stands. */
static void find_stubs(const struct dt_elf *elf, struct dt_callee *callees, size_t count)
{
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &size); i++) {
		for (size_t at = 0; at + 6 <= size; at++) {
			if (bytes[at] != 0xff || bytes[at + 1] != 0x25)
				continue;
			for (size_t k = 0; k < count; k++)
				if (has(callees[k].slots, callees[k].slot_count, relative(bytes + at + 2, vaddr + at + 6)))
					add_stub(&callees[k], bytes, at, vaddr);
		}
	}
}

int dt_callees_find(struct dt_elf *elf, struct dt_callee *callees, size_t count, bool *ret_named)
{
	struct names names = { .elf = elf };
	struct dt_elf_symbol symbol;
	bool named;
	int error = read_section(elf, ".dynstr", &names.names, &names.names_size);

	if (error)
		return error;
	named = memmem(names.names, names.names_size, callees[0].name, strlen(callees[0].name) + 1);
	*ret_named = named;
	if (!named)
		return 0;
	error = read_section(elf, ".dynsym", &names.symbols, &names.symbols_size);
	if (!error)
		error = find_slots(&names, ".rela.plt", callees, count);
	if (!error)
		error = find_slots(&names, ".rela.dyn", callees, count);
	for (size_t i = 0; !error && i < count; i++)
		if (!dt_elf_find_symbol(elf, callees[i].name, &symbol))
			callees[i].vaddr = symbol.vaddr;
	if (!error)
		find_stubs(elf, callees, count);
	return error;
}

/* call rel32, or call *slot(%rip). */
size_t dt_callee_call_length(const struct dt_callee *callee, const uint8_t *bytes, size_t size, uint64_t vaddr)
{
	uint64_t target;

	if (size >= 5 && bytes[0] == 0xe8) {
		target = relative(bytes + 1, vaddr + 5);
		return (callee->vaddr && target == callee->vaddr) || has(callee->stubs, callee->stub_count, target) ? 5 : 0;
	}
	if (size >= 6 && bytes[0] == 0xff && bytes[1] == 0x15)
		return has(callee->slots, callee->slot_count, relative(bytes + 2, vaddr + 6)) ? 6 : 0;
	return 0;
}
