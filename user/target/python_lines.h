/* SPDX-License-Identifier: BSD-2-Clause */
/* python_lines: from an instruction of a code object to its source line, as PyCode_Addr2Line does. */
#ifndef DT_TARGET_PYTHON_LINES_H
#define DT_TARGET_PYTHON_LINES_H

#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

struct dt_python_line_table {
	const uint8_t *bytes;           /* NULL: no line is known */
	size_t size;
	int first_line;
	enum dt_python_lines format;
};

#define DT_PYTHON_NOT_STARTED UINT32_MAX        /* the instruction of a frame that has executed none */

/* `instruction` is a byte offset in the bytecode. 0: the instruction has no line. */
int dt_python_line_find(const struct dt_python_line_table *table, uint32_t instruction);

#endif
