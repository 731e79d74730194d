/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A section is a chain of entries: CIEs, that say what many frames have in common, and FDEs, one for a range of code each,
 * that refer to a CIE. All CIEs are read first, once each, since an FDE may stand before its CIE (.debug_frame), and since a
 * large CIE that is read again for each of many FDEs would make a forged file expensive.
 */
#include "target/eh_frame.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "target/frame_program.h"

struct cie {
	uint64_t offset;                /* in the section */
	bool understood;
	bool sized;                     /* augmentation 'z': FDEs have augmentation data */
	bool signal;                    /* augmentation 'S' */
	uint8_t encoding;               /* of addresses in FDEs */
	uint64_t code_factor;
	int64_t data_factor;
	struct dt_frame_state state;    /* behind its instructions */
};

struct section {
	const struct dt_eh_frame *frame;
	struct cie *cies;
	size_t cie_count, cie_space;
};

struct entry {
	uint64_t offset;
	bool is_cie;
	uint64_t cie_offset;            /* of an FDE */
	struct dt_cursor body;          /* behind its CIE pointer */
	bool wide;                      /* 64-bit DWARF */
};

/* ---- entries ------------------------------------------------------------------------------------------------- */

/*
 * An entry of 64-bit DWARF has a CIE pointer of 8 bytes in .debug_frame (DWARF 5, 7.4) and of 4 in .eh_frame (LSB 5.0,
 * 10.6.1). There it is the distance back to the CIE, and 0 in a CIE; in .debug_frame it is an offset, and all ones in a CIE.
 */
static void read_pointer(const struct dt_eh_frame *frame, struct entry *entry)
{
	size_t size = frame->debug && entry->wide ? 8 : 4;
	uint64_t place = (uint64_t)(entry->body.at - frame->bytes), pointer = dt_cursor_fixed(&entry->body, size);

	entry->is_cie = frame->debug ? pointer == UINT64_MAX >> (64 - 8 * size) : pointer == 0;
	entry->cie_offset = frame->debug ? pointer : place - pointer;
}

/* 1: an entry. 0: there are no more. Entries of length 0 end what one object file brought along, not the section. */
static int next_entry(const struct dt_eh_frame *frame, struct dt_cursor *cursor, struct entry *ret_entry)
{
	while (dt_cursor_left(cursor)) {
		struct entry entry = { .offset = (uint64_t)(cursor->at - frame->bytes) };
		uint64_t length = dt_cursor_fixed(cursor, 4);
		const uint8_t *bytes;

		entry.wide = length == UINT32_MAX;
		if (entry.wide)
			length = dt_cursor_fixed(cursor, 8);
		bytes = dt_cursor_skip(cursor, length);
		if (cursor->failed)
			return -EBADMSG;
		if (!length)
			continue;
		entry.body = dt_cursor_of(bytes, length);
		read_pointer(frame, &entry);
		*ret_entry = entry;
		return entry.body.failed ? -EBADMSG : 1;
	}
	return 0;
}

/* ---- addresses ----------------------------------------------------------------------------------------------- */

static bool read_number(struct dt_cursor *cursor, uint8_t encoding, uint64_t *ret_value)
{
	switch (encoding & 0x0f) {
	case DW_EH_PE_absptr:
	case DW_EH_PE_udata8:
	case DW_EH_PE_sdata8:
		*ret_value = dt_cursor_fixed(cursor, 8);
		return true;
	case DW_EH_PE_uleb128:
		*ret_value = dt_cursor_uleb(cursor);
		return true;
	case DW_EH_PE_sleb128:
		*ret_value = (uint64_t)dt_cursor_sleb(cursor);
		return true;
	case DW_EH_PE_udata2:
		*ret_value = dt_cursor_fixed(cursor, 2);
		return true;
	case DW_EH_PE_udata4:
		*ret_value = dt_cursor_fixed(cursor, 4);
		return true;
	case DW_EH_PE_sdata2:
		*ret_value = (uint64_t)(int16_t)dt_cursor_fixed(cursor, 2);
		return true;
	case DW_EH_PE_sdata4:
		*ret_value = (uint64_t)(int32_t)dt_cursor_fixed(cursor, 4);
		return true;
	}
	return false;
}

