/* SPDX-License-Identifier: BSD-2-Clause */
/* lines: a traceback of statistics in the words of Python's Traceback.format(). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/snapshot.h>

#include "base/cleanup.h"
#include "export/listing.h"

static void cleanup_listing(struct dt_listing **listing)
{
	dt_listing_free(*listing);
}

/* Lines with a NUL behind each. */
struct lines {
	char *text;
	size_t size, count;
	FILE *out;
	struct dt_listing *listing;
};

static void write_frame(struct lines *lines, const struct dt_frame_info *frame)
{
	const char *source = NULL;
	size_t size;

	fprintf(lines->out, "  File \"%s\", line %" PRIu64 "%c", frame->filename, frame->lineno, '\0');
	lines->count++;
	if (frame->file && frame->lineno <= INT32_MAX) /* not in a module, whose addresses are no lines */
		source = dt_listing_find(lines->listing, frame->filename, (int)frame->lineno, &size);
	if (!source)
		return;
	fprintf(lines->out, "    ");
	for (size_t i = 0; i < size; i++)       /* a NUL would end the line here */
		putc(source[i] ? source[i] : ' ', lines->out);
	putc('\0', lines->out);
	lines->count++;
}

/* Which frames, as Python slices them. */
static void choose(uint32_t count, int64_t limit, uint32_t *ret_first, uint32_t *ret_end)
{
	uint64_t size = limit < 0 ? 0 - (uint64_t)limit : (uint64_t)limit;

	*ret_first = limit > 0 && size < count ? count - (uint32_t)size : 0;
	*ret_end = limit >= 0 ? count : size < count ? count - (uint32_t)size : 0;
}

static int write_frames(struct lines *lines, const struct dt_statistics *statistics, size_t index, uint32_t count,
			const struct dt_traceback_format_opts *opts)
{
	uint32_t first, end;
	int error = 0;

	choose(count, opts->limit, &first, &end);
	for (uint32_t i = first; i < end && !error; i++) {
		struct dt_frame_info frame = { .size = sizeof(frame) };

		error = dt_statistics_get_frame(statistics, index, opts->most_recent_first ? end - 1 - (i - first) : i, &frame);
		if (!error)
			write_frame(lines, &frame);
	}
	return error;
}

/* One block: pointers, and behind them the text. */
static int keep_lines(const struct lines *lines, char ***ret_lines)
{
	size_t head = (lines->count + 1) * sizeof(char *);
	char **block = malloc(head + lines->size), *text;

	if (!block)
		return -ENOMEM;
	text = (char *)block + head;
	memcpy(text, lines->text, lines->size);
	for (size_t i = 0; i < lines->count; i++, text += strlen(text) + 1)
		block[i] = text;
	block[lines->count] = NULL;
	*ret_lines = block;
	return 0;
}

int dt_statistics_format(const struct dt_statistics *statistics, size_t index, const struct dt_traceback_format_opts *opts,
			 char ***ret_lines, size_t *ret_count)
{
	static const struct dt_traceback_format_opts defaults = { .size = sizeof(defaults) };
	DT_CLEANUP(cleanup_listing) struct dt_listing *listing = NULL;
	struct dt_statistic row = { .size = sizeof(row) };
	struct lines lines = { 0 };
	bool failed;
	int error = dt_statistics_get(statistics, index, &row);

	opts = opts ? opts : &defaults;
	if (!error && opts->size < sizeof(*opts))
		error = -EINVAL;
	if (!error)
		error = dt_listing_new(&listing);
	if (error)
		return error;
	lines.listing = listing;
	lines.out = open_memstream(&lines.text, &lines.size);
	if (!lines.out)
		return -ENOMEM;
	error = write_frames(&lines, statistics, index, row.frame_count, opts);
	failed = ferror(lines.out);
	if ((fclose(lines.out) == EOF || failed) && !error)
		error = -ENOMEM;
	if (!error)
		error = keep_lines(&lines, ret_lines);
	if (!error && ret_count)
		*ret_count = lines.count;
	free(lines.text);
	return error;
}
