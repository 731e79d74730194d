/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/traceback.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/function.h"
#include "export/text.h"

#define INDENT 2u
#define NOTE_INDENT 6u                  /* behind "  ... " */
#define SOURCE_INDENT 4u
#define UNKNOWN_FUNCTION "<unknown>"
#define NO_FILE "no file"

/* ---- what is missing ----------------------------------------------------------------------------------------- */

static void write_note(const struct dt_page *page, const char *words)
{
	dt_page_print(page, DT_STYLE_WEAK, "%*s... ", (int)INDENT, "");
	dt_page_print_words(page, DT_STYLE_WEAK, NOTE_INDENT, NOTE_INDENT, words);
}

static void write_truncation(const struct dt_page *page, enum dt_truncation truncation)
{
	char words[256];

	if (truncation == DT_TRUNCATION_lost) {
		write_note(page, "the traceback was lost; see the losses below");
		return;
	}
	snprintf(words, sizeof(words), "older frames are missing: %s", dt_truncation_help(truncation));
	write_note(page, words);
}

static bool has_both_kinds(const struct dt_snapshot *snapshot, const struct dt_snapshot_traceback *traceback)
{
	for (uint32_t i = 1; i < traceback->frame_count; i++)
		if (snapshot->frames[traceback->frames[i]].kind != snapshot->frames[traceback->frames[0]].kind)
			return true;
	return false;
}

static void write_gaps(const struct dt_page *page, const struct dt_snapshot *snapshot,
		       const struct dt_snapshot_traceback *traceback)
{
	uint32_t cut = traceback->total_frames - traceback->frame_count;
	bool mixed = has_both_kinds(snapshot, traceback);
	char words[96];

	if (traceback->truncation)
		write_truncation(page, traceback->truncation);
	else if (!traceback->total_frames)
		write_note(page, "no frames");
	if (!cut)
		return;
	/* Each kind has its limit: the frames left out of one kind may be younger than those kept of the other. */
	snprintf(words, sizeof(words), "%s%u %sframe%s not kept (limit %u%s)", traceback->truncation ? "at least " : "", cut,
		 mixed ? "" : "older ", cut == 1 ? "" : "s", snapshot->traceback_limit, mixed ? " of each kind" : "");
	write_note(page, words);
}

/* ---- frames -------------------------------------------------------------------------------------------------- */

#define PARTS_MAX 8

enum part_kind {
	PART_WORDS,                     /* ours: printed as they are */
	PART_NAME,
	PART_FUNCTION,
	PART_SOURCE,                    /* a path */
	PART_MODULE,
};

/* Columns that names of a kind have a right to in a line that is too long for the page; 0: to an equal part. */
static const size_t rights[] = { [PART_SOURCE] = 21, [PART_MODULE] = 16 };

/* A line: words of ours, and names that are shortened where the page is too narrow for all of it. */
struct part {
	enum part_kind kind;
	const char *text;               /* NULL: nothing */
};

static char *fit_part(const struct part *part, size_t columns)
{
	const char *text = part->text ? part->text : "";

	return dt_text_fit(text, strlen(text), columns, part->kind == PART_SOURCE ? DT_TEXT_CUT_BEGIN : DT_TEXT_CUT_MIDDLE);
}

/* Columns that all parts take. -ENOMEM. */
static int measure(const struct part parts[PARTS_MAX], size_t columns[PARTS_MAX], size_t *ret_sum)
{
	*ret_sum = 0;
	for (size_t i = 0; i < PARTS_MAX; i++) {
		DT_FREE char *whole = fit_part(&parts[i], SIZE_MAX);

		if (!whole)
			return -ENOMEM;
		columns[i] = dt_text_width(whole);
		*ret_sum += columns[i];
	}
	return 0;
}

/* Shares `room` between the names. What somebody with a right does not get is given when all others have what they want. */
static void share(const struct part parts[PARTS_MAX], size_t columns[PARTS_MAX], size_t room)
{
	size_t names[PARTS_MAX] = { 0 };

	for (size_t i = 0; i < PARTS_MAX; i++) {
		size_t right = parts[i].kind < DT_ARRAY_SIZE(rights) ? rights[parts[i].kind] : 0;

		if (parts[i].kind == PART_WORDS)
			room -= columns[i] < room ? columns[i] : room;
		else
			names[i] = right && columns[i] > right ? right : columns[i];
	}
	dt_text_share(names, PARTS_MAX, room);
	for (size_t i = 0; i < PARTS_MAX; i++)
		room -= names[i];
	for (size_t i = 0; i < PARTS_MAX; i++) {
		size_t more = columns[i] - names[i] < room ? columns[i] - names[i] : room;

		if (parts[i].kind == PART_WORDS)
			continue;
		columns[i] = names[i] + more;
		room -= more;
	}
}