/* What an encoded address is relative to (LSB 5.0, 10.5.1). Indirect, aligned and function-relative ones are not known here. */
static bool find_base(const struct dt_eh_frame *frame, const uint8_t *at, uint8_t encoding, uint64_t *ret_base)
{
	switch (encoding & 0xf0) {
	case DW_EH_PE_absptr:
		*ret_base = 0;
		return true;
	case DW_EH_PE_pcrel:
		*ret_base = frame->vaddr + (uint64_t)(at - frame->bytes);
		return true;
	case DW_EH_PE_textrel:
		*ret_base = frame->text_vaddr;
		return frame->text_vaddr;
	case DW_EH_PE_datarel:
		*ret_base = frame->data_vaddr;
		return frame->data_vaddr;
	}
	return false;
}

static bool read_encoded(const struct dt_eh_frame *frame, struct dt_cursor *cursor, uint8_t encoding, uint64_t *ret_vaddr)
{
	const uint8_t *at = cursor->at;
	uint64_t base, value;

	if (encoding == DW_EH_PE_omit || !find_base(frame, at, encoding, &base) || !read_number(cursor, encoding, &value))
		return false;
	*ret_vaddr = base + value;
	return true;
}

/* ---- CIEs ---------------------------------------------------------------------------------------------------- */

/* Behind 'z' the data of letters that are not known can be skipped with all the rest. */
static bool read_augmentation(struct cie *cie, const char *letters, struct dt_cursor *cursor)
{
	struct dt_cursor data;
	const uint8_t *bytes;
	uint64_t size;

	if (!*letters)
		return true;
	if (*letters != 'z')
		return false;
	cie->sized = true;
	size = dt_cursor_uleb(cursor);
	bytes = dt_cursor_skip(cursor, size);
	if (!bytes)
		return true;            /* the cursor tells */
	data = dt_cursor_of(bytes, size);
	while (*++letters) {
		uint8_t encoding;

		if (*letters == 'R') {
			cie->encoding = dt_cursor_byte(&data);
		} else if (*letters == 'P') {
			encoding = dt_cursor_byte(&data);
			/* The personality routine itself does not matter here, only its length. */
			if ((encoding & 0x70) == DW_EH_PE_aligned || !read_number(&data, encoding, &size))
				return false;
		} else if (*letters == 'L') {
			dt_cursor_byte(&data);
		} else if (*letters == 'S') {
			cie->signal = true;
		} else if (*letters != 'B') {
			break;
		}
	}
	cursor->failed |= data.failed;
	return true;
}

/* True where it is understood; else the cursor tells whether it is damaged. */
static bool read_cie_header(struct cie *cie, struct dt_cursor *cursor)
{
	uint8_t version = dt_cursor_byte(cursor);
	const char *letters = (const char *)cursor->at;
	uint64_t back;

	if (version != 1 && version != 3 && version != 4)
		return false;
	while (dt_cursor_byte(cursor))
		;
	if (cursor->failed)
		return false;
	/* Sizes of addresses and of segment selectors. */
	if (version == 4 && (dt_cursor_byte(cursor) != 8 || dt_cursor_byte(cursor)))
		return false;
	cie->encoding = DW_EH_PE_absptr;
	cie->code_factor = dt_cursor_uleb(cursor);
	cie->data_factor = dt_cursor_sleb(cursor);
	back = version == 1 ? dt_cursor_byte(cursor) : dt_cursor_uleb(cursor);
	if (!read_augmentation(cie, letters, cursor))
		return false;
	return back == DT_REGISTER_RETURN;
}

