/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracebacks of images that come and go: what is left is right, and nothing else is left. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "session/tracebacks.h"

#define IMAGES 300
#define ROWS 20                         /* of one image */

struct scene {
	struct dt_modules modules;
	struct dt_tracebacks *tracebacks;
};

static void begin(struct scene *scene)
{
	struct dt_resolve_opts opts = { .modules = &scene->modules };

	*scene = (struct scene){ 0 };
	assert_int_equal(dt_tracebacks_new(&opts, &scene->tracebacks), 0);
}

/* Of no process: its addresses are in no mapping, and nobody is asked for names. */
static struct dt_traced image(uint32_t number)
{
	return (struct dt_traced){ .pid = -1, .image = number };
}

static void add_code(struct scene *scene, uint32_t number)
{
	static const char name[] = "function";
	struct dt_traced traced = image(number);
	struct dt_code_event event = {
		.event.type = DT_EVENT_CODE,
		.code = number,
		.name_string = { sizeof(name) - 1, 1 },
		.lines_format = DT_PYTHON_LOCATIONS,
	};

	event.file_string = (struct dt_code_string){ (uint32_t)snprintf((char *)event.file, sizeof(event.file), "file-%u", number), 1 };
	memcpy(event.name, name, sizeof(name) - 1);
	assert_int_equal(dt_tracebacks_add_code(scene->tracebacks, &traced, &event, offsetof(struct dt_code_event, lines)), 0);
}

/* Three frames: one that all of its image have, one of Python and one that only this traceback has. */
static void add_row(struct scene *scene, uint32_t number, uint32_t row)
{
	static const struct dt_maps none;
	struct dt_traced traced = image(number);
	struct dt_traceback_event event = {
		.event.type = DT_EVENT_TRACEBACK,
		.traceback = DT_TRACEBACK_FIRST + row,
		.frame_count = 3,
		.total_frames = 3,
		.frames = {
			{ .where = 0x100000 + 0x1000 * (uint64_t)number + row, .kind = DT_FRAME_NATIVE },
			{ .where = number, .instruction = ~0u, .kind = DT_FRAME_PYTHON },
			{ .where = 0x1000, .kind = DT_FRAME_NATIVE },
		},
	};

	assert_int_equal(dt_tracebacks_add(scene->tracebacks, &traced, &none, &event, sizeof(event)), 0);
}

static void add_image(struct scene *scene, uint32_t number)
{
	add_code(scene, number);
	for (uint32_t row = 0; row < ROWS; row++)
		add_row(scene, number, row);
}

static void remove_image(struct scene *scene, uint32_t number)
{
	struct dt_traced traced = image(number);

	dt_tracebacks_remove_process(scene->tracebacks, &traced);
}

static void expect_row(struct scene *scene, struct dt_snapshot *snapshot, uint32_t number, uint32_t of, uint32_t row)
{
	const struct dt_snapshot_traceback *traceback;
	const struct dt_snapshot_frame *python;
	uint32_t index;
	char file[32];
	bool cut;

	assert_int_equal(dt_tracebacks_copy(scene->tracebacks, number, DT_TRACEBACK_FIRST + row, snapshot, &index, &cut), 0);
	traceback = &snapshot->tracebacks[index];
	assert_false(cut);
	assert_int_equal(traceback->truncation, DT_TRUNCATION_none);
	assert_int_equal(traceback->frame_count, 3);
	assert_int_equal(snapshot->frames[traceback->frames[0]].address, 0x1000 - 1);
	python = &snapshot->frames[traceback->frames[1]];
	snprintf(file, sizeof(file), "file-%u", of);
	assert_string_equal(python->file, file);
	assert_string_equal(python->function, "function");
	assert_int_equal(snapshot->frames[traceback->frames[2]].address, 0x100000 + 0x1000 * (uint64_t)of + row - 1);
}

static void expect_image(struct scene *scene, uint32_t number)
{
	struct dt_snapshot *snapshot;

	assert_int_equal(dt_snapshot_new(&snapshot), 0);
	assert_int_equal(dt_tracebacks_begin(scene->tracebacks), 0);
	for (uint32_t row = 0; row < ROWS; row++)
		expect_row(scene, snapshot, number, number, row);
	dt_snapshot_free(snapshot);
}

