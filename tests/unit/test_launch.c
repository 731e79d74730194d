/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands under ptrace: start, what execvp refuses, signals, job control, the end, and a tracer that goes before it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "target/launch.h"
#include "said.h"

#define PATIENCE_MS 20000

/* sh -c TEXT, held before its first instruction; its output comes out of *ret_output. */
static void start(const char *text, struct dt_launch *launch, int *ret_output)
{
	char *argv[] = { "sh", "-c", (char *)(uintptr_t)text, NULL };
	int ends[2], out;

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	fflush(stdout);
	out = dup(STDOUT_FILENO);
	dup2(ends[1], STDOUT_FILENO);
	close(ends[1]);
	assert_int_equal(dt_launch_start(argv, NULL, launch), 0);
	dup2(out, STDOUT_FILENO);
	close(out);
	*ret_output = ends[0];
}

/* The next event that is one. */
static enum dt_launch_event next(struct dt_launch *launch)
{
	for (;;) {
		enum dt_launch_event event = dt_launch_next(launch);
		struct pollfd ready = { .fd = launch->signal_fd, .events = POLLIN };

		if (event != DT_LAUNCH_NOTHING)
			return event;
		if (poll(&ready, 1, PATIENCE_MS) != 1)
			fail_msg("nothing happens to process %d", (int)launch->pid);
	}
}

/* Lets it go on until its end; gives its wait status. */
static int finish(struct dt_launch *launch)
{
	enum dt_launch_event event;

	for (dt_launch_continue(launch); (event = next(launch)) != DT_LAUNCH_ENDED;)
		dt_launch_continue(launch);
	assert_true(launch->ended);
	return launch->status;
}

static void expect_line(int fd, const char *line)
{
	struct pollfd ready = { .fd = fd, .events = POLLIN };
	char got[128] = "";

	for (size_t i = 0; i + 1 < sizeof(got) && (!i || got[i - 1] != '\n'); i++) {
		if (poll(&ready, 1, PATIENCE_MS) != 1 || read(fd, got + i, 1) != 1)
			fail_msg("got '%s', not '%s'", got, line);
	}
	got[strcspn(got, "\n")] = '\0';
	assert_string_equal(got, line);
}

/* While waiting for the command to say a line, what is not an event is passed on. */
static void expect_line_while(struct dt_launch *launch, int fd, const char *line)
{
	for (int i = 0;; i++) {
		struct pollfd ready[] = { { .fd = fd, .events = POLLIN }, { .fd = launch->signal_fd, .events = POLLIN } };

		assert_true(poll(ready, 2, PATIENCE_MS) > 0);
		if (ready[0].revents)
			break;
		assert_int_equal(dt_launch_next(launch), DT_LAUNCH_NOTHING);
	}
	expect_line(fd, line);
}

/* Waits until /proc says this state of the process. */
static void expect_state(pid_t pid, const char *states)
{
	char path[64], now = '?';

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	for (int i = 0; i < PATIENCE_MS / 10; i++, usleep(10000)) {
		DT_FREE char *stat = NULL;

		assert_int_equal(dt_file_read(path, &stat, NULL), 0);
		now = strrchr(stat, ')')[2];
		if (strchr(states, now))
			return;
	}
	fail_msg("process %d is in state %c, not in any of %s", (int)pid, now, states);
}

static void test_statuses(void **state)
{
	static const struct { const char *text; int status; } cases[] = {
		{ "exit 0", 0 }, { "exit 7", 7 << 8 }, { "exit 255", 255 << 8 }, { "kill -9 $$", SIGKILL }, { "kill -15 $$", SIGTERM },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		DT_CLEANUP(dt_launch_close) struct dt_launch launch;
		DT_FD int output = -1;

		start(cases[i].text, &launch, &output);
		assert_int_equal(finish(&launch) & ~0x80, cases[i].status); /* 0x80: there is a core file */
	}
}

