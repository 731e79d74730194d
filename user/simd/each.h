/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * each: S(0) S(1) … S(n - 1), for n of 4, 8 and 16. Written out where a loop would do, because gcc 12 unrolls loops only after it has
 * given up keeping an array in registers.
 */
#ifndef DT_SIMD_EACH_H
#define DT_SIMD_EACH_H

#define DT_EACH_4_FROM(S, i) S((i)) S((i) + 1) S((i) + 2) S((i) + 3)
#define DT_EACH_4(S) DT_EACH_4_FROM(S, 0)
#define DT_EACH_8(S) DT_EACH_4(S) DT_EACH_4_FROM(S, 4)
#define DT_EACH_16(S) DT_EACH_8(S) DT_EACH_4_FROM(S, 8) DT_EACH_4_FROM(S, 12)

#endif
