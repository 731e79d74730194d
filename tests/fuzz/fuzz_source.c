/* SPDX-License-Identifier: BSD-2-Clause */
/* Files with debug information. */
#include "fuzz.h"

#include <errno.h>

#include "target/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dt_source_frame frames[DT_SOURCE_DEPTH_MAX];
	struct dt_source *source;
	size_t count;

	if (dt_source_open(fuzz_file(data, size), &source))
		return 0;
	for (uint64_t vaddr = 0x1000; vaddr < 0x1400; vaddr += 13) {
		if (dt_source_find(source, vaddr, frames, &count))
			continue;
		FUZZ_EXPECT(count <= DT_SOURCE_DEPTH_MAX);
		for (size_t i = 0; i < count; i++) {
			if (frames[i].function)
				fuzz_touch(frames[i].function, strlen(frames[i].function));
			if (frames[i].file)
				fuzz_touch(frames[i].file, strlen(frames[i].file));
			FUZZ_EXPECT(frames[i].line >= 0);
		}
	}
	dt_source_close(source);
	return 0;
}