static int read_cie(const struct entry *entry, struct cie *ret_cie)
{
	struct cie cie = { .offset = entry->offset };
	struct dt_cursor cursor = entry->body;
	struct dt_frame_program program;

	dt_frame_state_init(&cie.state);
	cie.understood = read_cie_header(&cie, &cursor);
	if (cursor.failed)
		return -EBADMSG;
	*ret_cie = cie;
	if (!cie.understood)
		return 0;
	program = (struct dt_frame_program){ .code_factor = cie.code_factor, .data_factor = cie.data_factor };
	return dt_frame_program_run(&program, cursor, 0, 0, &ret_cie->state, NULL, NULL);
}

static int add_cie(struct section *section, const struct entry *entry)
{
	if (section->cie_count == section->cie_space) {
		size_t space = 2 * section->cie_space + 16;
		struct cie *cies = reallocarray(section->cies, space, sizeof(*cies));

		if (!cies)
			return -ENOMEM;
		section->cies = cies;
		section->cie_space = space;
	}
	if (read_cie(entry, &section->cies[section->cie_count]))
		return -EBADMSG;
	section->cie_count++;
	return 0;
}

/* Up to the first one that is damaged: the second pass stops there as well. */
static int read_cies(struct section *section)
{
	struct dt_cursor cursor = dt_cursor_of(section->frame->bytes, section->frame->size);
	struct entry entry;
	int error = 0;

	while (!error && next_entry(section->frame, &cursor, &entry) > 0)
		if (entry.is_cie)
			error = add_cie(section, &entry);
	return error == -ENOMEM ? error : 0;
}

static const struct cie *find_cie(const struct section *section, uint64_t offset)
{
	size_t low = 0, high = section->cie_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (section->cies[middle].offset == offset)
			return &section->cies[middle];
		if (section->cies[middle].offset < offset)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* ---- FDEs ---------------------------------------------------------------------------------------------------- */

struct location {
	const struct dt_eh_frame *frame;
	uint8_t encoding;
};

static bool read_location(void *context, struct dt_cursor *cursor, uint64_t *ret_vaddr)
{
	const struct location *location = context;

	return read_encoded(location->frame, cursor, location->encoding, ret_vaddr);
}

static int read_fde(const struct section *section, const struct entry *entry, dt_eh_frame_fn fn, void *context)
{
	const struct cie *cie = find_cie(section, entry->cie_offset);
	struct location location = { section->frame, cie ? cie->encoding : 0 };
	struct dt_frame_program program = { .read_address = read_location, .context = &location };
	struct dt_cursor cursor = entry->body;
	struct dt_frame_state state;
	uint64_t start, size;

	if (!cie)
		return -EBADMSG;
	/* Nothing is said of its code: not even which it is. */
	if (!cie->understood || !read_encoded(section->frame, &cursor, cie->encoding, &start) ||
	    !read_number(&cursor, cie->encoding, &size))
		return 0;
	if (cie->sized)
		dt_cursor_skip(&cursor, dt_cursor_uleb(&cursor));
	if (cursor.failed || start + size < start)
		return -EBADMSG;
	program.code_factor = cie->code_factor;
	program.data_factor = cie->data_factor;
	program.signal = cie->signal;
	program.initial = &cie->state;
	state = cie->state;
	return dt_frame_program_run(&program, cursor, start, start + size, &state, fn, context);
}

static void free_cies(struct section *section)
{
	free(section->cies);
}

int dt_eh_frame_each(const struct dt_eh_frame *frame, dt_eh_frame_fn fn, void *context)
{
	DT_CLEANUP(free_cies) struct section section = { .frame = frame };
	struct dt_cursor cursor = dt_cursor_of(frame->bytes, frame->size);
	struct entry entry;
	int result = read_cies(&section), found = 0;

	while (!result && (found = next_entry(frame, &cursor, &entry)) > 0) {
		if (entry.is_cie)
			result = find_cie(&section, entry.offset) ? 0 : -EBADMSG;
		else
			result = read_fde(&section, &entry, fn, context);
	}
	return result ? result : found;
}
