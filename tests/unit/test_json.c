/* SPDX-License-Identifier: BSD-2-Clause */
/* json: the document, read back and compared whole; numbers beyond a double; names that are not UTF-8; full disks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>

#include <cmocka.h>
#include <yajl/yajl_tree.h>

#include <domtrace/domtrace.h>

#include "snapshot_sample.h"

static char *written(const struct dt_snapshot *snapshot, size_t *ret_size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, ret_size);

	assert_int_equal(dt_snapshot_write_json(snapshot, out), 0);
	fclose(out);
	assert_int_equal(strlen(text), *ret_size);
	return text;
}

static yajl_val parsed(const char *text)
{
	char reason[512];
	yajl_val tree = yajl_tree_parse(text, reason, sizeof(reason));

	if (!tree)
		fail_msg("not JSON: %s", reason);
	return tree;
}

static void assert_equal_trees(yajl_val a, yajl_val b, const char *where)
{
	char at[512];

	if (a->type != b->type)
		fail_msg("%s: types %d and %d", where, (int)a->type, (int)b->type);
	if (YAJL_IS_STRING(a) && strcmp(a->u.string, b->u.string))
		fail_msg("%s: \"%s\" and \"%s\"", where, a->u.string, b->u.string);
	if (YAJL_IS_NUMBER(a) && strcmp(a->u.number.r, b->u.number.r))
		fail_msg("%s: %s and %s", where, a->u.number.r, b->u.number.r);
	if (YAJL_IS_OBJECT(a)) {
		for (size_t i = 0; i < a->u.object.len && i < b->u.object.len; i++) {
			snprintf(at, sizeof(at), "%s.%s", where, a->u.object.keys[i]);
			if (strcmp(a->u.object.keys[i], b->u.object.keys[i]))
				fail_msg("%s: keys %s and %s", where, a->u.object.keys[i], b->u.object.keys[i]);
			assert_equal_trees(a->u.object.values[i], b->u.object.values[i], at);
		}
		if (a->u.object.len != b->u.object.len)
			fail_msg("%s: %zu and %zu keys", where, a->u.object.len, b->u.object.len);
	}
	if (YAJL_IS_ARRAY(a)) {
		for (size_t i = 0; i < a->u.array.len && i < b->u.array.len; i++) {
			snprintf(at, sizeof(at), "%s[%zu]", where, i);
			assert_equal_trees(a->u.array.values[i], b->u.array.values[i], at);
		}
		if (a->u.array.len != b->u.array.len)
			fail_msg("%s: %zu and %zu elements", where, a->u.array.len, b->u.array.len);
	}
}

static void assert_document(struct dt_snapshot *sample, const char *name)
{
	size_t size;
	DT_FREE char *text = written(sample, &size), *golden = sample_data(name);
	yajl_val got = parsed(text), expected = parsed(golden);

	assert_ptr_equal(strchr(text, '\n'), text + size - 1);
	assert_equal_trees(got, expected, "document");
	yajl_tree_free(got);
	yajl_tree_free(expected);
	dt_snapshot_free(sample);
}

static void test_whole_document(void **state)
{
	(void)state;
	assert_document(new_sample("/srv/app.py"), "snapshot_sample.json");
	assert_document(new_mixed_sample("/srv/app.py"), "snapshot_mixed.json");
}

#define MEMORY "\"memory\":{\"after_ns\":-5000000000,\"resident_bytes\":126418944,\"heap_bytes\":12288000,\"anonymous_mapping_bytes\":98000896," \
	"\"file_mapping_bytes\":16000000,\"other_mapping_bytes\":130048,\"private_bytes\":100000000,\"swap_bytes\":4096," \
	"\"hugetlb_bytes\":18446744073709551615}"
#define LAYERS "\"layers\":{\"exact\":true,\"after_ns\":20000000,\"libc_bytes\":12288,\"claimed_bytes\":12000,\"unclaimed_bytes\":288}"

static void test_memory_and_layers(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py");
	size_t size;

	(void)state;
	sample_layers(sample);
	sample->processes[0].memory.hugetlb_bytes = UINT64_MAX;
	DT_FREE char *text = written(sample, &size);

	assert_non_null(strstr(text, "\"rss_bytes\":126418944," MEMORY "," LAYERS "}"));
	assert_non_null(strstr(text, "\"rss_bytes\":5,\"memory\":null,\"layers\":null}"));
	assert_non_null(strstr(text, "\"freed_bytes\":85099775,\"temporary\":80,\"at_peak_exact\":false,\"in_libc_bytes\":12000,\"outside_libc_bytes\":14888224}"));
	assert_non_null(strstr(text, "\"freed_bytes\":40000000,\"temporary\":999999,\"at_peak_exact\":true,\"in_libc_bytes\":null,\"outside_libc_bytes\":null}"));
	dt_snapshot_free(sample);
}

static void test_ages(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py");
	const char *reason;
	size_t size;

	(void)state;
	sample_old(sample);
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
	DT_FREE char *text = written(sample, &size);
	assert_non_null(strstr(text, "\"traceback_limit\":3,\"ages\":{\"older_than_ns\":60000000000,\"age_ns\":60400000000,\"exact\":true},"));
	assert_non_null(strstr(text, ",\"outside_libc_bytes\":null,\"old_blocks\":5,\"old_bytes\":13900224}"));
	assert_non_null(strstr(text, "\"old_blocks\":4,\"old_bytes\":200000}"));
	assert_non_null(strstr(text, "\"old_blocks\":0,\"old_bytes\":0}"));
	sample->ages = (struct dt_snapshot_ages){ .older_than_ns = UINT64_MAX };
	DT_FREE char *young = written(sample, &size);
	assert_non_null(strstr(young, "\"ages\":{\"older_than_ns\":18446744073709551615,\"age_ns\":null,\"exact\":false},"));
	dt_snapshot_free(sample);
}

static void test_incomplete(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py");
	const char *complete[] = { "complete", NULL }, *live_full[] = { "losses", "live_full", NULL };
	size_t size;

	(void)state;
	sample->counters[DT_COUNTER_live_full] = 9223372036854775808u;
	DT_FREE char *text = written(sample, &size);
	yajl_val tree = parsed(text);

	assert_true(YAJL_IS_FALSE(yajl_tree_get(tree, complete, yajl_t_any)));
	assert_string_equal(YAJL_GET_NUMBER(yajl_tree_get(tree, live_full, yajl_t_number)), "9223372036854775808");
	yajl_tree_free(tree);
	dt_snapshot_free(sample);
}

/* An empty snapshot is a document too. */
static void test_empty(void **state)
{
	static const char *const tables[] = { "processes", "domains", "traces", "tracebacks", "frames" };
	struct dt_snapshot *snapshot = NULL;
	size_t size;

	(void)state;
	assert_int_equal(dt_snapshot_new(&snapshot), 0);
	sample_head(snapshot);
	DT_FREE char *text = written(snapshot, &size);
	yajl_val tree = parsed(text);

	for (size_t i = 0; i < DT_ARRAY_SIZE(tables); i++) {
		yajl_val table = yajl_tree_get(tree, (const char *[]){ tables[i], NULL }, yajl_t_array);

		assert_non_null(table);
		assert_int_equal(YAJL_GET_ARRAY(table)->len, 0);
	}
	yajl_tree_free(tree);
	dt_snapshot_free(snapshot);
}

