/* SPDX-License-Identifier: BSD-2-Clause */
/* digest: one line for each instruction set that is here: its name and a digest of many sums, which must be the same on every machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <domtrace/simd.h>

#include "simd_values.h"

#define LONGEST 5000

/* FNV-1a, 64 bits. */
static void digest_add(uint64_t *digest, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		*digest = (*digest ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3ull;
}

#define DIGEST(name, NAME, element, total) \
	static void digest_##name(const struct dt_simd *simd, uint64_t *digest) \
	{ \
		static element x[LONGEST], y[LONGEST]; \
		uint64_t seed = 7; \
		for (size_t count = 0; count < LONGEST; count += 1 + count / 50) { \
			for (size_t i = 0; i < count; i++) { \
				x[i] = (element)(random_unit(&seed) * 2e9); \
				y[i] = (element)(random_unit(&seed) * 100); \
			} \
			total sums[] = { simd->name.sum(x, 1, count), simd->name.sum_of_products(x, 1, y, 1, count), \
					 simd->name.sum(y, 3, count / 3) }; \
			digest_add(digest, sums, sizeof(sums)); \
		} \
	}
DT_SIMD_ELEMENTS(DIGEST)

int main(void)
{
	const struct dt_simd *simd;
	const char *name;

	for (size_t i = 0; (name = dt_simd_name(i)); i++) {
		uint64_t digest = 0xcbf29ce484222325ull;

		if (dt_simd_get(name, &simd, NULL))
			continue;
#define ADD(type, NAME, element, total) digest_##type(simd, &digest);
		DT_SIMD_ELEMENTS(ADD)
		printf("%s %016llx\n", name, (unsigned long long)digest);
	}
	return 0;
}
