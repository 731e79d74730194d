/* SPDX-License-Identifier: BSD-2-Clause */
/* The text of a perf map: an address that is looked for, then the text. */
#include "fuzz.h"

#include "target/perf_map.h"

static void find(const struct dt_perf_map *map, uint64_t address, size_t size)
{
	uint64_t offset = 0;
	const char *name = dt_perf_map_find(map, address, &offset);

	FUZZ_EXPECT(!name || (strlen(name) <= size && offset <= address));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	uint64_t address = fuzz_number(&bytes, 8);
	char *text = (char *)fuzz_copy(&bytes);
	struct dt_perf_map *map;

	FUZZ_EXPECT(!dt_perf_map_parse(text, bytes.size, &map));
	free(text);
	find(map, address, bytes.size);
	for (uint64_t near = 0; near < 0x10000; near += 251)
		find(map, near, bytes.size);
	find(map, UINT64_MAX, bytes.size);
	dt_perf_map_free(map);
	return 0;
}
