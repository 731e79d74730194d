/* SPDX-License-Identifier: BSD-2-Clause */
/* multiply: elementwise products (template, see types.h). */

/* From here on a product is written past the caches: it does not fit into them, and reading its lines first would be in vain. */
#define STREAM_BYTES ((size_t)16 << 20)
/* So many are multiplied in a turn: two lines of the caches. Each register is written before the next one is read. */
#define TURN (128 / sizeof(ELEMENT))

/* `y` is one number in each place, when y_repeats. */
static ALWAYS OF(vector) OF(multiply_vector)(const ELEMENT *x, const ELEMENT *y, bool y_repeats, OF(vector) factor)
{
	return OF(load)(x) * (y_repeats ? factor : OF(load)(y));
}

static ALWAYS void OF(multiply_singly)(ELEMENT *product, const ELEMENT *x, const ELEMENT *y, bool y_repeats, WORD factor, size_t count)
{
	for (size_t i = 0; i < count; i++)
		OF(put)(product, 1, i, OF(get)(x, 1, i) * (y_repeats ? factor : OF(get)(y, 1, i)));
}

static ALWAYS void OF(multiply_side_by_side)(ELEMENT *product, const ELEMENT *x, const ELEMENT *y, bool y_repeats, size_t count)
{
	WORD single = y_repeats ? OF(get)(y, 0, 0) : 0;
	OF(vector) factor = single - (OF(vector)){ 0 }, last;
	size_t i = 0;

	if (count < STEP) {
		OF(multiply_singly)(product, x, y, y_repeats, single, count);
		return;
	}
	/* Before anything is written, as that may be x or y; some of it is then written twice, and the same. */
	last = OF(multiply_vector)(x + count - STEP, y + count - STEP, y_repeats, factor);
	for (; count - i > TURN; i += TURN)
		for (size_t j = 0; j < TURN; j += STEP)
			OF(store)(product + i + j, OF(multiply_vector)(x + i + j, y + i + j, y_repeats, factor));
	for (; count - i > STEP; i += STEP)
		OF(store)(product + i, OF(multiply_vector)(x + i, y + i, y_repeats, factor));
	OF(store)(product + count - STEP, last);
}

#ifdef HAS_STREAM
/* Elements before the next place where a register may be streamed to; `count` if there is none. */
static inline size_t OF(before_aligned)(const ELEMENT *product, size_t count)
{
	size_t gap = -(uintptr_t)product % VECTOR_BYTES;

	return gap % sizeof(ELEMENT) == 0 && gap / sizeof(ELEMENT) < count ? gap / sizeof(ELEMENT) : count;
}

static ALWAYS void OF(multiply_streaming)(ELEMENT *product, const ELEMENT *x, const ELEMENT *y, bool y_repeats, size_t count)
{
	WORD single = y_repeats ? OF(get)(y, 0, 0) : 0;
	OF(vector) factor = single - (OF(vector)){ 0 };
	size_t i = OF(before_aligned)(product, count);

	OF(multiply_singly)(product, x, y, y_repeats, single, i);
	for (; count - i >= TURN; i += TURN)
		for (size_t j = 0; j < TURN; j += STEP)
			stream(product + i + j, OF(multiply_vector)(x + i + j, y + i + j, y_repeats, factor));
	stream_end();
	OF(multiply_singly)(product + i, x + i, y + i, y_repeats, single, count - i);
}
#endif

static ALWAYS void OF(multiply_in_rows)(ELEMENT *product, const ELEMENT *x, const ELEMENT *y, bool y_repeats, size_t count)
{
#ifdef HAS_STREAM
	if (count >= STREAM_BYTES / sizeof(ELEMENT) && product != x && product != y) {
		OF(multiply_streaming)(product, x, y, y_repeats, count);
		return;
	}
#endif
	OF(multiply_side_by_side)(product, x, y, y_repeats, count);
}

static void OF(multiply)(ELEMENT *product, ptrdiff_t product_stride, const ELEMENT *x, ptrdiff_t x_stride,
			 const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	if (!count)
		return;
	if (product_stride == 1 && x_stride == 1 && y_stride == 1) {
		OF(multiply_in_rows)(product, x, y, false, count);
	} else if (product_stride == 1 && x_stride == 1 && y_stride == 0) {
		OF(multiply_in_rows)(product, x, y, true, count);
	} else if (product_stride == 1 && x_stride == 0 && y_stride == 1) {
		OF(multiply_in_rows)(product, y, x, true, count);
	} else {
		for (size_t i = 0; i < count; i++)
			OF(put)(product, product_stride, i, OF(get)(x, x_stride, i) * OF(get)(y, y_stride, i));
	}
}

#undef STREAM_BYTES
#undef TURN
