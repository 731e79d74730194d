/* SPDX-License-Identifier: BSD-2-Clause */
/* symbols: from an address in a file to the function that holds it (.symtab, .dynsym). */
#ifndef DT_TARGET_SYMBOLS_H
#define DT_TARGET_SYMBOLS_H

#include <stdint.h>

#include "target/elf.h"

struct dt_symbols;

/* Sorts the functions of a file once; names stay owned by `elf`, which must outlive it. -ENOMEM. */
int dt_symbols_new(const struct dt_elf *elf, struct dt_symbols **ret_symbols);
void dt_symbols_free(struct dt_symbols *symbols);
/*
 * The function whose range holds `vaddr` (size 0: up to the next function). Of several names for one address a global
 * one, then the shortest, then the first by alphabet. NULL: none.
 */
const char *dt_symbols_find(const struct dt_symbols *symbols, uint64_t vaddr, uint64_t *ret_offset);

#endif
