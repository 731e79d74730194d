/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * types: includes TEMPLATE once for each type of elements (DT_SIMD_ELEMENTS has the same ones), with
 *	TYPE            f32 and so on
 *	ELEMENT         its type in C
 *	ELEMENT_BYTES   its size, for the preprocessor
 *	WORD            what to compute with: unsigned where ELEMENT is an integer, as that wraps
 *	TOTAL           the type of a sum
 *	IS_FLOAT        0 or 1
 *	OF(noun)        noun_f32 and so on
 * No guard: that is the point.
 */
#define TYPE f32
#define ELEMENT float
#define ELEMENT_BYTES 4
#define WORD float
#define TOTAL float
#define IS_FLOAT 1
#define OF(noun) noun##_f32
#include TEMPLATE
#undef TYPE
#undef ELEMENT
#undef ELEMENT_BYTES
#undef WORD
#undef TOTAL
#undef OF

#define TYPE f64
#define ELEMENT double
#define ELEMENT_BYTES 8
#define WORD double
#define TOTAL double
#define OF(noun) noun##_f64
#include TEMPLATE
#undef TYPE
#undef ELEMENT
#undef ELEMENT_BYTES
#undef WORD
#undef TOTAL
#undef IS_FLOAT
#undef OF

#define TYPE i32
#define ELEMENT int32_t
#define ELEMENT_BYTES 4
#define WORD uint32_t
#define TOTAL int64_t
#define IS_FLOAT 0
#define OF(noun) noun##_i32
#include TEMPLATE
#undef TYPE
#undef ELEMENT
#undef ELEMENT_BYTES
#undef WORD
#undef OF

#define TYPE i64
#define ELEMENT int64_t
#define ELEMENT_BYTES 8
#define WORD uint64_t
#define OF(noun) noun##_i64
#include TEMPLATE
#undef TYPE
#undef ELEMENT
#undef ELEMENT_BYTES
#undef WORD
#undef TOTAL
#undef IS_FLOAT
#undef OF

#undef TEMPLATE
