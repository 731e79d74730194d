/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of a snapshot as callers of the library get them, whatever size their structs have; copies, merges and dumps. */
#include <errno.h>
#include <unistd.h>

#include "said.h"
#include "snapshot_sample.h"

#include <domtrace/snapshot.h>

#define FILE_NAME "/srv/app.py"

static void test_rows(void **state)
{
	struct dt_snapshot *sample = new_sample(FILE_NAME);
	struct dt_snapshot_info info = { .size = sizeof(info) };
	struct dt_snapshot_process_info process = { .size = sizeof(process) };
	struct dt_domain_info domain = { .size = sizeof(domain) };
	struct dt_trace_info trace = { .size = sizeof(trace) };
	struct dt_frame_info frame = { .size = sizeof(frame) };

	(void)state;
	assert_int_equal(dt_snapshot_get_info(sample, &info), 0);
	assert_int_equal(info.sequence, 3);
	assert_string_equal(info.label, "interval");
	assert_int_equal(info.elapsed_ns, 5000000000);
	assert_int_equal(info.traceback_limit, 3);
	assert_true(info.complete);
	assert_int_equal(info.process_count * 10000 + info.domain_count * 100 + info.trace_count, 20304);
	assert_int_equal(dt_snapshot_get_process(sample, 0, &process), 0);
	assert_int_equal(process.pid, 4242);
	assert_string_equal(process.command[1], "app.py");
	assert_string_equal(process.python, "3.11.2");
	assert_int_equal(dt_snapshot_get_domain(sample, 0, &domain), 0);
	assert_string_equal(domain.name, "numpy");
	assert_int_equal(domain.process, 0);
	assert_int_equal(domain.live_bytes, 14900224);
	assert_int_equal(domain.peak_bytes, 31457280);
	assert_int_equal(domain.temporary, 80);
	assert_int_equal(dt_snapshot_get_trace(sample, 1, &trace), 0);
	assert_int_equal(trace.live_blocks, 2);
	assert_int_equal(trace.live_bytes, 13700224);
	assert_int_equal(trace.frame_count, 3);
	assert_int_equal(trace.total_frames, 8);
	assert_null(trace.truncated);
	assert_int_equal(dt_snapshot_get_frame(sample, 1, 0, &frame), 0);
	assert_string_equal(frame.filename, FILE_NAME);
	assert_int_equal(frame.lineno, 5);
	assert_true(frame.python);
	assert_int_equal(dt_snapshot_get_trace(sample, 2, &trace), 0);
	assert_string_equal(trace.truncated, "no_frame_pointer");
	assert_int_equal(dt_snapshot_get_frame(sample, 2, 0, &frame), 0);
	assert_string_equal(frame.filename, "/lib/x86_64-linux-gnu/libc.so.6"); /* no source: the module, and the address in it */
	assert_int_equal(frame.lineno, 155209);
	assert_null(frame.file);
	assert_false(frame.python);
	dt_snapshot_free(sample);
}

static void test_rows_that_are_not_there(void **state)
{
	struct dt_snapshot *sample = new_sample(FILE_NAME);
	struct dt_snapshot_process_info process = { .size = sizeof(process) };
	struct dt_domain_info domain = { .size = sizeof(domain) };
	struct dt_trace_info trace = { .size = sizeof(trace) };
	struct dt_frame_info frame = { .size = sizeof(frame) };

	(void)state;
	assert_int_equal(dt_snapshot_get_process(sample, 2, &process), -ERANGE);
	assert_int_equal(dt_snapshot_get_domain(sample, 3, &domain), -ERANGE);
	assert_int_equal(dt_snapshot_get_trace(sample, 4, &trace), -ERANGE);
	assert_int_equal(dt_snapshot_get_trace(sample, SIZE_MAX, &trace), -ERANGE);
	assert_int_equal(dt_snapshot_get_frame(sample, 4, 0, &frame), -ERANGE);
	assert_int_equal(dt_snapshot_get_frame(sample, 0, 1, &frame), -ERANGE);
	dt_snapshot_free(sample);
}

