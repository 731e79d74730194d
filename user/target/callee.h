/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * callee: functions of tracemalloc as the code of a file calls them: by their address, through the procedure linkage table, or
 * through the words that the loader fills in (System V AMD64 ABI 1.0, 5.2).
 */
#ifndef DT_TARGET_CALLEE_H
#define DT_TARGET_CALLEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/elf.h"

#define DT_CALLEE_WAYS_MAX 8            /* of one kind, to one function: files have one or two */

struct dt_callee {
	const char *name;
	uint64_t vaddr;                 /* 0: it is in another file */
	uint64_t slots[DT_CALLEE_WAYS_MAX], stubs[DT_CALLEE_WAYS_MAX]; /* words with its address, jumps through those */
	size_t slot_count, stub_count;
};

/* How the file reaches functions, whose names are filled in. *ret_named: it names the first of them. -ENOMEM. */
int dt_callees_find(struct dt_elf *elf, struct dt_callee *callees, size_t count, bool *ret_named);
/* Length of the instruction at `bytes`, which lie at `vaddr`, if it is a call of the function; 0: it is not. */
size_t dt_callee_call_length(const struct dt_callee *callee, const uint8_t *bytes, size_t size, uint64_t vaddr);

#endif
