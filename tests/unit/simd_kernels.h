/* SPDX-License-Identifier: BSD-2-Clause */
/* simd_kernels: every kernel of one type of elements against the reference, bit by bit (template, see user/simd/types.h). */

#define LONGEST 1100
#define ROOM (LONGEST * 18)             /* for strides up to 17 */

static void OF(fill)(ELEMENT *x, size_t count, enum values kind, uint64_t *state)
{
	for (size_t i = 0; i < count; i++) {
#if IS_FLOAT
		x[i] = (ELEMENT)random_value(state, kind, ELEMENT_BYTES == 4 ? 127 : 1023, ELEMENT_BYTES == 4 ? -149 : -1074, i);
		if (kind != VALUES_ANY)
			continue;
#else
		(void)kind;
#endif
		uint64_t bits = random_bits(state);

		memcpy(&x[i], &bits, sizeof(x[i]));
	}
}

/* Products that are not a number are only that; everything else is the same bit by bit. */
static void OF(assert_same)(const void *got, const void *expected, size_t count)
{
#if IS_FLOAT
	if (memcmp(got, expected, count * sizeof(ELEMENT)) == 0)
		return;
	for (size_t i = 0; i < count; i++) {
		ELEMENT a, b;

		memcpy(&a, (const char *)got + i * sizeof(a), sizeof(a));
		memcpy(&b, (const char *)expected + i * sizeof(b), sizeof(b));
		if (a == a || b == b)
			assert_memory_equal(&a, &b, sizeof(a));
	}
#else
	assert_memory_equal(got, expected, count * sizeof(ELEMENT));
#endif
}

static void OF(assert_same_total)(TOTAL got, TOTAL expected)
{
	assert_memory_equal(&got, &expected, sizeof(got));
}

/* Every length, and every alignment for each of them; what is around a product is not touched. */
static void OF(test_alignments)(void **state)
{
	const struct dt_simd *simd = *state;
	static ELEMENT x[LONGEST], y[LONGEST], expected[LONGEST];
	static char at[3][sizeof(x) + 192], around[sizeof(at[2])];
	uint64_t seed = 1;

	for (size_t count = 0; count <= LONGEST; count++) {
		enum values kind = (enum values)(count % VALUES_COUNT);
		TOTAL sum, squares, products;

		OF(fill)(x, count, kind, &seed);
		OF(fill)(y, count, count % 4 ? VALUES_PLAIN : kind, &seed);
		sum = reference->TYPE.sum(x, 1, count);
		squares = reference->TYPE.sum_of_products(x, 1, x, 1, count);
		products = reference->TYPE.sum_of_products(x, 1, y, 1, count);
		reference->TYPE.multiply(expected, 1, x, 1, y, 1, count);
		for (size_t i = 0; i < 64; i++) {
			ELEMENT *a = (ELEMENT *)(at[0] + i), *b = (ELEMENT *)(at[1] + (i * 7 + 3) % 64);
			size_t gap = 64 + (i * 13 + 5) % 64;

			memcpy(a, x, count * sizeof(*x));
			memcpy(b, y, count * sizeof(*y));
			OF(assert_same_total)(simd->TYPE.sum(a, 1, count), sum);
			OF(assert_same_total)(simd->TYPE.sum_of_products(a, 1, a, 1, count), squares);
			OF(assert_same_total)(simd->TYPE.sum_of_products(a, 1, b, 1, count), products);
			memset(at[2], (int)i, sizeof(at[2]));
			memset(around, (int)i, sizeof(around));
			simd->TYPE.multiply((ELEMENT *)(at[2] + gap), 1, a, 1, b, 1, count);
			OF(assert_same)(at[2] + gap, expected, count);
			assert_memory_equal(at[2], around, gap);
			assert_memory_equal(at[2] + gap + count * sizeof(*x), around, sizeof(around) - gap - count * sizeof(*x));
		}
	}
}

