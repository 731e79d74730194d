/* SPDX-License-Identifier: BSD-2-Clause */
/* watch: real signals and timers around a fake session; the whole journal of calls is compared. */
#include <pty.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/control.h"
#include "cli/runtime.h"
#include "cli/watch.h"
#include "fake_session.h"
#include "shell.h"

#define MS 1000000ull
#define HOUR (3600000 * MS)

/* What the code under test sends is seen in the journal, and goes nowhere. */
int kill(pid_t pid, int number)
{
	char word[32];

	if (pid != 4242)
		abort();
	snprintf(word, sizeof(word), "kill:%d", number);
	fake_write(word);
	return 0;
}

static void write_log(void *context, enum dt_log_level level, const char *line)
{
	(void)context;
	if (!strcmp(line, "ready; Ctrl-C ends the trace") && level == DT_LOG_INFO)
		fake_write("ready");
	else if (level == DT_LOG_INFO)
		fake_write("info");
	else
		fake_write(level == DT_LOG_WARNING ? "warning" : "error");
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

static int directory, asked[8];         /* of the child; its questions, in order, and who asked them */
static size_t asked_count;

/* Sends a request, whose answer is read when the watch has ended. */
static void ask(enum dt_request request)
{
	char line[DT_REQUEST_SIZE_MAX];
	size_t size = dt_request_write_line(request, line);

	if (dt_runtime_connect(directory, getpid(), &asked[asked_count]) || send(asked[asked_count++], line, size, 0) != (ssize_t)size)
		abort();
}

static void write_answers(void)
{
	for (size_t i = 0; i < asked_count; i++) {
		char text[256] = "";
		ssize_t size = recv(asked[i], text, sizeof(text) - 1, MSG_WAITALL);

		if (size > 0)
			text[size - 1] = '\0';
		for (char *newline = text; (newline = strchr(newline, '\n'));)
			*newline = '|';
		fake_write(size < 0 ? "ERROR" : text);
	}
}

/* 0, or 1 when the watch says that something failed. */
static int watch(const void *argument)
{
	static const struct dt_log log = { write_log, NULL };
	static const struct dt_report_opts report = { .size = sizeof(report) };
	struct dt_watch_opts opts = *(const struct dt_watch_opts *)argument;
	int error;

	opts.log = &log;
	opts.report = &report;
	if (!getenv("FAKE_TERMINAL") && !freopen("/dev/null", "w", stdout))
		abort();
	error = dt_watch_run(&opts);
	return error ? error == -ENOSPC || error == -EIO || error == -ENODATA ? 1 : 3 : 0;
}

/* The same, and it can be asked. */
static int watch_and_answer(const void *argument)
{
	static const struct dt_log log = { write_log, NULL };
	struct dt_watch_opts opts = *(const struct dt_watch_opts *)argument;
	struct dt_control *control;
	int error;

	if (dt_control_open(shell_directory, &log, &control) || !control || dt_runtime_open(shell_directory, false, &log, DT_LOG_ERROR, &directory))
		return 4;
	opts.control = control;
	error = watch(&opts);
	dt_control_close(control);
	write_answers();
	return error;
}

static void check(const struct dt_watch_opts *opts, void (*hook)(const char *word), int status, const char *journal)
{
	fake->hook = hook;
	assert_int_equal(fake_run(watch, opts), status << 8);
	assert_string_equal(fake->journal, journal);
}

static int setup(void **state)
{
	(void)state;
	fake_reset();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return close(fake->event_fd);
}

static struct dt_output *an_output(void)
{
	static struct dt_output output;

	return &output;
}

/* ---- signals ----------------------------------------------------------------------------------------------- */

static void hook_term(const char *word)
{
	if (!strcmp(word, "ready"))
		raise(SIGTERM);
}

static void hook_hup(const char *word)
{
	if (!strcmp(word, "ready"))
		raise(SIGHUP);
}

static void hook_int(const char *word)
{
	if (!strcmp(word, "ready"))
		raise(SIGINT);
}

static void test_signals_that_end(void **state)
{
	static void (*const hooks[])(const char *word) = { hook_term, hook_hup, hook_int };

	for (size_t i = 0; i < 3; i++) {
		check(&(struct dt_watch_opts){ 0 }, hooks[i], 0, "ready take:final report:1 stop");
		teardown(state);
		setup(state);
	}
}

static void hook_all_signals(const char *word)
{
	if (!strcmp(word, "ready") || !strcmp(word, "write:1"))
		raise(SIGUSR1);
	else if (!strcmp(word, "write:2"))
		raise(SIGUSR2);
	else if (!strcmp(word, "clear"))
		raise(SIGTERM);
}

static void test_all_signals(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .output = an_output() }, hook_all_signals, 0,
	      "ready take:signal write:1 report:1 take:signal write:2 report:2 clear info take:final write:3 report:3 stop");
}

