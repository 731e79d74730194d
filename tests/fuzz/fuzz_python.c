/* SPDX-License-Identifier: BSD-2-Clause */
/* A file that says it is a CPython, or the libc below one. */
#include "fuzz.h"

#include <errno.h>

#include "target/python.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dt_python python;
	uint32_t first, blocks;
	struct dt_elf *elf;

	if (dt_elf_open(fuzz_file(data, size), &elf))
		return 0;
	if (!dt_python_detect(elf, &python))
		FUZZ_EXPECT(strnlen(python.version, sizeof(python.version)) < sizeof(python.version));
	dt_python_read_tls_layout(elf, &first, &blocks);
	dt_elf_close(elf);
	return 0;
}
