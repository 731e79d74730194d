/* SPDX-License-Identifier: BSD-2-Clause */
#ifdef __x86_64__
#include <emmintrin.h>

#define VECTOR_BYTES 16
#define AT_ONCE 8
#define HAS_STREAM
#define stream(x, value) _mm_stream_si128((__m128i *)(x), (__m128i)(value))
#define stream_end() _mm_sfence()
#include "simd/part.h"
#include "simd/kernels.h"

const struct dt_simd DT_SIMD_SET(sse2);
#endif
