/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * python_alloc: through which functions CPython's three families of memory go, and whether all of its calls get there.
 *
 * Every allocation of PyMem_Raw…, PyMem_… and PyObject_… is a call through a table of pointers (Objects/obmalloc.c: _PyMem_Raw, _PyMem,
 * _PyObject, each a PyMemAllocatorEx {ctx, malloc, calloc, realloc, free}; part of _PyRuntime from 3.12 on). A compiler that was shown
 * a profile puts a copy of the usual function in the place of such a call, behind a comparison of the pointer with that function's
 * address: then the function itself is hardly ever called. Each such comparison fails, and the call is made, if the table holds
 * another address of the same function: that of a NOP before it, which runs into it.
 */
#ifndef DT_TARGET_PYTHON_ALLOC_H
#define DT_TARGET_PYTHON_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

#include "target/elf.h"

enum dt_python_table {
	DT_PYTHON_RAW,
	DT_PYTHON_MEM,
	DT_PYTHON_OBJECT,
	DT_PYTHON_TABLES,
};

#define DT_PYTHON_CALLS 4               /* malloc, calloc, realloc, free: the order of PyMemAllocatorEx */

struct dt_python_alloc {
	uint64_t tables[DT_PYTHON_TABLES];      /* vaddrs of the PyMemAllocatorEx */
	uint64_t functions[DT_PYTHON_TABLES][DT_PYTHON_CALLS];  /* vaddrs of what they hold at first */
	uint64_t aliases[DT_PYTHON_TABLES][DT_PYTHON_CALLS];    /* other addresses of the same; 0: there is none */
	bool inlined;                   /* calls through the tables were replaced by copies of the functions */
	const char *unsupported;        /* inlined, and there is no way to see them all: why; NULL otherwise */
};

/* -ENOENT: it is no CPython, or its tables are not as they are known to be. -ENOMEM. */
int dt_python_alloc_find(struct dt_elf *elf, struct dt_python_alloc *ret_alloc);

#endif
