/* SPDX-License-Identifier: BSD-2-Clause */
/* python_lines: from an instruction of a code object to its source line, as PyCode_Addr2Line does. */
#ifndef DT_TARGET_PYTHON_LINES_H
#define DT_TARGET_PYTHON_LINES_H

#include <stddef.h>
#include <stdint.h>

/* The location table of CPython 3.11 and later (Objects/locations.md). 0: the instruction has no line. */
int dt_python_line_find(const uint8_t *table, size_t size, int first_line, uint32_t instruction);

#endif