static void hook_second_interrupt(const char *word)
{
	if (!strcmp(word, "ready") || !strcmp(word, "take:final"))
		raise(SIGINT);
}

static void test_second_interrupt(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ 0 }, hook_second_interrupt, 130, "ready take:final");
}

/* SIGHUP that nohup has switched off does nothing; the SIGTERM behind it ends the trace, as the journal's order shows. */
static void hook_hup_then_usr1(const char *word)
{
	if (!strcmp(word, "ready")) {
		raise(SIGHUP);
		raise(SIGUSR1);
	} else if (!strcmp(word, "report:1")) {
		raise(SIGTERM);
	}
}

static void test_nohup(void **state)
{
	(void)state;
	signal(SIGHUP, SIG_IGN);
	check(&(struct dt_watch_opts){ 0 }, hook_hup_then_usr1, 0, "ready take:signal report:1 take:final report:2 stop");
	signal(SIGHUP, SIG_DFL);
}

/* ---- markers ----------------------------------------------------------------------------------------------- */

static void wake_for_marker(void)
{
	fake->marked = 1;
	fake_wake();
}

static void hook_marker(const char *word)
{
	if (!strcmp(word, "ready"))
		wake_for_marker();
	else if (!strcmp(word, "report:1"))
		raise(SIGTERM);
}

static void test_marker(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .output = an_output() }, hook_marker, 0,
	      "ready take_marked write:1 report:1 take:final write:2 report:2 stop");
}

/* A marker comes first, whatever is asked for, and is told first. */
static void hook_markers_first(const char *word)
{
	bool is_ready = !strcmp(word, "ready"), is_taken = !strcmp(word, "report:2"), is_clear = !strcmp(word, "info");

	fake->marked_first = fake->marked_first || is_ready || is_taken || is_clear;
	if (is_ready || is_taken || is_clear)
		raise(is_ready ? SIGUSR1 : is_taken ? SIGUSR2 : SIGTERM);
}

static void test_markers_first(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .output = an_output() }, hook_markers_first, 0,
	      "ready take_marked write:1 report:1 take:signal write:2 report:2 take_marked write:3 report:3 clear info "
	      "take_marked write:4 report:4 take:final write:5 report:5 stop");
}

static void hook_markers_between(const char *word)
{
	if (!strcmp(word, "report:1") || !strcmp(word, "report:2"))
		wake_for_marker();
}

static void test_markers_are_not_counted(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = 50 * MS, .count = 2 }, hook_markers_between, 0,
	      "ready take:interval report:1 take_marked report:2 take_marked report:3 take:interval report:4 stop");
}

/* ---- time -------------------------------------------------------------------------------------------------- */

static void test_count(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = MS, .count = 3 }, NULL, 0,
	      "ready take:interval report:1 take:interval report:2 take:interval report:3 stop");
}

static void test_duration(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .duration_ns = MS }, NULL, 0, "ready take:final report:1 stop");
}

static void test_duration_wins_over_interval(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = 5 * MS, .duration_ns = 5 * MS }, NULL, 0,
	      "ready take:final report:1 stop");
}

static void hook_term_after_two(const char *word)
{
	if (!strcmp(word, "report:2"))
		raise(SIGTERM);
}

