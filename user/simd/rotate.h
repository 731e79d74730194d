/* SPDX-License-Identifier: BSD-2-Clause */
/* rotate: a register whose place i holds what was in place i + h, for registers of 2, 4, 8 and 16 numbers. */
#ifndef DT_SIMD_ROTATE_H
#define DT_SIMD_ROTATE_H

#define DT_FROM_2(h, n) ((h) + 0) % (n), ((h) + 1) % (n)
#define DT_FROM_4(h, n) DT_FROM_2(h, n), DT_FROM_2((h) + 2, n)
#define DT_FROM_8(h, n) DT_FROM_4(h, n), DT_FROM_4((h) + 4, n)
#define DT_FROM_16(h, n) DT_FROM_8(h, n), DT_FROM_8((h) + 8, n)

#define DT_ROTATE_2(v, h) __builtin_shufflevector(v, v, DT_FROM_2(h, 2))
#define DT_ROTATE_4(v, h) __builtin_shufflevector(v, v, DT_FROM_4(h, 4))
#define DT_ROTATE_8(v, h) __builtin_shufflevector(v, v, DT_FROM_8(h, 8))
#define DT_ROTATE_16(v, h) __builtin_shufflevector(v, v, DT_FROM_16(h, 16))

#endif
