/* SPDX-License-Identifier: BSD-2-Clause */
/* What an heir is said to have inherited when it has freed more than was found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "session/collect_rows.h"

#define SLOT 7
#define OTHER 8
#define TRACEBACK 100

struct scene {
	struct dt_collect collect;
	struct dt_traced traced;
	struct dt_traced *by_slot[DT_PROCESSES_MAX];
};

static void begin(struct scene *scene, const struct dt_inherited *inherited, size_t count)
{
	*scene = (struct scene){ .traced = { .slot = SLOT, .generation = 1, .inherited_known = true, .inherited_count = count } };
	scene->traced.inherited = calloc(count + 1, sizeof(*inherited));
	assert_non_null(scene->traced.inherited);
	for (size_t i = 0; i < count; i++)
		scene->traced.inherited[i] = inherited[i];
	scene->by_slot[SLOT] = &scene->traced;
}

static void end(struct scene *scene)
{
	struct dt_collect_row *row, *next;

	HASH_ITER(hh, scene->collect.rows, row, next) {
		HASH_DEL(scene->collect.rows, row);
		free(row);
	}
	free(scene->traced.inherited);
}

static void put(struct scene *scene, uint32_t slot, uint64_t traceback, struct dt_tally one, struct dt_tally other)
{
	struct dt_collect_row *row = calloc(1, sizeof(*row));

	assert_non_null(row);
	row->key = (struct dt_trace_key){ .owner = { slot, 0 }, .traceback = traceback, .generation = 1 };
	row->half[0] = one;
	row->half[1] = other;
	HASH_ADD(hh, scene->collect.rows, key, sizeof(row->key), row);
}

static void expect(const struct scene *scene, size_t count, const struct dt_inherited *want)
{
	assert_int_equal(scene->traced.inherited_count, count);
	for (size_t i = 0; i < count; i++) {
		const struct dt_inherited *row = &scene->traced.inherited[i];

		assert_int_equal(row->owner.process, SLOT);
		assert_int_equal(row->owner.domain, 0);
		assert_int_equal(row->traceback, want[i].traceback);
		assert_int_equal(row->blocks, want[i].blocks);
		assert_int_equal(row->bytes, want[i].bytes);
	}
}

#define INHERITED(...) { .owner = { SLOT, 0 }, __VA_ARGS__ }

static struct dt_tally tally(uint64_t allocations, uint64_t allocated_bytes, uint64_t frees, uint64_t freed_bytes)
{
	return (struct dt_tally){ .allocations = allocations, .allocated_bytes = allocated_bytes, .frees = frees, .freed_bytes = freed_bytes };
}

static void test_enough(void **state)
{
	const struct dt_inherited inherited[] = { INHERITED(.traceback = TRACEBACK, .blocks = 3, .bytes = 300) };
	struct scene scene;

	(void)state;
	begin(&scene, inherited, 1);
	put(&scene, SLOT, TRACEBACK, tally(1, 10, 2, 200), tally(0, 0, 2, 110));
	put(&scene, SLOT, DT_TRACEBACK_TOTAL, tally(0, 0, 9, 900), tally(0, 0, 0, 0)); /* the sum of the others, which are looked at */
	put(&scene, OTHER, TRACEBACK, tally(0, 0, 9, 900), tally(0, 0, 0, 0));
	assert_int_equal(dt_collect_amend(&scene.collect, scene.by_slot), 0);
	expect(&scene, 1, inherited);
	end(&scene);
}

/* Once; what is added is known the next time. */
static void test_more_was_freed(void **state)
{
	const struct dt_inherited inherited[] = { INHERITED(.traceback = TRACEBACK, .blocks = 3, .bytes = 300) };
	const struct dt_inherited want[] = {
		inherited[0],
		INHERITED(.traceback = TRACEBACK, .blocks = 2, .bytes = 0), /* larger ones than are known are live still */
		INHERITED(.traceback = TRACEBACK + 1, .blocks = 1, .bytes = 64),
	};
	struct scene scene;

	(void)state;
	begin(&scene, inherited, 1);
	put(&scene, SLOT, TRACEBACK, tally(1, 10, 2, 20), tally(0, 0, 4, 40));
	put(&scene, SLOT, TRACEBACK + 1, tally(0, 0, 0, 0), tally(0, 0, 1, 64));
	for (int again = 0; again < 2; again++) {
		assert_int_equal(dt_collect_amend(&scene.collect, scene.by_slot), 0);
		expect(&scene, 3, want);
	}
	end(&scene);
}

/* The row without a traceback stands for all. */
static void test_without_traceback(void **state)
{
	const struct dt_inherited inherited[] = {
		INHERITED(.traceback = TRACEBACK, .blocks = 3, .bytes = 300),
		INHERITED(.traceback = DT_TRACEBACK_LOST, .blocks = 1, .bytes = 10),
	};
	const struct dt_inherited want[] = { inherited[0], inherited[1], INHERITED(.traceback = DT_TRACEBACK_LOST, .blocks = 1, .bytes = 5) };
	struct scene scene;

	(void)state;
	begin(&scene, inherited, 2);
	put(&scene, SLOT, DT_TRACEBACK_LOST, tally(2, 20, 7, 335), tally(0, 0, 0, 0));
	assert_int_equal(dt_collect_amend(&scene.collect, scene.by_slot), 0);
	expect(&scene, 3, want);
	end(&scene);
}

/* After a clear it has nothing that it inherited; and before that is known there is nothing to compare. */
static void test_not_looked_at(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, NULL, 0);
	put(&scene, SLOT, TRACEBACK, tally(0, 0, 1, 64), tally(0, 0, 0, 0));
	scene.traced.generation = 2;
	assert_int_equal(dt_collect_amend(&scene.collect, scene.by_slot), 0);
	expect(&scene, 0, NULL);
	scene.traced.generation = 1;
	scene.traced.inherited_known = false;
	assert_int_equal(dt_collect_amend(&scene.collect, scene.by_slot), 0);
	expect(&scene, 0, NULL);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_more_was_freed),
		cmocka_unit_test(test_without_traceback),
		cmocka_unit_test(test_not_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
