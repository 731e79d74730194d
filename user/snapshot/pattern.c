/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/pattern.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <unistr.h>

#include "base/cleanup.h"

enum piece_kind { PIECE_STAR, PIECE_ANY, PIECE_ONE, PIECE_SET, PIECE_NEVER };

struct range {
	uint32_t from, to;
};

struct piece {
	enum piece_kind kind;
	bool negated;
	uint32_t character;
	size_t range, range_count;      /* of a set, in the pattern's table */
};

struct dt_pattern {
	struct piece *pieces;
	struct range *ranges;
	size_t piece_count, range_count;
};

/* ---- sets ----------------------------------------------------------------------------------------------------- */

/* Characters between two brackets, in parts: a hyphen that makes a range stands between two of them. */
struct set {
	uint32_t *characters;
	size_t *ends;                   /* of the parts */
	size_t count, part_count;
};

static void add_range(struct dt_pattern *pattern, uint32_t from, uint32_t to)
{
	pattern->ranges[pattern->range_count++] = (struct range){ from, to };
}

/*
 * The hyphens that make ranges: not the first character (behind the '!'), and not one of the two behind another such hyphen;
 * one at the end stands for itself.
 */
static void split_set(struct set *set, const uint32_t *text, size_t size)
{
	size_t at = 0, hyphen = text[0] == '!' ? 2 : 1;

	set->count = set->part_count = 0;
	for (;; hyphen += 3) {
		while (hyphen < size && text[hyphen] != '-')
			hyphen++;
		if (hyphen >= size)
			break;
		for (; at < hyphen; at++)
			set->characters[set->count++] = text[at];
		set->ends[set->part_count++] = set->count;
		at = hyphen + 1;
	}
	if (at == size) {       /* the hyphen was the last character */
		set->characters[set->count++] = '-';
		set->ends[set->part_count - 1] = set->count;
		return;
	}
	for (; at < size; at++)
		set->characters[set->count++] = text[at];
	set->ends[set->part_count++] = set->count;
}

/* Takes out both ends of ranges that run backwards, the last such range first. */
static void drop_backward_ranges(struct set *set)
{
	for (size_t part = set->part_count - 1; part > 0; part--) {
		size_t joint = set->ends[part - 1];

		if (set->characters[joint - 1] <= set->characters[joint])
			continue;
		memmove(set->characters + joint - 1, set->characters + joint + 1,
			(set->count - joint - 1) * sizeof(*set->characters));
		set->count -= 2;
		memmove(set->ends + part - 1, set->ends + part, (set->part_count - part) * sizeof(*set->ends));
		set->part_count--;
		for (size_t later = part - 1; later < set->part_count; later++)
			set->ends[later] -= 2;
	}
}

static struct piece make_set(struct dt_pattern *pattern, struct set *set, const uint32_t *text, size_t size)
{
	struct piece piece = { .kind = PIECE_SET, .range = pattern->range_count };
	size_t begin;

	split_set(set, text, size);
	drop_backward_ranges(set);
	if (!set->count)
		return (struct piece){ .kind = PIECE_NEVER };
	piece.negated = set->characters[0] == '!';
	begin = piece.negated;
	if (begin == set->count)
		return (struct piece){ .kind = PIECE_ANY };
	for (size_t i = begin; i < set->count; i++)
		add_range(pattern, set->characters[i], set->characters[i]);
	for (size_t part = 0; part + 1 < set->part_count; part++)
		add_range(pattern, set->characters[set->ends[part] - 1], set->characters[set->ends[part]]);
	piece.range_count = pattern->range_count - piece.range;
	return piece;
}

/* ---- the pattern ---------------------------------------------------------------------------------------------- */

/* Where the set that begins behind a '[' ends, or `size`: it is no set. A ']' right at its beginning is one of its characters. */
static size_t find_set_end(const uint32_t *text, size_t at, size_t size)
{
	at += at < size && text[at] == '!';
	at += at < size && text[at] == ']';
	while (at < size && text[at] != ']')
		at++;
	return at;
}

