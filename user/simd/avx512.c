/* SPDX-License-Identifier: BSD-2-Clause */
#ifdef __x86_64__
#include <immintrin.h>
#include <stddef.h>

#define VECTOR_BYTES 64
#define AT_ONCE 8
#define HAS_MASKS
typedef __m512i bytes;

static inline bytes load_part(const void *x, size_t first, size_t count, size_t size, bytes rest)
{
	const char *from = (const char *)x + first * size;
	unsigned long long mask = ((1ull << count) - 1) >> first;

	return size == 8 ? _mm512_mask_loadu_epi64(rest, (__mmask8)mask, from) : _mm512_mask_loadu_epi32(rest, (__mmask16)mask, from);
}

#include "simd/kernels.h"

#define IS_FAR(element, count) ((count) >= FAR_BYTES / sizeof(element))
#define HAS_FRACTIONS(element) ((element)0.5 != 0)

/* Far products are left to AVX2, which writes past the caches: it comes to the same bits, and memory alone says how fast. */
#define CHOOSE(name, NAME, element, total) \
	static void choose_multiply_##name(element *product, ptrdiff_t product_stride, const element *x, ptrdiff_t x_stride, \
					   const element *y, ptrdiff_t y_stride, size_t count) \
	{ \
		(IS_FAR(element, count) ? dt_simd_avx2.name.multiply : multiply_##name) \
			(product, product_stride, x, x_stride, y, y_stride, count); \
	}
DT_SIMD_ELEMENTS(CHOOSE)
#undef CHOOSE

#define ROW(name, NAME, element, total) .name = { sum_##name, sum_of_products_##name, choose_multiply_##name },
const struct dt_simd dt_simd_avx512 = { .name = "avx512", DT_SIMD_ELEMENTS(ROW) };
#undef ROW

/*
 * avx512_halves: for a processor that moves 64 bytes in two steps (Zen 4). It reads arrays that are in no cache of a core's own faster by registers of
 * 32 bytes, and so it does floating-point products everywhere. Those of i64 are one instruction only in AVX-512.
 */
#define CHOOSE(name, NAME, element, total) \
	static total halves_sum_##name(const element *x, ptrdiff_t x_stride, size_t count) \
	{ \
		return IS_FAR(element, count) ? dt_simd_avx2.name.sum(x, x_stride, count) : sum_##name(x, x_stride, count); \
	} \
	static total halves_sum_of_products_##name(const element *x, ptrdiff_t x_stride, const element *y, ptrdiff_t y_stride, size_t count) \
	{ \
		return (IS_FAR(element, count) ? dt_simd_avx2.name.sum_of_products : sum_of_products_##name)(x, x_stride, y, y_stride, count); \
	} \
	static void halves_multiply_##name(element *product, ptrdiff_t product_stride, const element *x, ptrdiff_t x_stride, \
					   const element *y, ptrdiff_t y_stride, size_t count) \
	{ \
		(HAS_FRACTIONS(element) ? dt_simd_avx2.name.multiply : choose_multiply_##name) \
			(product, product_stride, x, x_stride, y, y_stride, count); \
	}
DT_SIMD_ELEMENTS(CHOOSE)

#define ROW(name, NAME, element, total) .name = { halves_sum_##name, halves_sum_of_products_##name, halves_multiply_##name },
const struct dt_simd dt_simd_avx512_halves = { .name = "avx512_halves", DT_SIMD_ELEMENTS(ROW) };
#endif
