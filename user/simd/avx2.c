/* SPDX-License-Identifier: BSD-2-Clause */
#ifdef __x86_64__
#include <immintrin.h>
#include <stddef.h>

#define VECTOR_BYTES 32
#define AT_ONCE 8
#define HAS_MASKS
#define HAS_STREAM
#define stream(x, value) _mm256_stream_si256((__m256i *)(x), (__m256i)(value))
#define stream_end() _mm_sfence()
typedef __m256i bytes;

/* All bits of the places, of 8 or 4 bytes, that are before `left`. */
static inline bytes mask_before(int left, size_t size)
{
	if (size == 8)
		return _mm256_cmpgt_epi64(_mm256_set1_epi64x(left), _mm256_setr_epi64x(0, 1, 2, 3));
	return _mm256_cmpgt_epi32(_mm256_set1_epi32(left), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

static inline bytes load_part(const void *x, size_t first, size_t count, size_t size, bytes rest)
{
	const char *from = (const char *)x + first * size;
	bytes mask = mask_before((int)count - (int)first, size);
	bytes part = size == 8 ? _mm256_maskload_epi64((const void *)from, mask) : _mm256_maskload_epi32((const void *)from, mask);

	return _mm256_blendv_epi8(rest, part, mask);
}

#include "simd/kernels.h"

const struct dt_simd DT_SIMD_SET(avx2);
#endif
