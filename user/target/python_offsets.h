/* SPDX-License-Identifier: BSD-2-Clause */
/* python_offsets: how each version of CPython lays its structures out. */
#ifndef DT_TARGET_PYTHON_OFFSETS_H
#define DT_TARGET_PYTHON_OFFSETS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/elf.h"

struct dt_python_offsets {
	struct dt_python_layout layout;
	uint16_t thread_current;        /* _PyRuntime → gilstate.tstate_current; 0: there is none (3.12) */
	uint16_t thread_key;            /* _PyRuntime → (gilstate.)autoTSSkey; 0: not known */
	uint16_t code_basic_size;       /* what PyCode_Type, */
	uint16_t string_basic_size;     /* and PyUnicode_Type say of the size of an object */
};

/* Those of a version, from a table. NULL: it is not in there. */
const struct dt_python_offsets *dt_python_offsets_find(uint32_t version_hex);

/*
 * Those that an interpreter tells of itself at the start of _PyRuntime (_Py_DebugOffsets, 3.13 and 3.14). -ENOENT: it does not,
 * or not as this version does. -ENOTSUP: a free-threaded build.
 */
#define DT_PYTHON_DEBUG_OFFSETS_BYTES 1024      /* as many are enough */
int dt_python_offsets_read(const uint8_t *runtime, size_t size, uint32_t version_hex, struct dt_python_offsets *ret_offsets);

/* A layout that is wrong for this build would give wrong frames: does it agree with what the file tells of its types? */
bool dt_python_offsets_agree(struct dt_elf *elf, const struct dt_python_offsets *offsets);

#endif
