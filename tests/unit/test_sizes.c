/* SPDX-License-Identifier: BSD-2-Clause */
/* sizes: classes of traces and domains, from what was seen of their blocks to files, filters, merged snapshots and reports. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "export/fold.h"
#include "snapshot/merge.h"
#include "snapshot/sizes.h"
#include "snapshot/snapshot.h"
#include "snapshot/traces.h"
#include "snapshot_sample.h"

static void expect_sizes(const struct dt_snapshot_sizes *sizes, size_t count, const struct dt_snapshot_size *want)
{
	assert_int_equal(sizes->count, count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(sizes->rows[i].upper_bytes, want[i].upper_bytes);
		assert_int_equal(sizes->rows[i].blocks, want[i].blocks);
		assert_int_equal(sizes->rows[i].bytes, want[i].bytes);
	}
}

#define EXPECT_SIZES(sizes, ...) do { \
	const struct dt_snapshot_size want_[] = { __VA_ARGS__ }; \
	expect_sizes(&(sizes), DT_ARRAY_SIZE(want_), want_); \
} while (0)

static void test_classes(void **state)
{
	(void)state;
	assert_int_equal(dt_size_class(0), 0);
	assert_int_equal(dt_size_class(1), 0);
	for (unsigned i = 1; i < DT_SIZE_CLASSES; i++) {
		assert_int_equal(dt_size_class(1ull << i), i);
		assert_int_equal(dt_size_class((1ull << (i - 1)) + 1), i);
	}
	assert_int_equal(dt_size_class(UINT64_MAX), 63);
}

/* The sample has, in its first domain, a trace of 12 blocks with 1,200,000 bytes, and one of 2 with 13,700,224. */
static struct dt_snapshot *new_sized(const struct dt_sized *seen, size_t count)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py");
	const char *reason = "";

	assert_int_equal(dt_sizes_set(sample, seen, count), 0);
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
	return sample;
}

#define NEW_SIZED(...) ({ \
	const struct dt_sized seen_[] = { __VA_ARGS__ }; \
	new_sized(seen_, DT_ARRAY_SIZE(seen_)); \
})

#define WHOLE { 1, 22, 1, 3700224 }, { 0, 17, 10, 1100000 }, { 2, 12, 3, 12288 }, { 1, 24, 1, 10000000 }, { 0, 16, 2, 100000 }

static void test_whole(void **state)
{
	struct dt_snapshot *sample = NEW_SIZED(WHOLE);

	(void)state;
	EXPECT_SIZES(sample->traces[0].sizes, { 65536, 2, 100000 }, { 131072, 10, 1100000 });
	EXPECT_SIZES(sample->traces[1].sizes, { 4194304, 1, 3700224 }, { 16777216, 1, 10000000 });
	EXPECT_SIZES(sample->domains[0].sizes, { 65536, 2, 100000 }, { 131072, 10, 1100000 }, { 4194304, 1, 3700224 },
		     { 16777216, 1, 10000000 });
	EXPECT_SIZES(sample->domains[1].sizes, { 4096, 3, 12288 });
	for (uint32_t i = 0; i < sample->domain_count; i++)
		assert_true(sample->domains[i].sized && sample->domains[i].sizes_exact);
	assert_int_equal(sample->domains[2].sizes.count, 0);
	dt_snapshot_free(sample);
}

/* One block that was not seen has what remains; of two it is not known; more than there are, none are. */
static void test_missing(void **state)
{
	struct dt_snapshot *one = NEW_SIZED({ 0, 17, 10, 1100000 }, { 0, 17, 1, 99999 }, { 1, 23, 1, 5000000 }, { 2, 12, 3, 12288 });
	struct dt_snapshot *two = NEW_SIZED({ 0, 17, 10, 1100000 }, { 1, 23, 2, 13700224 }, { 2, 12, 3, 12288 });
	struct dt_snapshot *many = NEW_SIZED({ 0, 17, 13, 1200000 }, { 1, 22, 1, 3700224 }, { 1, 22, 1, 3700224 }, { 2, 12, 3, 12289 });
	struct dt_snapshot *none = new_sized(NULL, 0);

	(void)state;
	EXPECT_SIZES(one->traces[0].sizes, { 1, 1, 1 }, { 131072, 11, 1199999 });
	EXPECT_SIZES(one->traces[1].sizes, { 8388608, 1, 5000000 }, { 16777216, 1, 8700224 });
	assert_true(one->domains[0].sizes_exact && one->domains[1].sizes_exact);
	EXPECT_SIZES(two->traces[0].sizes, { 131072, 10, 1100000 });
	assert_false(two->domains[0].sizes_exact);
	assert_true(two->domains[1].sizes_exact);
	for (uint32_t i = 0; i < many->trace_count; i++)
		assert_int_equal(many->traces[i].sizes.count | none->traces[i].sizes.count, 0);
	assert_false(many->domains[0].sizes_exact || many->domains[1].sizes_exact || none->domains[0].sizes_exact);
	assert_true(none->domains[2].sizes_exact); /* it has no blocks */
	dt_snapshot_free(one);
	dt_snapshot_free(two);
	dt_snapshot_free(many);
	dt_snapshot_free(none);
}

