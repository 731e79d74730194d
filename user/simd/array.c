/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/array.h>

#include "simd/memory.h"

static const struct {
	const char *name;
	size_t bytes;
} elements[DT_ELEMENT_COUNT] = {
#define ELEMENT_ROW(name, NAME, element, total) [DT_##NAME] = { #name, sizeof(element) },
	DT_SIMD_ELEMENTS(ELEMENT_ROW)
};

static bool is_element(enum dt_element type)
{
	return (unsigned)type < DT_ELEMENT_COUNT;
}

const char *dt_element_name(enum dt_element type)
{
	return is_element(type) ? elements[type].name : NULL;
}

size_t dt_element_bytes(enum dt_element type)
{
	return is_element(type) ? elements[type].bytes : 0;
}

/* As long as one dimension is 0 the others may be anything. */
static int count_elements(unsigned dimensions, const size_t *shape, size_t element_bytes, size_t *ret_count)
{
	size_t count = 1, bytes;

	if (dimensions > DT_ARRAY_DIMENSIONS)
		return -EINVAL;
	for (unsigned i = 0; i < dimensions; i++) {
		if (shape[i] == 0) {
			*ret_count = 0;
			return 0;
		}
	}
	for (unsigned i = 0; i < dimensions; i++) {
		if (__builtin_mul_overflow(count, shape[i], &count))
			return -EOVERFLOW;
	}
	if (__builtin_mul_overflow(count, element_bytes, &bytes) || bytes > PTRDIFF_MAX)
		return -EOVERFLOW;
	*ret_count = count;
	return 0;
}

static void set_shape(struct dt_array *array, unsigned dimensions, const size_t *shape, size_t count)
{
	array->dimensions = dimensions;
	memset(array->shape, 0, sizeof(array->shape));
	if (dimensions)
		memcpy(array->shape, shape, dimensions * sizeof(*shape));
	array->count = count;
}

int dt_array_new(enum dt_element type, unsigned dimensions, const size_t *shape, bool zeroed, struct dt_array **ret_array)
{
	struct dt_memory memory;
	struct dt_array *array;
	size_t count;
	int error;

	if (!is_element(type))
		return -EINVAL;
	error = count_elements(dimensions, shape, elements[type].bytes, &count);
	if (error)
		return error;
	error = dt_memory_new(count * elements[type].bytes, zeroed, &memory);
	if (error)
		return error;
	array = calloc(1, sizeof(*array));
	if (!array) {
		dt_memory_free(&memory);
		return -ENOMEM;
	}
	array->type = type;
	array->memory = memory.block;
	array->data = memory.data;
	set_shape(array, dimensions, shape, count);
	*ret_array = array;
	return 0;
}

static struct dt_memory memory_of(const struct dt_array *array)
{
	return (struct dt_memory){ array->memory, array->data, array->count * elements[array->type].bytes };
}

int dt_array_resize(struct dt_array *array, unsigned dimensions, const size_t *shape)
{
	struct dt_memory memory = memory_of(array);
	size_t count;
	int error = count_elements(dimensions, shape, elements[array->type].bytes, &count);

	if (error)
		return error;
	error = dt_memory_resize(&memory, count * elements[array->type].bytes);
	if (error)
		return error;
	array->memory = memory.block;
	array->data = memory.data;
	set_shape(array, dimensions, shape, count);
	return 0;
}

void dt_array_free(struct dt_array *array)
{
	struct dt_memory memory;

	if (!array)
		return;
	memory = memory_of(array);
	dt_memory_free(&memory);
	free(array);
}

static bool is_alike(const struct dt_array *x, const struct dt_array *y)
{
	return x->type == y->type && x->dimensions == y->dimensions &&
	       memcmp(x->shape, y->shape, x->dimensions * sizeof(*x->shape)) == 0;
}

int dt_array_multiply_into(const struct dt_simd *simd, struct dt_array *product, const struct dt_array *x, const struct dt_array *y)
{
	if (!is_alike(x, y) || !is_alike(product, x))
		return -EINVAL;
	switch (x->type) {
#define MULTIPLY(name, NAME, element, total) \
	case DT_##NAME: \
		simd->name.multiply(product->data, 1, x->data, 1, y->data, 1, x->count); \
		return 0;
	DT_SIMD_ELEMENTS(MULTIPLY)
	case DT_ELEMENT_COUNT:
		break;
	}
	return -EINVAL;
}

int dt_array_multiply(const struct dt_simd *simd, const struct dt_array *x, const struct dt_array *y, struct dt_array **ret_product)
{
	struct dt_array *product;
	int error;

	if (!is_alike(x, y))
		return -EINVAL;
	error = dt_array_new(x->type, x->dimensions, x->shape, false, &product);
	if (error)
		return error;
	error = dt_array_multiply_into(simd, product, x, y);
	if (error) {
		dt_array_free(product);
		return error;
	}
	*ret_product = product;
	return 0;
}

void dt_array_sum(const struct dt_simd *simd, const struct dt_array *x, union dt_total *ret_total)
{
	switch (x->type) {
#define SUM(name, NAME, element, total) \
	case DT_##NAME: \
		ret_total->name = simd->name.sum(x->data, 1, x->count); \
		break;
	DT_SIMD_ELEMENTS(SUM)
	case DT_ELEMENT_COUNT:
		break;
	}
}

int dt_array_sum_of_products(const struct dt_simd *simd, const struct dt_array *x, const struct dt_array *y, union dt_total *ret_total)
{
	if (!is_alike(x, y))
		return -EINVAL;
	switch (x->type) {
#define SUM_OF_PRODUCTS(name, NAME, element, total) \
	case DT_##NAME: \
		ret_total->name = simd->name.sum_of_products(x->data, 1, y->data, 1, x->count); \
		return 0;
	DT_SIMD_ELEMENTS(SUM_OF_PRODUCTS)
	case DT_ELEMENT_COUNT:
		break;
	}
	return -EINVAL;
}
