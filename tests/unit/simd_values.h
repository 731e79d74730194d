/* SPDX-License-Identifier: BSD-2-Clause */
/* simd_values: numbers that are hard to add up, and memory that ends where it says. */
#ifndef TEST_SIMD_VALUES_H
#define TEST_SIMD_VALUES_H

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* xorshift64* (Vigna 2016): the same numbers on every machine. */
static inline uint64_t random_bits(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

enum values {
	VALUES_PLAIN,           /* between -1 and 1 */
	VALUES_WIDE,            /* of very different sizes */
	VALUES_CANCEL,          /* huge ones that nearly cancel each other */
	VALUES_ZEROS,           /* zeros of both signs, and nothing else */
	VALUES_NEGATIVE_ZEROS,
	VALUES_DENORMAL,
	VALUES_INFINITE,        /* some infinities of one sign, or of both */
	VALUES_NAN,             /* plain ones, and one that is not a number */
	VALUES_ANY,             /* any bits: NaN of all kinds, infinities, overflow */
	VALUES_COUNT,
};

static inline double random_unit(uint64_t *state)
{
	return (double)(int64_t)random_bits(state) * 0x1p-63;
}

/* `largest` and `smallest` are exponents of two of the type it will be. */
static inline double random_value(uint64_t *state, enum values kind, int largest, int smallest, size_t i)
{
	double unit = random_unit(state);
	uint64_t dice = random_bits(state) >> 32;

	switch (kind) {
	case VALUES_WIDE:
		return ldexp(unit, (int)(dice % (unsigned)(largest - 40)) - (largest - 40) / 2);
	case VALUES_CANCEL:
		return i % 3 == 2 ? unit : ldexp(i % 3 ? -1.0 : 1.0, largest / 2) + (dice % 5 == 0 ? unit : 0);
	case VALUES_ZEROS:
		return dice % 2 ? 0.0 : -0.0;
	case VALUES_NEGATIVE_ZEROS:
		return -0.0;
	case VALUES_DENORMAL:
		return ldexp(unit, smallest + 20);
	case VALUES_INFINITE:
		return dice % 401 == 0 ? INFINITY : dice % 997 == 0 ? -INFINITY : unit;
	case VALUES_NAN:
		return dice % 499 == 0 ? (double)NAN : unit;
	default:
		return unit;
	}
}

/* Pages that can be used, with one on either side that cannot. */
struct fenced {
	char *begin;
	char *end;
	size_t page;
};

static inline struct fenced fenced_new(size_t bytes)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t inner = (bytes + page - 1) / page * page;
	char *map = mmap(NULL, inner + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(map, MAP_FAILED);
	assert_int_equal(mprotect(map + page, inner, PROT_READ | PROT_WRITE), 0);
	return (struct fenced){ map + page, map + page + inner, page };
}

static inline void fenced_free(struct fenced *fenced)
{
	assert_int_equal(munmap(fenced->begin - fenced->page, (size_t)(fenced->end - fenced->begin) + 2 * fenced->page), 0);
}

#endif
