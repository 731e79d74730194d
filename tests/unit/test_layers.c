/* SPDX-License-Identifier: BSD-2-Clause */
/* layers: known figures; random blocks of every mix against a map of bytes; the ends of the address space; no memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "snapshot/layers.h"

/* ---- the n-th allocation fails ----------------------------------------------------------------------------- */

#ifdef __SANITIZE_ADDRESS__
#define REAL(function) __interceptor_##function
#else
#define REAL(function) __libc_##function
#endif
void *REAL(malloc)(size_t size);

static size_t allocations_left = SIZE_MAX;      /* until one fails; SIZE_MAX: never */

void *malloc(size_t size)
{
	return allocations_left != SIZE_MAX && allocations_left-- == 0 ? NULL : REAL(malloc)(size);
}

/* ---- known figures ----------------------------------------------------------------------------------------- */

#define BLOCKS(...) (struct dt_layer_block[]){ __VA_ARGS__ }, \
	sizeof((struct dt_layer_block[]){ __VA_ARGS__ }) / sizeof(struct dt_layer_block)
#define BLOCKS_MAX 16
#define LAYERS_MAX 4

static void expect(const struct dt_layer_block *below, size_t below_count, struct dt_layer *above, size_t above_count,
		   uint64_t claimed, const uint64_t *below_bytes)
{
	struct dt_layer_block own[BLOCKS_MAX];
	uint64_t bytes = 7;

	assert_true(below_count <= BLOCKS_MAX);
	if (below_count)
		memcpy(own, below, below_count * sizeof(*below));
	assert_int_equal(dt_layers_measure(own, below_count, above, above_count, &bytes), 0);
	assert_int_equal(bytes, claimed);
	for (size_t i = 0; i < above_count; i++)
		assert_int_equal(above[i].below_bytes, below_bytes[i]);
}

/* An array is one block; blocks in a pool; one over several and beyond them; one in another; none; one of no bytes. */
static void test_known(void **state)
{
	struct dt_layer above[] = { { BLOCKS({ 1000, 100 }, { 2010, 10 }, { 2020, 10 }, { 2990, 130 }), 77 },
				    { BLOCKS({ 2000, 50 }, { 5000, 8 }, { 1000, 0 }, { 2099, 1 }, { 3100, 1 }), 77 },
				    { NULL, 0, 77 } };

	(void)state;
	expect(BLOCKS({ 3000, 10 }, { 1000, 100 }, { 3010, 10 }, { 3030, 10 }, { 2000, 100 }, { 4000, 64 }, { 3999, 0 }), above, 3,
	       100 + 50 + 1 + 30, (const uint64_t[]){ 100 + 20 + 30, 50 + 1, 0 });
	expect(BLOCKS({ 3000, 10 }), above, 0, 0, NULL);
	expect(NULL, 0, above, 3, 0, (const uint64_t[]){ 0, 0, 0 });
	/* Two that meet are not one too many, and what lies between two blocks of libc belongs to neither. */
	above[0] = (struct dt_layer){ BLOCKS({ 100, 10 }, { 110, 10 }), 0 };
	expect(BLOCKS({ 90, 15 }, { 115, 100 }), above, 1, 5 + 5, (const uint64_t[]){ 10 });
}

/* The same address twice, as after a free that was missed: each block's bytes count for itself, once. */
static void test_twice(void **state)
{
	struct dt_layer above[] = { { BLOCKS({ 120, 10 }, { 125, 10 }, { 120, 10 }), 0 } };

	(void)state;
	expect(BLOCKS({ 100, 100 }, { 100, 25 }), above, 1, 15 + 5, (const uint64_t[]){ 30 });
}

static void test_ends_of_the_address_space(void **state)
{
	struct dt_layer above[] = { { BLOCKS({ 0, UINT64_MAX }), 0 }, { BLOCKS({ UINT64_MAX, 1 }, { UINT64_MAX - 5, 100 }), 0 } };
	struct dt_layer_block huge[3] = { { 0, UINT64_MAX }, { 0, UINT64_MAX }, { 1, UINT64_MAX } };
	uint64_t bytes = 7;

	(void)state;
	expect(BLOCKS({ 0, 8 }, { UINT64_MAX - 8, UINT64_MAX }), above, 2, 16, (const uint64_t[]){ 16, 5 });
	expect(BLOCKS({ UINT64_MAX, UINT64_MAX }), above, 2, 0, (const uint64_t[]){ 0, 0 });
	assert_int_equal(dt_layers_measure(huge, 3, above, 1, &bytes), -EOVERFLOW);
	above[0] = (struct dt_layer){ BLOCKS({ 0, UINT64_MAX }, { 0, UINT64_MAX }), 0 };
	assert_int_equal(dt_layers_measure(huge, 1, above, 1, &bytes), -EOVERFLOW);
	assert_int_equal(bytes, 7);
}

