/* SPDX-License-Identifier: BSD-2-Clause */
/* cmd_trace, cmd_sites, cmd_doctor: in which order a session is used, what is written where, and every exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "fake_session.h"

static const char *const null_device = "/dev/null";
static const char *out_path, *error_path;       /* where the command under test writes */

static int setup(void **state)
{
	(void)state;
	fake_reset();
	out_path = error_path = null_device;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return close(fake->event_fd);
}

static void fail_on_log(void *context, enum dt_log_level level, const char *line)
{
	(void)context, (void)level;
	fputs(line, stderr);
	abort();
}

/* One command line, as main() runs it. */
static int run_line(const void *line)
{
	static int (*const commands[])(const struct dt_options *options) = { dt_cmd_trace_run, dt_cmd_sites_run,
									     dt_cmd_doctor_run };
	DT_CLEANUP(dt_options_clear) struct dt_options options = { 0 };
	DT_FREE char *words = strdup(line);
	struct dt_log log = { fail_on_log, NULL };
	char *argv[32] = { "domtrace" };
	int argc = 1;

	for (char *word = strtok(words, " "); word; word = strtok(NULL, " "))
		argv[argc++] = word;
	if (!freopen(out_path, "w", stdout) || !freopen(error_path, "w", stderr))
		abort();
	return dt_options_parse(argc, argv, &log, &options) ? 99 : commands[options.command](&options);
}

static void check(const char *line, int status, const char *journal)
{
	assert_int_equal(fake_run(run_line, line), status << 8);
	assert_string_equal(fake->journal, journal);
}

/* What a descriptor's file holds. */
static void assert_written(int fd, const char *expected)
{
	char text[512] = "";

	assert_true(pread(fd, text, sizeof(text) - 1, 0) >= 0);
	assert_string_equal(text, expected);
}

static void test_processes(void **state)
{
	(void)state;
	fake->running = 0;
	check("-p 11,22 -d numpy -d !7 --without warp -l 9 --table live=77K --top 3 --sort count --stack native --fold "
	      "--raw-names --debuginfod -o out", 0,
	      "new open add:11 add:22 drop take:final write:1 report:1 stop close free");
	assert_string_equal(fake->domains, "numpy !7");
	assert_string_equal(fake->without, "warp");
	assert_int_equal(fake->session_opts.size, sizeof(struct dt_session_opts));
	assert_int_equal(fake->session_opts.frame_limit, 9);
	assert_string_equal(fake->tables, "live=77K");
	assert_string_equal(fake->stack, "native");
	assert_true(fake->session_opts.raw_names);
	assert_true(fake->session_opts.debuginfod);
	assert_true(fake->report_opts.fold);
	assert_int_equal(fake->report_opts.top, 3);
	assert_int_equal(fake->report_opts.sort, DT_SORT_COUNT);
	assert_int_equal(fake->report_opts.columns, 80);
	assert_false(fake->report_opts.colour);
}

static void hook_launch(const char *word)
{
	if (!strcmp(word, "drop"))
		fake_end_command(fake->command_status);
}

static void test_command_status(void **state)
{
	static const struct {
		int wait_status, status;
	} cases[] = { { 0, 0 }, { 7 << 8, 7 }, { 125 << 8, 125 }, { SIGKILL, 128 + SIGKILL }, { SIGSEGV | 0x80, 128 + SIGSEGV } };

	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		fake->hook = hook_launch;
		fake->command_status = cases[i].wait_status;
		check("-- prog -x", cases[i].status, "new launch:prog,-x drop take:final report:1 stop free");
		teardown(state);
		setup(state);
	}
}

