/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/traceback.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/text.h"

#define INDENT 2u
#define SOURCE_INDENT 4u
#define UNKNOWN_FUNCTION "<unknown>"

/* Why there are no older frames; names for machines: dt_truncation_name(). */
static const char *const reasons[] = {
	[DT_TRUNCATION_NONE] = NULL,
	[DT_TRUNCATION_NO_FRAME_POINTER] = "older frames are missing: code without frame pointers",
	[DT_TRUNCATION_UNREADABLE] = "older frames are missing: the stack could not be read",
	[DT_TRUNCATION_TOO_DEEP] = "older frames are missing: the stack is too deep",
	[DT_TRUNCATION_LOST] = "the traceback was lost; see the losses below",
};
_Static_assert(DT_ARRAY_SIZE(reasons) == DT_TRUNCATION_COUNT, "a truncation has no reason");

static void write_note(const struct dt_page *page, const char *words)
{
	dt_page_print(page, DT_STYLE_WEAK, "%*s... %s", (int)INDENT, "", words);
	dt_page_print(page, DT_STYLE_PLAIN, "\n");
}

static void write_gaps(const struct dt_page *page, const struct dt_snapshot *snapshot,
		       const struct dt_snapshot_traceback *traceback)
{
	const char *reason = reasons[traceback->truncation];
	uint32_t cut = traceback->total_frames - traceback->frame_count;
	char words[96];

	if (reason)
		write_note(page, reason);
	else if (!traceback->total_frames)
		write_note(page, "no frames");
	if (cut) {
		snprintf(words, sizeof(words), "%s%u older frame%s not kept (limit %u)",
			 traceback->truncation == DT_TRUNCATION_TOO_DEEP ? "at least " : "", cut, cut == 1 ? "" : "s",
			 snapshot->traceback_limit);
		write_note(page, words);
	}
}

/* Prints `  File "FILE"MIDDLE FUNCTION TAIL`, shortened to the page: the function keeps at least half of the room. */
static int write_place(const struct dt_page *page, const char *file, const char *middle, const char *function, const char *tail)
{
	size_t fixed = INDENT + strlen("File \"\"") + strlen(middle) + strlen(tail);
	size_t room = page->columns > fixed ? page->columns - fixed : 0;
	DT_FREE char *whole_file = dt_text_fit(file, strlen(file), SIZE_MAX, DT_TEXT_CUT_MIDDLE);
	DT_FREE char *short_file = NULL, *short_function = NULL;
	size_t file_columns, function_columns;

	if (!whole_file)
		return -ENOMEM;
	file_columns = dt_text_width(whole_file);
	function_columns = room > file_columns && room - file_columns > room / 2 ? room - file_columns : room / 2;
	short_function = dt_text_fit(function, strlen(function), function_columns, DT_TEXT_CUT_MIDDLE);
	if (!short_function)
		return -ENOMEM;
	short_file = dt_text_fit(file, strlen(file), room - dt_text_width(short_function), DT_TEXT_CUT_MIDDLE);
	if (!short_file)
		return -ENOMEM;
	dt_page_print(page, DT_STYLE_PLAIN, "%*sFile \"%s\"%s%s%s\n", (int)INDENT, "", short_file, middle, short_function, tail);
	return 0;
}

static int write_source(const struct dt_page *page, const struct dt_snapshot_frame *frame, struct dt_listing *listing)
{
	size_t size;
	const char *line = dt_listing_find(listing, frame->file, frame->line, &size);
	DT_FREE char *text = NULL;

	if (!line)
		return 0;
	text = dt_text_fit(line, size, page->columns - SOURCE_INDENT, DT_TEXT_CUT_END);
	if (!text)
		return -ENOMEM;
	dt_page_print(page, DT_STYLE_PLAIN, "%*s", (int)SOURCE_INDENT, "");
	dt_page_print(page, DT_STYLE_SOURCE, "%s", text);
	dt_page_print(page, DT_STYLE_PLAIN, "\n");
	return 0;
}

/* A frame whose source file is known. */
static int write_line_frame(const struct dt_page *page, const struct dt_snapshot_frame *frame, struct dt_listing *listing)
{
	char middle[40] = ", in ";
	int error;

	if (frame->line > 0)
		snprintf(middle, sizeof(middle), ", line %d, in ", frame->line);
	error = write_place(page, frame->file, middle, frame->function ? frame->function : UNKNOWN_FUNCTION,
			    frame->inlined ? ", inlined" : "");
	return error ? error : write_source(page, frame, listing);
}

static int write_module_frame(const struct dt_page *page, const struct dt_snapshot_frame *frame)
{
	char tail[64];

	if (!frame->module) {
		dt_page_print(page, DT_STYLE_PLAIN, "%*sAt 0x%" PRIx64 ", outside all files\n", (int)INDENT, "", frame->address);
		return 0;
	}
	if (!frame->function) {
		snprintf(tail, sizeof(tail), "offset 0x%" PRIx64, frame->address);
		return write_place(page, frame->module, ", ", "", tail);
	}
	snprintf(tail, sizeof(tail), "+0x%" PRIx64 "%s", frame->function_offset, frame->inlined ? ", inlined" : "");
	return write_place(page, frame->module, ", ", frame->function, tail);
}

int dt_traceback_write(const struct dt_page *page, const struct dt_snapshot *snapshot, uint32_t traceback,
		       struct dt_listing *listing)
{
	const struct dt_snapshot_traceback *row = &snapshot->tracebacks[traceback];
	int error = 0;

	write_gaps(page, snapshot, row);
	for (uint32_t i = 0; i < row->frame_count && !error; i++) {
		const struct dt_snapshot_frame *frame = &snapshot->frames[row->frames[i]];

		error = frame->file ? write_line_frame(page, frame, listing) : write_module_frame(page, frame);
	}
	return error;
}
