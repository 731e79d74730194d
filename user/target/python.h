/* SPDX-License-Identifier: BSD-2-Clause */
/* python: is there a CPython in a file, which one, and where are the things that the frame walker needs. */
#ifndef DT_TARGET_PYTHON_H
#define DT_TARGET_PYTHON_H

#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/elf.h"

struct dt_python {
	uint32_t version_hex;           /* PY_VERSION_HEX, e.g. 0x030b02f0 */
	char version[24];               /* "3.11.2", "3.13.0rc1" */
	const struct dt_python_layout *layout;  /* NULL: this version's frames are not understood */
	uint64_t thread_current_vaddr;  /* of _PyRuntime.gilstate.tstate_current */
	uint64_t thread_key_vaddr;      /* of _PyRuntime.gilstate.autoTSSkey */
};

/* -ENOENT: there is no CPython in the file. */
int dt_python_detect(const struct dt_elf *elf, struct dt_python *ret_python);

/*
 * glibc's layout of pthread_getspecific: byte offsets in struct pthread of the first block's first data word and of the
 * table of blocks, from the _thread_db_* symbols of libc. -ENOENT: not a glibc.
 */
int dt_python_read_tls_layout(const struct dt_elf *libc, uint32_t *ret_first_block, uint32_t *ret_blocks);

#endif
