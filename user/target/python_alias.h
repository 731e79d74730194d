/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * python_alias: the tables of CPython's allocators in a process: do all calls through them get to the functions that are probed, and
 * the aliases (python_alloc.h) that see to it.
 *
 * What has been put over a table keeps what was there and calls it: tracemalloc and the debug hooks (Objects/obmalloc.c,
 * Modules/_tracemalloc.c) have the address of their copy in `ctx`. So the functions are looked for there, too.
 */
#ifndef DT_TARGET_PYTHON_ALIAS_H
#define DT_TARGET_PYTHON_ALIAS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "target/python_alloc.h"

enum dt_python_hold {
	DT_PYTHON_UNKNOWN,              /* a table holds other functions: calls through it are not seen */
	DT_PYTHON_FUNCTIONS,            /* the functions themselves, somewhere: where calls were inlined, they are not seen */
	DT_PYTHON_ALIASES,              /* nothing but aliases */
};

/* What all three tables hold; the least of it. `bias`: address minus vaddr. -ESRCH, -EFAULT, -EPERM. */
int dt_python_alias_read(pid_t pid, uint64_t bias, const struct dt_python_alloc *alloc, enum dt_python_hold *ret_hold);
/*
 * Puts aliases in the place of the functions, or (`undo`) the functions in the place of aliases; what is neither stays. No thread of the
 * process may run meanwhile: one could read half of a pointer. Errors as above.
 */
int dt_python_alias_write(pid_t pid, uint64_t bias, const struct dt_python_alloc *alloc, bool undo);

#endif
