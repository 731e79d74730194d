/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * probe_site: where in a function a uprobe is cheapest and still right.
 *
 * The kernel emulates a few instructions and single-steps all others, which costs ten times as much (FIELD-NOTES D1).
 * The finder decodes from the entry and takes the first instruction that is emulated on every kernel from 6.1 on, if
 * everything before it leaves the arguments and the stack pointer alone and nothing jumps in between.
 */
#ifndef DT_TARGET_PROBE_SITE_H
#define DT_TARGET_PROBE_SITE_H

#include <stdint.h>

#include "target/elf.h"

struct dt_probe_site {
	uint64_t vaddr;                 /* of the probed instruction */
	uint32_t distance;              /* bytes behind the function's entry */
	bool emulated;                  /* false: the kernel single-steps it */
	uint8_t bytes[16];              /* of the instruction, as the file has them */
	uint8_t size;
	char instruction[64];           /* as text */
	const char *reason;             /* why there: a short constant sentence */
};

/* -ENXIO: the entry is not in the file's code. -ENOTSUP: no place can be probed (5-byte nop and nothing behind it). */
int dt_probe_site_find(const struct dt_elf *elf, uint64_t entry_vaddr, struct dt_probe_site *ret_site);
/*
 * Return addresses (vaddr), from `start` up to `end`, of direct calls to `entry_vaddr` in the file's own code: calls that do not
 * go through the PLT. *ret_count says how many there are, at most `max` are stored.
 */
int dt_probe_site_find_callers(const struct dt_elf *elf, uint64_t entry_vaddr, uint64_t start, uint64_t end, uint64_t *returns, size_t max,
			       size_t *ret_count);

#endif