static void test_interval_before_duration(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = 20 * MS, .duration_ns = HOUR }, hook_term_after_two, 0,
	      "ready take:interval report:1 take:interval report:2 take:final report:3 stop");
}

/* Times beyond what a clock can hold mean "never". */
static void test_endless_times(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = UINT64_MAX, .duration_ns = UINT64_MAX }, hook_term, 0,
	      "ready take:final report:1 stop");
}

static struct timespec ready_time;

static uint64_t since_ready_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)((now.tv_sec - ready_time.tv_sec) * 1000000000 + now.tv_nsec - ready_time.tv_nsec);
}

/* The first snapshot takes 3.5 intervals: those of 2 and 3 drop out, the next is that of 4, and only one. */
static void hook_slow_snapshot(const char *word)
{
	if (!strcmp(word, "ready"))
		clock_gettime(CLOCK_MONOTONIC, &ready_time);
	while (!strcmp(word, "report:1") && since_ready_ns() < 35 * MS)
		;
	if (!strcmp(word, "report:2"))
		fake->able = since_ready_ns() >= 40 * MS;
}

static void test_slow_snapshot(void **state)
{
	(void)state;
	fake->able = 0;
	check(&(struct dt_watch_opts){ .interval_ns = 10 * MS, .count = 2 }, hook_slow_snapshot, 0,
	      "ready take:interval report:1 take:interval report:2 stop");
	assert_int_equal(fake->able, 1);
}

/* ---- processes and failures -------------------------------------------------------------------------------- */

static void hook_exit(const char *word)
{
	if (strcmp(word, "ready"))
		return;
	fake->running = 0;
	fake_wake();
}

static void test_process_exits(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = HOUR }, hook_exit, 0, "ready take:final report:1 stop");
}

static void test_process_gone_before(void **state)
{
	(void)state;
	fake->running = 0;
	check(&(struct dt_watch_opts){ 0 }, NULL, 0, "ready take:final report:1 stop");
}

static void hook_dispatch_fails(const char *word)
{
	if (strcmp(word, "ready"))
		return;
	fake->dispatch_error = -EIO;
	fake_wake();
}

static void test_dispatch_fails(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ 0 }, hook_dispatch_fails, 1, "ready take:final report:1 stop");
}

static void hook_disk_full_once(const char *word)
{
	if (!strcmp(word, "take:interval"))
		fake->write_error = fake->snapshots == 0 ? -ENOSPC : 0;
}

static void test_disk_full_once(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = MS, .count = 2, .output = an_output() }, hook_disk_full_once, 1,
	      "ready take:interval write:1 report:1 take:interval write:2 report:2 stop");
}

static void hook_refuse_second(const char *word)
{
	static int taken;

	if (!strcmp(word, "take:interval"))
		fake->take_error = ++taken == 2 ? -ENODATA : 0;
}

static void test_snapshot_fails_once(void **state)
{
	(void)state;
	check(&(struct dt_watch_opts){ .interval_ns = MS, .count = 3 }, hook_refuse_second, 1,
	      "ready take:interval report:1 take:interval take:interval report:2 stop");
}

static void test_report_fails(void **state)
{
	(void)state;
	fake->report_error = -EIO;
	check(&(struct dt_watch_opts){ .interval_ns = MS, .count = 3 }, NULL, 1, "ready take:interval report:1 error stop");
}

static void test_report_fails_with_output(void **state)
{
	(void)state;
	fake->report_error = -EIO;
	check(&(struct dt_watch_opts){ .interval_ns = MS, .count = 3, .output = an_output() }, NULL, 1,
	      "ready take:interval write:1 report:1 error take:interval write:2 take:interval write:3 stop");
}

/* ---- a command --------------------------------------------------------------------------------------------- */

static void start_command(void)
{
	strcpy(fake->journal, "launch:command");
}

static void hook_command_ends(const char *word)
{
	if (!strcmp(word, "ready"))
		fake_end_command(7 << 8);
}

static void test_command_ends(void **state)
{
	(void)state;
	start_command();
	check(&(struct dt_watch_opts){ .command = 4242 }, hook_command_ends, 0,
	      "launch:command ready take:final report:1 stop");
}

