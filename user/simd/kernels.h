/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kernels: all of them for one instruction set; the one source of NAME.c for each NAME in sets.def but scalar. They are written
 * with the compiler's vector types; what those cannot say, NAME.c says before it includes this:
 *	VECTOR_BYTES                    the size of a register
 *	AT_ONCE                         registers that sums are kept in at the same time: half of those that there are, or fewer
 *	bytes                           a register of whatever (a vector type)
 *	load_part(x, first, count, size, rest)
 *	                                elements `first` to `count` of `size` bytes from x, and what `rest` has in the other places;
 *	                                with HAS_MASKS also if all or none are before `count`, which is smaller than 64
 *	stream(x, value)                writes a register to an aligned place, past the caches
 *	stream_end()                    makes that visible in order
 * Without HAS_STREAM the last two are not there.
 */
#ifndef DT_SIMD_KERNELS_H
#define DT_SIMD_KERNELS_H

#include "simd/each.h"
#include "simd/order.h"
#include "simd/rotate.h"
#include "simd/set.h"

#define ALWAYS inline __attribute__((always_inline))

/*
 * An array from here on is in no cache of a core's own. Its squares are added up as products, each number read twice: who asks for memory
 * less quickly is served faster (Zen 4: the prefetching stays ahead of what is asked for).
 */
#define FAR_BYTES ((size_t)4 << 20)

/* Memory is read before this and after it as it is written there: the processor's prefetching goes by that. */
#define IN_ORDER() __asm__ volatile("" : : : "memory")

/* What is added up. */
enum term {
	TERM_PLAIN,                             /* x */
	TERM_SQUARE,                            /* x x */
	TERM_PRODUCT,                           /* x y */
};

#define TEMPLATE "simd/template.h"
#include "simd/types.h"

#endif
