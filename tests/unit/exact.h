/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * exact: sums of floating-point numbers and of their products without any rounding: one long fixed-point number, in limbs of 32 bits
 * that are kept in 64, so that additions need not carry at once. It reaches from the product of two smallest denormals
 * (2^-2148, as integers of 53 bits 2^-2252) to far above that of two largest numbers.
 */
#ifndef TEST_EXACT_H
#define TEST_EXACT_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define EXACT_LIMBS 152
#define EXACT_LOWEST -2304              /* exponent of the lowest bit: below that of two smallest denormals with 53 bits each, -2252 */

struct exact {
	int64_t limbs[EXACT_LIMBS];
};

/* Adds number * 2^exponent; the number has at most 107 bits. */
static inline void exact_add_scaled(struct exact *sum, __int128 number, int exponent)
{
	bool negative = number < 0;
	unsigned __int128 rest = negative ? -(unsigned __int128)number : (unsigned __int128)number;
	unsigned place = (unsigned)(exponent - EXACT_LOWEST);
	unsigned limb = place / 32, shift = place % 32;
	uint64_t carried = 0;

	for (; rest || carried; limb++) {
		uint64_t piece = ((uint64_t)(uint32_t)rest << shift) + carried;

		sum->limbs[limb] += negative ? -(int64_t)(uint32_t)piece : (int64_t)(uint32_t)piece;
		carried = piece >> 32;
		rest >>= 32;
	}
}

static inline int64_t exact_split(double x, int *ret_exponent)
{
	int exponent;
	double fraction = frexp(x, &exponent);

	*ret_exponent = x == 0 ? 0 : exponent - 53;
	return (int64_t)ldexp(fraction, 53);
}

static inline void exact_add_product(struct exact *sum, double x, double y)
{
	int x_exponent, y_exponent;
	int64_t a = exact_split(x, &x_exponent), b = exact_split(y, &y_exponent);

	exact_add_scaled(sum, (__int128)a * b, x_exponent + y_exponent);
}

static inline void exact_add(struct exact *sum, double x)
{
	exact_add_product(sum, x, 1);
}

/* Brings all limbs but the highest into 0 … 2^32 - 1. */
static inline void exact_carry(struct exact *sum)
{
	for (int i = 0; i < EXACT_LIMBS - 1; i++) {
		int64_t low = sum->limbs[i] & UINT32_MAX;

		sum->limbs[i + 1] += (sum->limbs[i] - low) / ((int64_t)1 << 32);
		sum->limbs[i] = low;
	}
}

static inline void exact_make_positive(struct exact *sum)
{
	exact_carry(sum);
	if (sum->limbs[EXACT_LIMBS - 1] < 0) {
		for (int i = 0; i < EXACT_LIMBS; i++)
			sum->limbs[i] = -sum->limbs[i];
		exact_carry(sum);
	}
}

/* sum += other * factor, where both have been carried and the factor is less than 2^30. */
static inline void exact_add_times(struct exact *sum, const struct exact *other, int64_t factor)
{
	for (int i = 0; i < EXACT_LIMBS; i++)
		sum->limbs[i] += other->limbs[i] * factor;
	exact_carry(sum);
}

static inline bool exact_is_negative(struct exact *sum)
{
	exact_carry(sum);
	return sum->limbs[EXACT_LIMBS - 1] < 0;
}

#endif
