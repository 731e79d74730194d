/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sum_integer: sums of integers in 64 bits (template, see types.h). As they wrap, any order of additions gives the same.
 *
 * Numbers of 32 bits are taken in pairs, as one number of 64 bits, with their sign bits flipped: that adds 2^31 to each and makes them
 * unsigned, so that a mask and a shift widen them. What that added is subtracted in the end. A term of NOTHING adds 0 in this way.
 */
#define CHAINS 4
#if ELEMENT_BYTES == 4
#define NOTHING ((WORD)1 << 31)
#else
#define NOTHING ((WORD)0)
#endif

typedef uint64_t OF(wide) __attribute__((vector_size(VECTOR_BYTES)));

static ALWAYS OF(wide) OF(widen)(OF(vector) term)
{
#if ELEMENT_BYTES == 4
	OF(wide) pairs = (OF(wide))(term ^ NOTHING);

	return (pairs & UINT32_MAX) + (pairs >> 32);
#else
	return term;
#endif
}

static ALWAYS OF(wide) OF(term)(const ELEMENT *x, const ELEMENT *y, size_t i)
{
	return OF(widen)(y ? OF(load)(x + i) * OF(load)(y + i) : OF(load)(x + i));
}

static ALWAYS OF(wide) OF(term_part)(const ELEMENT *x, const ELEMENT *y, size_t i, size_t count)
{
	OF(vector) part = OF(load_part)(x, i, count, NOTHING);

	return OF(widen)(y ? part * OF(load_part)(y, i, count, 1) : part);
}

static ALWAYS uint64_t OF(add_side_by_side)(const ELEMENT *x, const ELEMENT *y, size_t count)
{
	OF(wide) sums[CHAINS] = { 0 };
	uint64_t sum = 0;
	size_t i = 0;

	for (; count - i >= CHAINS * STEP; i += CHAINS * STEP) {
#pragma GCC unroll 16
		for (size_t j = 0; j < CHAINS; j++)
			sums[j] += OF(term)(x, y, i + j * STEP);
	}
	for (; count - i >= STEP; i += STEP)
		sums[0] += OF(term)(x, y, i);
	if (count > i)
		sums[1] += OF(term_part)(x + i, y ? y + i : y, 0, count - i);
	sums[0] += sums[1] + sums[2] + sums[3];
	for (size_t j = 0; j < VECTOR_BYTES / sizeof(uint64_t); j++)
		sum += sums[0][j];
	return sum - (uint64_t)NOTHING * count;
}

static uint64_t OF(add_strided)(const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++) {
		WORD term = OF(get)(x, x_stride, i);

		sum += (uint64_t)(ELEMENT)(y ? term * OF(get)(y, y_stride, i) : term);
	}
	return sum;
}

static TOTAL OF(sum)(const ELEMENT *x, ptrdiff_t x_stride, size_t count)
{
	return (TOTAL)(x_stride == 1 ? OF(add_side_by_side)(x, NULL, count) : OF(add_strided)(x, x_stride, NULL, 0, count));
}

static TOTAL OF(sum_of_products)(const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	return (TOTAL)(x_stride == 1 && y_stride == 1 ? OF(add_side_by_side)(x, y, count)
						      : OF(add_strided)(x, x_stride, y, y_stride, count));
}

#undef CHAINS
#undef NOTHING
