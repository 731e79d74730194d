/* SPDX-License-Identifier: BSD-2-Clause */
/* simd_peers: what bench_simd measures: each takes two arrays and has room for a third. */
#ifndef BENCH_SIMD_PEERS_H
#define BENCH_SIMD_PEERS_H

#include <stddef.h>

struct arrays {
	const void *x;
	const void *y;
	void *out;
	size_t count;
};

struct peer {
	const char *name;
	double (*run)(const struct arrays *arrays);
};

/* Ends with a peer without a name. */
extern const struct peer loop_peers[];          /* plain C */
extern const struct peer limit_peers[];         /* how fast memory can be read and written at all */

#endif
