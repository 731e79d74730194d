/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables of lines of CPython, as a process shows them: the format, the first line, an instruction, then the table. */
#include "fuzz.h"

#include "target/python_lines.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	struct dt_python_line_table table = {
		.format = (enum dt_python_lines)(fuzz_number(&bytes, 1) % (DT_PYTHON_LOCATIONS + 1)),
		.first_line = (int)(int32_t)fuzz_number(&bytes, 4),
	};
	uint32_t instruction = (uint32_t)fuzz_number(&bytes, 4);
	uint8_t *copy = fuzz_copy(&bytes);

	table.bytes = copy;
	table.size = bytes.size;
	FUZZ_EXPECT(dt_python_line_find(&table, instruction) >= 0);
	FUZZ_EXPECT(dt_python_line_find(&table, DT_PYTHON_NOT_STARTED) >= 0);
	free(copy);
	return 0;
}
