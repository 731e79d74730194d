/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * smaps: how much memory of a process is resident, and in mappings of what kind (/proc/PID/smaps).
 *
 * The kernel makes the figures while they are read, by a walk over the page tables of each mapping: each is true at its
 * own moment. What they add up to is what smaps_rollup says; that file has no word on the heap, and costs the same
 * walk, so that only one of the two is read. The walk costs about 8 ms for each GiB in small pages, and as long as it takes
 * for one mapping the process waits where it changes mappings (mmap, munmap, brk); page faults wait before Linux 6.4, too
 * (kernel 52f238653e45 "x86/mm: try VMA lock-based page fault handling first").
 */
#ifndef DT_TARGET_SMAPS_H
#define DT_TARGET_SMAPS_H

#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Resident bytes by kind of mapping. */
enum dt_smaps_kind {
	DT_SMAPS_HEAP,                  /* "[heap]": what brk() gave */
	DT_SMAPS_ANONYMOUS,             /* no file and no name, or one that the program chose ("[anon:…]") */
	DT_SMAPS_FILE,                  /* of a file, shared memory included */
	DT_SMAPS_OTHER,                 /* the main thread's stack, and what the kernel maps itself */
	DT_SMAPS_KIND_COUNT,
};

struct dt_smaps {
	uint64_t resident_bytes[DT_SMAPS_KIND_COUNT];
	uint64_t private_bytes;         /* resident, and mapped by nobody else */
	uint64_t swap_bytes;
	uint64_t hugetlb_bytes;         /* of huge pages set aside (hugetlbfs), which the kernel does not count as resident */
};

#define DT_SMAPS_MAPPINGS_MAX (1 << 20) /* a process may have 65,530 (vm.max_map_count) unless root allows more */

/* -ESRCH: it has gone (a process that has ended has no memory). -EACCES. -E2BIG: too many mappings. */
int dt_smaps_read(pid_t pid, struct dt_smaps *ret_smaps);
/* The same from an open file. What is no smaps: -EBADMSG. */
int dt_smaps_parse(FILE *file, struct dt_smaps *ret_smaps);
uint64_t dt_smaps_resident(const struct dt_smaps *smaps);

#endif
