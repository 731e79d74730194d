/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unwind_table: for each address of a file's code, how a frame there finds its caller. From .eh_frame; from .debug_frame for
 * what that does not cover; from the code itself for what neither covers (assembly, libraries built without tables).
 */
#ifndef DT_TARGET_UNWIND_TABLE_H
#define DT_TARGET_UNWIND_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/elf.h"

struct dt_unwind_row {
	uint64_t vaddr;                 /* the rule holds from here to the next row */
	struct dt_unwind_rule rule;     /* DT_CFA_NONE where nothing is known */
};

struct dt_unwind_table {
	struct dt_unwind_row *rows;     /* by address, neighbours differ; the last one is DT_CFA_NONE */
	size_t count;                   /* 0: the file says nothing, its code is walked by frame pointers */
};

/*
 * -ENOMEM. Damage is no error: what is damaged gives no rows, and what was read before it stays, so a forged file leads to
 * truncated tracebacks and nothing else. Takes time and memory linear in the size of the file's tables and code.
 */
int dt_unwind_table_read(struct dt_elf *elf, struct dt_unwind_table *ret_table);
void dt_unwind_table_clear(struct dt_unwind_table *table);
/* The rule at an address; one of kind DT_CFA_NONE where there is none. */
struct dt_unwind_rule dt_unwind_table_find(const struct dt_unwind_table *table, uint64_t vaddr);

#endif