/* A caller that was built with an older or a newer header. */
static void test_sizes(void **state)
{
	struct dt_snapshot *sample = new_sample(FILE_NAME);
	struct { struct dt_domain_info info; uint64_t later; } newer = { .info.size = sizeof(newer), .later = 7 };
	struct dt_domain_info older, none = { 0 };

	(void)state;
	memset(&older, 0x55, sizeof(older));
	older.size = offsetof(struct dt_domain_info, live_bytes);
	assert_int_equal(dt_snapshot_get_domain(sample, 0, &older), 0);
	assert_int_equal(older.size, offsetof(struct dt_domain_info, live_bytes));
	assert_int_equal(older.live_blocks, 14);
	assert_int_equal(older.live_bytes, 0x5555555555555555);
	assert_int_equal(dt_snapshot_get_domain(sample, 0, &newer.info), 0);
	assert_int_equal(newer.info.live_bytes, 14900224);
	assert_int_equal(newer.later, 0);
	assert_int_equal(dt_snapshot_get_domain(sample, 0, &none), -EINVAL);
	dt_snapshot_free(sample);
}

static char *json_of(const struct dt_snapshot *snapshot)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(dt_snapshot_write_json(snapshot, out), 0);
	fclose(out);
	return text;
}

/* What is done to a copy is not done to the other; dumped and loaded it is the same again. */
static void test_copy_and_dump(void **state)
{
	char directory[] = "/tmp/domtrace-test-XXXXXX", path[64];
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	struct dt_filter_opts filter = { .size = sizeof(filter), .filters = (const char *const[]){ "domain=numpy", NULL } };
	struct dt_snapshot *sample = new_sample(FILE_NAME), *copy, *loaded;
	DT_FREE char *before = json_of(sample), *after = NULL, *again = NULL;

	(void)state;
	assert_int_equal(dt_snapshot_copy(sample, &copy), 0);
	assert_int_equal(dt_snapshot_filter(copy, &filter, &log), 0);
	after = json_of(sample);
	assert_string_equal(before, after);
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/100%%n.json", directory); /* no pattern here */
	assert_int_equal(dt_snapshot_dump(copy, path, &log), 0);
	assert_int_equal(dt_snapshot_dump(sample, path, &log), 0);
	assert_int_equal(dt_snapshot_load(path, &log, &loaded), 0);
	again = json_of(loaded);
	assert_string_equal(before, again);
	unlink(path);
	assert_int_equal(said.lines, 0);
	rmdir(directory);
	assert_int_equal(dt_snapshot_dump(sample, path, &log), -ENOENT);
	assert_int_equal(said.lines, 1);
	dt_snapshot_free(loaded);
	dt_snapshot_free(copy);
	dt_snapshot_free(sample);
}

static void test_merge(void **state)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	struct dt_snapshot *one = new_sample(FILE_NAME), *other = new_mixed_sample(FILE_NAME), *all;
	struct dt_snapshot_info info = { .size = sizeof(info) };

	(void)state;
	assert_int_equal(dt_snapshot_merge((const struct dt_snapshot *[]){ one, other }, 2, &log, &all), -EEXIST);
	assert_int_equal(said.lines, 1);
	assert_non_null(strstr(said.last, "process 4242 has the same domain"));
	other->processes[0].pid++;
	assert_int_equal(dt_snapshot_merge((const struct dt_snapshot *[]){ one, other }, 2, &log, &all), 0);
	dt_snapshot_get_info(all, &info);
	assert_int_equal(info.process_count * 10000 + info.domain_count * 100 + info.trace_count, 30511);
	dt_snapshot_free(all);
	dt_snapshot_free(one);
	dt_snapshot_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows), cmocka_unit_test(test_rows_that_are_not_there), cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_copy_and_dump), cmocka_unit_test(test_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
