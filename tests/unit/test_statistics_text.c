/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics and differences as text, other forms of snapshots, and the sentences of filters and merges. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "snapshot_sample.h"
#include "snapshot_file.h"

#include <domtrace/domtrace.h>

static char said[1024];

static void tell(void *context, enum dt_log_level level, const char *text)
{
	(void)context, (void)level;
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s", text);
}

static const struct dt_log log_to_said = { tell, NULL };

static char *text_of(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, struct dt_statistics_opts opts)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	opts.size = sizeof(opts);
	said[0] = '\0';
	assert_int_equal(dt_statistics_write(snapshot, old, &opts, &log_to_said, out), 0);
	fclose(out);
	return text;
}

#define HEAD "Snapshot 3 (interval)  2026-01-31 12:00:00 UTC, 5.0 s traced\n"

static void test_report(void **state)
{
	struct dt_snapshot *sample = new_sample("/nonexistent/app.py");
	DT_FREE char *lines = text_of(sample, NULL, (struct dt_statistics_opts){ .group = DT_GROUP_LINENO, .top = 2 });
	DT_FREE char *files = text_of(sample, NULL, (struct dt_statistics_opts){ .group = DT_GROUP_FILENAME, .cumulative = true });
	DT_FREE char *domains = text_of(sample, NULL, (struct dt_statistics_opts){ .group = DT_GROUP_DOMAIN, .sort = DT_SORT_PEAK });
	DT_FREE char *processes = text_of(sample, NULL, (struct dt_statistics_opts){ .group = DT_GROUP_PROCESS });

	(void)state;
	assert_string_equal(lines, HEAD "\nTop 2 of 3 lines by live bytes\n"
			    "#1: 2 memory blocks: 13379.1 KiB (13,700,224 bytes)\n    /nonexistent/lib.py:9\n"
			    "#2: 12 memory blocks: 1171.9 KiB (1,200,000 bytes)\n    /nonexistent/app.py:5\n"
			    "\n1 other line: 3 memory blocks: 12.0 KiB (12,288 bytes)\n");
	assert_string_equal(files, HEAD "\n4 files by live bytes\n"
			    "Cumulative: a block counts for every frame of its traceback, as tracemalloc counts.\n"
			    "#1: 16 memory blocks: 27930.1 KiB (28,600,448 bytes)\n    /nonexistent/app.py\n"
			    "#2: 2 memory blocks: 13379.1 KiB (13,700,224 bytes)\n    /nonexistent/lib.py\n"
			    "#3: 3 memory blocks: 12.0 KiB (12,288 bytes)\n    <unknown>\n"
			    "#4: 3 memory blocks: 12.0 KiB (12,288 bytes)\n    /lib/x86_64-linux-gnu/libc.so.6\n");
	assert_string_equal(domains, HEAD "\n2 domains by peak bytes\n"
			    "#1: 14 memory blocks now: peak at most 15722.9 KiB (16,100,224 bytes)\n    numpy\n"
			    "#2: 3 memory blocks now: peak 64.0 KiB (65,536 bytes)\n    libc\n");
	assert_string_equal(processes, HEAD "\n1 process by live bytes\n"
			    "#1: 17 memory blocks: 14563.0 KiB (14,912,512 bytes)\n    4242 (python3)\n");
	dt_snapshot_free(sample);
}

