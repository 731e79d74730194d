/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libcount.h: the file that libcount writes for each process image, which tests/cases/counted.py reads.
 *
 * It lies in $DT_COUNT, is named PID-START-SERIAL, and is mapped shared: what stands there is right at every moment, also
 * when the image ends by a signal or by exec. PID is the one of the process's own namespace, START its start in clock ticks
 * (proc(5), stat, field 22), SERIAL counts the images of one process: 0, and one more with each exec.
 */
#ifndef DT_WORKLOAD_LIBCOUNT_H
#define DT_WORKLOAD_LIBCOUNT_H

#include <stdint.h>

#define COUNT_MAGIC 0x31746e756f637464ull       /* "dtcount1" */

struct count {
	uint64_t allocations, allocated_bytes, frees, freed_bytes, peak_bytes;
};

struct count_file {
	uint64_t magic;
	uint64_t pid, start, serial;
	uint64_t parent, parent_start, parent_serial;   /* the image that it was forked from; 0: it began with exec */
	uint64_t inherited_blocks, inherited_bytes;     /* they are among the allocations, too */
	struct count all;               /* live = allocations - frees; a moved block is a free and an allocation */
	struct count program;           /* of it what the executable itself called for */
	uint64_t unmatched_frees;       /* of blocks that are not known */
	uint64_t missed_frees;          /* an address was handed out that was still live; its block counts as freed */
	uint64_t failed;
	char exe[256], command[16];     /* proc(5): exe, comm; when the image began */
};

#endif
