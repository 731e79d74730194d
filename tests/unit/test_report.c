/* SPDX-License-Identifier: BSD-2-Clause */
/* report: whole texts against tests/data/report_*.txt; width, colour, hostile names and files that must not be opened. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <domtrace/domtrace.h>

#include "export/figure.h"
#include "export/listing.h"
#include "export/text.h"
#include "snapshot_sample.h"

/* As wide as "/tmp/domtrace-test-XXXXXX.py", which stands for it in the golden texts. */
#define GOLDEN_PROGRAM "/tmp/domtrace-test-XXXXXX.py"

#define EARLY "        2 events whose traceback ends early: the oldest frame is code without\n" \
	      "          unwind tables, and without frame pointers\n"

static char program[sizeof(GOLDEN_PROGRAM)];

static int make_program(void **state)
{
	static const char text[] = "def load():\n\tdata = np.zeros((nx, ny))  # \x1b[31m evil \xff \xe2\x80\xae\n    return data\n\n"
				   "        result = \t load()\r\n";
	(void)state;
	strcpy(program, GOLDEN_PROGRAM);
	int fd = mkstemps(program, 3);
	bool wrong = fd < 0 || write(fd, text, sizeof(text) - 1) != sizeof(text) - 1;

	if (fd >= 0)
		close(fd);
	return wrong;
}

static int remove_program(void **state)
{
	(void)state;
	return unlink(program);
}

/* The report, with the program's name as the golden texts have it. */
static char *reported(const struct dt_snapshot *snapshot, struct dt_report_opts opts)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	opts.size = sizeof(opts);
	assert_int_equal(dt_report_write(snapshot, &opts, out), 0);
	fclose(out);
	for (char *at = text; (at = strstr(at, program)); )
		memcpy(at, GOLDEN_PROGRAM, strlen(GOLDEN_PROGRAM));
	return text;
}

static void assert_golden(const struct dt_snapshot *snapshot, struct dt_report_opts opts, const char *name)
{
	DT_FREE char *text = reported(snapshot, opts), *golden = NULL;

	/* To renew: DOMTRACE_TEST_WRITE=1, then read every line of the difference. */
	if (getenv("DOMTRACE_TEST_WRITE")) {
		DT_FREE char *path = sample_data_path(name);
		DT_FILE FILE *file = fopen(path, "w");

		assert_true(fputs(text, file) >= 0);
		return;
	}
	golden = sample_data(name);
	assert_string_equal(text, golden);
}

static void assert_fits(const char *text, size_t columns)
{
	while (*text) {
		size_t size = strcspn(text, "\n");
		DT_FREE char *line = strndup(text, size);

		if (dt_text_width(line) > columns)
			fail_msg("wider than %zu: %s", columns, line);
		text += size + (text[size] == '\n');
	}
}

static void test_golden(void **state)
{
	struct dt_snapshot *sample = new_sample(program);

	(void)state;
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_LIVE }, "report_live.txt");
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_COUNT, .top = 1 }, "report_count.txt");
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_ALLOCATED, .top = 1 }, "report_allocated.txt");
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_ALLOCATIONS, .top = 1 }, "report_allocations.txt");
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_PEAK }, "report_peak.txt");
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_AT_PEAK, .top = 1 }, "report_at_peak.txt");
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_TEMPORARY }, "report_temporary.txt");
	assert_golden(sample, (struct dt_report_opts){ .colour = true }, "report_colour.txt");
	assert_golden(sample, (struct dt_report_opts){ .columns = 66 }, "report_narrow.txt");
	dt_snapshot_free(sample);
}

/* Native and Python frames in one traceback, inlined ones, with and without the wrappers of allocators. */
static void test_mixed(void **state)
{
	struct dt_snapshot *sample = new_mixed_sample(program);

	(void)state;
	assert_golden(sample, (struct dt_report_opts){ .sort = DT_SORT_LIVE }, "report_mixed.txt");
	assert_golden(sample, (struct dt_report_opts){ .columns = 120 }, "report_mixed_wide.txt");
	assert_golden(sample, (struct dt_report_opts){ .fold = true }, "report_folded.txt");
	assert_golden(sample, (struct dt_report_opts){ .fold = true, .sort = DT_SORT_PEAK, .top = 2 }, "report_folded_peak.txt");
	dt_snapshot_free(sample);
}

