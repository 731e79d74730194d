/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sum_float: sums of floating-point numbers in the order that domtrace/simd.h defines (template, see types.h).
 *
 * `y` matters only for TERM_PRODUCT; all of this is inlined where the kind of terms is a constant.
 */
#define BLOCK (DT_BLOCK_ROWS * LANES)
#if REGISTERS < AT_ONCE
#define PASS REGISTERS
#else
#define PASS AT_ONCE
#endif

/* Blocks that meet before one waits in memory: as many as can be kept in registers. */
#if REGISTERS == 4
#define GROUP 4
#else
#define GROUP 2
#endif

#if PASS == 4
#define EACH_OF_PASS DT_EACH_4
#elif PASS == 8
#define EACH_OF_PASS DT_EACH_8
#else
#define EACH_OF_PASS DT_EACH_16
#endif

#if REGISTERS == 4
#define EACH_REGISTER DT_EACH_4
#elif REGISTERS == 8
#define EACH_REGISTER DT_EACH_8
#else
#define EACH_REGISTER DT_EACH_16
#endif

static ALWAYS OF(vector) OF(term)(enum term kind, const ELEMENT *x, const ELEMENT *y, size_t i)
{
	OF(vector) term = OF(load)(x + i);

	return kind == TERM_PLAIN ? term : term * (kind == TERM_SQUARE ? term : OF(load)(y + i));
}

/* Those terms from i on that are before `count`; -0.0 in the other places. */
static ALWAYS OF(vector) OF(term_part)(enum term kind, const ELEMENT *x, const ELEMENT *y, size_t i, size_t count)
{
	OF(vector) part = OF(load_part)(x, i, count, (WORD)-0.0);

	return kind == TERM_PLAIN ? part : part * OF(load_part)(kind == TERM_SQUARE ? x : y, i, count, 1);
}

/* Whole rows, at least one. A register is an own chain of additions, so as many of them go down the rows at a time as fit. */
static ALWAYS void OF(add_rows)(enum term kind, OF(vector) lanes[REGISTERS], const ELEMENT *x, const ELEMENT *y, size_t rows)
{
	for (size_t first = 0; first < REGISTERS; first += PASS) {
		OF(vector) sums[PASS];

#define S(j) sums[j] = OF(term)(kind, x, y, (first + j) * STEP);
		EACH_OF_PASS(S)
#undef S
		IN_ORDER();
		for (size_t row = 1; row < rows; row++) {
#define S(j) sums[j] += OF(term)(kind, x, y, row * LANES + (first + j) * STEP);
			EACH_OF_PASS(S)
#undef S
			IN_ORDER();
		}
#define S(j) lanes[first + j] = sums[j];
		EACH_OF_PASS(S)
#undef S
	}
}

/* A row that is not whole. What lanes have no element of in it stays as it is, as if -0.0 had been added. */
static ALWAYS void OF(add_rest)(enum term kind, OF(vector) lanes[REGISTERS], const ELEMENT *x, const ELEMENT *y, size_t count)
{
#ifdef HAS_MASKS
#define S(j) lanes[j] += OF(term_part)(kind, x, y, (j) * STEP, count);
#else
#define S(j) \
	if (count >= ((j) + 1) * STEP) \
		lanes[j] += OF(term)(kind, x, y, (j) * STEP); \
	else if (count > (j) * STEP) \
		lanes[j] += OF(term_part)(kind, x, y, (j) * STEP, count);
#endif
	EACH_REGISTER(S)
#undef S
}

static ALWAYS void OF(add_last_block)(enum term kind, OF(vector) lanes[REGISTERS], const ELEMENT *x, const ELEMENT *y, size_t count)
{
	size_t whole = count / LANES * LANES;

	if (whole) {
		OF(add_rows)(kind, lanes, x, y, count / LANES);
	} else {
#define S(j) lanes[j] = (WORD)-0.0 - (OF(vector)){ 0 };
		EACH_REGISTER(S)
#undef S
	}
	if (count > whole)
		OF(add_rest)(kind, lanes, x + whole, y + whole, count - whole);
}

static ALWAYS void OF(add_block)(OF(vector) earlier[REGISTERS], const OF(vector) later[REGISTERS])
{
#define S(j) earlier[j] += later[j];
	EACH_REGISTER(S)
#undef S
}

static ALWAYS void OF(copy_block)(OF(vector) to[REGISTERS], const OF(vector) from[REGISTERS])
{
#define S(j) to[j] = from[j];
	EACH_REGISTER(S)
#undef S
}

static ALWAYS ELEMENT OF(halve)(OF(vector) lanes[REGISTERS])
{
	OF(vector) sum;

#define S(j) \
	if ((j) < h) \
		lanes[j] += lanes[((j) + h) % REGISTERS];
#if REGISTERS > 8
	{ enum { h = 8 }; EACH_REGISTER(S) }
#endif
#if REGISTERS > 4
	{ enum { h = 4 }; EACH_REGISTER(S) }
#endif
	{ enum { h = 2 }; EACH_REGISTER(S) }
	{ enum { h = 1 }; EACH_REGISTER(S) }
#undef S
	sum = lanes[0];
	if (STEP > 8)
		sum += ROTATE(sum, 8);
	if (STEP > 4)
		sum += ROTATE(sum, 4);
	if (STEP > 2)
		sum += ROTATE(sum, 2);
	sum += ROTATE(sum, 1);
	return sum[0] == sum[0] ? sum[0] : (ELEMENT)__builtin_nan("");
}