/* Every kind of values, in many lengths, also some of many blocks. */
static void OF(test_values)(void **state)
{
	const struct dt_simd *simd = *state;
	static ELEMENT x[70000], y[70000], got[70000], expected[70000];
	uint64_t seed = 2;

	for (int kind = 0; kind < VALUES_COUNT; kind++) {
		for (size_t round = 0; round < 200; round++) {
			size_t count = random_bits(&seed) >> 32;

			count %= round < 150 ? 2000 : sizeof(x) / sizeof(x[0]) + 1;
			OF(fill)(x, count, (enum values)kind, &seed);
			OF(fill)(y, count, round % 2 ? (enum values)kind : VALUES_WIDE, &seed);
			OF(assert_same_total)(simd->TYPE.sum(x, 1, count), reference->TYPE.sum(x, 1, count));
			OF(assert_same_total)(simd->TYPE.sum_of_products(x, 1, x, 1, count), reference->TYPE.sum_of_products(x, 1, x, 1, count));
			OF(assert_same_total)(simd->TYPE.sum_of_products(x, 1, y, 1, count), reference->TYPE.sum_of_products(x, 1, y, 1, count));
			simd->TYPE.multiply(got, 1, x, 1, y, 1, count);
			reference->TYPE.multiply(expected, 1, x, 1, y, 1, count);
			OF(assert_same)(got, expected, count);
		}
	}
}

/* All strides with all others; the elements are the same, so the sums are those of elements side by side, too. */
static void OF(test_strides)(void **state)
{
	const struct dt_simd *simd = *state;
	static const ptrdiff_t strides[] = { 1, 2, 3, -1, -2, -3, 0, 8, -17, 16 };
	static ELEMENT x[2 * ROOM], y[2 * ROOM], x_dense[LONGEST], y_dense[LONGEST], got[2 * ROOM], expected[2 * ROOM];
	uint64_t seed = 3;

	for (size_t i = 0; i < 10 * 10 * 10; i++) {
		ptrdiff_t x_stride = strides[i % 10], y_stride = strides[i / 10 % 10], stride = strides[i / 100];
		size_t count = random_bits(&seed) % (LONGEST + 1);
		enum values kind = (enum values)(i % VALUES_COUNT);

		OF(fill)(x_dense, count, kind, &seed);
		OF(fill)(y_dense, count, VALUES_PLAIN, &seed);
		for (size_t k = 0; k < count; k++) {
			x_dense[k] = x_dense[x_stride ? k : 0];
			y_dense[k] = y_dense[y_stride ? k : 0];
			x[ROOM + (ptrdiff_t)k * x_stride] = x_dense[k];
			y[ROOM + (ptrdiff_t)k * y_stride] = y_dense[k];
		}
		OF(assert_same_total)(reference->TYPE.sum(x + ROOM, x_stride, count), reference->TYPE.sum(x_dense, 1, count));
		OF(assert_same_total)(simd->TYPE.sum(x + ROOM, x_stride, count), reference->TYPE.sum(x_dense, 1, count));
		OF(assert_same_total)(simd->TYPE.sum_of_products(x + ROOM, x_stride, y + ROOM, y_stride, count),
				      reference->TYPE.sum_of_products(x_dense, 1, y_dense, 1, count));
		if (!stride)
			continue;
		memset(got, 1, sizeof(got));
		memset(expected, 1, sizeof(expected));
		simd->TYPE.multiply(got + ROOM, stride, x + ROOM, x_stride, y + ROOM, y_stride, count);
		reference->TYPE.multiply(expected + ROOM, stride, x_dense, 1, y_dense, 1, count);
		OF(assert_same)(got, expected, sizeof(got) / sizeof(got[0]));
	}
}

/* The same element more often than any memory could hold: only the sums of blocks wait. */
static void OF(test_stride_0)(void **state)
{
	const struct dt_simd *simd = *state;
	const size_t counts[] = { 1, 63, 64, 65, 4096, 1000000 };
	ELEMENT one = 1, three = 3;

	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		assert_true(simd->TYPE.sum(&one, 0, counts[i]) == (TOTAL)counts[i]);
		assert_true(simd->TYPE.sum_of_products(&one, 0, &three, 0, counts[i]) == (TOTAL)(3 * counts[i]));
	}
}

