/* SPDX-License-Identifier: BSD-2-Clause */
/* The reference against exact arithmetic, its order against an own statement of the same, its bound against NumPy's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <domtrace/simd.h>

#include "exact.h"
#include "simd_values.h"

#define LONGEST 20000

static unsigned log2_up(size_t n)
{
	unsigned log = 0;

	while (((size_t)1 << log) < n)
		log++;
	return log;
}

static size_t divide_up(size_t n, size_t by)
{
	return n / by + (n % by != 0);
}

/* The bound of domtrace/simd.h, in additions. */
static unsigned depth(size_t n, size_t lanes)
{
	size_t rows = divide_up(n, lanes);

	return log2_up(n < lanes ? n : lanes) + (unsigned)(rows < 8 ? rows : 8) - 1 + log2_up(divide_up(n, 8 * lanes));
}

/* NumPy 1.24, numpy/core/src/umath/loops_utils.h.src, @TYPE@_pairwise_sum: additions after which the last of n numbers may be rounded. */
static unsigned numpy_depth(size_t n)
{
	if (n < 8)
		return (unsigned)n - (n > 0);           /* the first is added to 0 */
	if (n <= 128)
		return (unsigned)(n / 8 - 1 + 3 + n % 8);

	size_t half = n / 2 - n / 2 % 8;
	unsigned left = numpy_depth(half), right = numpy_depth(n - half);

	return 1 + (left > right ? left : right);
}

static void test_no_worse_than_numpy(void **state)
{
	uint64_t seed = 1;

	(void)state;
	for (size_t n = 1; n <= 40000; n++) {
		assert_true(depth(n, 32) <= numpy_depth(n));
		assert_true(depth(n, 64) <= numpy_depth(n));
	}
	for (int i = 0; i < 200; i++) {
		size_t n = random_bits(&seed) % ((size_t)1 << (16 + i % 10)) + 40000;

		for (size_t near = n & ~(size_t)4095; near <= (n & ~(size_t)4095) + 1; near++) {
			assert_true(depth(near, 32) <= numpy_depth(near));
			assert_true(depth(near, 64) <= numpy_depth(near));
		}
		assert_true(depth(n, 32) <= numpy_depth(n));
		assert_true(depth(n, 64) <= numpy_depth(n));
	}
}

/* The order once more, from above: which half of the blocks a block is in. `x` has zeros of the right sign behind its end. */
static double f64_blocks(const double *x, size_t lane, size_t blocks)
{
	size_t half = 1;

	if (blocks == 1) {
		double sum = x[lane];

		for (size_t row = 1; row < 8; row++)
			sum += x[row * 32 + lane];
		return sum;
	}
	while (2 * half < blocks)
		half *= 2;
	return f64_blocks(x, lane, half) + f64_blocks(x + half * 256, lane, blocks - half);
}

static double f64_lanes(const double *lanes, size_t count)
{
	double sums[16] = { 0 };

	if (count == 1)
		return lanes[0];
	for (size_t i = 0; i < count / 2; i++)
		sums[i] = lanes[i] + lanes[i + count / 2];
	return f64_lanes(sums, count / 2);
}

static void test_order(void **state)
{
	const struct dt_simd *reference = *state;
	static double x[LONGEST + 256];
	uint64_t seed = 2;

	for (size_t count = 1; count < LONGEST; count += count < 3000 ? 1 : 97) {
		double lanes[32], sum, expected;

		for (size_t i = 0; i < LONGEST + 256; i++)
			x[i] = i < count ? random_value(&seed, VALUES_WIDE, 1023, -1074, i) : -0.0;
		for (size_t lane = 0; lane < 32; lane++)
			lanes[lane] = f64_blocks(x, lane, divide_up(count, 256));
		expected = f64_lanes(lanes, 32);
		sum = reference->f64.sum(x, 1, count);
		assert_memory_equal(&sum, &expected, sizeof(sum));
	}
}

/*
 * |sum - exact| <= d u / (1 - d u) * size is (1 - d u) |error| <= d u size, is |error| / u <= d (size + |error|): all of it exact.
 * `underflow` is what products may have lost below the denormals, which is taken off |error|.
 */
static bool is_within(double sum, struct exact *exact, struct exact *size, unsigned d, int bits, const struct exact *underflow)
{
	struct exact error = *exact, scaled = { 0 }, rest;

	exact_add(&error, -sum);
	exact_make_positive(&error);
	exact_add_times(&error, underflow, -1);
	if (exact_is_negative(&error))
		return true;
	exact_make_positive(size);
	exact_add_times(&scaled, &error, (int64_t)1 << 24);
	if (bits == 53) {
		rest = scaled;
		memset(&scaled, 0, sizeof(scaled));
		exact_add_times(&scaled, &rest, (int64_t)1 << 29);
	}
	exact_add_times(&scaled, &error, -(int64_t)d);
	exact_add_times(&scaled, size, -(int64_t)d);
	if (!exact_is_negative(&scaled)) {
		for (int i = 0; i < EXACT_LIMBS; i++) {
			if (scaled.limbs[i])
				return false;
		}
	}
	return true;
}