static void hook_command_terminated(const char *word)
{
	hook_term(word);
	if (!strcmp(word, "kill:15"))
		fake_end_command(SIGTERM);
}

static void test_signal_is_passed_on(void **state)
{
	(void)state;
	start_command();
	check(&(struct dt_watch_opts){ .command = 4242 }, hook_command_terminated, 0,
	      "launch:command ready take:final report:1 stop kill:15");
}

/* After the trace: snapshots are refused, a signal is passed on, the command's end is awaited. */
static void hook_command_outlives(const char *word)
{
	if (!strcmp(word, "stop"))
		raise(SIGUSR1);
	else if (!strcmp(word, "warning"))
		raise(SIGTERM);
	else if (!strcmp(word, "kill:15"))
		fake_end_command(0);
}

static void test_command_outlives_trace(void **state)
{
	(void)state;
	start_command();
	check(&(struct dt_watch_opts){ .command = 4242, .duration_ns = MS }, hook_command_outlives, 0,
	      "launch:command ready take:final report:1 stop warning kill:15");
}

/* A letter appears on the terminal when the trace is ready; Ctrl-C is then typed. */
static void hook_terminal(const char *word)
{
	if (!strcmp(word, "ready") && write(STDOUT_FILENO, "R", 1) != 1)
		abort();
}

static void test_terminal_interrupt(void **state)
{
	struct dt_watch_opts opts = { .command = 4242 };
	int terminal, status;
	char c;
	pid_t child;

	(void)state;
	start_command();
	fake->command_ends_when_asked = true;   /* so that a signal would still be passed on */
	fake->hook = hook_terminal;
	child = forkpty(&terminal, NULL, NULL, NULL);
	assert_true(child >= 0);
	if (child == 0) {
		setenv("FAKE_TERMINAL", "1", 1);
		alarm(60);
		_exit(watch(&opts));
	}
	assert_int_equal(read(terminal, &c, 1), 1);
	assert_int_equal(write(terminal, "\003", 1), 1);
	while (read(terminal, &c, 1) == 1)      /* a terminal that nobody reads makes its writers wait */
		;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_string_equal(fake->journal, "launch:command ready take:final report:1 stop");
	close(terminal);
}

/* ---- requests, again --------------------------------------------------------------------------------------- */

static void hook_requests(const char *word)
{
	static const struct {
		const char *word;
		enum dt_request request;
	} steps[] = {
		{ "ready", DT_REQUEST_SNAPSHOT }, { "report:1", DT_REQUEST_STATUS }, { "totals", DT_REQUEST_CLEAR },
		{ "clear", DT_REQUEST_RESET_PEAK }, { "reset_peak", DT_REQUEST_STOP },
	};

	for (size_t i = 0; i < DT_ARRAY_SIZE(steps); i++)
		if (!strcmp(word, steps[i].word))
			ask(steps[i].request);
}

static void check_requests(const struct dt_watch_opts *opts, void (*hook)(const char *word), int status, const char *journal)
{
	fake->hook = hook;
	assert_int_equal(fake_run(watch_and_answer, opts), status << 8);
	assert_string_equal(fake->journal, journal);
}

static void test_requests(void **state)
{
	(void)state;
	check_requests(&(struct dt_watch_opts){ .output = an_output(), .output_name = "/out" }, hook_requests, 0,
		       "ready take:request write:1 report:1 totals clear info reset_peak info take:final write:2 report:2 stop "
		       "domtrace/1 done 11|snapshot 1 domtrace/1 done 17|text 1 /out 4096 domtrace/1 done 0 domtrace/1 done 0 "
		       "domtrace/1 done 11|snapshot 2");
}

static void hook_requests_at_markers(const char *word)
{
	bool is_ready = !strcmp(word, "ready"), is_told = !strcmp(word, "totals"), is_reset = !strcmp(word, "reset_peak");

	fake->marked_first = fake->marked_first || is_ready || is_told;
	if (is_ready || is_told || is_reset)
		ask(is_ready ? DT_REQUEST_STATUS : is_told ? DT_REQUEST_RESET_PEAK : DT_REQUEST_STOP);
}