/* Elements with a stride, put side by side. */
static inline const ELEMENT *OF(gather)(ELEMENT *buffer, const ELEMENT *x, ptrdiff_t stride, size_t count)
{
	for (size_t i = 0; i < count; i++)
		buffer[i] = OF(get)(x, stride, i);
	return buffer;
}

static ALWAYS void OF(add_two_blocks)(enum term kind, OF(vector) lanes[REGISTERS], const ELEMENT *x, const ELEMENT *y)
{
	OF(vector) later[REGISTERS];

	OF(add_rows)(kind, lanes, x, y, DT_BLOCK_ROWS);
	OF(add_rows)(kind, later, x + BLOCK, y + BLOCK, DT_BLOCK_ROWS);
	OF(add_block)(lanes, later);
}

static ALWAYS ELEMENT OF(add_side_by_side)(enum term kind, const ELEMENT *x, const ELEMENT *y, size_t count)
{
	OF(vector) waiting[DT_WAITING][REGISTERS], two[REGISTERS] = { 0 }, lanes[REGISTERS], later[REGISTERS];
	size_t waits = 0;
	bool has_two, has_one;

	if (!count)
		return 0;
	for (size_t groups = 1; count > GROUP * BLOCK; groups++, count -= GROUP * BLOCK) {
		OF(add_two_blocks)(kind, lanes, x, y);
		if (GROUP == 4) {
			OF(add_two_blocks)(kind, later, x + 2 * BLOCK, y + 2 * BLOCK);
			OF(add_block)(lanes, later);
		}
		for (size_t carry = groups; carry % 2 == 0; carry /= 2)
			OF(add_block)(lanes, waiting[--waits]);
		OF(copy_block)(waiting[waits++], lanes);
		x += GROUP * BLOCK;
		y += GROUP * BLOCK;
	}
	has_two = GROUP == 4 && count > 2 * BLOCK;
	if (has_two) {
		OF(add_two_blocks)(kind, two, x, y);
		x += 2 * BLOCK;
		y += 2 * BLOCK;
		count -= 2 * BLOCK;
	}
	has_one = count > BLOCK;
	if (has_one) {
		OF(add_rows)(kind, lanes, x, y, DT_BLOCK_ROWS);
		x += BLOCK;
		y += BLOCK;
		count -= BLOCK;
	}
	OF(add_last_block)(kind, later, x, y, count);
	if (has_one)
		OF(add_block)(later, lanes);
	if (has_two)
		OF(add_block)(later, two);
	while (waits)
		OF(add_block)(later, waiting[--waits]);
	return OF(halve)(later);
}

static ALWAYS ELEMENT OF(add_strided)(enum term kind, const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	OF(vector) waiting[DT_WAITING][REGISTERS], lanes[REGISTERS];
	ELEMENT x_block[BLOCK], y_block[BLOCK];
	size_t waits = 0;

	if (!count)
		return 0;
	for (size_t blocks = 1; count > BLOCK; blocks++, count -= BLOCK) {
		OF(gather)(x_block, x, x_stride, BLOCK);
		if (kind == TERM_PRODUCT)
			OF(gather)(y_block, y, y_stride, BLOCK);
		OF(add_rows)(kind, lanes, x_block, y_block, DT_BLOCK_ROWS);
		for (size_t carry = blocks; carry % 2 == 0; carry /= 2)
			OF(add_block)(lanes, waiting[--waits]);
		OF(copy_block)(waiting[waits++], lanes);
		x = OF(at)(x, x_stride, BLOCK);
		y = OF(at)(y, y_stride, BLOCK);
	}
	OF(gather)(x_block, x, x_stride, count);
	if (kind == TERM_PRODUCT)
		OF(gather)(y_block, y, y_stride, count);
	OF(add_last_block)(kind, lanes, x_block, y_block, count);
	while (waits)
		OF(add_block)(lanes, waiting[--waits]);
	return OF(halve)(lanes);
}

static ELEMENT OF(sum)(const ELEMENT *x, ptrdiff_t x_stride, size_t count)
{
	if (x_stride != 1)
		return OF(add_strided)(TERM_PLAIN, x, x_stride, x, x_stride, count);
	return OF(add_side_by_side)(TERM_PLAIN, x, x, count);
}

static ELEMENT OF(sum_of_products)(const ELEMENT *x, ptrdiff_t x_stride, const ELEMENT *y, ptrdiff_t y_stride, size_t count)
{
	if (x_stride != 1 || y_stride != 1)
		return OF(add_strided)(TERM_PRODUCT, x, x_stride, y, y_stride, count);
	if (x == y && count < FAR_BYTES / sizeof(ELEMENT))
		return OF(add_side_by_side)(TERM_SQUARE, x, x, count);
	return OF(add_side_by_side)(TERM_PRODUCT, x, y, count);
}

#undef BLOCK
#undef PASS
#undef GROUP
#undef EACH_OF_PASS
#undef EACH_REGISTER
