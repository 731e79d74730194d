/* SPDX-License-Identifier: BSD-2-Clause */
/* vector: a register of numbers (template, see types.h; VECTOR_BYTES and load_part come from the instruction set, see kernels.h). */
#include "simd/element.h"

#define STEP (VECTOR_BYTES / ELEMENT_BYTES)     /* elements in a register */
#define LANES (DT_ROW_BYTES / ELEMENT_BYTES)
#define REGISTERS (DT_ROW_BYTES / VECTOR_BYTES) /* in a row */

#if STEP == 2
#define ROTATE DT_ROTATE_2
#elif STEP == 4
#define ROTATE DT_ROTATE_4
#elif STEP == 8
#define ROTATE DT_ROTATE_8
#elif STEP == 16
#define ROTATE DT_ROTATE_16
#endif

typedef WORD OF(vector) __attribute__((vector_size(VECTOR_BYTES)));
typedef WORD OF(unaligned_vector) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));

static ALWAYS OF(vector) OF(load)(const ELEMENT *x)
{
	return *(const OF(unaligned_vector) *)x;
}

static ALWAYS void OF(store)(ELEMENT *x, OF(vector) value)
{
	*(OF(unaligned_vector) *)x = value;
}

/*
 * The elements from `first` on that are before `count`, and `rest` in the other places. The instruction set decides whether there
 * must be some of either, see kernels.h.
 */
static ALWAYS OF(vector) OF(load_part)(const ELEMENT *x, size_t first, size_t count, WORD rest)
{
	OF(vector) others = rest - (OF(vector)){ 0 };   /* x - (+0.0) is x, -0.0 included */

	return (OF(vector))load_part(x, first, count, sizeof(ELEMENT), (bytes)others);
}
