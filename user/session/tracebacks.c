/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/tracebacks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "session/code.h"
#include "target/python_lines.h"

/* From the number that the programs gave a traceback of an image to its row in `rows`. */
struct known {
	uint64_t traceback;
	uint32_t index;
	bool cut;                       /* here, while the program took it for whole and did not count it */
	UT_hash_handle hh;
};

/* What has been sent of an image. */
struct image {
	uint32_t number;
	struct known *known;
	struct dt_code *codes;
	UT_hash_handle hh;
};

/*
 * A frame of a traceback in `rows`: the number of a native place, or, with this bit, of a Python frame. What a place looks like,
 * and how many frames it is, may still change.
 */
#define PYTHON_FRAME 0x80000000u

#define KEPT_LEAST 1024                 /* so many rows and places are not worth a look */

/* Where a place or a Python frame stands in the snapshot that is being filled. */
struct copied {
	uint32_t first;                 /* in `shown` */
	uint32_t count;                 /* 0: it has not been copied yet */
};

struct dt_tracebacks {
	struct dt_resolve *resolve;
	struct image *images;
	size_t kept;                    /* rows and places that were needed when that was last looked at */
	struct dt_snapshot *rows;       /* Python frames, and tracebacks as described above: equal ones stand there once */
	struct copied *copied;          /* places, then Python frames */
	size_t place_count, python_count; /* … so many of each */
	uint32_t *shown;                /* frames of the snapshot */
	size_t shown_count, shown_room;
	uint32_t *frames;               /* of one traceback of the snapshot */
	size_t frame_room;
};

