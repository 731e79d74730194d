/* SPDX-License-Identifier: BSD-2-Clause */
/* Line tables of CPython, as a process shows them: the first line, an instruction, then the table. */
#include "fuzz.h"

#include "target/python_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	int first_line = (int)(int32_t)fuzz_number(&bytes, 4);
	uint32_t instruction = (uint32_t)fuzz_number(&bytes, 4);
	uint8_t *table = fuzz_copy(&bytes);

	FUZZ_EXPECT(dt_python_line_find(table, bytes.size, first_line, instruction) >= 0);
	FUZZ_EXPECT(dt_python_line_find(table, bytes.size, first_line, UINT32_MAX) >= 0);
	free(table);
	return 0;
}