static void expect_lost(struct scene *scene, uint32_t number)
{
	struct dt_snapshot *snapshot;
	uint32_t index;
	bool cut;

	assert_int_equal(dt_snapshot_new(&snapshot), 0);
	assert_int_equal(dt_tracebacks_begin(scene->tracebacks), 0);
	assert_int_equal(dt_tracebacks_copy(scene->tracebacks, number, DT_TRACEBACK_FIRST, snapshot, &index, &cut), 0);
	assert_int_equal(snapshot->tracebacks[index].truncation, DT_TRUNCATION_lost);
	dt_snapshot_free(snapshot);
}

static void test_come_and_go(void **state)
{
	struct scene scene;
	size_t most = 0;

	(void)state;
	begin(&scene);
	add_image(&scene, 1);
	for (uint32_t number = 2; number < IMAGES; number++) {
		add_image(&scene, number);
		expect_image(&scene, number);
		remove_image(&scene, number);
		expect_lost(&scene, number);
		assert_int_equal(dt_tracebacks_prune(scene.tracebacks), 0);
		expect_image(&scene, 1);
		if (dt_tracebacks_places(scene.tracebacks) > most)
			most = dt_tracebacks_places(scene.tracebacks);
	}
	/* Less than half of the 6,000 that there have been: those of one image, twice, and what is not worth a look. */
	assert_in_range(most, ROWS, 1500);
	remove_image(&scene, 1);
	remove_image(&scene, 1);
	expect_lost(&scene, 1);
	dt_tracebacks_free(scene.tracebacks);
}

/* Many that stay, of which a part goes: those that are kept get other numbers. */
static void test_part_goes(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene);
	for (uint32_t number = 1; number <= IMAGES; number++)
		add_image(&scene, number);
	for (uint32_t number = 1; number <= IMAGES; number++)
		if (number % 3)
			remove_image(&scene, number);
	assert_int_equal(dt_tracebacks_prune(scene.tracebacks), 0);
	assert_int_equal(dt_tracebacks_places(scene.tracebacks), IMAGES / 3 * (ROWS + 1));
	for (uint32_t number = 3; number <= IMAGES; number += 3)
		expect_image(&scene, number);
	/* What has gone may come again. */
	add_image(&scene, 1);
	add_image(&scene, 3);
	expect_image(&scene, 1);
	expect_image(&scene, 3);
	assert_int_equal(dt_tracebacks_places(scene.tracebacks), (IMAGES / 3 + 1) * (ROWS + 1));
	dt_tracebacks_free(scene.tracebacks);
}

/* The tracebacks of blocks that a child inherited stay for as long as the child does. */
static void test_inherited(void **state)
{
	struct scene scene;
	struct dt_snapshot *snapshot;

	(void)state;
	begin(&scene);
	for (uint32_t number = 1; number <= IMAGES; number++)
		add_image(&scene, number);
	assert_int_equal(dt_tracebacks_inherit(scene.tracebacks, IMAGES + 1, 5, DT_TRACEBACK_FIRST + 7), 0);
	assert_int_equal(dt_tracebacks_inherit(scene.tracebacks, IMAGES + 1, 5, DT_TRACEBACK_FIRST + 7), 0);
	assert_int_equal(dt_tracebacks_inherit(scene.tracebacks, IMAGES + 1, 5, DT_TRACEBACK_FIRST + ROWS), 0);
	assert_int_equal(dt_tracebacks_inherit(scene.tracebacks, IMAGES + 1, IMAGES + 2, DT_TRACEBACK_FIRST), 0);
	for (uint32_t number = 1; number <= IMAGES; number++)
		remove_image(&scene, number);
	assert_int_equal(dt_tracebacks_prune(scene.tracebacks), 0);
	assert_int_equal(dt_tracebacks_places(scene.tracebacks), 2);
	assert_int_equal(dt_snapshot_new(&snapshot), 0);
	assert_int_equal(dt_tracebacks_begin(scene.tracebacks), 0);
	expect_row(&scene, snapshot, IMAGES + 1, 5, 7);
	dt_snapshot_free(snapshot);
	expect_lost(&scene, IMAGES + 1);
	dt_tracebacks_free(scene.tracebacks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_come_and_go),
		cmocka_unit_test(test_part_goes),
		cmocka_unit_test(test_inherited),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
