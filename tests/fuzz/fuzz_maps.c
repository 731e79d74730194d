/* SPDX-License-Identifier: BSD-2-Clause */
/* The text of /proc/PID/maps: a process names its mappings as it likes. */
#include "fuzz.h"

#include <errno.h>

#include "target/maps.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	uint8_t *text = fuzz_copy(&bytes);
	struct dt_maps maps;
	int error = dt_maps_parse((const char *)text, size, &maps);

	free(text);
	FUZZ_EXPECT(!error || error == -EBADMSG);
	if (error)
		return 0;
	for (size_t i = 0; i < maps.count; i++) {
		const struct dt_mapping *mapping = &maps.mappings[i];

		FUZZ_EXPECT(mapping->start < mapping->end);
		FUZZ_EXPECT(!i || maps.mappings[i - 1].end <= mapping->start);
		FUZZ_EXPECT(dt_maps_find(&maps, mapping->start) == mapping);
		FUZZ_EXPECT(dt_maps_find(&maps, mapping->end - 1) == mapping);
		FUZZ_EXPECT(dt_maps_find(&maps, mapping->end) != mapping);
		if (mapping->path)
			FUZZ_EXPECT(strlen(mapping->path) <= size);
	}
	dt_maps_clear(&maps);
	return 0;
}
