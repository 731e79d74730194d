/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * unwind: the unwind tables and mappings that the BPF walker reads (wire.h, "unwind tables"). They lie in memory that is
 * shared with the kernel, so writing them costs no system call; what has not been shown to the programs yet may be written
 * at leisure.
 */
#ifndef DT_SESSION_UNWIND_H
#define DT_SESSION_UNWIND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/unwind_table.h"

struct domtrace_bpf;
struct dt_unwind;

/* Where a file's table stands. page_count 0: it has none. */
struct dt_unwind_place {
	bool lost;                      /* there was no room for it */
	uint64_t vaddr;                 /* of its first page */
	uint32_t pages, page_count;     /* as in struct dt_mapping_row */
	uint64_t words;                 /* where it begins */
};

int dt_unwind_new(struct domtrace_bpf *bpf, struct dt_unwind **ret_unwind);
void dt_unwind_free(struct dt_unwind *unwind);

/* What the tables take in the kernel, but for its own administration. */
uint64_t dt_unwind_bytes(const struct dt_unwind *unwind);
/* Stores the table of a file. -ENOSPC: there is no room for it. -ENOMEM, or what the kernel says of a new chunk. */
int dt_unwind_add_table(struct dt_unwind *unwind, const struct dt_unwind_table *table, struct dt_unwind_place *ret_place);
/* Gives its room back; its rules stay. No program may look at it any more. */
void dt_unwind_remove_table(struct dt_unwind *unwind, const struct dt_unwind_place *place);
/*
 * Gives chunks back to the kernel that no table needs any more. One stays: with each that comes or goes the kernel waits until no program
 * runs that may have seen it.
 */
void dt_unwind_trim(struct dt_unwind *unwind);

/*
 * Programs find the table of this file, whose row says where it stands, in mappings that have not been read: or do so no more, for those
 * that have not begun yet. Without the room or the memory for it they do not; that is counted for each traceback.
 */
void dt_unwind_show_file(struct dt_unwind *unwind, const struct dt_file_key *key, const struct dt_file_row *row);
void dt_unwind_hide_file(struct dt_unwind *unwind, const struct dt_file_key *key);

/* Stores the mappings of a process, side by side. -ENOSPC. */
int dt_unwind_add_mappings(struct dt_unwind *unwind, const struct dt_mapping_row *rows, uint32_t count, uint32_t *ret_first);
/* Gives their rows back. No program may look at them any more. */
void dt_unwind_remove_mappings(struct dt_unwind *unwind, uint32_t first, uint32_t count);

#endif
