/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Notes: System V gABI 4.1, chapter 5, "Note Section". Those of probes: https://sourceware.org/systemtap/wiki/UserSpaceProbeImplementation:
 * owner "stapsdt", type 3, three words (address of the instruction, of .stapsdt.base when the file was linked, of the semaphore), then
 * provider, name and operands. Those of names: <domtrace/domain.h>.
 */
#include "target/notes.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/room.h"
#include "target/cursor.h"
#include "target/elf_file.h"

#define NOTE_BYTES_MAX (16u << 20)      /* of all that is read of a file, and of the same bytes read again */
#define PROBE_TYPE 3
#define NAME_TYPE 1
#define NOP 0x90

static const struct {
	const char *name, *operands;
} kinds[DT_NOTE_KINDS] = {
	[DT_NOTE_TRACK] = { "track", "4@%edi 8@%rsi 8@%rdx" },
	[DT_NOTE_UNTRACK] = { "untrack", "4@%edi 8@%rsi" },
	[DT_NOTE_NAME] = { "name", "4@%edi 8@%rsi" },
	[DT_NOTE_SNAPSHOT] = { "snapshot", "8@%rdi" },
};

struct reading {
	struct dt_elf *elf;
	struct dt_notes notes;
	size_t probe_room, name_room;
	size_t left;                    /* bytes that may still be read */
	uint64_t base;                  /* where .stapsdt.base is now; 0: there is none */
};

static void refuse(struct reading *reading, const char *why)
{
	if (!reading->notes.refused++)
		reading->notes.why = why;
}

/* ---- probes ------------------------------------------------------------------------------------------------------ */

/* A NUL-terminated text; NULL: it has no end. */
static const char *take_text(struct dt_cursor *cursor)
{
	const char *text = (const char *)cursor->at;
	const char *end = memchr(text, '\0', dt_cursor_left(cursor));

	return end && dt_cursor_skip(cursor, (uint64_t)(end - text) + 1) ? text : NULL;
}

static bool is_code(const struct dt_elf *elf, uint64_t vaddr)
{
	uint64_t start, end;

	for (size_t i = 0; dt_elf_text_range(elf, i, &start, &end); i++)
		if (vaddr >= start && vaddr < end)
			return true;
	return false;
}

static enum dt_note_kind find_kind(const char *name)
{
	enum dt_note_kind kind = 0;

	while (kind < DT_NOTE_KINDS && strcmp(kinds[kind].name, name))
		kind++;
	return kind;
}

/* NULL: the probe is as domain.h makes them. */
static const char *find_fault(const struct dt_elf *elf, enum dt_note_kind kind, const char *operands, uint64_t vaddr, uint64_t semaphore)
{
	uint8_t instruction;

	if (kind == DT_NOTE_KINDS)
		return "it is none of track, untrack, name and snapshot";
	if (!operands || strcmp(operands, kinds[kind].operands) || semaphore)
		return "its operands are not those of domain.h";
	if (!is_code(elf, vaddr) || dt_elf_read(elf, vaddr, &instruction, sizeof(instruction)) || instruction != NOP)
		return "its instruction is not the nop of one byte";
	return NULL;
}

static int take_probe(struct reading *reading, const uint8_t *bytes, size_t size)
{
	struct dt_cursor cursor = dt_cursor_of(bytes, size);
	uint64_t vaddr = dt_cursor_fixed(&cursor, 8), base = dt_cursor_fixed(&cursor, 8), semaphore = dt_cursor_fixed(&cursor, 8);
	const char *provider = take_text(&cursor), *name = provider ? take_text(&cursor) : NULL, *why;
	struct dt_notes *notes = &reading->notes;
	enum dt_note_kind kind;
	int error;

	if (!name || strcmp(provider, "domtrace"))
		return 0;
	if (!vaddr)                     /* what linkers write of a function that they threw away */
		return 0;
	if (reading->base && base)
		vaddr += reading->base - base;
	kind = find_kind(name);
	why = find_fault(reading->elf, kind, take_text(&cursor), vaddr, semaphore);
	if (!why && notes->probe_count == DT_NOTE_PROBES_MAX)
		why = "they are too many";
	if (why) {
		refuse(reading, why);
		return 0;
	}
	error = dt_room_make(&notes->probes, notes->probe_count, &reading->probe_room, sizeof(*notes->probes));
	if (!error)
		notes->probes[notes->probe_count++] = (struct dt_note_probe){ kind, vaddr };
	return error;
}

static int compare_probes(const void *left, const void *right)
{
	const struct dt_note_probe *a = left, *b = right;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->vaddr < b->vaddr ? -1 : a->vaddr > b->vaddr;
}

