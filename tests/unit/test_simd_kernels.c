/* SPDX-License-Identifier: BSD-2-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <domtrace/simd.h>

#include "simd_values.h"

static const struct dt_simd *reference;

#define TEMPLATE "simd_kernels.h"
#include "simd/types.h"

#define TESTS(name, NAME, element, total) \
	cmocka_unit_test_prestate(test_alignments_##name, (void *)simd), \
	cmocka_unit_test_prestate(test_values_##name, (void *)simd), \
	cmocka_unit_test_prestate(test_strides_##name, (void *)simd), \
	cmocka_unit_test_prestate(test_stride_0_##name, (void *)simd), \
	cmocka_unit_test_prestate(test_in_place_##name, (void *)simd), \
	cmocka_unit_test_prestate(test_fences_##name, (void *)simd), \
	cmocka_unit_test_prestate(test_large_##name, (void *)simd),

/* An instruction set that this machine does not have is said not to be tested, and why; scalar is held against itself in other places. */
int main(void)
{
	const struct dt_simd *simd;
	const char *name;
	int failed = 0;

	if (dt_simd_get("scalar", &reference, NULL))
		return 1;
	for (size_t i = 0; (name = dt_simd_name(i)); i++) {
		char why[DT_SIMD_WHY];

		if (dt_simd_get(name, &simd, why)) {
			printf("not tested: %s\n", why);
			continue;
		}
		const struct CMUnitTest tests[] = { DT_SIMD_ELEMENTS(TESTS) };

		failed += cmocka_run_group_tests_name(name, tests, NULL, NULL);
	}
	return failed != 0;
}
