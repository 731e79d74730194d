/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * eh_frame: reads call frame information: .eh_frame (Linux Standard Base 5.0, 10.6) and .debug_frame (DWARF 5, 6.4), which
 * differ in how entries refer to each other and how addresses are written.
 */
#ifndef DT_TARGET_EH_FRAME_H
#define DT_TARGET_EH_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

struct dt_eh_frame {
	const uint8_t *bytes;           /* the section */
	size_t size;
	uint64_t vaddr;                 /* where it is mapped: pointers may be relative to their own place */
	uint64_t text_vaddr, data_vaddr; /* what DW_EH_PE_textrel and _datarel are relative to; 0: unknown */
	bool debug;                     /* it is a .debug_frame */
};

/*
 * Called for each range of addresses [start, end) with one rule, entry by entry in the order of the section; the ranges of
 * one entry are by address. Stops when it returns non-zero.
 */
typedef int (*dt_eh_frame_fn)(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule);

/* 0, what `fn` returned, or -EBADMSG at the first entry that is damaged (those before it have been told). */
int dt_eh_frame_each(const struct dt_eh_frame *frame, dt_eh_frame_fn fn, void *context);

#endif