static void test_what_cannot_be_run(void **state)
{
	static const struct { const char *path; int error; } cases[] = {
		{ "no-such-command-anywhere", -ENOENT }, { "/nonexistent/x", -ENOENT }, { "/etc/passwd", -EACCES }, { "/tmp", -EACCES },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		char *argv[] = { (char *)(uintptr_t)cases[i].path, NULL };
		struct said said = { 0 };
		struct dt_log log = said_log(&said);
		struct dt_launch launch = { .pid = 77 };

		assert_int_equal(dt_launch_start(argv, &log, &launch), cases[i].error);
		assert_int_equal(said.lines, 1);
		assert_non_null(strstr(said.last, cases[i].path));
		assert_non_null(strstr(said.last, strerror(-cases[i].error)));
		assert_int_equal(launch.pid, 77);
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left behind */
	}
}

/* Held before its first instruction and again at its end, when its memory is still there. */
static void test_holds(void **state)
{
	DT_CLEANUP(dt_launch_close) struct dt_launch launch;
	DT_FD int output = -1;
	char path[64];

	(void)state;
	start("echo one; exec echo two", &launch, &output);
	assert_int_equal(poll(&(struct pollfd){ .fd = output, .events = POLLIN }, 1, 100), 0);
	dt_launch_continue(&launch);
	assert_int_equal(next(&launch), DT_LAUNCH_EXEC);
	expect_line(output, "one");
	dt_launch_continue(&launch);
	assert_int_equal(next(&launch), DT_LAUNCH_EXITING);
	expect_line(output, "two");
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)launch.pid);
	DT_FREE char *maps = NULL;
	assert_int_equal(dt_file_read(path, &maps, NULL), 0);
	assert_non_null(strstr(maps, "libc"));
	assert_false(launch.ended);
	dt_launch_continue(&launch);
	assert_int_equal(next(&launch), DT_LAUNCH_ENDED);
	assert_int_equal(launch.status, 0);
	assert_int_equal(dt_launch_next(&launch), DT_LAUNCH_NOTHING);
}

/* What its parent has changed for itself is not the command's. */
static void test_the_command_gets_plain_signals(void **state)
{
	DT_CLEANUP(dt_launch_close) struct dt_launch launch;
	DT_FD int output = -1;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	start("grep -E 'Sig(Blk|Ign)' /proc/self/status | tr -d '\\t'", &launch, &output);
	finish(&launch);
	expect_line(output, "SigBlk:0000000000000000");
	expect_line(output, "SigIgn:0000000000000000");
}

/* Every signal reaches the command once, SIGURG of another process, too. */
static void test_signals_pass_through(void **state)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGURG, SIGWINCH };
	DT_CLEANUP(dt_launch_close) struct dt_launch launch;
	DT_FD int output = -1;

	(void)state;
	start("for s in 1 2 3 10 12 14 15 23 28; do trap \"echo got $s\" $s; done; echo ready;"
	      "while :; do sleep 0.02; done", &launch, &output);
	dt_launch_continue(&launch);
	expect_line_while(&launch, output, "ready");
	for (size_t i = 0; i < DT_ARRAY_SIZE(signals); i++) {
		char line[16];

		snprintf(line, sizeof(line), "got %d", signals[i]);
		assert_int_equal(kill(launch.pid, signals[i]), 0);
		expect_line_while(&launch, output, line);
	}
	kill(launch.pid, SIGKILL);
	assert_int_equal(finish(&launch), SIGKILL);
}

/* Sends a signal and gives the command a while to take it, in which there is no event. */
static void pass_on(struct dt_launch *launch, int signal)
{
	struct pollfd ready = { .fd = launch->signal_fd, .events = POLLIN };

	assert_int_equal(kill(launch->pid, signal), 0);
	for (int i = 0; i < 20; i++) {
		poll(&ready, 1, 20);
		assert_int_equal(dt_launch_next(launch), DT_LAUNCH_NOTHING);
	}
}

static void test_job_control(void **state)
{
	DT_CLEANUP(dt_launch_close) struct dt_launch launch;
	DT_FD int output = -1;

	(void)state;
	start("echo ready; while :; do sleep 0.02; done", &launch, &output);
	dt_launch_continue(&launch);
	expect_line_while(&launch, output, "ready");
	pass_on(&launch, SIGSTOP);
	expect_state(launch.pid, "tT");         /* it stays stopped until … */
	pass_on(&launch, SIGCONT);
	expect_state(launch.pid, "SR");
	kill(launch.pid, SIGTERM);
	assert_int_equal(finish(&launch), SIGTERM);
}