/* What is in one of the two only, what has grown, and what has not changed. */
static void test_diff(void **state)
{
	struct dt_snapshot *old = new_sample("/nonexistent/app.py"), *new = new_sample("/nonexistent/app.py");
	DT_FREE char *text = NULL, *same = NULL;

	(void)state;
	new->traces[0].bytes += 300000;
	new->traces[0].blocks += 1;
	new->traces[1].blocks = new->traces[1].bytes = 0;
	old->traces[2].blocks = old->traces[2].bytes = 0;
	text = text_of(new, old, (struct dt_statistics_opts){ .group = DT_GROUP_LINENO });
	same = text_of(new, new, (struct dt_statistics_opts){ .group = DT_GROUP_LINENO });
	assert_string_equal(text, "Old: " HEAD "New: " HEAD "\n3 lines by difference of live bytes\n"
			    "#1: -2 memory blocks: -13379.1 KiB (-13,700,224 bytes), gone\n    now 0: 0.0 KiB (0 bytes)\n    /nonexistent/lib.py:9\n"
			    "#2: +1 memory blocks: +293.0 KiB (+300,000 bytes), +25.0 %\n    now 13: 1464.8 KiB (1,500,000 bytes)\n"
			    "    /nonexistent/app.py:5\n"
			    "#3: +3 memory blocks: +12.0 KiB (+12,288 bytes), new\n    now 3: 12.0 KiB (12,288 bytes)\n"
			    "    <unknown>:0xffffffffff600000\n");
	assert_string_equal(same, "Old: " HEAD "New: " HEAD "\nNothing has changed in 2 lines.\n");
	dt_snapshot_free(old);
	dt_snapshot_free(new);
}

static void test_cumulative(void **state)
{
	struct dt_snapshot *sample = new_sample("/nonexistent/app.py");
	struct dt_statistics_opts opts = { .size = sizeof(opts), .group = DT_GROUP_TRACEBACK, .cumulative = true };

	(void)state;
	said[0] = '\0';
	assert_int_equal(dt_statistics_write(sample, NULL, &opts, &log_to_said, stdout), -EINVAL);
	assert_string_equal(said, "cumulative figures go with lineno and filename, not with traceback");
	dt_snapshot_free(sample);
}

static void test_filters(void **state)
{
	static const struct { const char *filter, *sentence; } cases[] = {
		{ "sizes>3", "the filter 'sizes>3': 'sizes>3' is none of file=, line=, all, function=, module=, domain=, process=, bytes>=, bytes<=, "
			    "blocks>=, blocks<=, size>, size<=, age>= and age<" },
		{ "file=", "the filter 'file=': '' is not a pattern for names of files" },
		{ "", "the filter '': '' is none of file=, line=, all, function=, module=, domain=, process=, bytes>=, bytes<=, blocks>=, blocks<=, "
		      "size>, size<=, age>= and age<" },
		{ "!line=x", "the filter '!line=x': 'x' is not a line number" },
		{ "file=a,file=b", "the filter 'file=a,file=b' has a pattern for names of files twice: give two filters" },
		{ "function=\xff", "the filter 'function=\xff': '\xff' is not a pattern for names of functions" },
		{ "bytes>=1X", "the filter 'bytes>=1X': '1X' is not a number of bytes (as 4096, 64K or 2M)" },
	};
	struct dt_snapshot *sample = new_sample("/nonexistent/app.py");

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const char *filters[] = { cases[i].filter, NULL };
		struct dt_filter_opts opts = { .size = sizeof(opts), .filters = filters };

		said[0] = '\0';
		assert_int_equal(dt_snapshot_filter(sample, &opts, &log_to_said), -EINVAL);
		assert_string_equal(said, cases[i].sentence);
	}
	dt_snapshot_free(sample);
}

