/* SPDX-License-Identifier: BSD-2-Clause */
/* ELF files: whatever a process maps. Headers, segments, sections, notes, symbols and their order by address. */
#include "fuzz.h"

#include <errno.h>

#include "target/elf.h"
#include "target/symbols.h"

static int touch_symbol(void *context, const struct dt_elf_symbol *symbol)
{
	size_t *count = context;

	FUZZ_EXPECT(symbol->name && *symbol->name);
	fuzz_touch(symbol->name, strlen(symbol->name));
	return ++*count > 10000;
}

static void read_addresses(const struct dt_elf *elf, uint64_t vaddr)
{
	const uint8_t *bytes;
	uint64_t offset;
	size_t size;

	if (!dt_elf_vaddr_to_offset(elf, vaddr, &offset))
		dt_elf_offset_to_vaddr(elf, offset, &offset);
	if (!dt_elf_bytes(elf, vaddr, 64, &bytes, &size)) {
		FUZZ_EXPECT(size && size <= 64);
		fuzz_touch(bytes, size);
	}
}

static void read_symbols(struct dt_elf *elf)
{
	struct dt_elf_symbol symbol;
	struct dt_symbols *symbols;
	size_t count = 0;
	uint64_t offset;

	dt_elf_each_symbol(elf, touch_symbol, &count);
	if (!dt_elf_find_symbol(elf, "main", &symbol))
		read_addresses(elf, symbol.vaddr);
	if (dt_symbols_new(elf, -1, &symbols))
		return;
	for (uint64_t vaddr = 0; vaddr < 0x4000; vaddr += 61) {
		const char *name = dt_symbols_find(symbols, vaddr, &offset);

		FUZZ_EXPECT(!name || offset <= vaddr);
	}
	dt_symbols_find(symbols, UINT64_MAX, &offset);
	dt_symbols_free(symbols);
}

static void read_sections(struct dt_elf *elf)
{
	static const char *const names[] = { ".eh_frame", ".debug_frame", ".gnu_debugdata", ".plt", ".text", ".comment", "" };
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!dt_elf_section(elf, names[i], &bytes, &size, &vaddr))
			fuzz_touch(bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *bytes;
	struct dt_elf *elf;
	uint64_t vaddr;
	size_t length;
	int error = dt_elf_open(fuzz_file(data, size), &elf);

	FUZZ_EXPECT(!error || error == -ENOEXEC || error == -EBADMSG);
	if (error)
		return 0;
	if (dt_elf_build_id(elf))
		FUZZ_EXPECT(strspn(dt_elf_build_id(elf), "0123456789abcdef") == strlen(dt_elf_build_id(elf)));
	if (dt_elf_interpreter(elf))
		fuzz_touch(dt_elf_interpreter(elf), strlen(dt_elf_interpreter(elf)));
	read_addresses(elf, dt_elf_entry(elf));
	for (size_t i = 0; dt_elf_text(elf, i, &vaddr, &bytes, &length); i++) {
		fuzz_touch(bytes, length);
		read_addresses(elf, vaddr);
		read_addresses(elf, vaddr + length - 1);
	}
	read_symbols(elf);
	read_sections(elf);
	dt_elf_trim(elf);
	read_sections(elf);
	dt_elf_close(elf);
	return 0;
}