static void parse(struct dt_pattern *pattern, struct set *set, const uint32_t *text, size_t size)
{
	for (size_t at = 0; at < size; at++) {
		struct piece piece = { .kind = PIECE_ONE, .character = text[at] };
		size_t end = text[at] == '[' ? find_set_end(text, at + 1, size) : size;

		if (text[at] == '*')
			piece.kind = PIECE_STAR;
		else if (text[at] == '?')
			piece.kind = PIECE_ANY;
		if (end < size) {
			piece = make_set(pattern, set, text + at + 1, end - at - 1);
			at = end;
		}
		pattern->pieces[pattern->piece_count++] = piece;
	}
}

int dt_pattern_new(const char *text, size_t size, struct dt_pattern **ret_pattern)
{
	/* Each character makes at most one piece and two ranges. */
	DT_FREE uint32_t *characters = calloc(size + 1, sizeof(*characters)), *room = calloc(size + 1, sizeof(*room));
	DT_FREE size_t *ends = calloc(size + 1, sizeof(*ends));
	struct set set = { .characters = room, .ends = ends };
	struct dt_pattern *pattern;
	size_t count = size;

	if (u8_check((const uint8_t *)text, size))
		return -EILSEQ;
	pattern = calloc(1, sizeof(*pattern));
	if (pattern) {
		pattern->pieces = calloc(size + 1, sizeof(*pattern->pieces));
		pattern->ranges = calloc(2 * size + 1, sizeof(*pattern->ranges));
	}
	if (!characters || !room || !ends || !pattern || !pattern->pieces || !pattern->ranges) {
		dt_pattern_free(pattern);
		return -ENOMEM;
	}
	u8_to_u32((const uint8_t *)text, size, characters, &count);
	parse(pattern, &set, characters, count);
	*ret_pattern = pattern;
	return 0;
}

void dt_pattern_free(struct dt_pattern *pattern)
{
	if (!pattern)
		return;
	free(pattern->pieces);
	free(pattern->ranges);
	free(pattern);
}

/* ---- matching ------------------------------------------------------------------------------------------------- */

static bool takes(const struct dt_pattern *pattern, const struct piece *piece, uint32_t character)
{
	bool in = false;

	switch (piece->kind) {
	case PIECE_ANY:
		return true;
	case PIECE_ONE:
		return character == piece->character;
	case PIECE_SET:
		for (size_t i = piece->range; i < piece->range + piece->range_count && !in; i++)
			in = character >= pattern->ranges[i].from && character <= pattern->ranges[i].to;
		return in != piece->negated;
	default:
		return false;
	}
}

/* A star first takes nothing, and one character more whenever what follows fails; only the last star met needs that. */
bool dt_pattern_matches(const struct dt_pattern *pattern, const char *name, size_t size)
{
	const uint8_t *at = (const uint8_t *)name, *end = at + size, *star_at = NULL;
	size_t piece = 0, star = 0;

	for (;;) {
		ucs4_t character;
		int bytes;

		if (piece < pattern->piece_count && pattern->pieces[piece].kind == PIECE_STAR) {
			star = ++piece;
			star_at = at;
			continue;
		}
		if (at == end)
			break;
		bytes = u8_mbtoucr(&character, at, (size_t)(end - at));
		if (bytes <= 0)
			return false;
		if (piece < pattern->piece_count && takes(pattern, &pattern->pieces[piece], character)) {
			at += bytes;
			piece++;
			continue;
		}
		if (!star_at)
			return false;
		bytes = u8_mbtoucr(&character, star_at, (size_t)(end - star_at));
		if (bytes <= 0)
			return false;
		star_at += bytes;
		at = star_at;
		piece = star;
	}
	return piece == pattern->piece_count;
}
