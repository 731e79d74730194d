/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * code_frame: unwind rules for code that no table describes (assembly, libraries built without tables), from what its
 * instructions do to the stack pointer and the frame pointer.
 */
#ifndef DT_TARGET_CODE_FRAME_H
#define DT_TARGET_CODE_FRAME_H

#include <stddef.h>
#include <stdint.h>

#include "target/eh_frame.h"
#include "target/elf.h"

/* Code of which nothing is known yet. */
struct dt_code_part {
	uint64_t vaddr;
	const uint8_t *bytes;
	size_t size;
};

/* What is known of where functions begin, besides what the file itself says. */
struct dt_code_starts {
	uint64_t *vaddrs;
	size_t count, space;
};

/* More of it is not looked at: the parts that tables leave open are small, and what a forged file can cost is bounded. */
#define DT_CODE_BYTES_MAX (8u << 20)

/*
 * Tells ranges with rules: those of kind DT_CFA_SIGNAL, then the others, each by address; where they overlap, the one that
 * begins last counts. `parts` are by address and do not overlap. An address has a rule only where that follows from the code (see code_frame.c): code that
 * cannot be followed has none. Linear in the size of the parts. 0, what `fn` returned, -ENOMEM.
 */
int dt_code_frame_each(struct dt_elf *elf, const struct dt_code_part *parts, size_t part_count,
		       const struct dt_code_starts *starts, dt_eh_frame_fn fn, void *context);

#endif
