/* SPDX-License-Identifier: BSD-2-Clause */
/* options: what every command line means, and the one sentence that a wrong one gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/help.h"
#include "cli/option.h"
#include "fake_session.h"

static char said[512];

static void write_log(void *context, enum dt_log_level level, const char *line)
{
	(void)context;
	assert_int_equal(level, DT_LOG_ERROR);
	strcat(said, line);
	strcat(said, "|");
}

/* Words of a command line without the program's name; `words` is written on, as argv is. */
static int parse(char *words, struct dt_options *ret_options)
{
	static char *argv[48];
	struct dt_log log = { write_log, NULL };
	int argc = 1;

	argv[0] = "domtrace";
	said[0] = '\0';
	for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	argv[argc] = NULL;
	return dt_options_parse(argc, argv, &log, ret_options);
}

static void test_everything(void **state)
{
	char words[] = "-p 1,22 --pid=333 -p22 -d numpy --domain !libc -i 0.25 -c 3 -t 10 -o out.json --top 5 --sort peak "
		       "-l 256 --table live=1000K --without warp --without shields -vv --fold --stack mixed --raw-names "
		       "--debuginfod";
	struct dt_log log = { write_log, NULL };
	struct dt_session_opts opts;
	DT_CLEANUP(dt_options_clear) struct dt_options options = { 0 };

	(void)state;
	assert_int_equal(parse(words, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_TRACE);
	assert_false(options.help || options.version);
	assert_int_equal(options.verbosity, DT_LOG_TRACE);
	assert_int_equal(options.pid_count, 3);
	assert_memory_equal(options.pids, ((pid_t[]){ 1, 22, 333 }), 3 * sizeof(pid_t));
	assert_string_equal(options.domains[0], "numpy");
	assert_string_equal(options.domains[1], "!libc");
	assert_null(options.domains[2]);
	assert_int_equal(options.interval_ns, 250000000);
	assert_int_equal(options.count, 3);
	assert_int_equal(options.duration_ns, 10000000000);
	assert_string_equal(options.output, "out.json");
	assert_int_equal(options.top, 5);
	assert_int_equal(options.sort, DT_SORT_PEAK);
	assert_int_equal(options.frame_limit, 256);
	assert_string_equal(options.tables[0], "live=1000K");
	assert_string_equal(options.without[0], "warp");
	assert_string_equal(options.without[1], "shields");
	assert_null(options.without[2]);
	assert_null(options.argv);
	assert_true(options.fold);
	opts = dt_options_session(&options, &log);
	assert_string_equal(opts.stack, "mixed");
	assert_true(opts.raw_names);
	assert_true(opts.debuginfod);
	assert_string_equal(said, "");
}

/* Each mode; the last one given counts. */
static void test_stack(void **state)
{
	static const char *const modes[] = { "auto", "python", "native", "mixed" };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(modes); i++) {
		DT_CLEANUP(dt_options_clear) struct dt_options options = { 0 };
		char words[64];

		snprintf(words, sizeof(words), "-p 1 --stack %s --stack=%s", modes[DT_ARRAY_SIZE(modes) - 1 - i], modes[i]);
		assert_int_equal(parse(words, &options), 0);
		assert_string_equal(options.stack, modes[i]);
	}
}

static void test_defaults(void **state)
{
	char words[] = "-p 1";
	DT_CLEANUP(dt_options_clear) struct dt_options options = { 0 };
	struct dt_session_opts opts;
	struct dt_log log = { write_log, NULL };

	(void)state;
	assert_int_equal(parse(words, &options), 0);
	assert_int_equal(options.verbosity, DT_LOG_INFO);
	assert_int_equal(options.sort, DT_SORT_LIVE);
	assert_null(options.output);
	assert_null(options.stack);
	assert_false(options.fold || options.raw_names || options.debuginfod);
	assert_int_equal(options.interval_ns | options.duration_ns | options.count | options.top, 0);
	opts = dt_options_session(&options, &log);
	assert_int_equal(opts.size, sizeof(opts));
	assert_ptr_equal(opts.log.write, write_log);
	assert_true(!opts.domains && !opts.without && !opts.stack && !opts.raw_names && !opts.debuginfod);
	assert_int_equal(opts.frame_limit, 0);
}

