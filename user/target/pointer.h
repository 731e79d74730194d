/* SPDX-License-Identifier: BSD-2-Clause */
/* pointer: words of a file that hold addresses, as the loader fills them in (.rela.dyn). */
#ifndef DT_TARGET_POINTER_H
#define DT_TARGET_POINTER_H

#include <stdint.h>

#include "target/elf.h"

/* The kinds of words that matter, numbered as the psABI does (System V AMD64 ABI 1.0, table 4.9). */
enum dt_pointer_kind {
	DT_POINTER_PLAIN = 0,           /* nothing is filled in: the word is as it stands in the file */
	DT_POINTER_ABSOLUTE = 1,        /* R_X86_64_64 */
	DT_POINTER_SLOT = 6,            /* R_X86_64_GLOB_DAT */
	DT_POINTER_RELATIVE = 8,        /* R_X86_64_RELATIVE */
	DT_POINTER_TLS_MODULE = 16,     /* R_X86_64_DTPMOD64: no address, the number of a module */
	DT_POINTER_TLS_OFFSET = 18,     /* R_X86_64_TPOFF64: no address, an offset from the thread pointer */
};

/* The vaddr that a word points to (0 for what is no address), and how that is known. -ENOENT: it cannot be known from the file. */
int dt_pointer_read(struct dt_elf *elf, uint64_t vaddr, uint64_t *ret_target, enum dt_pointer_kind *ret_kind);

#endif