/* Makes the names so short that the line fits; what a function is called with goes first. */
static int shorten(struct part parts[PARTS_MAX], size_t columns[PARTS_MAX], size_t room, char **ret_outline)
{
	size_t sum;
	int error;

	for (size_t i = 0; i < PARTS_MAX; i++)
		if (parts[i].kind == PART_FUNCTION) {
			*ret_outline = dt_function_outline(parts[i].text);
			parts[i].text = *ret_outline;
			if (!*ret_outline)
				return -ENOMEM;
		}
	error = measure(parts, columns, &sum);
	if (!error && sum > room)
		share(parts, columns, room);
	return error;
}

static int write_line(const struct dt_page *page, struct part parts[PARTS_MAX])
{
	size_t columns[PARTS_MAX], room = page->columns - INDENT, sum;
	DT_FREE char *outline = NULL;
	int error = measure(parts, columns, &sum);

	if (!error && sum > room)
		error = shorten(parts, columns, room, &outline);
	if (error)
		return error;
	dt_page_print(page, DT_STYLE_PLAIN, "%*s", (int)INDENT, "");
	for (size_t i = 0; i < PARTS_MAX; i++) {
		DT_FREE char *fitted = fit_part(&parts[i], columns[i]);

		if (!fitted)
			return -ENOMEM;
		dt_page_print(page, DT_STYLE_PLAIN, "%s", fitted);
	}
	dt_page_print(page, DT_STYLE_PLAIN, "\n");
	return 0;
}

/* The line of source, where it is on this machine. */
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

/* `  File "/srv/app.py", line 5, in load` */
static int write_python(const struct dt_page *page, const struct dt_snapshot_frame *frame)
{
	char middle[40] = "\", in ";

	if (frame->line > 0)
		snprintf(middle, sizeof(middle), "\", line %d, in ", frame->line);
	return write_line(page, (struct part[PARTS_MAX]){
		{ PART_WORDS, "File \"" }, { PART_NAME, frame->file ? frame->file : UNKNOWN_FUNCTION }, { PART_WORDS, middle },
		{ PART_NAME, frame->function ? frame->function : UNKNOWN_FUNCTION },
	});
}

/* The last part of the path says which file it is; JSON has all of it. */
static const char *module_name(const struct dt_snapshot_frame *frame)
{
	const char *slash = frame->module ? strrchr(frame->module, '/') : NULL;

	if (!frame->module)
		return NO_FILE;
	return slash && slash[1] ? slash + 1 : frame->module;
}

/* `  load at /srv/load.c:17 (server)`, `  malloc+0x12 (libc.so.6)`, `  0x4f10 (server)` */
static int write_native(const struct dt_page *page, const struct dt_snapshot_frame *frame)
{
	char address[24], place[40] = "";
	const char *function = frame->function;

	snprintf(address, sizeof(address), "0x%" PRIx64, frame->address);
	if (!function)
		function = frame->file ? UNKNOWN_FUNCTION : address;
	if (frame->file && frame->line > 0)
		snprintf(place, sizeof(place), ":%d", frame->line);
	else if (!frame->file && frame->function && !frame->inlined)
		snprintf(place, sizeof(place), "+0x%" PRIx64, frame->function_offset);
	return write_line(page, (struct part[PARTS_MAX]){
		{ PART_FUNCTION, function }, { PART_WORDS, frame->file ? " at " : NULL }, { PART_SOURCE, frame->file },
		{ PART_WORDS, place },
		/* That an inlined one is in the module of the frame before it goes without saying. */
		{ PART_WORDS, frame->inlined ? ", inlined" : " (" }, { PART_MODULE, frame->inlined ? NULL : module_name(frame) },
		{ PART_WORDS, frame->inlined ? NULL : ")" },
	});
}

int dt_traceback_write(const struct dt_page *page, const struct dt_snapshot *snapshot, uint32_t traceback,
		       struct dt_listing *listing)
{
	const struct dt_snapshot_traceback *row = &snapshot->tracebacks[traceback];
	int error = 0;

	write_gaps(page, snapshot, row);
	for (uint32_t i = 0; i < row->frame_count && !error; i++) {
		const struct dt_snapshot_frame *frame = &snapshot->frames[row->frames[i]];

		error = frame->kind == DT_FRAME_PYTHON ? write_python(page, frame) : write_native(page, frame);
		if (!error && frame->file)
			error = write_source(page, frame, listing);
	}
	return error;
}