static void test_losses(void **state)
{
	struct dt_snapshot *sample = new_sample(program);

	(void)state;
	sample->counters[DT_COUNTER_live_full] = 1234567;
	sample->counters[DT_COUNTER_calls_abandoned] = 1;
	sample->counters[DT_COUNTER_unmatched_frees] = 0;
	assert_golden(sample, (struct dt_report_opts){ .top = 1 }, "report_losses.txt");
	dt_snapshot_free(sample);
}

/* Nothing at all, then a process with nothing. */
static void test_empty(void **state)
{
	struct dt_snapshot *sample = NULL;

	(void)state;
	assert_int_equal(dt_snapshot_new(&sample), 0);
	sample_head(sample);
	DT_FREE char *none = reported(sample, (struct dt_report_opts){ .top = 3 });

	assert_string_equal(none, "Snapshot 3 (interval)  2026-01-31 12:00:00 UTC, 5.0 s traced\n\nNo process was traced.\n\n"
			    "Losses: none\nCounts: 12 frees of blocks older than the trace\n"
			    EARLY);
	SAMPLE_ADD(process, .pid = 1, .comm = "init", .rss_bytes = 1024);
	sample->elapsed_ns = 1249999999;
	DT_FREE char *idle = reported(sample, (struct dt_report_opts){ .top = 3 });

	assert_string_equal(idle, "Snapshot 3 (interval)  2026-01-31 12:00:00 UTC, ~1.2 s traced\n\nProcess 1 (init)  1 KiB resident\n"
			    "  Nothing was allocated in the traced domains.\n\n"
			    "Losses: none\nCounts: 12 frees of blocks older than the trace\n"
			    EARLY);
	dt_snapshot_free(sample);
}

/* Of many processes the largest are written out, the others in one line. */
static void test_other_processes(void **state)
{
	static const struct { const char *comm; uint64_t blocks, bytes; } rows[] = {
		{ "small", 1, 16 }, { "large", 3, 4096 }, { "idle", 0, 0 }, { "middle", 20, 1000 },
	};
	struct dt_snapshot *sample = NULL;
	uint32_t process;

	(void)state;
	assert_int_equal(dt_snapshot_new(&sample), 0);
	sample_head(sample);
	for (size_t i = 0; i < DT_ARRAY_SIZE(rows); i++) {
		process = SAMPLE_ADD(process, .pid = 100 + (int)i, .comm = rows[i].comm);
		SAMPLE_ADD(domain, .process = process, .name = "libc", .live_blocks = rows[i].blocks, .live_bytes = rows[i].bytes,
			   .peak_bytes = rows[i].bytes, .allocations = rows[i].blocks, .allocated_bytes = rows[i].bytes);
	}
	DT_FREE char *two = reported(sample, (struct dt_report_opts){ .processes = 2 });
	DT_FREE char *three = reported(sample, (struct dt_report_opts){ .processes = 3, .sort = DT_SORT_COUNT });
	DT_FREE char *all = reported(sample, (struct dt_report_opts){ .processes = 4 });
	DT_FREE char *unsaid = reported(sample, (struct dt_report_opts){ 0 });
	const char *large = strstr(two, "\nProcess 101 (large)"), *middle = strstr(two, "\nProcess 103 (middle)");

	assert_true(large && middle && large < middle);
	assert_null(strstr(two, "(small)"));
	assert_null(strstr(two, "(idle)"));
	assert_non_null(strstr(two, "\n2 other processes: 1 memory blocks: 0.0 KiB (16 bytes)\n"));
	assert_true(strstr(three, "(middle)") < strstr(three, "(large)"));
	assert_true(strstr(three, "(large)") < strstr(three, "(small)"));
	assert_non_null(strstr(three, "\n1 other process: 0 memory blocks: 0.0 KiB (0 bytes)\n"));
	/* Where none is left out they stay in the order in which they were added. */
	assert_null(strstr(all, "other process"));
	assert_true(strstr(all, "(small)") < strstr(all, "(large)") && strstr(all, "(large)") < strstr(all, "(idle)") &&
		    strstr(all, "(idle)") < strstr(all, "(middle)"));
	assert_string_equal(unsaid, all);
	dt_snapshot_free(sample);
}

