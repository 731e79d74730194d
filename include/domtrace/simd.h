/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * simd.h: sums and products of numbers in memory, with the widest instructions that the processor has.
 *
 *	const struct dt_simd *simd;
 *	char why[DT_SIMD_WHY];
 *
 *	if (dt_simd_get(NULL, &simd, why))
 *		errx(1, "%s", why);
 *	sum = simd->f64.sum(x, 1, count);
 *
 * The library prints nothing, keeps no state, and allocates nothing here (array.h does).
 *
 * Same bits everywhere
 * --------------------
 * What a sum of floating-point numbers comes to depends on the order of the additions. Here that order is a function of the
 * number of elements alone: not of the instruction set, the alignment or the stride. With L = 256 / sizeof(element) lanes
 * (32 of f64, 64 of f32), each addition rounded to the element's own type:
 *
 *	1. Element i belongs to lane i % L and to block i / (8 L). In each block every lane adds its elements up, from the
 *	   lowest index to the highest; what it has none for is -0.0, to which adding changes no number.
 *	2. Blocks are added lane by lane, as a binary counter carries: two neighbours of equal size become one, whenever there
 *	   are two. In the end what is left is added from the last to the first, each time "earlier + later".
 *	3. The lanes of the one block left are halved: for h = L/2, L/4 … 1, lane i takes lane i + h, for all i < h.
 *
 * A sum of products is the sum, in this order, of the products rounded to the element's type; a fused multiply-add, which would
 * leave that rounding out, is never used. A sum that is not a number is always the same one, the positive quiet NaN without a
 * payload. A sum of nothing is +0.0; one of negative zeros only is -0.0. Of a product that is not a number nothing is said but that.
 * All this holds in the floating-point environment in which C programs start: rounding to nearest, denormals as IEEE 754 has them.
 *
 * How wrong a sum can be
 * ----------------------
 * With u = 2^-53 (f64) or 2^-24 (f32), n elements, and at most d additions from any element to the result,
 *
 *	d = ceil(log2(min(n, L))) + min(ceil(n / L), 8) - 1 + ceil(log2(ceil(n / (8 L))))
 *
 *	|sum - exact| <= d u / (1 - d u) * (|x_0| + |x_1| + …)            as long as nothing overflows
 *
 * (N. Higham, Accuracy and Stability of Numerical Algorithms, 2nd edition, section 4.2; additions make no error of their own
 * in denormal numbers). For no n is d larger than the same count for the pairwise summation of NumPy 1.24 (blocks of 128 in 8 lanes).
 * For a sum of products it is d + 1 instead of d, |x_i y_i| instead of |x_i|, and n times the smallest denormal number more.
 *
 * Integers wrap: products in the type of the elements, sums in 64 bits.
 */
#ifndef DOMTRACE_SIMD_H
#define DOMTRACE_SIMD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, NAME, type of an element, type of a sum of them): what can be computed with. */
#define DT_SIMD_ELEMENTS(X) \
	X(f32, F32, float, float) \
	X(f64, F64, double, double) \
	X(i32, I32, int32_t, int64_t) \
	X(i64, I64, int64_t, int64_t)

/*
 * A stride is the distance from one element to the next, in elements: 1 for elements side by side, negative to go backwards
 * from the pointer, 0 for the same element again and again. No pointer needs to be aligned, not even as its type would have it.
 *
 * `product` may be the same memory as `x` or `y` if it is so element by element (same pointer, same stride); it must not
 * overlap with them in another way, nor with itself: no stride 0. A `y_stride` of 0 multiplies by the number at `y`.
 */
#define DT_SIMD_KERNELS(name, NAME, element, total) \
	struct dt_simd_##name { \
		total (*sum)(const element *x, ptrdiff_t x_stride, size_t count); \
		total (*sum_of_products)(const element *x, ptrdiff_t x_stride, const element *y, ptrdiff_t y_stride, size_t count); \
		void (*multiply)(element *product, ptrdiff_t product_stride, const element *x, ptrdiff_t x_stride, \
				 const element *y, ptrdiff_t y_stride, size_t count); \
	};
DT_SIMD_ELEMENTS(DT_SIMD_KERNELS)
#undef DT_SIMD_KERNELS

/* The kernels for one instruction set. */
struct dt_simd {
	const char *name;
#define DT_SIMD_MEMBER(name, NAME, element, total) struct dt_simd_##name name;
	DT_SIMD_ELEMENTS(DT_SIMD_MEMBER)
#undef DT_SIMD_MEMBER
};

#define DT_SIMD_WHY 256

#pragma GCC visibility push(default)

/*
 * The kernels of the instruction set `name`; if that is NULL, of the one that DT_SIMD names in the environment; if it names
 * none, of the best that this processor has. -EINVAL: there is no such instruction set. -ENOTSUP: this processor does not have
 * it. `why` (or NULL) then holds the reason as one sentence, and *ret_simd is left as it was.
 */
int dt_simd_get(const char *name, const struct dt_simd **ret_simd, char why[DT_SIMD_WHY]);

/* The i-th instruction set that has a name here, the best of each architecture last; NULL after the last. */
const char *dt_simd_name(size_t index);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif
#endif
