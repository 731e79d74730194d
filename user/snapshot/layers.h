/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * layers: blocks of one domain that lie in blocks of another.
 *
 * What a program gets from libc it may divide or pass on: a NumPy array is one libc block, a pool is one with many
 * blocks in it, a block may cover several. The layer below is libc's, those above are all others.
 */
#ifndef DT_SNAPSHOT_LAYERS_H
#define DT_SNAPSHOT_LAYERS_H

#include <stddef.h>
#include <stdint.h>

/* A block that would go on beyond the last address ends there. */
struct dt_layer_block {
	uint64_t address, bytes;
};

struct dt_layer {
	struct dt_layer_block *blocks;
	size_t count;
	uint64_t below_bytes;           /* out: bytes of its blocks that lie in a block of the layer below */
};

/*
 * *ret_claimed_bytes: bytes of the blocks below that lie in a block of any layer above. A byte of a block counts once, however
 * many blocks of other layers it lies in. `below` is thinned out, and all may be put into another order. -ENOMEM; -EOVERFLOW: sums beyond 64 bits, of blocks
 * that cannot all be there.
 */
int dt_layers_measure(struct dt_layer_block *below, size_t below_count, struct dt_layer *above, size_t above_count,
		      uint64_t *ret_claimed_bytes);

#endif
