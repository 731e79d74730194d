/* SPDX-License-Identifier: BSD-2-Clause */
/* simd_loops: what one would write without thinking, for bench_simd; built with -O3 -march=native and nothing else. */
#include "simd_peers.h"

#define LOOPS(type, element) \
	static double sum_##type(const struct arrays *a) \
	{ \
		const element *x = a->x; \
		element sum = 0; \
		for (size_t i = 0; i < a->count; i++) \
			sum += x[i]; \
		return sum; \
	} \
	static double products_##type(const struct arrays *a) \
	{ \
		const element *x = a->x, *y = a->y; \
		element sum = 0; \
		for (size_t i = 0; i < a->count; i++) \
			sum += x[i] * y[i]; \
		return sum; \
	} \
	static double squares_##type(const struct arrays *a) \
	{ \
		const element *x = a->x; \
		element sum = 0; \
		for (size_t i = 0; i < a->count; i++) \
			sum += x[i] * x[i]; \
		return sum; \
	} \
	static double multiply_##type(const struct arrays *a) \
	{ \
		const element *x = a->x, *y = a->y; \
		element *restrict out = a->out; \
		for (size_t i = 0; i < a->count; i++) \
			out[i] = x[i] * y[i]; \
		return 0; \
	}
LOOPS(f32, float)
LOOPS(f64, double)

#define ROWS(type) \
	{ "sum_" #type, sum_##type }, { "products_" #type, products_##type }, { "squares_" #type, squares_##type }, \
	{ "multiply_" #type, multiply_##type }
const struct peer loop_peers[] = { ROWS(f32), ROWS(f64), { 0 } };