static void test_no_memory(void **state)
{
	struct dt_layer above[] = { { BLOCKS({ 0, 10 }), 0 } };
	struct dt_layer_block below[] = { { 5, 10 } };
	uint64_t bytes = 7;

	(void)state;
	for (size_t left = 0; left < 2; left++) {
		allocations_left = left;
		int error = dt_layers_measure(below, 1, above, 1, &bytes);

		allocations_left = SIZE_MAX;
		assert_int_equal(error, -ENOMEM);
		assert_int_equal(bytes, 7);
	}
	assert_int_equal(dt_layers_measure(below, 1, above, 1, &bytes), 0);
	assert_int_equal(bytes, 5);
}

/* ---- against a map of bytes -------------------------------------------------------------------------------- */

#define SPACE 600
#define RANDOM_MAX 60

struct random_layer {
	struct dt_layer_block blocks[RANDOM_MAX];
	size_t count;
	bool bytes[SPACE];
};

static void fill(struct random_layer *layer, uint64_t base, size_t count, size_t bytes_max)
{
	memset(layer, 0, sizeof(*layer));
	for (; layer->count < count; layer->count++) {
		uint64_t at = (uint64_t)rand() % SPACE, bytes = (uint64_t)rand() % (bytes_max + 1);

		bytes = bytes < SPACE - at ? bytes : SPACE - at;
		layer->blocks[layer->count] = (struct dt_layer_block){ base + at, bytes };
		memset(layer->bytes + at, true, bytes);
	}
}

/* Bytes of the blocks that are set in the map. */
static uint64_t count_bytes(const struct random_layer *layer, uint64_t base, const bool *map)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < layer->count; i++)
		for (uint64_t k = 0; k < layer->blocks[i].bytes; k++)
			sum += map[layer->blocks[i].address - base + k];
	return sum;
}

static void check_random(uint64_t base)
{
	struct random_layer below, above[LAYERS_MAX];
	struct dt_layer layers[LAYERS_MAX];
	size_t count = (size_t)rand() % (LAYERS_MAX + 1);
	bool any[SPACE] = { false };
	uint64_t claimed, expected;

	fill(&below, base, (size_t)rand() % RANDOM_MAX, 1u << rand() % 9);
	for (size_t i = 0; i < count; i++) {
		fill(&above[i], base, (size_t)rand() % RANDOM_MAX, 1u << rand() % 9);
		layers[i] = (struct dt_layer){ .blocks = above[i].blocks, .count = above[i].count };
		for (size_t k = 0; k < SPACE; k++)
			any[k] = any[k] || above[i].bytes[k];
	}
	expected = count_bytes(&below, base, any);
	struct random_layer thinned = below;    /* the call changes the order */

	assert_int_equal(dt_layers_measure(thinned.blocks, thinned.count, layers, count, &claimed), 0);
	assert_int_equal(claimed, expected);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(layers[i].below_bytes, count_bytes(&above[i], base, below.bytes));
}

static void test_random(void **state)
{
	(void)state;
	srand(4);
	for (int i = 0; i < 20000; i++)
		check_random(i % 3 ? (uint64_t)rand() << 16 : i % 2 ? 0 : UINT64_MAX - SPACE);
}

/* So many that they are sorted first: each third block below has a block above in its middle, in the reverse order. */
static void test_many(void **state)
{
	enum { COUNT = 300000 };
	struct dt_layer_block *below = calloc(COUNT, sizeof(*below)), *blocks = calloc(COUNT, sizeof(*blocks));
	struct dt_layer above = { .blocks = blocks };
	uint64_t claimed;

	(void)state;
	for (size_t i = 0; i < COUNT; i++) {
		size_t at = i * 7919 % COUNT;   /* a prime that does not divide COUNT: each once */

		below[i] = (struct dt_layer_block){ 1000 + 64 * at, 48 };
		if (i % 3 == 0)
			blocks[above.count++] = (struct dt_layer_block){ 1000 + 64 * (COUNT - 1 - i) + 40, 16 };
	}
	assert_int_equal(dt_layers_measure(below, COUNT, &above, 1, &claimed), 0);
	assert_int_equal(claimed, COUNT / 3 * 8);
	assert_int_equal(above.below_bytes, COUNT / 3 * 8);
	free(below);
	free(blocks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_known),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_ends_of_the_address_space),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
