/* SPDX-License-Identifier: BSD-2-Clause */
/* python_eval: two functions of CPython that have to be recognised: the eval loop, and the one that frees code objects. */
#ifndef DT_TARGET_PYTHON_EVAL_H
#define DT_TARGET_PYTHON_EVAL_H

#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/elf.h"

/* The code of _PyEval_EvalFrameDefault: its main part, and its cold part where it has one; 0, 0 where there is none. */
void dt_python_eval_find(struct dt_elf *elf, struct dt_address_range ret_ranges[2]);

/* tp_dealloc of PyCode_Type; 0: it is not known, or other code may do its work in its place. */
uint64_t dt_python_code_free_find(struct dt_elf *elf);

#endif