static void test_requests_at_markers(void **state)
{
	(void)state;
	check_requests(&(struct dt_watch_opts){ .output = an_output(), .output_name = "/out" }, hook_requests_at_markers, 0,
		       "ready take_marked write:1 report:1 totals take_marked write:2 report:2 reset_peak info take:final write:3 report:3 stop "
		       "domtrace/1 done 17|text 1 /out 4096 domtrace/1 done 0 domtrace/1 done 11|snapshot 3");
}

static void hook_failing_snapshot(const char *word)
{
	if (!strcmp(word, "ready"))
		ask(DT_REQUEST_SNAPSHOT);
	if (!strcmp(word, "take:request"))
		raise(SIGTERM);
}

static void test_request_fails(void **state)
{
	(void)state;
	fake->take_error = -ENODATA;
	check_requests(&(struct dt_watch_opts){ 0 }, hook_failing_snapshot, 1,
		       "ready take:request take:final stop domtrace/1 failed 56|that has failed; why, it has said on its standard error");
}

static void terminate_when_answered(int fd)
{
	pid_t self = getpid();
	char c;

	if (fork())
		return;
	while (recv(fd, &c, 1, MSG_PEEK) < 0 && errno == EINTR)
		;
	syscall(SYS_kill, self, SIGTERM);
	_exit(0);
}

/* As a SIGINT of kill(1): the command gets it, too. While that goes on, there is nothing to ask about any more. */
static void hook_stop_with_command(const char *word)
{
	if (!strcmp(word, "ready")) {
		ask(DT_REQUEST_STOP);
	} else if (!strcmp(word, "kill:2")) {
		ask(DT_REQUEST_STATUS_JSON);
		terminate_when_answered(asked[1]);
	} else if (!strcmp(word, "kill:15")) {
		fake_end_command(0);
	}
}

static void test_stop_with_command(void **state)
{
	(void)state;
	start_command();
	check_requests(&(struct dt_watch_opts){ .command = 4242 }, hook_stop_with_command, 0,
		       "launch:command ready take:final report:1 stop kill:2 kill:15 domtrace/1 done 11|snapshot 1 "
		       "domtrace/1 stopped 64|tracing has ended; it waits for the command that it has started");
}

/* What is kept is the keeper's, and nothing is reported. */
static void keep(void *context, struct dt_snapshot *snapshot)
{
	char word[32];

	snprintf(word, sizeof(word), "keep:%u:%s", snapshot->number, (const char *)context);
	fake_write(word);
	dt_snapshot_free(snapshot);
}

static int watch_and_keep(const void *argument)
{
	static const struct dt_log log = { write_log, NULL };
	const struct dt_watch_opts opts = { .log = &log, .duration_ns = MS, .keep = keep, .context = (void *)argument };

	return dt_watch_run(&opts) ? 1 : 0;
}

static void test_keep(void **state)
{
	(void)state;
	assert_int_equal(fake_run(watch_and_keep, "here"), 0);
	assert_string_equal(fake->journal, "ready take:final keep:1:here stop");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_signals_that_end), CASE(test_all_signals), CASE(test_second_interrupt), CASE(test_nohup),
		CASE(test_marker), CASE(test_markers_first), CASE(test_markers_are_not_counted),
		CASE(test_count), CASE(test_duration), CASE(test_duration_wins_over_interval),
		CASE(test_interval_before_duration), CASE(test_endless_times), CASE(test_slow_snapshot),
		CASE(test_process_exits), CASE(test_process_gone_before), CASE(test_dispatch_fails),
		CASE(test_disk_full_once), CASE(test_snapshot_fails_once), CASE(test_report_fails),
		CASE(test_report_fails_with_output), CASE(test_command_ends), CASE(test_signal_is_passed_on),
		CASE(test_command_outlives_trace), CASE(test_terminal_interrupt), CASE(test_requests), CASE(test_requests_at_markers), CASE(test_request_fails),
		CASE(test_stop_with_command), CASE(test_keep),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
