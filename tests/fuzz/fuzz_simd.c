/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * simd: kernels of every instruction set that is here, on shapes, strides and numbers as the input has them, against the reference.
 * Of the input: type, kernel, how many elements, three strides, where the arrays begin, how they overlap; then the numbers.
 */
#include <math.h>
#include <stdbool.h>

#include <domtrace/array.h>

#include "fuzz.h"

#define LONGEST 2048

/* An array in memory of just its size, in which the element with the lowest address is `offset` bytes after its begin. */
struct operand {
	uint8_t *memory;
	size_t offset;
	ptrdiff_t stride;
	size_t bytes;
};

struct shape {
	enum dt_element type;
	size_t size;
	unsigned kernel;
	size_t count;
	bool in_place;
};

static struct operand operand_new(struct fuzz_bytes *bytes, const struct shape *shape, bool may_repeat)
{
	struct operand operand = { .stride = (int8_t)fuzz_number(bytes, 1) % 12, .offset = fuzz_number(bytes, 1) % 64 };
	size_t spread;

	if (operand.stride == 0 && !may_repeat)
		operand.stride = 1;
	spread = (size_t)(operand.stride < 0 ? -operand.stride : operand.stride);
	operand.bytes = operand.offset + (shape->count ? ((shape->count - 1) * spread + 1) * shape->size : 0);
	operand.memory = malloc(operand.bytes ? operand.bytes : 1);
	FUZZ_EXPECT(operand.memory);
	return operand;
}

/* The numbers of the input, again and again. */
static void fill(struct operand *operand, const struct fuzz_bytes *bytes, size_t turn)
{
	size_t from = bytes->size ? turn % bytes->size : 0;

	memset(operand->memory, 0, operand->bytes);
	for (size_t i = 0; i < operand->bytes && bytes->size; from = 0) {
		size_t part = bytes->size - from < operand->bytes - i ? bytes->size - from : operand->bytes - i;

		memcpy(operand->memory + i, bytes->at + from, part);
		i += part;
	}
}

static void *first(const struct operand *operand, const struct shape *shape)
{
	ptrdiff_t last = operand->stride < 0 && shape->count ? -operand->stride * (ptrdiff_t)((shape->count - 1) * shape->size) : 0;

	return operand->memory + operand->offset + last;
}

static bool is_nan(enum dt_element type, const uint8_t *at)
{
	float f32;
	double f64;

	memcpy(&f32, at, sizeof(f32));
	if (type == DT_F32)
		return isnan(f32);
	memcpy(&f64, at, type == DT_F64 ? sizeof(f64) : 0);
	return type == DT_F64 && isnan(f64);
}

/* Whole memory, also what is between the elements; two products that are not a number are the same. */
static void expect_same(const struct shape *shape, const struct operand *got, const uint8_t *expected)
{
	size_t step = shape->size * (size_t)(got->stride < 0 ? -got->stride : got->stride);

	FUZZ_EXPECT(memcmp(got->memory, expected, got->offset) == 0);
	for (size_t at = got->offset, i = 0; i < shape->count; i++, at += step) {
		size_t end = i + 1 < shape->count ? at + step : got->bytes;

		FUZZ_EXPECT(memcmp(got->memory + at, expected + at, shape->size) == 0 ||
			    (is_nan(shape->type, got->memory + at) && is_nan(shape->type, expected + at)));
		FUZZ_EXPECT(memcmp(got->memory + at + shape->size, expected + at + shape->size, end - at - shape->size) == 0);
	}
}

static union dt_total add(const struct dt_simd *simd, const struct shape *shape, const struct operand *x, const struct operand *y)
{
	union dt_total total;

	memset(&total, 0, sizeof(total));
	switch (shape->type) {
#define ADD(name, NAME, element, sum_type) \
	case DT_##NAME: \
		total.name = shape->kernel == 0 ? simd->name.sum(first(x, shape), x->stride, shape->count) \
			: simd->name.sum_of_products(first(x, shape), x->stride, first(y, shape), y->stride, shape->count); \
		break;
	DT_SIMD_ELEMENTS(ADD)
	case DT_ELEMENT_COUNT:
		break;
	}
	return total;
}

static void multiply(const struct dt_simd *simd, const struct shape *shape, const struct operand *product, const struct operand *x,
		     const struct operand *y)
{
	switch (shape->type) {
#define MULTIPLY(name, NAME, element, sum_type) \
	case DT_##NAME: \
		simd->name.multiply(first(product, shape), product->stride, first(x, shape), x->stride, first(y, shape), y->stride, \
				    shape->count); \
		break;
	DT_SIMD_ELEMENTS(MULTIPLY)
	case DT_ELEMENT_COUNT:
		break;
	}
}

static void compare(const struct dt_simd *simd, const struct dt_simd *reference, const struct shape *shape,
		    struct operand operands[3], const struct fuzz_bytes *numbers)
{
	const struct operand *x = shape->in_place ? &operands[0] : &operands[1];
	union dt_total got, total;
	uint8_t *expected;

	for (size_t i = 0; i < 3; i++)
		fill(&operands[i], numbers, i);
	if (shape->kernel < 2) {
		total = add(reference, shape, x, &operands[2]);
		got = add(simd, shape, x, &operands[2]);
		FUZZ_EXPECT(memcmp(&got, &total, sizeof(got)) == 0);
		return;
	}
	multiply(reference, shape, &operands[0], x, &operands[2]);
	expected = malloc(operands[0].bytes ? operands[0].bytes : 1);
	FUZZ_EXPECT(expected);
	memcpy(expected, operands[0].memory, operands[0].bytes);
	fill(&operands[0], numbers, 0);
	multiply(simd, shape, &operands[0], x, &operands[2]);
	expect_same(shape, &operands[0], expected);
	free(expected);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	struct shape shape = { .type = (enum dt_element)(fuzz_number(&bytes, 1) % DT_ELEMENT_COUNT) };
	struct operand operands[3];
	const struct dt_simd *simd, *reference;
	const char *name;

	shape.size = dt_element_bytes(shape.type);
	shape.kernel = fuzz_number(&bytes, 1) % 3;
	shape.in_place = fuzz_number(&bytes, 1) % 2;
	shape.count = fuzz_number(&bytes, 2) % (LONGEST + 1);
	for (size_t i = 0; i < 3; i++)
		operands[i] = operand_new(&bytes, &shape, i > 0);
	FUZZ_EXPECT(dt_simd_get("scalar", &reference, NULL) == 0);
	for (size_t i = 0; (name = dt_simd_name(i)); i++) {
		if (dt_simd_get(name, &simd, NULL) == 0)
			compare(simd, reference, &shape, operands, &bytes);
	}
	for (size_t i = 0; i < 3; i++)
		free(operands[i].memory);
	return 0;
}