/* It runs on untraced, and its end is still seen. */
static void test_detach(void **state)
{
	DT_CLEANUP(dt_launch_close) struct dt_launch launch;
	DT_FD int output = -1;

	(void)state;
	start("echo ready; sleep 0.2; exec sh -c 'echo done; exit 3'", &launch, &output);
	dt_launch_continue(&launch);
	expect_line_while(&launch, output, "ready");
	dt_launch_detach(&launch);
	expect_line(output, "done");
	assert_int_equal(next(&launch), DT_LAUNCH_ENDED);
	assert_int_equal(launch.status, 3 << 8);
}

/* Wherever it is held: before its first instruction, at another exec, at its end. */
static void test_close(void **state)
{
	struct dt_launch launch = { 0 };

	(void)state;
	dt_launch_close(&launch);               /* nothing was launched */
	for (int events = 0; events < 3; events++) {
		DT_FD int output = -1;
		int status;
		pid_t pid;

		start("exec sh -c 'echo ready; exit 4'", &launch, &output);
		pid = launch.pid;
		for (int i = 0; i < events; i++) {
			dt_launch_continue(&launch);
			assert_int_equal(next(&launch), i ? DT_LAUNCH_EXITING : DT_LAUNCH_EXEC);
		}
		dt_launch_close(&launch);
		assert_int_equal(launch.pid, 0);
		expect_line(output, "ready");
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 4 << 8);
	}
}

/* A command that job control has stopped stays stopped. */
static void test_detach_while_stopped(void **state)
{
	DT_CLEANUP(dt_launch_close) struct dt_launch launch;
	DT_FD int output = -1;

	(void)state;
	start("echo ready; while :; do sleep 0.02; done", &launch, &output);
	dt_launch_continue(&launch);
	expect_line_while(&launch, output, "ready");
	pass_on(&launch, SIGSTOP);
	expect_state(launch.pid, "tT");
	dt_launch_detach(&launch);
	expect_state(launch.pid, "T");
	kill(launch.pid, SIGCONT);
	expect_state(launch.pid, "SR");
	kill(launch.pid, SIGTERM);
	assert_int_equal(next(&launch), DT_LAUNCH_ENDED);
	assert_int_equal(launch.status, SIGTERM);
}

/* A tracer that is killed, at any moment, leaves the command running. */
static void test_the_tracer_is_killed(void **state)
{
	(void)state;
	for (int held = 0; held < 2; held++) {
		DT_FD int output = -1;
		struct dt_launch launch;
		int report[2], ends[2];
		pid_t tracer;

		assert_int_equal(pipe2(report, O_CLOEXEC), 0);
		assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
		tracer = fork();
		assert_true(tracer >= 0);
		if (!tracer) {
			char *argv[] = { "sh", "-c", "echo ready; sleep 0.3; echo done", NULL };

			prctl(PR_SET_PDEATHSIG, SIGKILL);
			dup2(ends[1], STDOUT_FILENO);
			close(ends[1]);
			if (dt_launch_start(argv, NULL, &launch))
				_exit(1);
			if (!held)
				dt_launch_continue(&launch);
			if (write(report[1], "", 1) != 1)
				_exit(2);
			for (;;)
				pause();
		}
		close(ends[1]);
		output = ends[0];
		assert_int_equal(read(report[0], &(char){ 0 }, 1), 1);
		if (!held)
			expect_line(output, "ready");
		kill(tracer, SIGKILL);
		assert_int_equal(waitpid(tracer, NULL, 0), tracer);
		if (held)
			expect_line(output, "ready");
		expect_line(output, "done");
		close(report[0]);
		close(report[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_statuses),
		cmocka_unit_test(test_what_cannot_be_run),
		cmocka_unit_test(test_holds),
		cmocka_unit_test(test_the_command_gets_plain_signals),
		cmocka_unit_test(test_signals_pass_through),
		cmocka_unit_test(test_job_control),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_detach_while_stopped),
		cmocka_unit_test(test_close),
		cmocka_unit_test(test_the_tracer_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
