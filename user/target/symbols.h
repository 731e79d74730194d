/* SPDX-License-Identifier: BSD-2-Clause */
/* symbols: from an address in a file to the function that holds it (.symtab, .dynsym, .gnu_debugdata). */
#ifndef DT_TARGET_SYMBOLS_H
#define DT_TARGET_SYMBOLS_H

#include <stdint.h>

#include "target/elf.h"

struct dt_symbols;

/*
 * Sorts the functions of a file once, those of its compressed .gnu_debugdata and of its separate debug file (`debug_fd`, read
 * only here; −1: there is none) among them. Names stay owned by `elf`, which must outlive it. A part that is damaged is
 * left out. -ENOMEM.
 */
int dt_symbols_new(struct dt_elf *elf, int debug_fd, struct dt_symbols **ret_symbols);
void dt_symbols_free(struct dt_symbols *symbols);
/*
 * The function whose range holds `vaddr` (size 0: up to the next function). Of several names for one address a global
 * one, then the shortest, then the first by alphabet. NULL: none.
 */
const char *dt_symbols_find(const struct dt_symbols *symbols, uint64_t vaddr, uint64_t *ret_offset);

#endif
