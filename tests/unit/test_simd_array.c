/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <domtrace/array.h>

/* AddressSanitizer's malloc ends the program where others return NULL, unless told otherwise. */
const char *__asan_default_options(void);
__attribute__((visibility("default"))) const char *__asan_default_options(void)
{
	return "allocator_may_return_null=1";
}

static void assert_zero(const struct dt_array *array, size_t from)
{
	for (size_t i = from * dt_element_bytes(array->type); i < array->count * dt_element_bytes(array->type); i++)
		assert_int_equal(((const char *)array->data)[i], 0);
}

static void test_new(void **state)
{
	const size_t shapes[][3] = { { 300, 500, 1 }, { 1, 1, 1 }, { 7, 11, 13 }, { 0, 5, SIZE_MAX }, { 1024, 1024, 3 } };

	(void)state;
	for (int type = 0; type < DT_ELEMENT_COUNT; type++) {
		for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
			for (int zeroed = 0; zeroed < 2; zeroed++) {
				struct dt_array *array;

				assert_int_equal(dt_array_new((enum dt_element)type, 3, shapes[i], zeroed, &array), 0);
				assert_int_equal((uintptr_t)array->data % 64, 0);
				assert_int_equal(array->count, shapes[i][0] ? shapes[i][0] * shapes[i][1] * shapes[i][2] : 0);
				assert_int_equal(array->dimensions, 3);
				assert_memory_equal(array->shape, shapes[i], sizeof(shapes[i]));
				if (zeroed)
					assert_zero(array, 0);
				memset(array->data, 0x77, array->count * dt_element_bytes(array->type));
				dt_array_free(array);
			}
		}
	}
	dt_array_free(NULL);
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(dt_element_name(DT_F32), "f32");
	assert_string_equal(dt_element_name(DT_I64), "i64");
	assert_int_equal(dt_element_bytes(DT_I32), 4);
	assert_int_equal(dt_element_bytes(DT_F64), 8);
	assert_null(dt_element_name(DT_ELEMENT_COUNT));
	assert_null(dt_element_name((enum dt_element)-1));
	assert_int_equal(dt_element_bytes((enum dt_element)77), 0);
}

