/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * simd_limits: the fastest ways known here to read memory and to write it, whatever is in it, for bench_simd. None of them is always
 * the fastest, so the best counts. `count` is in bytes, a multiple of 4 KiB that is not 0, and the arrays begin at multiples of 64.
 *
 *	read_WIDTH_STREAMS_AHEAD     registers of WIDTH bytes, from so many places at a time, prefetching so many bytes ahead
 *	copy_…, merge_…              the same for one, or two arrays to read and one to write; "past" the caches, or not
 *
 * Built with -march=native: registers of 64 bytes are there where this machine has them.
 */
#include <immintrin.h>
#include <string.h>

#include "simd_peers.h"

typedef long long v32 __attribute__((vector_size(32)));
#ifdef __AVX512F__
typedef long long v64 __attribute__((vector_size(64)));
#endif

#define READ(width, streams, ahead) \
	static double read_##width##_##streams##_##ahead(const struct arrays *a) \
	{ \
		size_t part = a->count / (streams) / 512 * 512; \
		const char *x = a->x; \
		v##width s0 = { 0 }, s1 = s0, s2 = s0, s3 = s0; \
		for (size_t i = 0; i < part; i += 4 * (width)) { \
			for (size_t j = 0; j < (streams); j++) { \
				const v##width *at = (const v##width *)(x + j * part + i); \
				if (ahead) { \
					for (size_t k = 0; k < 4 * (width); k += 64) \
						__builtin_prefetch((const char *)at + (ahead) + k); \
				} \
				s0 |= at[0]; \
				s1 |= at[1]; \
				s2 |= at[2]; \
				s3 |= at[3]; \
			} \
		} \
		for (size_t i = part * (streams); i < a->count; i += (width)) \
			s0 |= *(const v##width *)(x + i); \
		s0 |= s1 | s2 | s3; \
		return (double)s0[0]; \
	}
READ(32, 1, 0)
READ(32, 2, 0)
READ(32, 4, 0)
READ(32, 1, 1024)
READ(32, 1, 4096)
#ifdef __AVX512F__
READ(64, 1, 0)
READ(64, 2, 0)
READ(64, 1, 4096)
#endif

#define PUT_kept(at, value) (*(at) = (value))
#define PUT32_past(at, value) _mm256_stream_si256((__m256i *)(at), (__m256i)(value))
#define PUT64_past(at, value) _mm512_stream_si512((__m512i *)(at), (__m512i)(value))
#define PUT32_kept PUT_kept
#define PUT64_kept PUT_kept

#define WRITE(width, how, ahead) \
	static double copy_##width##_##how##_##ahead(const struct arrays *a) \
	{ \
		const char *x = a->x; \
		char *out = a->out; \
		for (size_t i = 0; i < a->count; i += 4 * (width)) { \
			const v##width *at = (const v##width *)(x + i); \
			v##width *to = (v##width *)(out + i); \
			v##width r0 = at[0], r1 = at[1], r2 = at[2], r3 = at[3]; \
			if (ahead) { \
				for (size_t k = 0; k < 4 * (width); k += 64) \
					__builtin_prefetch((const char *)at + (ahead) + k); \
			} \
			PUT##width##_##how(to, r0); \
			PUT##width##_##how(to + 1, r1); \
			PUT##width##_##how(to + 2, r2); \
			PUT##width##_##how(to + 3, r3); \
		} \
		_mm_sfence(); \
		return 0; \
	} \
	static double merge_##width##_##how##_##ahead(const struct arrays *a) \
	{ \
		const char *x = a->x, *y = a->y; \
		char *out = a->out; \
		for (size_t i = 0; i < a->count; i += 4 * (width)) { \
			const v##width *at = (const v##width *)(x + i), *and = (const v##width *)(y + i); \
			v##width *to = (v##width *)(out + i); \
			v##width r0 = at[0] | and[0], r1 = at[1] | and[1], r2 = at[2] | and[2], r3 = at[3] | and[3]; \
			if (ahead) { \
				for (size_t k = 0; k < 4 * (width); k += 64) { \
					__builtin_prefetch((const char *)at + (ahead) + k); \
					__builtin_prefetch((const char *)and + (ahead) + k); \
				} \
			} \
			PUT##width##_##how(to, r0); \
			PUT##width##_##how(to + 1, r1); \
			PUT##width##_##how(to + 2, r2); \
			PUT##width##_##how(to + 3, r3); \
		} \
		_mm_sfence(); \
		return 0; \
	}
WRITE(32, kept, 0)
WRITE(32, past, 0)
WRITE(32, past, 1024)
#ifdef __AVX512F__
WRITE(64, kept, 0)
WRITE(64, past, 0)
#endif

static double copy_memcpy(const struct arrays *a)
{
	memcpy(a->out, a->x, a->count);
	return 0;
}

static double copy_movsb(const struct arrays *a)
{
	const void *from = a->x;
	void *to = a->out;
	size_t count = a->count;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(count) : : "memory");
	return 0;
}

#define R(width, streams, ahead) { "read_" #width "_" #streams "_" #ahead, read_##width##_##streams##_##ahead }
#define W(width, how, ahead) \
	{ "copy_" #width "_" #how "_" #ahead, copy_##width##_##how##_##ahead }, \
	{ "merge_" #width "_" #how "_" #ahead, merge_##width##_##how##_##ahead }
const struct peer limit_peers[] = {
	R(32, 1, 0), R(32, 2, 0), R(32, 4, 0), R(32, 1, 1024), R(32, 1, 4096), W(32, kept, 0), W(32, past, 0), W(32, past, 1024),
#ifdef __AVX512F__
	R(64, 1, 0), R(64, 2, 0), R(64, 1, 4096), W(64, kept, 0), W(64, past, 0),
#endif
	{ "copy_memcpy", copy_memcpy }, { "copy_movsb", copy_movsb },
	{ 0 }
};