/* In place: over x, over y, over both, also with a stride; and by one number. */
static void OF(test_in_place)(void **state)
{
	const struct dt_simd *simd = *state;
	static ELEMENT x[2 * LONGEST], y[2 * LONGEST], expected[2 * LONGEST], got[2 * LONGEST];
	uint64_t seed = 4;

	for (size_t count = 0; count <= LONGEST; count++) {
		ptrdiff_t stride = count % 5 == 0 ? 2 : 1;
		size_t bytes = 2 * count * sizeof(*x);

		OF(fill)(x, 2 * count, VALUES_WIDE, &seed);
		OF(fill)(y, 2 * count, (enum values)(count % VALUES_COUNT), &seed);
		memcpy(expected, x, bytes);
		reference->TYPE.multiply(expected, stride, x, stride, y, stride, count);
		memcpy(got, x, bytes);
		simd->TYPE.multiply(got, stride, got, stride, y, stride, count);
		OF(assert_same)(got, expected, 2 * count);
		memcpy(got, x, bytes);
		simd->TYPE.multiply(got, stride, y, stride, got, stride, count);
		OF(assert_same)(got, expected, 2 * count);
		memcpy(got, x, bytes);
		memcpy(expected, x, bytes);
		reference->TYPE.multiply(expected, stride, x, stride, x, stride, count);
		simd->TYPE.multiply(got, stride, got, stride, got, stride, count);
		OF(assert_same)(got, expected, 2 * count);
		memcpy(got, x, bytes);
		memcpy(expected, x, bytes);
		reference->TYPE.multiply(expected, stride, x, stride, y, 0, count);
		simd->TYPE.multiply(got, stride, got, stride, y, 0, count);
		OF(assert_same)(got, expected, 2 * count);
		memcpy(got, x, bytes);
		simd->TYPE.multiply(got, stride, y, 0, got, stride, count);
		OF(assert_same)(got, expected, 2 * count);
	}
}

/* No byte before the first element is read, nor one behind the last. */
static void OF(test_fences)(void **state)
{
	const struct dt_simd *simd = *state;
	struct fenced x = fenced_new(LONGEST * sizeof(ELEMENT)), y = fenced_new(LONGEST * sizeof(ELEMENT));
	struct fenced out = fenced_new(LONGEST * sizeof(ELEMENT));

	for (size_t count = 0; count <= LONGEST; count++) {
		size_t bytes = count * sizeof(ELEMENT);

		for (int at_end = 0; at_end < 2; at_end++) {
			const ELEMENT *a = (const ELEMENT *)(at_end ? x.end - bytes : x.begin);
			const ELEMENT *b = (const ELEMENT *)(at_end ? y.end - bytes : y.begin);

			assert_true(simd->TYPE.sum(a, 1, count) == 0);
			assert_true(simd->TYPE.sum_of_products(a, 1, b, 1, count) == 0);
			assert_true(simd->TYPE.sum_of_products(a, 1, a, 1, count) == 0);
			simd->TYPE.multiply((ELEMENT *)(at_end ? out.end - bytes : out.begin), 1, a, 1, b, 1, count);
			if (count)
				assert_true(simd->TYPE.sum(at_end ? (const ELEMENT *)x.end - 1 : a + count - 1, -1, count) == 0);
		}
	}
	fenced_free(&x);
	fenced_free(&y);
	fenced_free(&out);
}

/* So many that products are written past the caches, from places where that is possible and where it is not. */
static void OF(test_large)(void **state)
{
	const struct dt_simd *simd = *state;
	size_t count = ((size_t)16 << 20) / sizeof(ELEMENT) + 777;
	ELEMENT *x = malloc(count * sizeof(*x)), *y = malloc(count * sizeof(*y));
	char *got = malloc(count * sizeof(*x) + 64), *expected = malloc(count * sizeof(*x));
	const size_t gaps[] = { 0, 3, 8, 16, 48 };
	uint64_t seed = 5;

	assert_true(x && y && got && expected);
	OF(fill)(x, count, VALUES_WIDE, &seed);
	OF(fill)(y, count, VALUES_PLAIN, &seed);
	reference->TYPE.multiply((ELEMENT *)expected, 1, x, 1, y, 1, count);
	for (size_t i = 0; i < sizeof(gaps) / sizeof(gaps[0]); i++) {
		size_t gap = gaps[i];

		memset(got, 0x55, count * sizeof(*x) + 64);
		simd->TYPE.multiply((ELEMENT *)(got + gap), 1, x, 1, y, 1, count);
		OF(assert_same)(got + gap, expected, count);
		for (size_t k = 0; k < 64; k++)
			assert_int_equal(got[k < gap ? k : count * sizeof(*x) + k], 0x55);
	}
	OF(assert_same_total)(simd->TYPE.sum(x, 1, count), reference->TYPE.sum(x, 1, count));
	OF(assert_same_total)(simd->TYPE.sum_of_products(x, 1, y, 1, count), reference->TYPE.sum_of_products(x, 1, y, 1, count));
	free(x);
	free(y);
	free(got);
	free(expected);
}

#undef LONGEST
#undef ROOM
