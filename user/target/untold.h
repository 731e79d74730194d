/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * untold: calls of PyTraceMalloc_Untrack behind which a block is told of only if tracemalloc is on (struct dt_untold).
 *
 * NumPy 2.5 and later (numpy/_core/src/multiarray/alloc.c: PyDataMem_NEW, _NEW_ZEROED, _RENEW and _UserRENEW, commit 70e82ab5165c
 * "BUG: Fix tracemalloc tracking of allocations") untrack first, compare the answer with −2 (tracemalloc is off) and then leave, or
 * go on to PyTraceMalloc_Track. What they would hand to it they have in registers already, which the ABI makes every callee keep
 * (System V AMD64 ABI 1.0, figure 3.4); which ones their code says.
 */
#ifndef DT_TARGET_UNTOLD_H
#define DT_TARGET_UNTOLD_H

#include <stddef.h>
#include <stdint.h>
#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/elf.h"

/*
 * Such calls in the file, with vaddrs for addresses. Where it cannot be told in which registers the block is, `address` is DT_NONE.
 * *ret_count says how many there are, at most `max` are stored. Nearly free for a file that does not name the function.
 * -ENOMEM, -ENOTSUP.
 */
int dt_untold_find(struct dt_elf *elf, struct dt_untold *untold, size_t max, size_t *ret_count);

#endif