/* What cannot be is found, whoever wrote it. */
static void test_check(void **state)
{
	static const struct dt_snapshot_size wrong[][2] = {
		{ { 65536, 2, 100000 }, { 65536, 10, 1100000 } },       /* the same class twice, not in order, no class, … */
		{ { 131072, 10, 1100000 }, { 65536, 2, 100000 } },
		{ { 65537, 2, 100000 }, { 131072, 10, 1100000 } },
		{ { 0, 2, 100000 }, { 131072, 10, 1100000 } },
		{ { 65536, 0, 0 }, { 131072, 10, 1100000 } },
		{ { 65536, 2, 131073 }, { 131072, 10, 1100000 } },      /* … too many bytes, too few, … */
		{ { 65536, 2, 65537 }, { 131072, 10, 1100000 } },
		{ { 65536, 3, 100000 }, { 131072, 10, 1100000 } },      /* … more than is live, or not what its domain has */
		{ { 65536, 2, 100000 }, { 131072, 10, 1100001 } },
		{ { 65536, 2, 99999 }, { 131072, 10, 1100000 } },
		{ { 1ull << 63, UINT64_MAX, UINT64_MAX }, { 131072, 10, 1100000 } },
	};
	struct dt_snapshot *sample = NEW_SIZED(WHOLE);
	struct dt_snapshot_sizes right = sample->traces[0].sizes;
	const char *reason;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(wrong); i++) {
		sample->traces[0].sizes = (struct dt_snapshot_sizes){ wrong[i], 2 };
		assert_int_equal(dt_snapshot_check(sample, &reason), -EBADMSG);
		assert_non_null(strstr(reason, "size classes of domain 0 (numpy)"));
	}
	sample->traces[0].sizes = right;
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
	sample->domains[0].sizes_exact = false;
	assert_int_equal(dt_snapshot_check(sample, &reason), -EBADMSG);
	sample->domains[0].sizes_exact = true;
	sample->domains[0].sized = false;
	assert_int_equal(dt_snapshot_check(sample, &reason), -EBADMSG);
	dt_snapshot_free(sample);
}

/* Domains have the sums of the traces that are left. */
static void test_filter(void **state)
{
	struct dt_snapshot *sample = NEW_SIZED(WHOLE);
	const bool kept[4] = { false, true, false, true };
	const char *reason;

	(void)state;
	assert_int_equal(sample->trace_count, 4);
	assert_int_equal(dt_traces_keep(sample, kept), 0);
	EXPECT_SIZES(sample->domains[0].sizes, { 4194304, 1, 3700224 }, { 16777216, 1, 10000000 });
	assert_int_equal(sample->domains[1].sizes.count, 0);
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
	dt_snapshot_free(sample);
}

static char *written(const struct dt_snapshot *snapshot)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(dt_snapshot_write_json(snapshot, out), 0);
	fclose(out);
	return text;
}

static int load(const char *text, struct dt_snapshot **ret_snapshot)
{
	int fd = memfd_create("snapshots", MFD_CLOEXEC), error;
	struct dt_log log = { 0 };
	char path[64];

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	error = dt_snapshot_load(path, &log, ret_snapshot);
	close(fd);
	return error;
}

/* The text with one part of it replaced. */
static char *changed(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *result;

	assert_non_null(at);
	assert_true(asprintf(&result, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) > 0);
	return result;
}

#define DOMAIN_SIZES "\"sizes\":[[65536,2,100000],[131072,10,1100000],[4194304,1,3700224],[16777216,1,10000000]],\"sizes_exact\":true}"
#define TRACE_SIZES "\"sizes\":[[65536,2,100000],[131072,10,1100000]]}"

