/* SPDX-License-Identifier: BSD-2-Clause */
/* Ranges of rules against a model that has one rule for each address. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "target/rule_ranges.h"

#define ADDRESSES 48
#define RANGES_OWNED DT_CLEANUP(dt_rule_ranges_clear) struct dt_rule_ranges

/* For each address the number of its range, from 1 on; 0: none. */
struct model {
	int number[ADDRESSES];
};

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	return *seed ^= *seed << 17;
}

static void add(struct dt_rule_ranges *ranges, uint64_t start, uint64_t end, int number)
{
	struct dt_unwind_rule rule = { .cfa = DT_CFA_STACK, .cfa_offset = number };

	assert_int_equal(dt_rule_ranges_add(ranges, start, end, &rule), 0);
}

/* The one that begins last, of those the first one added, wherever it ends. */
static struct model sort_model(const struct dt_rule_ranges *ranges)
{
	struct model model = { { 0 } };

	for (uint64_t at = 0; at < ADDRESSES; at++) {
		const struct dt_rule_range *best = NULL;

		for (size_t i = 0; i < ranges->count; i++) {
			const struct dt_rule_range *item = &ranges->items[i];

			if (item->start < item->end && item->start <= at && (!best || item->start > best->start))
				best = item;
		}
		model.number[at] = best && at < best->end ? best->rule.cfa_offset : 0;
	}
	return model;
}

static void expect(const struct dt_rule_ranges *ranges, const struct model *model)
{
	struct model is = { { 0 } };

	for (size_t i = 0; i < ranges->count; i++) {
		const struct dt_rule_range *item = &ranges->items[i];

		assert_true(item->start < item->end && item->end <= ADDRESSES);
		assert_true(!i || ranges->items[i - 1].end <= item->start);
		for (uint64_t at = item->start; at < item->end; at++)
			is.number[at] = item->rule.cfa_offset;
	}
	assert_memory_equal(&is, model, sizeof(is));
}

static void make(struct dt_rule_ranges *ranges, uint64_t *seed, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t start = next_random(seed) % ADDRESSES, size = next_random(seed) % 8;

		add(ranges, start, start + size < ADDRESSES ? start + size : ADDRESSES, (int)i + 1);
	}
}

static void test_against_a_model(void **state)
{
	uint64_t seed = 88172645463325252u;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		RANGES_OWNED ranges = { 0 };
		RANGES_OWNED other = { 0 };
		struct model model, other_model, both, cut;

		make(&ranges, &seed, next_random(&seed) % 12);
		make(&other, &seed, next_random(&seed) % 12);
		for (size_t i = 0; i < other.count; i++)
			other.items[i].rule.cfa_offset += 100;
		model = sort_model(&ranges);
		other_model = sort_model(&other);
		assert_int_equal(dt_rule_ranges_sort(&ranges), 0);
		assert_int_equal(dt_rule_ranges_sort(&other), 0);
		expect(&ranges, &model);
		expect(&other, &other_model);
		for (size_t at = 0; at < ADDRESSES; at++) {
			both.number[at] = model.number[at] ? model.number[at] : other_model.number[at];
			cut.number[at] = other_model.number[at] ? both.number[at] : 0;
		}
		assert_int_equal(dt_rule_ranges_cover(&ranges, &other), 0);
		expect(&ranges, &both);
		assert_int_equal(dt_rule_ranges_cut(&ranges, &other), 0);
		expect(&ranges, &cut);
	}
}

/* Runs in the order of a linker's input, each ascending: as many as there can be, and none. */
static void test_runs_of_any_number(void **state)
{
	(void)state;
	for (uint64_t runs = 0; runs < 70; runs++) {
		RANGES_OWNED ranges = { 0 };

		for (uint64_t run = runs; run-- > 0;)
			for (uint64_t i = 0; i < 50; i++)
				add(&ranges, i * runs + run, i * runs + run + 1, (int)(i * runs + run));
		assert_int_equal(dt_rule_ranges_sort(&ranges), 0);
		assert_int_equal(ranges.count, 50 * runs);
		for (size_t i = 0; i < ranges.count; i++)
			assert_int_equal(ranges.items[i].rule.cfa_offset, i);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_against_a_model),
		cmocka_unit_test(test_runs_of_any_number),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
