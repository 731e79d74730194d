/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * code_ends: the `ret` instructions that the code of a function may end with.
 *
 * Functions that exceptions pass through cannot have a return probe: it replaces the return address, and whoever unwinds the stack then
 * does not get past it (FIELD-NOTES D6). A probe on each of their `ret` instructions changes nothing.
 */
#ifndef DT_TARGET_CODE_ENDS_H
#define DT_TARGET_CODE_ENDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "target/elf.h"

#define DT_CODE_ENDS_MAX 32

struct dt_code_ends {
	uint64_t vaddrs[DT_CODE_ENDS_MAX];
	size_t count;
	bool incomplete;                /* there may be others: a jump to where only the running program knows, or too much code */
};

/*
 * Follows the code from `entry_vaddr` along branches and jumps, also into other functions of the file (tail calls, through the PLT
 * as well). Calls are taken to return, but where `stops` holds for what is called or jumped to, the way ends. The result may hold
 * ends that no call takes. -ENXIO: the entry is not in the file's code.
 */
int dt_code_ends_find(struct dt_elf *elf, uint64_t entry_vaddr, bool (*stops)(const void *context, uint64_t vaddr), const void *context,
		      struct dt_code_ends *ret_ends);

#endif
