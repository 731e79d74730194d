/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * simd: times for bench_simd, which loads this into the process that NumPy is in: peers on the same memory, in turn. A peer is called as
 * often as is said, after one call that does not count; the time is the thread's processor time.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <domtrace/array.h>
#include <domtrace/simd.h>

#include "simd_peers.h"

#pragma GCC visibility push(default)
const char *bench_begin(const char *set, const char *blas);
const char *bench_name(size_t index);
double bench_time(const char *name, const void *x, const void *y, void *out, size_t count, size_t repeats, double *ret_value);
#pragma GCC visibility pop

/* Of the one process that loads this; a benchmark, not the library. */
static const struct dt_simd *simd;
static struct {
	float (*sasum)(int count, const float *x, int step);
	double (*dasum)(int count, const double *x, int step);
	float (*sdot)(int count, const float *x, int x_step, const float *y, int y_step);
	double (*ddot)(int count, const double *x, int x_step, const double *y, int y_step);
} blas;

#define OURS(name, NAME, element) \
	static double sum_##name(const struct arrays *a) \
	{ \
		return simd->name.sum(a->x, 1, a->count); \
	} \
	static double products_##name(const struct arrays *a) \
	{ \
		return simd->name.sum_of_products(a->x, 1, a->y, 1, a->count); \
	} \
	static double squares_##name(const struct arrays *a) \
	{ \
		return simd->name.sum_of_products(a->x, 1, a->x, 1, a->count); \
	} \
	static double multiply_##name(const struct arrays *a) \
	{ \
		simd->name.multiply(a->out, 1, a->x, 1, a->y, 1, a->count); \
		return 0; \
	} \
	static double multiply_new_##name(const struct arrays *a) \
	{ \
		struct dt_array x = { .type = DT_##NAME, .dimensions = 1, .shape = { a->count }, .count = a->count, .data = (void *)a->x }; \
		struct dt_array y = x, *product; \
		y.data = (void *)a->y; \
		if (dt_array_multiply(simd, &x, &y, &product)) \
			return -1; \
		dt_array_free(product); \
		return 0; \
	} \
	static double strided_sum_##name(const struct arrays *a) \
	{ \
		return simd->name.sum(a->x, 3, a->count / 3); \
	}
OURS(f32, F32, float)
OURS(f64, F64, double)

static double asum_f32(const struct arrays *a) { return blas.sasum((int)a->count, a->x, 1); }
static double asum_f64(const struct arrays *a) { return blas.dasum((int)a->count, a->x, 1); }
static double products_f32_blas(const struct arrays *a) { return blas.sdot((int)a->count, a->x, 1, a->y, 1); }
static double products_f64_blas(const struct arrays *a) { return blas.ddot((int)a->count, a->x, 1, a->y, 1); }
static double squares_f32_blas(const struct arrays *a) { return blas.sdot((int)a->count, a->x, 1, a->x, 1); }
static double squares_f64_blas(const struct arrays *a) { return blas.ddot((int)a->count, a->x, 1, a->x, 1); }

#define ROWS(type) \
	{ "sum_" #type, sum_##type }, { "products_" #type, products_##type }, { "squares_" #type, squares_##type }, \
	{ "multiply_" #type, multiply_##type }, { "multiply_new_" #type, multiply_new_##type }, { "strided_sum_" #type, strided_sum_##type }
static const struct peer our_peers[] = { ROWS(f32), ROWS(f64), { 0 } };
static const struct peer blas_peers[] = {
	{ "sum_f32", asum_f32 }, { "sum_f64", asum_f64 },
	{ "products_f32", products_f32_blas }, { "products_f64", products_f64_blas },
	{ "squares_f32", squares_f32_blas }, { "squares_f64", squares_f64_blas },
	{ 0 }
};

static const struct {
	const char *prefix;
	const struct peer *peers;
} families[] = { { "dt ", our_peers }, { "blas ", blas_peers }, { "loop ", loop_peers }, { "limit ", limit_peers } };

static const struct peer *find(const char *name)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++) {
		size_t length = strlen(families[i].prefix);

		if (strncmp(name, families[i].prefix, length) != 0)
			continue;
		for (const struct peer *peer = families[i].peers; peer->name; peer++) {
			if (strcmp(peer->name, name + length) == 0)
				return peer;
		}
	}
	return NULL;
}

/* The i-th limit; NULL after the last. */
const char *bench_name(size_t index)
{
	return limit_peers[index].name;
}

/* NULL, or what is wrong. `library` may be NULL: then there are no peers of it. */
const char *bench_begin(const char *set, const char *library)
{
	static char why[DT_SIMD_WHY];
	void *handle;

	if (dt_simd_get(set, &simd, why))
		return why;
	if (!library)
		return NULL;
	handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return dlerror();
	*(void **)&blas.sasum = dlsym(handle, "cblas_sasum");
	*(void **)&blas.dasum = dlsym(handle, "cblas_dasum");
	*(void **)&blas.sdot = dlsym(handle, "cblas_sdot");
	*(void **)&blas.ddot = dlsym(handle, "cblas_ddot");
	return blas.sasum && blas.dasum && blas.sdot && blas.ddot ? NULL : "the BLAS library has no cblas functions";
}

static double now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* Nanoseconds a call; negative: there is no such peer. */
double bench_time(const char *name, const void *x, const void *y, void *out, size_t count, size_t repeats, double *ret_value)
{
	const struct arrays arrays = { x, y, out, count };
	const struct peer *peer = find(name);
	volatile double value;
	double begin;

	if (!peer)
		return -1;
	value = peer->run(&arrays);
	begin = now_ns();
	for (size_t i = 0; i < repeats; i++)
		value = peer->run(&arrays);
	begin = now_ns() - begin;
	*ret_value = value;
	return begin / (double)repeats;
}