/* Words behind the first that is no option belong to the command, whatever they look like. */
static void test_commands(void **state)
{
	static const struct {
		const char *words;
		int skipped;            /* words before the command's */
	} cases[] = {
		{ "python3 -c pass", 0 }, { "-- python3 -c pass", 1 }, { "-q -d numpy python3 -p 7", 3 }, { "-- -odd --top 0", 1 },
		{ "-- sites -p 1", 1 }, { "-q sites -p 1", 1 }, { "-- doctor", 1 }, { "env -- doctor", 0 }, { "-- --", 1 },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		DT_CLEANUP(dt_options_clear) struct dt_options options = { 0 };
		char words[64], rest[64] = "", *expected = words;
		int skipped = cases[i].skipped;

		strcpy(words, cases[i].words);
		assert_int_equal(parse(words, &options), 0);
		assert_int_equal(options.command, DT_COMMAND_TRACE);
		fake_join(rest, (const char *const *)options.argv);
		strcpy(words, cases[i].words);
		while (skipped--)
			expected = strchr(expected, ' ') + 1;
		assert_string_equal(rest, expected);
	}
}

static void test_subcommands(void **state)
{
	char sites[] = "sites -p 1,2 --without warp -q", doctor[] = "doctor -v --without shields", bare[] = "doctor";
	struct dt_options options = { 0 };

	(void)state;
	assert_int_equal(parse(sites, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_SITES);
	assert_int_equal(options.pid_count, 2);
	assert_int_equal(options.verbosity, DT_LOG_ERROR);
	assert_string_equal(options.without[0], "warp");
	dt_options_clear(&options);
	assert_int_equal(parse(doctor, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_DOCTOR);
	assert_int_equal(options.verbosity, DT_LOG_DEBUG);
	assert_string_equal(options.without[0], "shields");
	dt_options_clear(&options);
	assert_int_equal(parse(bare, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_DOCTOR);
}

/* Their words are files, and options may stand behind them. */
static void test_file_commands(void **state)
{
	char report[] = "report a.json --group-by lineno b.json#2 --cumulative -d numpy --filter !file=*.py,all --filter line=3 --format json",
	     diff[] = "diff old.json --sort count new.json --top 3", export[] = "export - --to csv", whole[] = "report -- --top";
	struct dt_statistics_opts statistics;
	struct dt_options options = { 0 };
	struct dt_filter_opts filter;

	(void)state;
	assert_int_equal(parse(report, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_REPORT);
	assert_string_equal(options.argv[0], "a.json");
	assert_string_equal(options.argv[1], "b.json#2");
	assert_null(options.argv[2]);
	statistics = dt_options_statistics(&options);
	assert_int_equal(statistics.group, DT_GROUP_LINENO);
	assert_true(statistics.cumulative && statistics.json);
	filter = dt_options_filter(&options);
	assert_string_equal(filter.domains[0], "numpy");
	assert_string_equal(filter.filters[0], "!file=*.py,all");
	assert_string_equal(filter.filters[1], "line=3");
	assert_null(filter.filters[2]);
	dt_options_clear(&options);
	assert_int_equal(parse(diff, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_DIFF);
	statistics = dt_options_statistics(&options);
	assert_int_equal(statistics.group, DT_GROUP_TRACEBACK);
	assert_int_equal(statistics.sort, DT_SORT_COUNT);
	assert_int_equal(statistics.top, 3);
	assert_false(statistics.cumulative || statistics.json);
	dt_options_clear(&options);
	assert_int_equal(parse(export, &options), 0);
	assert_string_equal(options.argv[0], "-");
	assert_string_equal(options.to, "csv");
	dt_options_clear(&options);
	assert_int_equal(parse(whole, &options), 0);
	assert_string_equal(options.argv[0], "--top");
	dt_options_clear(&options);
}

static void test_live_diff(void **state)
{
	char words[] = "diff -p 1,2 --over 1.5s -d numpy --stack python --limit 7 --group-by lineno", ctl[] = "ctl 12 status --format json -q";
	struct dt_options options = { 0 };
	struct dt_log log = { write_log, NULL };

	(void)state;
	assert_int_equal(parse(words, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_DIFF);
	assert_int_equal(options.pid_count, 2);
	assert_int_equal(options.over_ns, 1500000000);
	assert_null(options.argv);
	assert_int_equal(dt_options_session(&options, &log).frame_limit, 7);
	assert_string_equal(dt_options_session(&options, &log).domains[0], "numpy");
	assert_int_equal(dt_options_statistics(&options).group, DT_GROUP_LINENO);
	dt_options_clear(&options);
	assert_int_equal(parse(ctl, &options), 0);
	assert_int_equal(options.command, DT_COMMAND_CTL);
	assert_string_equal(options.argv[0], "12");
	assert_string_equal(options.argv[1], "status");
	assert_null(options.argv[2]);
	assert_string_equal(options.format, "json");
	dt_options_clear(&options);
}

/* Help and version need nothing else, and what stands behind them is not looked at. */
static void test_help_and_version(void **state)
{
	static const char *const lines[] = { "-h", "--help", "-V", "--version", "-h --nonsense", "sites -h", "doctor --version",
					     "-p 1 --help -l 0", "--he" };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(lines); i++) {
		DT_CLEANUP(dt_options_clear) struct dt_options options = { 0 };
		char words[64];

		strcpy(words, lines[i]);
		assert_int_equal(parse(words, &options), 0);
		assert_int_equal(options.help + options.version, 1);
		assert_int_equal(options.version, strstr(lines[i], "ersion") || strstr(lines[i], "-V"));
	}
}

#define RANGE(name, text, low, high) \
	{ "-p 1 --" name " " text, "--" name ": '" text "' is not a whole number from " low " to " high "|" }

static void test_wrong_usage(void **state)
{
	static const struct {
		const char *words, *sentence;
	} cases[] = {
		{ "", "nothing to trace: give -p PID, a command to start, or --all|" },
		{ "--", "nothing to trace: give -p PID, a command to start, or --all|" },
		{ "--all -p 1", "--all traces every process: it goes without -p and without a command|" },
		{ "--all true", "--all traces every process: it goes without -p and without a command|" },
		{ "-p 1 --comm x", "--comm, --uid, --cgroup and --exe choose among all processes: give --all, too|" },
		{ "-q", "nothing to trace: give -p PID, a command to start, or --all|" },
		{ "-p 1 ls", "-p and a command ('ls') exclude each other|" },
		{ "-p 1 -- ls", "-p and a command ('ls') exclude each other|" },
		{ "-p 1 -c 5", "--count counts the snapshots of --interval: give that, too|" },
		{ "-p", "--pid needs a value: PID[,PID...]|" },
		{ "--interval", "--interval needs a value: SECONDS|" },
		{ "--quiet=1", "--quiet takes no value|" },
		{ "-x", "there is no option -x|" },
		{ "-qx", "there is no option -x|" },
		{ "--nonsense", "there is no option --nonsense, or it is short for several|" },
		{ "--ver", "there is no option --ver, or it is short for several|" },
		{ "-p 0", "--pid: '0' is not a list of process numbers|" },
		{ "-p -1", "--pid: '-1' is not a list of process numbers|" },
		{ "-p 1,,2", "--pid: '1,,2' is not a list of process numbers|" },
		{ "-p 1,", "--pid: '1,' is not a list of process numbers|" },
		{ "-p ,", "--pid: ',' is not a list of process numbers|" },
		{ "--pid=", "--pid: '' is not a list of process numbers|" },
		{ "-p 2147483648", "--pid: '2147483648' is not a list of process numbers|" },
		{ "-p 12345678901234567890", "--pid: '12345678901234567890' is not a list of process numbers|" },
		{ "-p 1,redis", "--pid: '1,redis' is not a list of process numbers|" },
		{ "-p 1 --domain=", "--domain: '' is not the name of a domain|" },
		{ "-p 1 --output=", "--output: '' is not the name of a file|" },
		{ "-p 1 -i 0", "--interval: '0' is not a number of seconds above 0|" },
		{ "-p 1 -i -1", "--interval: '-1' is not a number of seconds above 0|" },
		{ "-p 1 -i 1s", "--interval: '1s' is not a number of seconds above 0|" },
		{ "-p 1 -i 1e3", "--interval: '1e3' is not a number of seconds above 0|" },
		{ "-p 1 -t 0.0000000001", "--duration: '0.0000000001' is not a number of seconds above 0|" },
		{ "-p 1 -t 99999999999", "--duration: '99999999999' is not a number of seconds above 0|" },
		{ "-p 1 --older-than 0s", "--older-than: '0s' is not a number above 0 and ms, s, m, h or d, as 60s|" },
		{ "-p 1 --older-than -1s", "--older-than: '-1s' is not a number above 0 and ms, s, m, h or d, as 60s|" },
		{ "-p 1 --older-than 60", "--older-than: '60' is not a number above 0 and ms, s, m, h or d, as 60s|" },
		{ "-p 1 --older-than long", "--older-than: 'long' is not a number above 0 and ms, s, m, h or d, as 60s|" },
		{ "-p 1 --older-than=", "--older-than: '' is not a number above 0 and ms, s, m, h or d, as 60s|" },
		{ "-p 1 --older-than", "--older-than needs a value: DURATION|" },
		{ "sites -p 1 --older-than 1s", "'domtrace sites' does not take --older-than|" },
		{ "-p 1 --sort old", "--sort old orders what --older-than shows: give that, too|" },
		{ "-p 1 --sort peak --older-than 1s", "--older-than shows the bytes of old blocks, the largest first: it goes without --sort|" },
		{ "-p 1 --sort size", "--sort: 'size' is not live, count, allocated, allocations, peak, at-peak, temporary or old|" },
		{ "-p 1 --stack", "--stack needs a value: MODE|" },
		{ "-p 1 --stack=", "--stack: '' is not auto, python, native or mixed|" },
		{ "-p 1 --stack dwarf", "--stack: 'dwarf' is not auto, python, native or mixed|" },
		{ "-p 1 --stack Native", "--stack: 'Native' is not auto, python, native or mixed|" },
		{ "-p 1 --fold=yes", "--fold takes no value|" },
		{ "-p 1 --raw-names=1", "--raw-names takes no value|" },
		{ "-p 1 --debuginfod=http://x", "--debuginfod takes no value|" },
		{ "sites -p 1 --stack native", "'domtrace sites' does not take --stack|" },
		{ "doctor --debuginfod", "'domtrace doctor' does not take --debuginfod|" },
		{ "-p 1 --without wheels", "--without: 'wheels' is not a feature; 'domtrace --help' lists them|" },
		RANGE("count", "0", "1", "18446744073709551615"),
		RANGE("count", "18446744073709551616", "1", "18446744073709551615"),
		RANGE("top", "0", "1", "4294967295"),
		RANGE("top", "ten", "1", "4294967295"),
		RANGE("limit", "0", "1", "256"),
		RANGE("limit", "257", "1", "256"),
		RANGE("limit", "+5", "1", "256"),
		{ "sites", "'domtrace sites' needs a process: give it with -p PID|" },
		{ "sites -p 1 -i 1", "'domtrace sites' does not take --interval|" },
		{ "sites -p 1 ls", "'domtrace sites' does not take 'ls'|" },
		{ "doctor -p 1", "'domtrace doctor' does not take --pid|" },
		{ "doctor now", "'domtrace doctor' does not take 'now'|" },
		{ "report", "'domtrace report' needs a file of snapshots: what domtrace -o wrote, or - for standard input|" },
		{ "report a -p 1", "'domtrace report' does not take --pid|" },
		{ "report a --without warp", "'domtrace report' does not take --without|" },
		{ "report a --group-by size",
		  "--group-by: 'size' is not traceback, lineno, filename, function, module, domain or process|" },
		{ "report a --format xml", "--format: 'xml' is not text or json|" },
		{ "--group-by lineno -p 1", "--group-by is not for tracing: 'domtrace report' takes it|" },
		{ "diff a", "'domtrace diff' needs two snapshots, the old one and the new one: FILE or FILE#NUMBER|" },
		{ "diff a b c", "'domtrace diff' needs two snapshots, the old one and the new one: FILE or FILE#NUMBER|" },
		{ "diff a b --to csv", "'domtrace diff' does not take --to|" },
		{ "--over 1s -p 1", "--over is not for tracing: 'domtrace diff' takes it|" },
		{ "diff -p 1", "'domtrace diff -p' needs a time to wait: give it with --over, as --over 60s|" },
		{ "diff --over 1s", "--over is about running processes: give them with -p PID|" },
		{ "diff a -p 1 --over 1s", "-p and a file ('a') exclude each other|" },
		{ "diff -p 1 --over 1", "--over: '1' is not a number above 0 and ms, s, m, h or d, as 60s|" },
		{ "diff a b --children", "options of tracing do not change files: 'domtrace diff' takes them with -p PID only|" },
		{ "diff a b --limit 3", "options of tracing do not change files: 'domtrace diff' takes them with -p PID only|" },
		{ "diff -p 1 --over 1s -i 1", "'domtrace diff' does not take --interval|" },
		{ "ctl", "'domtrace ctl' needs one request, snapshot, clear, reset-peak, status or stop; before it may stand the process number of a "
			 "domtrace|" },
		{ "ctl 1 status now", "'domtrace ctl' needs one request, snapshot, clear, reset-peak, status or stop; before it may stand the "
				      "process number of a domtrace|" },
		{ "ctl -p 1 status", "'domtrace ctl' does not take --pid|" },
		{ "completion", "'domtrace completion' needs a shell: bash, zsh or fish|" },
		{ "export a", "'domtrace export' needs a format: give it with --to|" },
		{ "export a --to pdf", "--to: 'pdf' is not json, csv or folded|" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		struct dt_options options, untouched;
		char words[64];

		memset(&options, 0x5a, sizeof(options));
		memset(&untouched, 0x5a, sizeof(untouched));
		strcpy(words, cases[i].words);
		assert_int_equal(parse(words, &options), -EINVAL);
		assert_string_equal(said, cases[i].sentence);
		assert_memory_equal(&options, &untouched, sizeof(options));
	}
}

/* The sentence that lists the orders lists all of them. */
static void test_sorts_are_listed(void **state)
{
	char list[128] = "";

	(void)state;
	for (int i = 0; i < DT_SORT_COUNT_; i++)
		strcat(strcat(list, i == 0 ? "" : i == DT_SORT_COUNT_ - 1 ? " or " : ", "), dt_sort_name((enum dt_sort)i));
	for (const struct dt_option *option = dt_option_table; option->name; option++)
		if (!strcmp(option->name, "sort"))
			assert_string_equal(option->wants, list);
}

static void test_table(void **state)
{
	size_t count = 0;

	(void)state;
	for (const struct dt_option *option = dt_option_table; option->name; option++, count++) {
		assert_non_null(option->set);
		assert_non_null(option->help);
		assert_int_not_equal(option->commands, 0);
		for (const struct dt_option *other = dt_option_table; other != option; other++) {
			assert_string_not_equal(other->name, option->name);
			assert_false(option->letter && option->letter == other->letter);
		}
	}
	assert_int_equal(count, DT_OPTION_COUNT);
}

static void test_help(void **state)
{
	DT_FREE char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	dt_help_write(out);
	fclose(out);
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		assert_true(strcspn(line, "\n") <= 80);
		assert_int_not_equal(line[strcspn(line, "\n") - (*line != '\n')], ' ');
	}
	assert_non_null(strstr(text, "\n  -l, --limit N             native frames and Python frames kept per traceback,\n"
				     "                            up to 256 of each (64)\n"));
	assert_non_null(strstr(text, "\n      --stack MODE          which frames: auto "));
	assert_non_null(strstr(text, "\n      --without FEATURE     do without a feature, listed below; repeatable\n"));
	assert_non_null(strstr(text, "\n'domtrace sites' takes -p --allocator --without -q -v -h -V.\n"
				     "'domtrace doctor' takes --without -q -v -h -V.\n"));
	assert_non_null(strstr(text, "\n  warp                      a feature of the fake session\n"
				     "  shields                   a feature of the fake session\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_everything), cmocka_unit_test(test_stack), cmocka_unit_test(test_defaults), cmocka_unit_test(test_commands), cmocka_unit_test(test_file_commands), cmocka_unit_test(test_live_diff),
		cmocka_unit_test(test_subcommands), cmocka_unit_test(test_help_and_version),
		cmocka_unit_test(test_wrong_usage), cmocka_unit_test(test_sorts_are_listed), cmocka_unit_test(test_table),
		cmocka_unit_test(test_help),
	};

	fake_reset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
