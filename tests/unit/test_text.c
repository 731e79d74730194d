/* SPDX-License-Identifier: BSD-2-Clause */
/* text: columns shared between texts. What is made of the texts themselves is in test_json.c and test_report.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "export/text.h"

static void test_share(void **state)
{
	static const struct {
		size_t room, want[3], got[3];
	} cases[] = {
		{ 30, { 10, 10, 10 }, { 10, 10, 10 } },         /* it fits */
		{ 100, { 10, 0, 20 }, { 10, 0, 20 } },
		{ 30, { 40, 40, 40 }, { 10, 10, 10 } },         /* equal parts */
		{ 30, { 4, 40, 40 }, { 4, 13, 13 } },           /* what one leaves goes to the others */
		{ 30, { 4, 12, 40 }, { 4, 12, 14 } },
		{ 30, { 40, 12, 4 }, { 14, 12, 4 } },
		{ 0, { 4, 12, 40 }, { 0, 0, 0 } },
		{ 2, { 4, 0, 40 }, { 1, 0, 1 } },
		{ 30, { SIZE_MAX, 1, SIZE_MAX }, { 14, 1, 14 } },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		size_t columns[3];

		for (int k = 0; k < 3; k++)
			columns[k] = cases[i].want[k];
		dt_text_share(columns, 3, cases[i].room);
		for (int k = 0; k < 3; k++)
			assert_int_equal(columns[k], cases[i].got[k]);
	}
	dt_text_share(NULL, 0, 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
