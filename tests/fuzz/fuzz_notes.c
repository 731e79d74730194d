/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Notes of <domtrace/domain.h>: a byte that says what follows, a whole file or only the notes of one. That has code made of nops behind its
 * headers, its notes aligned as the byte says, and, if it says so, the section that tells by how much the file was moved.
 */
#include "fuzz.h"

#include "../unit/forged_elf.h"
#include "target/notes.h"

#define WHOLE_FILE 1
#define ALIGN_8 2
#define HAS_BASE 4
#define NOPS 64
#define NOTES_MAX (FORGED_BYTES / 2)

static struct dt_elf *forge(const struct fuzz_bytes *bytes, unsigned how)
{
	struct forged *forged = malloc(sizeof(*forged));
	struct dt_elf *elf;
	uint8_t nops[NOPS];

	FUZZ_EXPECT(forged);
	forged_init(forged);
	memset(nops, 0x90, sizeof(nops));
	forged_put(forged, nops, sizeof(nops));
	if (how & HAS_BASE)
		forged_section(forged, ".stapsdt.base", SHT_PROGBITS, forged_put(forged, NULL, 1), 1);
	forged_section(forged, ".note.any", SHT_NOTE, forged_put(forged, bytes->at, bytes->size), bytes->size);
	forged->sections[forged->section_count - 1].sh_addralign = how & ALIGN_8 ? 8 : 4;
	elf = forged_open(forged);
	FUZZ_EXPECT(elf);
	free(forged);
	return elf;
}

static bool is_code(const struct dt_elf *elf, uint64_t vaddr)
{
	const uint8_t *bytes;
	uint64_t start;
	size_t size;

	for (size_t i = 0; dt_elf_text(elf, i, &start, &bytes, &size); i++)
		if (vaddr - start < size && bytes[vaddr - start] == 0x90)
			return true;
	return false;
}

static void check(const struct dt_elf *elf, const struct dt_notes *notes)
{
	FUZZ_EXPECT(notes->probe_count <= DT_NOTE_PROBES_MAX && notes->name_count <= DT_NOTE_NAMES_MAX);
	FUZZ_EXPECT(!notes->refused == !notes->why);
	for (size_t i = 0; i < notes->probe_count; i++) {
		const struct dt_note_probe *probe = &notes->probes[i];

		FUZZ_EXPECT(probe->kind < DT_NOTE_KINDS && is_code(elf, probe->vaddr));
		FUZZ_EXPECT(!i || probe[-1].kind < probe->kind || (probe[-1].kind == probe->kind && probe[-1].vaddr < probe->vaddr));
	}
	for (size_t i = 0; i < notes->name_count; i++)
		FUZZ_EXPECT(*notes->names[i].name && memchr(notes->names[i].name, '\0', DT_NOTE_NAME_SIZE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	unsigned how = (unsigned)fuzz_number(&bytes, 1);
	struct dt_notes notes, again;
	struct dt_elf *elf = NULL;

	if (how & WHOLE_FILE ? dt_elf_open(fuzz_file(bytes.at, bytes.size), &elf) != 0 : bytes.size > NOTES_MAX)
		return 0;
	if (!elf)
		elf = forge(&bytes, how);
	FUZZ_EXPECT(!dt_notes_read(elf, &notes) && !dt_notes_read(elf, &again));
	check(elf, &notes);
	FUZZ_EXPECT(notes.probe_count == again.probe_count && notes.name_count == again.name_count && notes.refused == again.refused);
	dt_notes_clear(&notes);
	dt_notes_clear(&again);
	dt_elf_close(elf);
	return 0;
}
