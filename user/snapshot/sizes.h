/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sizes: live blocks by size class, of traces and of domains. A class is a power of two: it has the blocks that are larger than its
 * half, up to itself; the first is that of 1 byte, which has those of 0 bytes, too.
 */
#ifndef DT_SNAPSHOT_SIZES_H
#define DT_SNAPSHOT_SIZES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "snapshot/snapshot.h"

#define DT_SIZE_CLASSES 64              /* 2^0 … 2^63 */

/* The number of the class of a block: the exponent of its power of two. What is above 2^63 bytes, which is nothing, is in the last. */
unsigned dt_size_class(uint64_t bytes);

/* Sums by class. All zero: none. */
struct dt_size_sums {
	uint64_t blocks[DT_SIZE_CLASSES], bytes[DT_SIZE_CLASSES];
};

void dt_size_sums_add(struct dt_size_sums *sums, const struct dt_snapshot_sizes *sizes);
/* The classes that are not empty, owned by the snapshot. -ENOMEM. */
int dt_size_sums_keep(const struct dt_size_sums *sums, struct dt_snapshot *snapshot, struct dt_snapshot_sizes *ret_sizes);

/* A copy that the snapshot owns. -ENOMEM. */
int dt_sizes_own(struct dt_snapshot *snapshot, struct dt_snapshot_sizes *sizes);
/* What all classes have together; saturates. */
void dt_sizes_total(const struct dt_snapshot_sizes *sizes, uint64_t *ret_blocks, uint64_t *ret_bytes);

/* Blocks of one class of a trace. */
struct dt_sized {
	uint32_t trace;                 /* index */
	unsigned size_class;
	uint64_t blocks, bytes;
};

/*
 * Gives all traces and domains their classes, from what was seen of their blocks, in any order. The tables are right: where one block
 * of a trace was not seen, it has the bytes that remain; where more were not, they are of no class, and the domain's are not exact.
 * -ENOMEM.
 */
int dt_sizes_set(struct dt_snapshot *snapshot, const struct dt_sized *seen, size_t count);
/* Sums the classes of domains anew, where they have any, from those of their traces. -ENOMEM. */
int dt_sizes_sum(struct dt_snapshot *snapshot);
/* What must hold of them, where the sums of traces are known to be those of domains. 0, -ENOMEM, or -EBADMSG and where: *ret_domain. */
int dt_sizes_check(const struct dt_snapshot *snapshot, uint32_t *ret_domain);

#endif