/* A failure at each step, for processes and for a command. */
static void test_failures(void **state)
{
	static const struct {
		size_t member;
		int error;
		const char *line;
		int status;
		const char *journal;
	} cases[] = {
#define CASE(name, error, line, status, journal) { offsetof(struct fake, name), error, line, status, journal }
		CASE(new_error, -EPERM, "-p 1", 1, "new"),
		CASE(new_error, -EPERM, "prog", 125, "new"),
		CASE(new_error, -EINVAL, "-p 1", 2, "new"),
		CASE(new_error, -EINVAL, "prog", 2, "new"),
		CASE(open_error, -EACCES, "-p 1 -o out", 1, "new open free"),
		CASE(open_error, -EACCES, "-o out prog", 125, "new open free"),
		CASE(add_error, -ESRCH, "-p 1,2 -o out", 1, "new open add:1 close free"),
		CASE(add_error, -EINVAL, "-p 1", 1, "new add:1 free"),
		CASE(launch_error, -ENOENT, "prog", 127, "new launch:prog free"),
		CASE(launch_error, -EACCES, "prog", 126, "new launch:prog free"),
		CASE(launch_error, -ENOEXEC, "prog", 126, "new launch:prog free"),
		CASE(launch_error, -EPERM, "prog", 125, "new launch:prog free"),
		CASE(drop_error, -EPERM, "-p 1", 1, "new add:1 drop free"),
		CASE(drop_error, -EPERM, "prog", 125, "new launch:prog drop free"),
		CASE(write_error, -ENOSPC, "-t 0.001 -o out -p 1", 1,
		     "new open add:1 drop take:final write:1 report:1 stop close free"),
		CASE(write_error, -ENOSPC, "-o out prog", 125,
		     "new open launch:prog drop take:final write:1 report:1 stop close free"),
		CASE(take_error, -EIO, "-t 0.001 -p 1", 1, "new add:1 drop take:final stop free"),
	};

	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		fake->hook = hook_launch;
		*(int *)((char *)fake + cases[i].member) = cases[i].error;
		check(cases[i].line, cases[i].status, cases[i].journal);
		teardown(state);
		setup(state);
	}
}

static void test_report_and_messages(void **state)
{
	char out[] = "/tmp/domtrace-out-XXXXXX", error[] = "/tmp/domtrace-error-XXXXXX";
	DT_FD int out_fd = mkstemp(out), error_fd = mkstemp(error);

	(void)state;
	out_path = out, error_path = error;
	check("-i 0.001 -c 2 -p 1", 0, "new add:1 drop take:interval report:1 take:interval report:2 stop free");
	assert_written(out_fd, "report:1\n\nreport:2\n");
	assert_written(error_fd, "domtrace: ready; Ctrl-C ends the trace\n");
	*fake->journal = '\0';
	fake->snapshots = 0;
	check("-q -t 0.001 -p 1", 0, "new add:1 drop take:final report:1 stop free");
	assert_written(out_fd, "report:1\n");
	assert_written(error_fd, "");
	*fake->journal = '\0';
	fake->new_error = -EINVAL;
	check("-p 1 -d nonsense", 2, "new");
	assert_written(error_fd, "Try 'domtrace --help'.\n");
	unlink(out);
	unlink(error);
}

static void test_full_standard_output(void **state)
{
	char error[] = "/tmp/domtrace-error-XXXXXX";
	DT_FD int error_fd = mkstemp(error);

	(void)state;
	out_path = "/dev/full", error_path = error;
	check("-i 0.001 -c 2 -p 1", 1, "new add:1 drop take:interval report:1 stop free");
	assert_written(error_fd, "domtrace: ready; Ctrl-C ends the trace\n"
		       "domtrace: cannot write the report to standard output: No space left on device; tracing ends\n");
	*fake->journal = '\0';
	check("doctor", 1, "doctor");
	assert_written(error_fd, "domtrace: cannot write to standard output: No space left on device\n");
	unlink(error);
}

static void test_sites(void **state)
{
	(void)state;
	check("sites -p 5,6 --without shields", 0, "sites:5 sites:6");
	assert_string_equal(fake->without, "shields shields");     /* once a process */
	*fake->journal = '\0';
	fake->sites_error = -ESRCH;
	check("sites -p 5,6", 1, "sites:5 sites:6");
}

static void test_doctor(void **state)
{
	(void)state;
	check("doctor --without warp", 0, "doctor");
	assert_string_equal(fake->without, "warp");
	*fake->journal = '\0';
	fake->able = 0;
	check("doctor", 1, "doctor");
	*fake->journal = '\0';
	fake->able = 1;
	fake->doctor_error = -EIO;
	check("doctor", 1, "doctor");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_processes), TEST(test_command_status), TEST(test_failures), TEST(test_report_and_messages),
		TEST(test_full_standard_output), TEST(test_sites), TEST(test_doctor),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
