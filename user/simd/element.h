/* SPDX-License-Identifier: BSD-2-Clause */
/* element: one number, at any address (template, see types.h). */

typedef WORD OF(unaligned) __attribute__((aligned(1), may_alias));

/* Any index and any stride: what they come to wraps as addresses do. */
static inline const ELEMENT *OF(at)(const ELEMENT *x, ptrdiff_t stride, size_t i)
{
	return (const ELEMENT *)((uintptr_t)x + i * (size_t)stride * sizeof(ELEMENT));
}

static inline WORD OF(get)(const ELEMENT *x, ptrdiff_t stride, size_t i)
{
	return *(const OF(unaligned) *)OF(at)(x, stride, i);
}

static inline void OF(put)(ELEMENT *x, ptrdiff_t stride, size_t i, WORD value)
{
	*(OF(unaligned) *)OF(at)(x, stride, i) = value;
}
