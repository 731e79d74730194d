/* SPDX-License-Identifier: BSD-2-Clause */
/* Call frame information: which of the two formats, where it is mapped, then the section. */
#include "fuzz.h"

#include <errno.h>

#include "target/eh_frame.h"

struct ranges {
	uint64_t count, end;
};

static int take_range(void *context, uint64_t start, uint64_t end, const struct dt_unwind_rule *rule)
{
	struct ranges *ranges = context;

	FUZZ_EXPECT(start < end);
	FUZZ_EXPECT(rule->cfa < DT_CFA_COUNT && rule->frame_pointer <= DT_SAVED_UNKNOWN);
	return ++ranges->count == ranges->end ? 1234 : 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	uint64_t how = fuzz_number(&bytes, 1);
	uint64_t vaddr = fuzz_number(&bytes, 4);
	uint8_t *section = fuzz_copy(&bytes);
	struct dt_eh_frame frame = {
		.bytes = section,
		.size = bytes.size,
		.vaddr = how & 2 ? vaddr << 32 : vaddr,
		.text_vaddr = how & 4 ? 0 : 0x1000,
		.data_vaddr = how & 8 ? 0 : 0x2000,
		.debug = how & 1,
	};
	struct ranges ranges = { 0, 0 };
	int error = dt_eh_frame_each(&frame, take_range, &ranges);

	FUZZ_EXPECT(!error || error == -EBADMSG);
	/* Every instruction of an entry makes one range at most, and every entry one more. */
	FUZZ_EXPECT(ranges.count <= 2 * bytes.size + 1);
	if (ranges.count) {
		ranges = (struct ranges){ 0, ranges.count };
		FUZZ_EXPECT(dt_eh_frame_each(&frame, take_range, &ranges) == 1234);
	}
	free(section);
	return 0;
}