/* Every length of path and function at every width: no line is wider, no control character gets through. */
static void test_width(void **state)
{
	static const char *const pieces[] = { "/usr", "/\xe6\x97\xa5\xe6\x9c\xac", "/e\xcc\x81", "/\xff\x1b]0;x\x07", "/\n\r\t",
					      "/\xc2\x85\xe2\x80\xa8" };
	char path[900] = "", function[900] = "";

	(void)state;
	for (size_t length = 0; length < 40; length++) {
		struct dt_snapshot *sample = NULL;

		strcat(path, pieces[length % DT_ARRAY_SIZE(pieces)]);
		strcat(function, pieces[length * 5 % DT_ARRAY_SIZE(pieces)]);
		assert_int_equal(dt_snapshot_new(&sample), 0);
		sample_head(sample);
		sample->label = path;
		SAMPLE_ADD(process, .pid = 4194304, .comm = path, .python = function, .exited = true, .rss_bytes = UINT64_MAX);
		SAMPLE_ADD(domain, .name = function, .live_blocks = 1000000000000, .live_bytes = 1000000000000000, .peak_bytes = UINT64_MAX);
		SAMPLE_ADD(frame, .kind = DT_FRAME_PYTHON, .file = path, .line = INT32_MAX, .function = function);
		SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = path, .function = function, .function_offset = UINT64_MAX,
			   .inlined = true);
		SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = path, .address = UINT64_MAX);
		SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = path, .function = function, .file = path, .line = INT32_MAX,
			   .inlined = true);
		SAMPLE_ADD(traceback, .frames = (uint32_t[]){ 0, 1, 2, 3 }, .frame_count = 4, .total_frames = UINT32_MAX,
			   .truncation = length % DT_TRUNCATION_COUNT);
		SAMPLE_ADD(trace, .blocks = 100000000000, .bytes = 100000000000000);
		for (unsigned columns = 66; columns < 200; columns += 7) {
			DT_FREE char *text = reported(sample, (struct dt_report_opts){ .columns = columns, .fold = columns % 2 });

			assert_fits(text, columns);
			for (const unsigned char *c = (unsigned char *)text; *c; c++)
				assert_true(*c >= ' ' || *c == '\n');
			assert_null(strstr(text, "\xc2\x85"));
			assert_null(strstr(text, "\xe2\x80\xa8"));
		}
		dt_snapshot_free(sample);
	}
}

static void test_figures(void **state)
{
	static const struct {
		void (*format)(uint64_t value, char text[DT_FIGURE_SIZE]);
		uint64_t value;
		const char *text;
	} cases[] = {
		{ dt_figure_grouped, 0, "0" },
		{ dt_figure_grouped, 999, "999" },
		{ dt_figure_grouped, 1000, "1,000" },
		{ dt_figure_grouped, UINT64_MAX, "18,446,744,073,709,551,615" },
		{ dt_figure_plain, UINT64_MAX, "18446744073709551615" },
		{ dt_figure_bytes, 0, "0 B" },
		{ dt_figure_bytes, 1023, "1023 B" },
		{ dt_figure_bytes, 1024, "1.0 KiB" },
		{ dt_figure_bytes, 1025, "~1.0 KiB" },
		{ dt_figure_bytes, 1536, "1.5 KiB" },
		{ dt_figure_bytes, 1 << 20, "1.0 MiB" },
		{ dt_figure_bytes, UINT64_MAX, "~16.0 EiB" },
		{ dt_figure_count, 9999, "9999" },
		{ dt_figure_count, 10000, "10.0 k" },
		{ dt_figure_count, 10001, "~10.0 k" },
		{ dt_figure_count, UINT64_MAX, "~18.4 E" },
		{ dt_figure_seconds, 5000000000, "5.0 s" },
		{ dt_figure_seconds, 5000000001, "~5.0 s" },
		{ dt_figure_seconds, 3600100000000, "3600.1 s" },
	};
	char text[DT_FIGURE_SIZE], kib[DT_FIGURE_SIZE + 32];
	const char *exact;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		cases[i].format(cases[i].value, text);
		assert_string_equal(text, cases[i].text);
	}
	dt_figure_kib(1200000, kib, &exact);
	assert_string_equal(kib, "1171.9 KiB (1,200,000 bytes)");
	assert_string_equal(exact, "(1,200,000 bytes)");
	dt_figure_kib(UINT64_MAX, kib, &exact);
	assert_string_equal(kib, "18014398509481984.0 KiB (18,446,744,073,709,551,615 bytes)");
}