static int make_room(uint32_t **vector, size_t *room, size_t count)
{
	uint32_t *grown;

	if (count <= *room)
		return 0;
	grown = reallocarray(*vector, 2 * count, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*vector = grown;
	*room = 2 * count;
	return 0;
}

int dt_tracebacks_new(const struct dt_resolve_opts *opts, struct dt_tracebacks **ret_tracebacks)
{
	struct dt_tracebacks *tracebacks = calloc(1, sizeof(*tracebacks));
	int error = tracebacks ? dt_snapshot_new(&tracebacks->rows) : -ENOMEM;

	if (!error)
		error = make_room(&tracebacks->frames, &tracebacks->frame_room, DT_FRAMES_MAX);
	if (!error)
		error = dt_resolve_new(opts, &tracebacks->resolve);
	if (error) {
		dt_tracebacks_free(tracebacks);
		return error;
	}
	*ret_tracebacks = tracebacks;
	return 0;
}

static struct image *find_image(const struct dt_tracebacks *tracebacks, uint32_t number)
{
	struct image *image;

	HASH_FIND(hh, tracebacks->images, &number, sizeof(number), image);
	return image;
}

/* NULL: no memory. */
static struct image *make_image(struct dt_tracebacks *tracebacks, uint32_t number)
{
	struct image *image = find_image(tracebacks, number);

	if (image)
		return image;
	image = calloc(1, sizeof(*image));
	if (!image)
		return NULL;
	image->number = number;
	HASH_ADD(hh, tracebacks->images, number, sizeof(image->number), image);
	return image;
}

static void remove_image(struct dt_tracebacks *tracebacks, struct image *image)
{
	struct known *known, *next;

	HASH_ITER(hh, image->known, known, next) {
		HASH_DEL(image->known, known);
		free(known);
	}
	dt_codes_clear(&image->codes);
	HASH_DEL(tracebacks->images, image);
	free(image);
}

static struct known *find_known(const struct image *image, uint64_t traceback)
{
	struct known *known = NULL;

	if (image)
		HASH_FIND(hh, image->known, &traceback, sizeof(traceback), known);
	return known;
}

void dt_tracebacks_free(struct dt_tracebacks *tracebacks)
{
	struct image *image, *next;

	if (!tracebacks)
		return;
	HASH_ITER(hh, tracebacks->images, image, next)
		remove_image(tracebacks, image);
	dt_resolve_free(tracebacks->resolve);
	dt_snapshot_free(tracebacks->rows);
	free(tracebacks->copied);
	free(tracebacks->shown);
	free(tracebacks->frames);
	free(tracebacks);
}

void dt_tracebacks_add_process(struct dt_tracebacks *tracebacks, const struct dt_traced *traced)
{
	dt_resolve_add_process(tracebacks->resolve, traced);
}

void dt_tracebacks_reach_names(struct dt_tracebacks *tracebacks, const struct dt_traced *traced)
{
	dt_resolve_reach_names(tracebacks->resolve, traced);
}

void dt_tracebacks_remove_process(struct dt_tracebacks *tracebacks, const struct dt_traced *traced)
{
	struct image *image = find_image(tracebacks, traced->image);

	if (image)
		remove_image(tracebacks, image);
	dt_resolve_remove_process(tracebacks->resolve, traced);
}

int dt_tracebacks_add_code(struct dt_tracebacks *tracebacks, const struct dt_traced *traced, const struct dt_code_event *event, size_t size)
{
	struct image *image = make_image(tracebacks, traced->image);

	return image ? dt_codes_add(&image->codes, traced->pid, event, size) : -ENOMEM;
}

int dt_tracebacks_name(struct dt_tracebacks *tracebacks, uint64_t budget_ns)
{
	return dt_resolve_work(tracebacks->resolve, budget_ns);
}

int dt_tracebacks_fd(const struct dt_tracebacks *tracebacks)
{
	return dt_resolve_fd(tracebacks->resolve);
}

pid_t dt_tracebacks_helper(const struct dt_tracebacks *tracebacks)
{
	return dt_resolve_helper(tracebacks->resolve);
}

size_t dt_tracebacks_places(const struct dt_tracebacks *tracebacks)
{
	return dt_resolve_count(tracebacks->resolve);
}

bool dt_tracebacks_are_named(const struct dt_tracebacks *tracebacks, size_t places)
{
	return dt_resolve_is_named(tracebacks->resolve, places);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static void name_python_frame(const struct image *image, const struct dt_frame *frame, struct dt_snapshot_frame *row)
{
	const struct dt_code *code = image ? dt_codes_find(image->codes, frame->where) : NULL;

	row->kind = DT_FRAME_PYTHON;
	row->file = "<unknown>";        /* as tracemalloc says it */
	if (!code || !code->file)
		return;
	row->file = code->file;
	row->function = code->name;
	row->first_line = code->first_line;
	row->line = dt_python_line_find(&code->lines, frame->instruction);
}

static int add_python_frame(struct dt_tracebacks *tracebacks, uint32_t image, const struct dt_frame *frame, uint32_t *ret_number)
{
	struct dt_snapshot_frame row = { 0 };
	uint32_t index;
	int error;

	name_python_frame(find_image(tracebacks, image), frame, &row);
	error = dt_snapshot_add_frame(tracebacks->rows, &row, &index);
	if (!error && index >= PYTHON_FRAME)
		error = -EOVERFLOW;
	if (!error)
		*ret_number = PYTHON_FRAME | index;
	return error;
}

/*
 * The mappings that a frame is named by. Where the walk ended because another file may be mapped there by now, the last frame is an
 * address alone: what was mapped there before would be a wrong name for it.
 */
static const struct dt_maps *maps_of(const struct dt_maps *maps, const struct dt_traceback_event *event, uint32_t i)
{
	static const struct dt_maps none;
	bool is_last = i + 1 == event->total_frames;

	return is_last && event->truncation == DT_TRUNCATION_stale_mapping ? &none : maps;
}

static int add_native_frame(struct dt_tracebacks *tracebacks, const struct dt_traced *traced, const struct dt_maps *maps,
			    const struct dt_frame *frame, struct dt_resolve_place *ret_place)
{
	bool exact = frame->instruction & DT_FRAME_INTERRUPTED;

	if (frame->instruction & DT_FRAME_IN_FILE)
		return dt_resolve_add_in_file(tracebacks->resolve, traced, (uint32_t)(frame->where >> DT_FRAME_OFFSET_BITS),
					      frame->where & ((1ull << DT_FRAME_OFFSET_BITS) - 1), exact, ret_place);
	return dt_resolve_add(tracebacks->resolve, traced, maps, frame->where, exact, ret_place);
}

/*
 * Notes the frames of a record, innermost first, in `numbers`; returns how many are right or an error. Some were found along frame
 * pointers: where one is such that nobody can have called it, the chain was not one.
 */
static int add_frames(struct dt_tracebacks *tracebacks, const struct dt_traced *traced, const struct dt_maps *maps,
		      const struct dt_traceback_event *event, uint32_t *numbers)
{
	for (uint32_t i = 0; i < event->frame_count; i++) {
		const struct dt_frame *frame = &event->frames[i];
		struct dt_resolve_place place;
		int error;

		if (frame->kind == DT_FRAME_PYTHON) {
			error = add_python_frame(tracebacks, traced->image, frame, &numbers[i]);
		} else {
			error = add_native_frame(tracebacks, traced, maps_of(maps, event, i), frame, &place);
			if (!error && frame->instruction & DT_FRAME_CHAINED && !place.called)
				return (int)i;
			numbers[i] = place.number;
		}
		if (error)
			return error;
	}
	return (int)event->frame_count;
}

static void reverse(uint32_t *indexes, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		uint32_t other = indexes[i];

		indexes[i] = indexes[count - 1 - i];
		indexes[count - 1 - i] = other;
	}
}

static int note(struct image *image, uint64_t traceback, uint32_t index, bool cut)
{
	struct known *known = calloc(1, sizeof(*known)), *old;

	if (!known)
		return -ENOMEM;
	known->traceback = traceback;
	known->index = index;
	known->cut = cut;
	HASH_REPLACE(hh, image->known, traceback, sizeof(known->traceback), known, old);
	free(old);
	return 0;
}

int dt_tracebacks_add(struct dt_tracebacks *tracebacks, const struct dt_traced *traced, const struct dt_maps *maps,
		      const struct dt_traceback_event *event, size_t size)
{
	uint32_t numbers[DT_TRACEBACK_FRAMES_MAX];
	struct dt_snapshot_traceback row = { .frames = numbers };
	struct image *image;
	uint32_t index;
	int named, error;

	if (size < offsetof(struct dt_traceback_event, frames) || event->frame_count > DT_TRACEBACK_FRAMES_MAX ||
	    size < offsetof(struct dt_traceback_event, frames) + event->frame_count * sizeof(event->frames[0]))
		return -EBADMSG;
	named = add_frames(tracebacks, traced, maps, event, numbers);
	if (named < 0)
		return named;
	row.frame_count = (uint32_t)named;
	row.total_frames = row.frame_count < event->frame_count ? row.frame_count : event->total_frames;
	row.truncation = row.frame_count < event->frame_count ? DT_TRUNCATION_no_frame_pointer : (enum dt_truncation)event->truncation;
	reverse(numbers, row.frame_count);
	image = make_image(tracebacks, traced->image);
	error = image ? dt_snapshot_add_traceback(tracebacks->rows, &row, &index) : -ENOMEM;
	return error ? error : note(image, event->traceback, index, row.truncation && !event->truncation);
}

int dt_tracebacks_inherit(struct dt_tracebacks *tracebacks, uint32_t image, uint32_t parent, uint64_t traceback)
{
	const struct known *known = find_known(find_image(tracebacks, parent), traceback);
	struct image *own;

	if (!known || find_known(find_image(tracebacks, image), traceback))
		return 0;
	own = make_image(tracebacks, image);
	return own ? note(own, traceback, known->index, known->cut) : -ENOMEM;
}

/* ---- what nobody needs any more ---------------------------------------------------------------------------------- */

/* What of `rows` and of the places is needed, and what number it will have. */
struct needed {
	bool *rows, *places;
	uint32_t *row_numbers, *place_numbers;
};

static void needed_clear(struct needed *needed)
{
	free(needed->rows);
	free(needed->places);
	free(needed->row_numbers);
	free(needed->place_numbers);
}

static int find_needed(const struct dt_tracebacks *tracebacks, struct needed *needed)
{
	size_t rows = tracebacks->rows->traceback_count, places = dt_resolve_count(tracebacks->resolve);

	needed->rows = calloc(rows + 1, sizeof(*needed->rows));
	needed->places = calloc(places + 1, sizeof(*needed->places));
	needed->row_numbers = calloc(rows + 1, sizeof(*needed->row_numbers));
	needed->place_numbers = calloc(places + 1, sizeof(*needed->place_numbers));
	if (!needed->rows || !needed->places || !needed->row_numbers || !needed->place_numbers)
		return -ENOMEM;
	for (const struct image *image = tracebacks->images; image; image = image->hh.next)
		for (const struct known *known = image->known; known; known = known->hh.next)
			needed->rows[known->index] = true;
	for (size_t i = 0; i < rows; i++) {
		const struct dt_snapshot_traceback *row = &tracebacks->rows->tracebacks[i];

		for (uint32_t frame = 0; needed->rows[i] && frame < row->frame_count; frame++)
			if (!(row->frames[frame] & PYTHON_FRAME))
				needed->places[row->frames[frame]] = true;
	}
	dt_resolve_number(tracebacks->resolve, needed->places, needed->place_numbers);
	return 0;
}

/* Copies a traceback with the new numbers of its frames. */
static int copy_row(const struct dt_tracebacks *tracebacks, const struct needed *needed, uint32_t index, struct dt_snapshot *to)
{
	struct dt_snapshot_traceback row = tracebacks->rows->tracebacks[index];
	uint32_t frames[DT_TRACEBACK_FRAMES_MAX];
	int error = 0;

	for (uint32_t i = 0; i < row.frame_count && !error; i++) {
		bool is_python = row.frames[i] & PYTHON_FRAME;

		frames[i] = is_python ? 0 : needed->place_numbers[row.frames[i]];
		if (is_python)
			error = dt_snapshot_add_frame(to, &tracebacks->rows->frames[row.frames[i] & ~PYTHON_FRAME], &frames[i]);
		frames[i] |= is_python ? PYTHON_FRAME : 0;
	}
	row.frames = frames;
	return error ? error : dt_snapshot_add_traceback(to, &row, &needed->row_numbers[index]);
}

static size_t count_all(const struct dt_tracebacks *tracebacks)
{
	return tracebacks->rows->traceback_count + (size_t)tracebacks->rows->frame_count + dt_resolve_count(tracebacks->resolve);
}

static int rebuild(struct dt_tracebacks *tracebacks, struct needed *needed)
{
	struct dt_snapshot *rows = NULL, *old = tracebacks->rows;
	int error = find_needed(tracebacks, needed);

	if (!error)
		error = dt_snapshot_new(&rows);
	for (uint32_t i = 0; !error && i < old->traceback_count; i++)
		if (needed->rows[i])
			error = copy_row(tracebacks, needed, i, rows);
	if (!error)
		error = dt_resolve_keep(tracebacks->resolve, needed->places);
	if (error) {
		dt_snapshot_free(rows);
		return error;
	}
	for (struct image *image = tracebacks->images; image; image = image->hh.next)
		for (struct known *known = image->known; known; known = known->hh.next)
			known->index = needed->row_numbers[known->index];
	tracebacks->rows = rows;
	dt_snapshot_free(old);
	free(tracebacks->copied);
	tracebacks->copied = NULL;
	tracebacks->place_count = tracebacks->python_count = 0;
	tracebacks->kept = count_all(tracebacks);
	return 0;
}

/* Looking costs as much as there is: so only when most of it may have been added since. */
int dt_tracebacks_prune(struct dt_tracebacks *tracebacks)
{
	struct needed needed = { 0 };
	int error = 0;

	if (count_all(tracebacks) > 2 * tracebacks->kept + KEPT_LEAST)
		error = rebuild(tracebacks, &needed);
	needed_clear(&needed);
	return error;
}

void dt_tracebacks_look_again(struct dt_tracebacks *tracebacks)
{
	dt_resolve_look_again(tracebacks->resolve);
}

void dt_tracebacks_use_modules(struct dt_tracebacks *tracebacks)
{
	dt_resolve_use_modules(tracebacks->resolve);
	dt_resolve_forget_modules(tracebacks->resolve);
}

/* ---- into a snapshot --------------------------------------------------------------------------------------------- */

int dt_tracebacks_begin(struct dt_tracebacks *tracebacks)
{
	size_t places = dt_resolve_count(tracebacks->resolve), pythons = tracebacks->rows->frame_count;
	struct copied *copied = calloc(places + pythons + 1, sizeof(*copied));

	if (!copied)
		return -ENOMEM;
	dt_resolve_look_again(tracebacks->resolve);
	free(tracebacks->copied);
	tracebacks->copied = copied;
	tracebacks->place_count = places;
	tracebacks->python_count = pythons;
	tracebacks->shown_count = 0;
	return 0;
}

/* Copies the frames of a place, the outermost first. */
static int copy_frames(struct dt_tracebacks *tracebacks, const struct dt_snapshot_frame *frames, size_t count, struct dt_snapshot *to,
		       struct copied *copied)
{
	int error = make_room(&tracebacks->shown, &tracebacks->shown_room, tracebacks->shown_count + count);

	copied->first = (uint32_t)tracebacks->shown_count;
	for (size_t i = count; i-- && !error;)
		error = dt_snapshot_add_frame(to, &frames[i], &tracebacks->shown[tracebacks->shown_count++]);
	if (!error)
		copied->count = (uint32_t)count;
	return error;
}

static int find_copied(struct dt_tracebacks *tracebacks, uint32_t number, struct dt_snapshot *to, const struct copied **ret_copied)
{
	bool is_python = number & PYTHON_FRAME;
	uint32_t index = number & ~PYTHON_FRAME;
	const struct dt_snapshot_frame *frames;
	struct copied *copied;
	size_t count = 1;
	int error = 0;

	if (index >= (is_python ? tracebacks->python_count : tracebacks->place_count))
		return -ERANGE;         /* not begun since it was added */
	copied = &tracebacks->copied[is_python ? tracebacks->place_count + index : index];
	if (!copied->count) {
		frames = is_python ? &tracebacks->rows->frames[index] : dt_resolve_find(tracebacks->resolve, index, &count);
		error = copy_frames(tracebacks, frames, count, to, copied);
	}
	*ret_copied = copied;
	return error;
}

int dt_tracebacks_copy(struct dt_tracebacks *tracebacks, uint32_t image, uint64_t traceback, struct dt_snapshot *to,
		       uint32_t *ret_index, bool *ret_cut)
{
	const struct known *known = find_known(find_image(tracebacks, image), traceback);
	struct dt_snapshot_traceback row = { .truncation = DT_TRUNCATION_lost }, noted = row;

	if (known)
		noted = row = tracebacks->rows->tracebacks[known->index];
	row.frame_count = 0;
	for (uint32_t i = 0; i < noted.frame_count; i++) {
		const struct copied *copied;
		int error = find_copied(tracebacks, noted.frames[i], to, &copied);

		if (!error)
			error = make_room(&tracebacks->frames, &tracebacks->frame_room, row.frame_count + copied->count);
		if (error)
			return error;
		memcpy(tracebacks->frames + row.frame_count, tracebacks->shown + copied->first, copied->count * sizeof(uint32_t));
		row.frame_count += copied->count;
	}
	row.total_frames += row.frame_count - noted.frame_count; /* functions that were inlined */
	row.frames = tracebacks->frames;
	*ret_cut = known && known->cut;
	return dt_snapshot_add_traceback(to, &row, ret_index);
}