static void test_files(void **state)
{
	static const char *const wrong[] = {
		"\"sizes\":[[65536,2],[131072,10,1100000]]}", "\"sizes\":[[65536,2,100000,1],[131072,10,1100000]]}", "\"sizes\":[65536]}",
		"\"sizes\":[[65536,2,-1],[131072,10,1100000]]}", "\"sizes\":{}}", "\"sizes\":null}", "\"sizes\":[[65536,2,100000]]}",
		"\"sizes\":[[131072,12,1200000]]}",
	};
	struct dt_snapshot *sample = NEW_SIZED(WHOLE), *read;
	DT_FREE char *text = written(sample), *again = NULL;

	(void)state;
	assert_non_null(strstr(text, DOMAIN_SIZES));
	assert_non_null(strstr(text, TRACE_SIZES));
	assert_non_null(strstr(text, "\"sizes\":[],\"sizes_exact\":true}"));
	assert_int_equal(load(text, &read), 0);
	again = written(read);
	assert_string_equal(again, text);
	dt_snapshot_free(read);
	for (size_t i = 0; i < DT_ARRAY_SIZE(wrong); i++) {
		DT_FREE char *broken = changed(text, TRACE_SIZES, wrong[i]);

		assert_true(load(broken, &read) < 0);
	}
	dt_snapshot_free(sample);
	sample = new_sample("/srv/app.py");
	DT_FREE char *without = written(sample);
	assert_null(strstr(without, "sizes"));
	dt_snapshot_free(sample);
}

/* Domains that have sizes keep them beside those that have none. */
static void test_merge(void **state)
{
	struct dt_snapshot *sized = NEW_SIZED(WHOLE), *plain = new_sample("/srv/app.py"), *merged;
	uint32_t process;
	const char *reason;

	(void)state;
	for (uint32_t i = 0; i < plain->process_count; i++)
		plain->processes[i].pid++;
	assert_int_equal(dt_snapshot_new(&merged), 0);
	assert_int_equal(dt_merge_add(merged, plain, &process), 0);
	assert_int_equal(dt_merge_add(merged, sized, &process), 0);
	dt_snapshot_free(sized);
	assert_int_equal(dt_snapshot_check(merged, &reason), 0);
	assert_false(merged->domains[0].sized || merged->domains[1].sized || merged->domains[2].sized);
	EXPECT_SIZES(merged->domains[4].sizes, { 4096, 3, 12288 });
	EXPECT_SIZES(merged->traces[4].sizes, { 65536, 2, 100000 }, { 131072, 10, 1100000 });
	assert_true(merged->domains[3].sized && merged->domains[5].sized);
	dt_snapshot_free(plain);
	dt_snapshot_free(merged);
}

static char *reported(const struct dt_snapshot *snapshot, bool fold)
{
	struct dt_report_opts opts = { .size = sizeof(opts), .fold = fold };
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	assert_int_equal(dt_report_write(snapshot, &opts, out), 0);
	fclose(out);
	return text;
}

static void test_report(void **state)
{
	struct dt_snapshot *sample = NEW_SIZED(WHOLE), *folded;
	struct dt_snapshot *part = NEW_SIZED({ 0, 17, 10, 1100000 });
	DT_FREE char *text = reported(sample, false), *fold = reported(sample, true), *missing = reported(part, false);
	const char *reason;

	(void)state;
	assert_non_null(strstr(text, "by live bytes\n    live sizes <=64KiB:2 <=128KiB:10 <=4MiB:1 <=16MiB:1\n#1: "));
	assert_non_null(strstr(text, ")\n    live sizes <=4MiB:1 <=16MiB:1\n"));
	assert_non_null(strstr(text, ")\n    live sizes <=4KiB:3\n"));
	assert_non_null(strstr(fold, "by live bytes\n    live sizes <=64KiB:2 <=128KiB:10 <=4MiB:1 <=16MiB:1\n#1: "));
	assert_non_null(strstr(missing, "\n    live sizes <=128KiB:10 not known:4\n"));
	assert_non_null(strstr(missing, "\n    live sizes not known:3\n"));
	assert_int_equal(dt_fold_new(sample, &folded), 0);
	assert_int_equal(dt_snapshot_check(folded, &reason), 0);
	dt_snapshot_free(folded);
	dt_snapshot_free(sample);
	dt_snapshot_free(part);
}

/* Traces that become one when they are folded have the classes of both. */
static void test_fold(void **state)
{
	struct dt_snapshot *sample = NEW_SIZED(WHOLE), *folded;
	const char *reason;

	(void)state;
	sample->traces[1].traceback = sample->traces[0].traceback;
	assert_int_equal(dt_fold_new(sample, &folded), 0);
	assert_int_equal(dt_snapshot_check(folded, &reason), 0);
	assert_int_equal(folded->trace_count, 3);
	EXPECT_SIZES(folded->traces[0].sizes, { 65536, 2, 100000 }, { 131072, 10, 1100000 }, { 4194304, 1, 3700224 },
		     { 16777216, 1, 10000000 });
	dt_snapshot_free(folded);
	dt_snapshot_free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_classes), cmocka_unit_test(test_whole), cmocka_unit_test(test_missing), cmocka_unit_test(test_check),
		cmocka_unit_test(test_filter), cmocka_unit_test(test_files), cmocka_unit_test(test_merge), cmocka_unit_test(test_report),
		cmocka_unit_test(test_fold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
