/* SPDX-License-Identifier: BSD-2-Clause */
/* Patterns and names: what a user writes, and what a file has. */
#include "fuzz.h"

#include <errno.h>

#include "snapshot/pattern.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	size_t pattern_size = fuzz_number(&bytes, 1);
	struct dt_pattern *pattern;
	uint8_t *text, *name;
	int error;

	pattern_size = pattern_size < bytes.size ? pattern_size : bytes.size;
	text = fuzz_copy(&(struct fuzz_bytes){ bytes.at, pattern_size });
	name = fuzz_copy(&(struct fuzz_bytes){ bytes.at + pattern_size, bytes.size - pattern_size });
	error = dt_pattern_new((const char *)text, pattern_size, &pattern);
	free(text);
	FUZZ_EXPECT(!error || error == -EILSEQ);
	if (!error) {
		dt_pattern_matches(pattern, (const char *)name, bytes.size - pattern_size);
		dt_pattern_free(pattern);
	}
	free(name);
	return 0;
}
