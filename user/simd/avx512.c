/* SPDX-License-Identifier: BSD-2-Clause */
#ifdef __x86_64__
#include <immintrin.h>
#include <stddef.h>

#define VECTOR_BYTES 64
#define AT_ONCE 8
#define HAS_MASKS
#define HAS_STREAM
#define stream(x, value) _mm512_stream_si512((__m512i *)(x), (__m512i)(value))
#define stream_end() _mm_sfence()
typedef __m512i bytes;

static inline bytes load_part(const void *x, size_t first, size_t count, size_t size, bytes rest)
{
	const char *from = (const char *)x + first * size;
	unsigned long long mask = ((1ull << count) - 1) >> first;

	return size == 8 ? _mm512_mask_loadu_epi64(rest, (__mmask8)mask, from) : _mm512_mask_loadu_epi32(rest, (__mmask16)mask, from);
}

#include "simd/kernels.h"

const struct dt_simd DT_SIMD_SET(avx512);
#endif