static void test_listing_opens_only_regular_files(void **state)
{
	char directory[] = "/tmp/domtrace-test-listing-XXXXXX", *fifo = NULL, *large = NULL;
	struct dt_listing *listing = NULL;
	size_t size = 0;

	(void)state;
	assert_non_null(mkdtemp(directory));
	assert_true(asprintf(&fifo, "%s/fifo", directory) > 0 && asprintf(&large, "%s/large", directory) > 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	int fd = open(large, O_WRONLY | O_CREAT, 0600);

	assert_int_equal(ftruncate(fd, (4 << 20) + 1), 0);
	close(fd);
	assert_int_equal(dt_listing_new(&listing), 0);
	/* A FIFO without a writer would block an ordinary open for ever. */
	assert_null(dt_listing_find(listing, fifo, 1, &size));
	assert_null(dt_listing_find(listing, large, 1, &size));
	assert_null(dt_listing_find(listing, directory, 1, &size));
	assert_null(dt_listing_find(listing, "/dev/zero", 1, &size));
	assert_null(dt_listing_find(listing, "/proc/self/status", 1, &size));
	assert_null(dt_listing_find(listing, "<string>", 1, &size));
	assert_null(dt_listing_find(listing, "", 1, &size));
	assert_null(dt_listing_find(listing, program, 0, &size));
	assert_null(dt_listing_find(listing, program, -1, &size));
	assert_null(dt_listing_find(listing, program, 4, &size));
	assert_null(dt_listing_find(listing, program, 6, &size));
	assert_null(dt_listing_find(listing, program, 7, &size));
	assert_memory_equal(dt_listing_find(listing, program, 1, &size), "def load():", 11);
	assert_int_equal(size, 11);
	assert_memory_equal(dt_listing_find(listing, program, 5, &size), "result = \t load()", 17);
	assert_int_equal(size, 17);
	dt_listing_free(listing);
	unlink(fifo);
	unlink(large);
	rmdir(directory);
	free(fifo);
	free(large);
}

static void test_failures_are_told(void **state)
{
	struct dt_snapshot *sample = new_sample(program);
	struct dt_report_opts wrong = { .size = sizeof(wrong), .sort = DT_SORT_COUNT_ };
	DT_FILE FILE *full = fopen("/dev/full", "w");

	(void)state;
	assert_int_equal(dt_report_write(sample, NULL, full), -ENOSPC);
	assert_int_equal(dt_report_write(sample, &wrong, full), -EINVAL);
	dt_snapshot_free(sample);
}

/* With ages a report shows what is old, and nothing else. */
static void test_old(void **state)
{
	struct dt_snapshot *sample = new_sample(program);

	(void)state;
	sample_old(sample);
	assert_golden(sample, (struct dt_report_opts){ .top = 1 }, "report_old.txt");
	assert_golden(sample, (struct dt_report_opts){ .fold = true }, "report_old_folded.txt");
	sample->ages.exact = false;
	DT_FREE char *inexact = reported(sample, (struct dt_report_opts){ 0 });
	assert_non_null(strstr(inexact, "(asked for: 60.0 s); some\n  may be missing\n"));
	sample->ages.age_ns = 0;
	for (uint32_t i = 0; i < sample->trace_count; i++)
		sample->traces[i].old_blocks = sample->traces[i].old_bytes = 0;
	DT_FREE char *none = reported(sample, (struct dt_report_opts){ 0 });
	assert_non_null(strstr(none, "\nOld: none, as the trace does not go back for 60.0 s\n"));
	assert_non_null(strstr(none, "\nNo old blocks in numpy.\n"));
	dt_snapshot_free(sample);
}

static void test_sort_names(void **state)
{
	static const char *const names[] = { "live", "count", "allocated", "allocations", "peak", "at-peak", "temporary", "old" };
	enum dt_sort sort = DT_SORT_COUNT_;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++) {
		assert_string_equal(dt_sort_name((enum dt_sort)i), names[i]);
		assert_int_equal(dt_sort_parse(names[i], &sort), 0);
		assert_int_equal(sort, i);
	}
	assert_int_equal(dt_sort_parse("", &sort), -EINVAL);
	assert_int_equal(dt_sort_parse("Live", &sort), -EINVAL);
	assert_int_equal(dt_sort_parse("liv", &sort), -EINVAL);
	assert_int_equal(sort, DT_SORT_COUNT_ - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden),
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_losses),
		cmocka_unit_test(test_empty),
		cmocka_unit_test(test_other_processes),
		cmocka_unit_test(test_width),
		cmocka_unit_test(test_figures),
		cmocka_unit_test(test_listing_opens_only_regular_files),
		cmocka_unit_test(test_failures_are_told),
		cmocka_unit_test(test_old), cmocka_unit_test(test_sort_names),
	};

	return cmocka_run_group_tests(tests, make_program, remove_program);
}