/* What is beyond tracemalloc: how many traces of the mixed sample pass. */
static void test_filters_beyond(void **state)
{
	static const struct { const char *filter; uint32_t traces; } cases[] = {
		{ "function=operator new*", 3 }, { "module=*libstdc++*,all", 3 }, { "module=*libstdc++*", 3 }, { "!module=*libstdc++*", 4 },
		{ "process=4242", 7 }, { "process=1", 0 }, { "process=py*", 7 }, { "process=x*", 0 }, { "bytes>=4000", 4 }, { "bytes<=3999", 3 },
		{ "blocks>=2,bytes<=5000", 1 }, { "domain=numpy", 1 }, { "domain=389047", 1 }, { "function=load,all,domain=libc", 3 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const char *filters[] = { cases[i].filter, NULL }, *reason;
		struct dt_filter_opts opts = { .size = sizeof(opts), .filters = filters };
		struct dt_snapshot *sample = new_mixed_sample("/nonexistent/app.py");

		assert_int_equal(dt_snapshot_filter(sample, &opts, &log_to_said), 0);
		assert_int_equal(sample->trace_count, cases[i].traces);
		assert_int_equal(dt_snapshot_check(sample, &reason), 0);
		dt_snapshot_free(sample);
	}
}

/* What a difference is not said to be: one of different runs, and one that runs backwards. */
static void test_pair(void **state)
{
	struct dt_snapshot *old = new_sample("/srv/app.py"), *now = new_sample("/srv/app.py");

	(void)state;
	said[0] = '\0';
	now->time.tv_nsec = old->time.tv_nsec + 1;
	dt_snapshot_tell_pair(old, now, &log_to_said);
	assert_string_equal(said, "");
	dt_snapshot_tell_pair(now, old, &log_to_said);
	assert_string_equal(said, "the first snapshot was taken after the second: what grew is shown as shrunk");
	for (uint32_t i = 0; i < now->process_count; i++)
		now->processes[i].start_time_ns++;
	said[0] = '\0';
	dt_snapshot_tell_pair(old, now, &log_to_said);
	assert_string_equal(said, "no process is in both snapshots: they are of different runs, whose tracebacks are compared");
	dt_snapshot_free(old);
	dt_snapshot_free(now);
}

/* Files of different processes are one snapshot; the same process twice is refused. */
static void test_merge(void **state)
{
	char *one = sample_line("snapshot_sample.json"), *mixed = sample_line("snapshot_mixed.json"), *other = NULL;
	struct memory_file first = memory_file(one, strlen(one)), second;
	struct dt_snapshot *merged = NULL;
	const char *pid = strstr(mixed, "4242");

	(void)state;
	assert_non_null(pid);
	assert_true(asprintf(&other, "%.*s4243%s", (int)(pid - mixed), mixed, pid + strlen("4242")) > 0);
	second = memory_file(other, strlen(other));
	assert_int_equal(dt_snapshot_load_all((const char *const[]){ first.path, second.path, NULL }, &log_to_said, &merged), 0);
	assert_int_equal(merged->process_count, 3);
	assert_int_equal(merged->domain_count, 5);
	assert_int_equal(merged->trace_count, 4 + 7);
	dt_snapshot_free(merged);
	said[0] = '\0';
	assert_int_equal(dt_snapshot_load_all((const char *const[]){ first.path, first.path, NULL }, &log_to_said, &merged), -EEXIST);
	assert_non_null(strstr(said, ": process 4242 was in a file before it, with the same domain, and would count twice: give only one of the "
			       "files, or compare them with domtrace diff"));
	close(first.fd);
	close(second.fd);
	free(one);
	free(mixed);
	free(other);
}

static char *export_of(const struct dt_snapshot *snapshot, const char *format)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(dt_export_write(snapshot, format, DT_SORT_LIVE, &log_to_said, out), 0);
	fclose(out);
	return text;
}

static void test_export(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/\"a\";b.py");
	DT_FREE char *csv = export_of(sample, "csv"), *folded = export_of(sample, "folded");

	(void)state;
	assert_non_null(strstr(csv, "\r\n4242,\"python3\",\"numpy\",1200000,12,86299775,98,2400000,1,\"\",\"/srv/\"\"a\"\";b.py:5 <module>\"\r\n"));
	assert_string_equal(folded, "python3-4242;numpy;<module> (/srv/\"a\":b.py:5) 1200000\n"
			    "python3-4242;numpy;<module> (/srv/\"a\":b.py:5);load (/srv/\"a\":b.py:2);C.f (/nonexistent/lib.py:9) 13700224\n"
			    "python3-4242;libc;[no_frame_pointer];__libc_start_main (/lib/x86_64-linux-gnu/libc.so.6);"
			    "<unknown>:0xffffffffff600000 12288\n");
	dt_snapshot_free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_report), cmocka_unit_test(test_diff), cmocka_unit_test(test_cumulative), cmocka_unit_test(test_filters),
		cmocka_unit_test(test_filters_beyond), cmocka_unit_test(test_pair), cmocka_unit_test(test_merge), cmocka_unit_test(test_export),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
