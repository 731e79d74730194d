/* SPDX-License-Identifier: BSD-2-Clause */
/* Tracebacks of statistics in Python's words, with its limits: Traceback.format(limit, most_recent_first). */
#include <errno.h>
#include <unistd.h>

#include "said.h"
#include "snapshot_sample.h"

#include <domtrace/snapshot.h>

static const char source[] = "def load(n):\n    return np.ones(n)\n\n\n\tdata = load(5)  \n";

/* What is printed of the largest traceback of the sample: `main` and `load` of a file that is there, then one of none. */
static char *format(const struct dt_statistics *statistics, int64_t limit, bool most_recent_first)
{
	struct dt_traceback_format_opts opts = { .size = sizeof(opts), .limit = limit, .most_recent_first = most_recent_first };
	DT_FREE char **lines = NULL;
	char *text = strdup("");
	size_t count = 99;

	assert_int_equal(dt_statistics_format(statistics, 0, &opts, &lines, &count), 0);
	for (size_t i = 0; i < count; i++) {
		char *longer = NULL;

		assert_true(asprintf(&longer, "%s%s\n", text, lines[i]) > 0);
		free(text);
		text = longer;
	}
	assert_null(lines[count]);
	return text;
}

static void expect(const struct dt_statistics *statistics, int64_t limit, bool most_recent_first, const char *want)
{
	DT_FREE char *text = format(statistics, limit, most_recent_first);

	assert_string_equal(text, want);
}

static void test_format(void **state)
{
	char path[] = "/tmp/domtrace-test-XXXXXX", one[128], two[128], whole[512], back[512];
	const char *three = "  File \"/nonexistent/lib.py\", line 9\n";
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	int fd = mkstemp(path);
	struct dt_snapshot *sample = new_sample(path);
	struct dt_statistics *statistics = NULL;
	char **lines;

	(void)state;
	assert_int_equal(write(fd, source, sizeof(source) - 1), (ssize_t)sizeof(source) - 1);
	snprintf(one, sizeof(one), "  File \"%s\", line 5\n    data = load(5)\n", path);
	snprintf(two, sizeof(two), "  File \"%s\", line 2\n    return np.ones(n)\n", path);
	snprintf(whole, sizeof(whole), "%s%s%s", one, two, three);
	snprintf(back, sizeof(back), "%s%s%s", three, two, one);
	assert_int_equal(dt_snapshot_statistics(sample, NULL, &log, &statistics), 0);
	expect(statistics, 0, false, whole);
	expect(statistics, 3, false, whole);
	expect(statistics, INT64_MAX, false, whole);
	expect(statistics, 0, true, back);
	expect(statistics, 1, false, three);            /* the most recent one */
	expect(statistics, 2, true, (snprintf(whole, sizeof(whole), "%s%s", three, two), whole));
	expect(statistics, -1, false, (snprintf(whole, sizeof(whole), "%s%s", one, two), whole));
	expect(statistics, -2, false, one);
	expect(statistics, -3, false, "");
	expect(statistics, INT64_MIN, false, "");
	assert_int_equal(dt_statistics_format(statistics, 3, NULL, &lines, NULL), -ERANGE);
	assert_int_equal(dt_statistics_format(statistics, 0, &(struct dt_traceback_format_opts){ .limit = 1 }, &lines, NULL), -EINVAL);
	dt_statistics_free(statistics);
	dt_snapshot_free(sample);
	close(fd);
	unlink(path);
}

/* A module is no source: no line of it is shown. */
static void test_native(void **state)
{
	struct said said = { 0 };
	struct dt_log log = said_log(&said);
	struct dt_snapshot *sample = new_sample("/nonexistent/app.py");
	struct dt_statistics *statistics = NULL;
	DT_FREE char **lines = NULL;
	size_t count;

	(void)state;
	sample->frames[3].module = "/bin/sh";
	sample->frames[3].address = 1;
	assert_int_equal(dt_snapshot_statistics(sample, NULL, &log, &statistics), 0);
	assert_int_equal(dt_statistics_format(statistics, 2, NULL, &lines, &count), 0);
	assert_int_equal(count, 2);
	assert_string_equal(lines[0], "  File \"/bin/sh\", line 1");
	dt_statistics_free(statistics);
	dt_snapshot_free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_format), cmocka_unit_test(test_native) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