#define TEST_BOUND(type, element, lanes, bits, largest, smallest) \
	static void test_bound_##type(void **state) \
	{ \
		const struct dt_simd *reference = *state; \
		static const enum values kinds[] = { VALUES_PLAIN, VALUES_WIDE, VALUES_CANCEL, VALUES_DENORMAL, VALUES_ZEROS }; \
		static element x[LONGEST], y[LONGEST]; \
		uint64_t seed = 3; \
		for (size_t round = 0; round < 3000; round++) { \
			size_t count = random_bits(&seed) % (round < 2000 ? 1100 : LONGEST); \
			enum values kind = kinds[round % 5]; \
			struct exact sum = { 0 }, size = { 0 }, products = { 0 }, products_size = { 0 }, nothing = { 0 }, lost = { 0 }; \
			for (size_t i = 0; i < count; i++) { \
				x[i] = (element)random_value(&seed, kind, largest, smallest, i); \
				y[i] = (element)random_value(&seed, round % 2 ? VALUES_PLAIN : kind, largest, smallest, i + round % 3); \
				if (kind == VALUES_CANCEL && i >= count / 2) \
					x[i] = -x[i - count / 2]; \
				exact_add(&sum, x[i]); \
				exact_add(&size, fabs((double)x[i])); \
				exact_add_product(&products, x[i], y[i]); \
				exact_add_product(&products_size, fabs((double)x[i]), fabs((double)y[i])); \
			} \
			exact_add_product(&lost, ldexp(1, smallest), (double)count); \
			exact_carry(&lost); \
			unsigned d = count ? depth(count, lanes) : 0; \
			double got = reference->type.sum(x, 1, count); \
			assert_true(is_within(got, &sum, &size, d, bits, &nothing)); \
			got = reference->type.sum_of_products(x, 1, y, 1, count); \
			if (isfinite(got)) \
				assert_true(is_within(got, &products, &products_size, d + 1, bits, &lost)); \
			else \
				assert_true(kind == VALUES_WIDE || kind == VALUES_CANCEL); \
		} \
	}
TEST_BOUND(f32, float, 64, 24, 127, -149)
TEST_BOUND(f64, double, 32, 53, 1023, -1074)

/* That the arithmetic of this test can tell: one unit in the last place too much, or too little. */
static void test_exactness(void **state)
{
	struct exact sum = { 0 }, size = { 0 }, nothing = { 0 };
	double x = 1 + 0x1p-52, y = 0x1p-1074;

	(void)state;
	exact_add(&sum, x);
	exact_add(&sum, y);
	exact_add(&sum, 0x1.8p1000);
	exact_add(&sum, -0x1.8p1000);
	exact_add(&size, x);
	assert_true(is_within(x, &sum, &size, 1, 53, &nothing));        /* off by 2^-1074 */
	assert_false(is_within(x, &sum, &size, 0, 53, &nothing));
	assert_true(is_within(x + 0x1p-52, &sum, &size, 2, 53, &nothing));
	assert_false(is_within(x + 0x1p-52, &sum, &size, 1, 53, &nothing));
	assert_false(is_within(x - 0x1p-52, &sum, &size, 1, 53, &nothing));
	exact_add(&sum, -y);
	assert_true(is_within(x, &sum, &size, 0, 53, &nothing));
	exact_add_product(&sum, -y, y);
	assert_false(is_within(x, &sum, &size, 0, 53, &nothing));
}

/* What has only one right answer. */
static void test_special(void **state)
{
	const struct dt_simd *reference = *state;
	const uint64_t nan_bits = 0x7ff8000000000000;
	const uint32_t nan_bits_f32 = 0x7fc00000;
	double zeros[] = { -0.0, -0.0, 0.0 }, infinities[] = { INFINITY, 1, -INFINITY };
	float nans[] = { -NAN, 1 };
	int32_t wrap[] = { INT32_MAX, INT32_MAX, INT32_MIN, 65536 };
	int64_t wide[] = { INT64_MAX, 1 };
	double sum = reference->f64.sum(zeros, 1, 2);
	float sum_f32;

	assert_true(sum == 0 && signbit(sum));
	sum = reference->f64.sum(zeros, 1, 3);
	assert_true(sum == 0 && !signbit(sum));
	sum = reference->f64.sum(zeros, 1, 0);
	assert_true(sum == 0 && !signbit(sum));
	assert_true(reference->f64.sum(infinities, 1, 2) == INFINITY);
	sum = reference->f64.sum(infinities, 1, 3);
	assert_memory_equal(&sum, &nan_bits, sizeof(sum));
	sum_f32 = reference->f32.sum(nans, 1, 2);
	assert_memory_equal(&sum_f32, &nan_bits_f32, sizeof(sum_f32));
	assert_int_equal(reference->i32.sum(wrap, 1, 2), 2 * (int64_t)INT32_MAX);       /* not in 32 bits */
	assert_int_equal(reference->i32.sum_of_products(wrap, 1, wrap, 1, 4), 2);       /* 1 + 1 + 0 + 0, each in 32 bits */
	assert_true(reference->i64.sum(wide, 1, 2) == INT64_MIN);
	assert_true(reference->i64.sum_of_products(wide, 1, wide, 1, 2) == 2);
}

int main(void)
{
	const struct dt_simd *reference;
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_worse_than_numpy),
		cmocka_unit_test(test_exactness),
		cmocka_unit_test_prestate(test_order, NULL),
		cmocka_unit_test_prestate(test_bound_f32, NULL),
		cmocka_unit_test_prestate(test_bound_f64, NULL),
		cmocka_unit_test_prestate(test_special, NULL),
	};
	struct CMUnitTest with_reference[sizeof(tests) / sizeof(tests[0])];

	if (dt_simd_get("scalar", &reference, NULL))
		return 1;
	memcpy(with_reference, tests, sizeof(tests));
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		with_reference[i].initial_state = (void *)(uintptr_t)reference;
	return cmocka_run_group_tests(with_reference, NULL, NULL);
}
