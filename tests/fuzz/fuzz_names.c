/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that names are read from, as the helper process does it: an address that is looked for, then the file. */
#include "fuzz.h"

#include <errno.h>

#include "target/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct dt_names_opts opts = { .raw = false };
	struct fuzz_bytes bytes = { data, size };
	uint64_t vaddr = fuzz_number(&bytes, 2);
	int file = fuzz_file(bytes.at, bytes.size), debug = fuzz_file(bytes.at, bytes.size);
	const struct dt_name *names;
	struct dt_names *all;
	size_t count;
	int error = dt_names_open(file, &debug, 1, &opts, &all);

	FUZZ_EXPECT(!error || error == -ENOEXEC || error == -EBADMSG);
	if (error)
		return 0;
	for (int i = 0; i < 4; i++, vaddr += 7) {
		error = dt_names_find(all, vaddr, &names, &count);
		FUZZ_EXPECT(!error && count && count <= DT_NAMES_DEPTH_MAX + 1);
		for (size_t k = 0; k < count; k++) {
			if (names[k].function)
				fuzz_touch(names[k].function, strlen(names[k].function));
			if (names[k].file)
				fuzz_touch(names[k].file, strlen(names[k].file));
			FUZZ_EXPECT(names[k].line >= 0);
		}
	}
	dt_names_close(all);
	return 0;
}