static void test_refusals(void **state)
{
	const size_t many[] = { 1, 1, 1, 1, 1, 1, 1, 1, 1 };
	const struct {
		size_t shape[3];
		int error;
	} cases[] = {
		{ { SIZE_MAX, 2, 1 }, -EOVERFLOW },
		{ { (size_t)1 << 32, (size_t)1 << 32, 1 }, -EOVERFLOW },
		{ { (size_t)1 << 60, 1, 1 }, -EOVERFLOW },              /* of 8 bytes */
		{ { PTRDIFF_MAX / 8, 1, 1 }, -EOVERFLOW },              /* no room to align */
		{ { (size_t)1 << 50, 1, 1 }, -ENOMEM },                 /* more than any processor can address */
	};
	struct dt_array *array = (struct dt_array *)(uintptr_t)1;

	(void)state;
	assert_int_equal(dt_array_new(DT_ELEMENT_COUNT, 1, many, true, &array), -EINVAL);
	assert_int_equal(dt_array_new((enum dt_element)-1, 1, many, true, &array), -EINVAL);
	assert_int_equal(dt_array_new(DT_F64, 9, many, true, &array), -EINVAL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(dt_array_new(DT_F64, 3, cases[i].shape, false, &array), cases[i].error);
		assert_int_equal(dt_array_new(DT_I64, 3, cases[i].shape, true, &array), cases[i].error);
	}
	assert_int_equal((uintptr_t)array, 1);

	assert_int_equal(dt_array_new(DT_F64, 0, NULL, true, &array), 0);       /* one number */
	*(double *)array->data = 3;
	assert_int_equal(dt_array_resize(array, 9, many), -EINVAL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(dt_array_resize(array, 3, cases[i].shape), cases[i].error);
	assert_int_equal(array->count, 1);
	assert_int_equal(array->dimensions, 0);
	assert_true(*(double *)array->data == 3);
	dt_array_free(array);
}

/* What was there stays, what is new is 0, wherever realloc() puts it. */
static void test_resize(void **state)
{
	const size_t sizes[] = { 10, 1000, 3, 0, 7, 100000, 99999, 3000000, 5, 1 };
	struct dt_array *arrays[8];
	size_t counts[8] = { 0 };

	(void)state;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(dt_array_new(DT_I32, 1, &counts[i], i % 2, &arrays[i]), 0);
	for (size_t round = 0; round < 10; round++) {
		for (size_t i = 0; i < 8; i++) {
			size_t count = sizes[(round + i) % 10] + i, kept = count < counts[i] ? count : counts[i];
			int32_t *data;

			assert_int_equal(dt_array_resize(arrays[i], 1, &count), 0);
			assert_int_equal((uintptr_t)arrays[i]->data % 64, 0);
			assert_int_equal(arrays[i]->count, count);
			data = arrays[i]->data;
			for (size_t k = 0; k < kept; k++)
				assert_int_equal(data[k], (int32_t)(k * 7 + i));
			assert_zero(arrays[i], kept);
			for (size_t k = 0; k < count; k++)
				data[k] = (int32_t)(k * 7 + i);
			counts[i] = count;
		}
	}
	for (size_t i = 0; i < 8; i++)
		dt_array_free(arrays[i]);
}

#define TEST_MULTIPLY(name, NAME, element, total) \
	static void test_multiply_##name(void **state) \
	{ \
		const size_t shape[] = { 30, 50 }, other_shape[] = { 50, 30 }; \
		const struct dt_simd *simd; \
		struct dt_array *x, *y, *product = NULL, *other, *other_type; \
		union dt_total sum, direct; \
		(void)state; \
		assert_int_equal(dt_simd_get(NULL, &simd, NULL), 0); \
		assert_int_equal(dt_array_new(DT_##NAME, 2, shape, false, &x), 0); \
		assert_int_equal(dt_array_new(DT_##NAME, 2, shape, true, &y), 0); \
		assert_int_equal(dt_array_new(DT_##NAME, 2, other_shape, true, &other), 0); \
		assert_int_equal(dt_array_new(DT_##NAME == DT_I64 ? DT_F64 : DT_I64, 2, shape, true, &other_type), 0); \
		for (size_t i = 0; i < 1500; i++) { \
			((element *)x->data)[i] = (element)(i % 100); \
			((element *)y->data)[i] = (element)(i % 7); \
		} \
		assert_int_equal(dt_array_multiply(simd, x, other, &product), -EINVAL); \
		assert_int_equal(dt_array_multiply(simd, x, other_type, &product), -EINVAL); \
		assert_int_equal(dt_array_sum_of_products(simd, x, other, &sum), -EINVAL); \
		assert_int_equal(dt_array_multiply_into(simd, other, x, y), -EINVAL); \
		assert_null(product); \
		assert_int_equal(dt_array_multiply(simd, x, y, &product), 0); \
		assert_int_equal(product->type, DT_##NAME); \
		assert_memory_equal(product->shape, x->shape, sizeof(x->shape)); \
		for (size_t i = 0; i < 1500; i++) \
			assert_true(((element *)product->data)[i] == (element)(i % 100 * (i % 7))); \
		dt_array_sum(simd, product, &sum); \
		assert_int_equal(dt_array_sum_of_products(simd, x, y, &direct), 0); \
		assert_memory_equal(&sum.name, &direct.name, sizeof(sum.name)); \
		assert_true(sum.name == (total)222650); \
		assert_int_equal(dt_array_multiply_into(simd, x, x, y), 0); \
		assert_memory_equal(x->data, product->data, 1500 * sizeof(element)); \
		dt_array_free(x); \
		dt_array_free(y); \
		dt_array_free(other); \
		dt_array_free(other_type); \
		dt_array_free(product); \
	}
DT_SIMD_ELEMENTS(TEST_MULTIPLY)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_resize),
#define MULTIPLY_ROW(name, NAME, element, total) cmocka_unit_test(test_multiply_##name),
		DT_SIMD_ELEMENTS(MULTIPLY_ROW)
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
