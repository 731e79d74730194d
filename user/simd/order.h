/* SPDX-License-Identifier: BSD-2-Clause */
/* order: the numbers in the order of additions that domtrace/simd.h defines; here and nowhere else. */
#ifndef DT_SIMD_ORDER_H
#define DT_SIMD_ORDER_H

/* A row is one element of each lane. 256 bytes are four of AVX-512's registers, enough to hide the latency of an addition. */
#define DT_ROW_BYTES 256
/* Larger blocks have fewer carries, and more additions one after the other: of 16 rows it would be more than NumPy has. */
#define DT_BLOCK_ROWS 8

/* Blocks waiting for a neighbour of their size: of 2^64 elements (a stride of 0 makes that possible) in blocks of 2^8 or more. */
#define DT_WAITING 57

#endif
