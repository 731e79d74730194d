/* SPDX-License-Identifier: BSD-2-Clause */
/* scalar: the reference for one type of elements (template, see types.h). A `y` of NULL stands for a sum without products. */
#include "simd/element.h"

static WORD OF(term)(const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t i)
{
	WORD term = OF(get)(x, x_stride, i);

	return y ? term * OF(get)(y, y_stride, i) : term;
}

static void OF(multiply)(ELEMENT *product, ptrdiff_t product_stride, const ELEMENT *x, ptrdiff_t x_stride,
			 const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	for (size_t i = 0; i < count; i++)
		OF(put)(product, product_stride, i, OF(term)(x, x_stride, y, y_stride, i));
}

#if IS_FLOAT

enum { OF(LANES) = DT_ROW_BYTES / sizeof(ELEMENT), OF(BLOCK) = DT_BLOCK_ROWS * OF(LANES) };

struct OF(lanes) {
	ELEMENT of[OF(LANES)];
};

static void OF(add_block)(struct OF(lanes) *earlier, const struct OF(lanes) *later)
{
	for (int lane = 0; lane < OF(LANES); lane++)
		earlier->of[lane] = earlier->of[lane] + later->of[lane];
}

static void OF(fill_block)(struct OF(lanes) *block, const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride,
			   size_t first, size_t end)
{
	for (int lane = 0; lane < OF(LANES); lane++)
		block->of[lane] = (ELEMENT)-0.0;
	for (size_t i = first; i < end; i++)
		block->of[i % OF(LANES)] = block->of[i % OF(LANES)] + OF(term)(x, x_stride, y, y_stride, i);
}

static ELEMENT OF(halve)(struct OF(lanes) *lanes)
{
	for (int h = OF(LANES) / 2; h >= 1; h /= 2) {
		for (int lane = 0; lane < h; lane++)
			lanes->of[lane] = lanes->of[lane] + lanes->of[lane + h];
	}
	return lanes->of[0] == lanes->of[0] ? lanes->of[0] : (ELEMENT)__builtin_nan("");
}

static ELEMENT OF(add)(const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	struct OF(lanes) waiting[DT_WAITING];
	size_t waits = 0;

	if (!count)
		return 0;
	for (size_t first = 0, end = 0, blocks = 1; end < count; first = end, blocks++) {
		end = count - first < OF(BLOCK) ? count : first + OF(BLOCK);
		OF(fill_block)(&waiting[waits++], x, x_stride, y, y_stride, first, end);
		for (size_t carry = blocks; carry % 2 == 0; carry /= 2, waits--)
			OF(add_block)(&waiting[waits - 2], &waiting[waits - 1]);
	}
	for (; waits > 1; waits--)
		OF(add_block)(&waiting[waits - 2], &waiting[waits - 1]);
	return OF(halve)(&waiting[0]);
}

#else

static TOTAL OF(add)(const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += (uint64_t)(ELEMENT)OF(term)(x, x_stride, y, y_stride, i);
	return (TOTAL)sum;
}

#endif

static TOTAL OF(sum)(const ELEMENT *x, ptrdiff_t x_stride, size_t count)
{
	return OF(add)(x, x_stride, NULL, 0, count);
}

static TOTAL OF(sum_of_products)(const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	return OF(add)(x, x_stride, y, y_stride, count);
}
