/* SPDX-License-Identifier: BSD-2-Clause */
/* code_call: calls from code that tables describe into code that none does: there functions begin. */
#ifndef DT_TARGET_CODE_CALL_H
#define DT_TARGET_CODE_CALL_H

#include <stdint.h>

#include "target/elf.h"
#include "target/rule_ranges.h"

/* Larger segments are not looked through. */
#define DT_CODE_CALL_BYTES_MAX (64u << 20)

typedef int (*dt_code_call_fn)(void *context, uint64_t target);

/*
 * Tells the target of each direct call in `known` that is in `gaps`; both are sorted. Linear in the size of the code. 0, what
 * `fn` returned, -ENOMEM.
 */
int dt_code_call_each(const struct dt_elf *elf, const struct dt_rule_ranges *text, const struct dt_rule_ranges *known,
		      const struct dt_rule_ranges *gaps, dt_code_call_fn fn, void *context);

#endif
