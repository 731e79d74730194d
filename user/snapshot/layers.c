/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/layers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/cleanup.h"

/* Addresses that blocks cover: spans that do not touch, in order. `before` is how much those in front of a span cover. */
struct span {
	uint64_t start, end, before;
};

struct cover {
	struct span *spans;
	size_t count;
};

static uint64_t block_end(const struct dt_layer_block *block)
{
	uint64_t end;

	return __builtin_add_overflow(block->address, block->bytes, &end) ? UINT64_MAX : end;
}

static int compare_spans(const void *a, const void *b)
{
	uint64_t left = ((const struct span *)a)->start, right = ((const struct span *)b)->start;

	return (left > right) - (left < right);
}

static int compare_blocks(const void *a, const void *b)
{
	uint64_t left = ((const struct dt_layer_block *)a)->address, right = ((const struct dt_layer_block *)b)->address;

	return (left > right) - (left < right);
}

#define SPANS_NEAR 32768                /* so many are in the processor's cache before long */

/* Blocks that are looked for in many spans are looked for in order: what the last search has touched is near, then. */
static void sort_for(const struct cover *cover, struct dt_layer_block *blocks, size_t count)
{
	if (cover->count > SPANS_NEAR)
		qsort(blocks, count, sizeof(*blocks), compare_blocks);
}

static void cover_add(struct cover *cover, const struct dt_layer_block *blocks, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (block_end(&blocks[i]) > blocks[i].address)
			cover->spans[cover->count++] = (struct span){ .start = blocks[i].address, .end = block_end(&blocks[i]) };
}

/* From spans in any order, which may overlap. */
static void cover_finish(struct cover *cover)
{
	struct span *spans = cover->spans;
	size_t count = 0;

	qsort(spans, cover->count, sizeof(*spans), compare_spans);
	for (size_t i = 0; i < cover->count; i++) {
		if (!count || spans[i].start > spans[count - 1].end)
			spans[count++] = spans[i];
		else if (spans[i].end > spans[count - 1].end)
			spans[count - 1].end = spans[i].end;
	}
	for (size_t i = 1; i < count; i++)
		spans[i].before = spans[i - 1].before + (spans[i - 1].end - spans[i - 1].start);
	cover->count = count;
}

/* The last span that begins at or below an address; NULL: there is none. */
static const struct span *find_span(const struct cover *cover, uint64_t address)
{
	const struct span *first = cover->spans;
	size_t count = cover->count;

	while (count) {
		size_t half = count / 2;

		if (first[half].start <= address) {
			first += half + 1;
			count -= half + 1;
		} else {
			count = half;
		}
	}
	return first == cover->spans ? NULL : first - 1;
}

/* How much is covered below an address, given the last span that begins at or below it. */
static uint64_t covered_below(const struct span *span, uint64_t address)
{
	return span ? span->before + ((address < span->end ? address : span->end) - span->start) : 0;
}

/* Most blocks lie in one span as a whole, or in none, and are searched for once. */
static uint64_t covered_bytes(const struct cover *cover, const struct dt_layer_block *block)
{
	uint64_t end = block_end(block);
	const struct span *last = end > block->address ? find_span(cover, end - 1) : NULL;

	if (!last || last->end <= block->address)
		return 0;
	return covered_below(last, end) - covered_below(last->start <= block->address ? last : find_span(cover, block->address), block->address);
}

static int cover_above(const struct dt_layer *above, size_t above_count, struct cover *ret_cover)
{
	size_t count = 0;

	for (size_t i = 0; i < above_count; i++)
		count += above[i].count;
	ret_cover->count = 0;
	ret_cover->spans = malloc((count + 1) * sizeof(*ret_cover->spans));
	if (!ret_cover->spans)
		return -ENOMEM;
	for (size_t i = 0; i < above_count; i++)
		cover_add(ret_cover, above[i].blocks, above[i].count);
	cover_finish(ret_cover);
	return 0;
}

/* Adds up what of the blocks below is claimed, and moves those of which anything is to the front. */
static int claim(struct dt_layer_block *below, size_t below_count, const struct cover *cover, size_t *ret_count, uint64_t *ret_bytes)
{
	uint64_t sum = 0;
	size_t kept = 0;

	sort_for(cover, below, below_count);
	for (size_t i = 0; i < below_count; i++) {
		uint64_t bytes = covered_bytes(cover, &below[i]);

		if (!bytes)
			continue;
		if (__builtin_add_overflow(sum, bytes, &sum))
			return -EOVERFLOW;
		below[kept++] = below[i];
	}
	*ret_count = kept;
	*ret_bytes = sum;
	return 0;
}

static int measure_layer(struct dt_layer *layer, const struct cover *below)
{
	uint64_t sum = 0;

	sort_for(below, layer->blocks, layer->count);
	for (size_t i = 0; i < layer->count; i++)
		if (__builtin_add_overflow(sum, covered_bytes(below, &layer->blocks[i]), &sum))
			return -EOVERFLOW;
	layer->below_bytes = sum;
	return 0;
}

/* Only the blocks below that something lies in are sorted: mostly they are few. */
int dt_layers_measure(struct dt_layer_block *below, size_t below_count, struct dt_layer *above, size_t above_count,
		      uint64_t *ret_claimed_bytes)
{
	DT_FREE struct span *above_spans = NULL;
	DT_FREE struct span *below_spans = NULL;
	struct cover cover, below_cover = { 0 };
	uint64_t claimed;
	int error = cover_above(above, above_count, &cover);

	if (error)
		return error;
	above_spans = cover.spans;
	error = claim(below, below_count, &cover, &below_count, &claimed);
	if (error)
		return error;
	below_cover.spans = below_spans = malloc((below_count + 1) * sizeof(*below_spans));
	if (!below_spans)
		return -ENOMEM;
	cover_add(&below_cover, below, below_count);
	cover_finish(&below_cover);
	for (size_t i = 0; i < above_count && !error; i++)
		error = measure_layer(&above[i], &below_cover);
	if (!error)
		*ret_claimed_bytes = claimed;
	return error;
}