static void test_failures_are_told(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py");
	DT_FILE FILE *full = fopen("/dev/full", "w");
	char small[64];
	DT_FILE FILE *tiny = fmemopen(small, sizeof(small), "w");

	(void)state;
	assert_int_equal(dt_snapshot_write_json(sample, full), -ENOSPC);
	setvbuf(tiny, NULL, _IONBF, 0);
	assert_int_equal(dt_snapshot_write_json(sample, tiny), -ENOSPC);
	dt_snapshot_free(sample);
}

/* The same through the schema, and through a reader that is not ours. */
static void test_schema(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py"), *mixed = new_mixed_sample("/srv/app.py");
	struct dt_snapshot *layered = new_sample("/srv/app.py");
	DT_FREE char *checker = sample_data_path("../cases/snapshot_check.py");
	char path[] = "/tmp/domtrace-test-json-XXXXXX";
	DT_FREE char *command = NULL;
	int fd = mkstemp(path), status;

	(void)state;
	assert_true(fd >= 0);
	if (system("/usr/bin/python3 -c 'import jsonschema' 2>/dev/null")) {
		print_message("needs /usr/bin/python3 with jsonschema (python3-jsonschema)\n");
		close(fd);
		unlink(path);
		dt_snapshot_free(sample);
		dt_snapshot_free(mixed);
		dt_snapshot_free(layered);
		skip();
	}
	FILE *out = fdopen(fd, "w");

	for (sample->sequence = 1; sample->sequence <= 3; sample->sequence++)
		assert_int_equal(dt_snapshot_write_json(sample, out), 0);
	mixed->sequence = 1;    /* another run */
	assert_int_equal(dt_snapshot_write_json(mixed, out), 0);
	sample_layers(layered);
	layered->sequence = 2;
	assert_int_equal(dt_snapshot_write_json(layered, out), 0);
	fclose(out);
	assert_true(asprintf(&command, "/usr/bin/python3 '%s' '%s' >&2", checker, path) > 0);
	status = system(command);
	unlink(path);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	dt_snapshot_free(sample);
	dt_snapshot_free(mixed);
	dt_snapshot_free(layered);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole_document),
		cmocka_unit_test(test_memory_and_layers),
		cmocka_unit_test(test_ages), cmocka_unit_test(test_incomplete),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_failures_are_told),
		cmocka_unit_test(test_schema),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