/* A section may stand in the headers of a file more than once. */
static void sort_probes(struct dt_notes *notes)
{
	size_t kept = 0;

	if (notes->probe_count)
		qsort(notes->probes, notes->probe_count, sizeof(*notes->probes), compare_probes);
	for (size_t i = 0; i < notes->probe_count; i++)
		if (!kept || compare_probes(&notes->probes[kept - 1], &notes->probes[i]))
			notes->probes[kept++] = notes->probes[i];
	notes->probe_count = kept;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static int take_name(struct reading *reading, const uint8_t *bytes, size_t size)
{
	struct dt_cursor cursor = dt_cursor_of(bytes, size);
	struct dt_note_name name = { .domain = (uint32_t)dt_cursor_fixed(&cursor, 4) };
	struct dt_notes *notes = &reading->notes;
	size_t length = strnlen((const char *)cursor.at, dt_cursor_left(&cursor));
	int error;

	if (cursor.failed || !length || notes->name_count == DT_NOTE_NAMES_MAX) {
		refuse(reading, notes->name_count == DT_NOTE_NAMES_MAX ? "they are too many" : "it names no domain");
		return 0;
	}
	memcpy(name.name, cursor.at, length < sizeof(name.name) ? length : sizeof(name.name) - 1);
	error = dt_room_make(&notes->names, notes->name_count, &reading->name_room, sizeof(*notes->names));
	if (!error)
		notes->names[notes->name_count++] = name;
	return error;
}

/* ---- notes ------------------------------------------------------------------------------------------------------- */

static bool is_owner(const uint8_t *owner, size_t size, const char *name)
{
	return size == strlen(name) + 1 && !memcmp(owner, name, size);
}

/* Padding at the end of the last one may be missing. */
static void skip_padding(struct dt_cursor *cursor, size_t size, size_t align)
{
	size_t padding = (align - size % align) % align;

	dt_cursor_skip(cursor, padding < dt_cursor_left(cursor) ? padding : dt_cursor_left(cursor));
}

static int take_notes(struct reading *reading, const uint8_t *bytes, size_t size, size_t align)
{
	struct dt_cursor cursor = dt_cursor_of(bytes, size);
	int error = 0;

	while (!error && dt_cursor_left(&cursor) >= sizeof(Elf64_Nhdr)) {
		size_t owner_size = dt_cursor_fixed(&cursor, 4), described_size = dt_cursor_fixed(&cursor, 4);
		uint32_t type = (uint32_t)dt_cursor_fixed(&cursor, 4);
		const uint8_t *owner = dt_cursor_skip(&cursor, owner_size), *described;

		skip_padding(&cursor, owner_size, align);
		described = dt_cursor_skip(&cursor, described_size);
		skip_padding(&cursor, described_size, align);
		if (cursor.failed)
			break;
		if (type == PROBE_TYPE && is_owner(owner, owner_size, "stapsdt"))
			error = take_probe(reading, described, described_size);
		else if (type == NAME_TYPE && is_owner(owner, owner_size, "domtrace"))
			error = take_name(reading, described, described_size);
	}
	return error;
}

/* What cannot be read is damaged: it says nothing. */
static int read_part(struct reading *reading, uint64_t offset, uint64_t size, uint64_t align)
{
	const uint8_t *bytes;
	int error;

	if (!size || size > reading->left)
		return 0;
	reading->left -= size;
	error = dt_image_get(reading->elf->image, offset, size, &bytes);
	if (error)
		return error == -ENOMEM ? error : 0;
	return take_notes(reading, bytes, size, align == 8 ? 8 : 4);
}

static int read_sections(struct reading *reading)
{
	int error = 0;

	for (size_t i = 1; i < reading->elf->section_count && !error; i++) {
		const Elf64_Shdr *section = dt_elf_file_section(reading->elf, i);

		if (section && section->sh_type == SHT_NOTE)
			error = read_part(reading, section->sh_offset, section->sh_size, section->sh_addralign);
	}
	return error;
}

/* A file whose headers of sections were taken away has names still. */
static int read_segments(struct reading *reading)
{
	int error = 0;

	for (size_t i = 0; i < reading->elf->segment_count && !error; i++) {
		const Elf64_Phdr *segment = &reading->elf->segments[i];

		if (segment->p_type == PT_NOTE)
			error = read_part(reading, segment->p_offset, segment->p_filesz, segment->p_align);
	}
	return error;
}

int dt_notes_read(struct dt_elf *elf, struct dt_notes *ret_notes)
{
	struct reading reading = { .elf = elf, .left = NOTE_BYTES_MAX };
	const uint8_t *bytes;
	size_t size;
	int error;

	if (dt_elf_section(elf, ".stapsdt.base", &bytes, &size, &reading.base))
		reading.base = 0;
	error = elf->section_count ? read_sections(&reading) : read_segments(&reading);
	if (error) {
		dt_notes_clear(&reading.notes);
		return error;
	}
	sort_probes(&reading.notes);
	*ret_notes = reading.notes;
	return 0;
}

void dt_notes_clear(struct dt_notes *notes)
{
	free(notes->probes);
	free(notes->names);
	*notes = (struct dt_notes){ 0 };
}
