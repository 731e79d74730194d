/* SPDX-License-Identifier: BSD-2-Clause */
/* The bytes before a return address. */
#include "fuzz.h"

#include "target/call.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	for (size_t from = 0; from <= size && size - from <= 2 * DT_CALL_BYTES_MAX; from++) {
		struct fuzz_bytes bytes = { data + from, size - from };
		uint8_t *code = fuzz_copy(&bytes);
		size_t length = dt_call_length(code, bytes.size);

		FUZZ_EXPECT(length <= bytes.size && length <= DT_CALL_BYTES_MAX);
		free(code);
	}
	return 0;
}
