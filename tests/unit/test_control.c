/* SPDX-License-Identifier: BSD-2-Clause */
/* control: many clients, slow ones, rude ones, and large answers, without waiting for any of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

#include "base/cleanup.h"
#include "cli/control.h"
#include "cli/runtime.h"
#include "shell.h"

#define LARGE (4u << 20)                /* more than a socket holds */

static struct dt_control *control;
static int directory;
static char asked[256];                 /* what has come through, in order */

static void write_log(void *context, enum dt_log_level level, const char *line)
{
	(void)context, (void)line;
	assert_int_equal(level, DT_LOG_DEBUG);
}

static enum dt_verdict answer(void *context, enum dt_request request, FILE *out)
{
	(void)context;
	strcat(strcat(asked, dt_request_name(request)), " ");
	if (request == DT_REQUEST_STATUS)
		for (unsigned i = 0; i < LARGE; i++)
			fputc(i % 64 == 63 ? '\n' : 'x', out);
	else
		fprintf(out, "%s\n", dt_request_name(request));
	return request == DT_REQUEST_CLEAR ? DT_VERDICT_FAILED : DT_VERDICT_DONE;
}

static int setup(void **state)
{
	static const struct dt_log log = { write_log, NULL };

	(void)state;
	*asked = '\0';
	if (dt_control_open(shell_directory, &log, &control) || !control)
		return -1;
	return dt_runtime_open(shell_directory, false, &log, DT_LOG_ERROR, &directory);
}

static int teardown(void **state)
{
	(void)state;
	dt_control_close(control);
	control = NULL;
	return close(directory);
}

/* As the loop of watch does, until nothing is to be done. */
static void run(void)
{
	struct pollfd ready = { .fd = dt_control_fd(control), .events = POLLIN };

	for (int i = 0; i < 1000 && poll(&ready, 1, 0) > 0; i++)
		dt_control_dispatch(control, answer, NULL);
}

static int visit(void)
{
	int fd;

	assert_int_equal(dt_runtime_connect(directory, getpid(), &fd), 0);
	return fd;
}

static void say(int fd, const char *bytes, size_t size)
{
	assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

static int ask(const char *text)
{
	int fd = visit();

	say(fd, text, strlen(text));
	return fd;
}

/* All that comes until the end; whether it has come to an end. */
static bool hear(int fd, char *text, size_t size)
{
	ssize_t got;

	memset(text, 0, size);
	while ((got = recv(fd, text, size - 1, MSG_DONTWAIT)) > 0)
		text += got, size -= (size_t)got;
	return !got || (got < 0 && errno == ECONNRESET);
}

static void assert_heard(int fd, const char *expected)
{
	char text[256];

	assert_true(hear(fd, text, sizeof(text)));
	assert_string_equal(text, expected);
	close(fd);
}

/* It is still connected, and has heard nothing. */
static void assert_waits(int fd)
{
	char text[8];

	assert_false(hear(fd, text, sizeof(text)));
	assert_string_equal(text, "");
}

static void test_each(void **state)
{
	int snapshot = ask("domtrace/1 snapshot\n"), clear = ask("domtrace/1 clear\n"), other = ask("domtrace/1 sleep\n");

	(void)state;
	run();
	assert_heard(snapshot, "domtrace/1 done 9\nsnapshot\n");
	assert_heard(clear, "domtrace/1 failed 6\nclear\n");
	assert_heard(other, "domtrace/1 unknown 25\nthere is no such request\n");
	assert_string_equal(asked, "snapshot clear ");
}

/* Byte by byte; a request is what it is only at its end. */
static void test_in_pieces(void **state)
{
	static const char text[] = "domtrace/1 stop\n";
	int fd = visit();

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		assert_string_equal(asked, "");
		say(fd, text + i, 1);
		run();
	}
	assert_heard(fd, "domtrace/1 done 5\nstop\n");
}

/* None of them does anything, nor keeps others from being answered. */
static void test_rude(void **state)
{
	static const char zeros[4096];
	int garbage = ask("GET / HTTP/1.1\r\n\r\n"), null = visit(), gone = ask("domtrace/1 stop"), half = ask("domtrace/1 sto"), good;

	(void)state;
	say(null, zeros, sizeof(zeros));
	close(gone);
	shutdown(half, SHUT_WR);
	close(visit());
	run();
	good = ask("domtrace/1 snapshot\n");
	run();
	assert_heard(garbage, "domtrace/1 unknown 25\nthere is no such request\n");
	assert_heard(null, "domtrace/1 unknown 25\nthere is no such request\n");
	assert_heard(half, "");
	assert_heard(good, "domtrace/1 done 9\nsnapshot\n");
	assert_string_equal(asked, "snapshot ");
}

/* More than there are places: those that have said nothing for longest go, one that asks is answered. */
static void test_crowd(void **state)
{
	int crowd[3 * DT_CONTROL_CLIENTS_MAX], good;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(crowd); i++) {
		crowd[i] = visit();
		run();
	}
	good = ask("domtrace/1 snapshot\n");
	run();
	assert_heard(good, "domtrace/1 done 9\nsnapshot\n");
	for (size_t i = 0; i < DT_ARRAY_SIZE(crowd) - DT_CONTROL_CLIENTS_MAX + 1; i++)
		assert_heard(crowd[i], "");
	for (size_t i = DT_ARRAY_SIZE(crowd) - DT_CONTROL_CLIENTS_MAX + 1; i < DT_ARRAY_SIZE(crowd); i++) {
		assert_waits(crowd[i]);
		close(crowd[i]);
	}
}

/* One that does not read gets as much as the socket holds; others do not wait, and it gets the rest when it reads. */
static void test_large_answer(void **state)
{
	char *text = malloc(LARGE + 64);
	size_t size = 0;
	int slow = ask("domtrace/1 status\n"), good;

	(void)state;
	run();
	good = ask("domtrace/1 snapshot\n");
	run();
	assert_heard(good, "domtrace/1 done 9\nsnapshot\n");
	for (;;) {
		ssize_t got = recv(slow, text + size, LARGE + 64 - size, MSG_DONTWAIT);

		if (got < 0)
			run();
		else if (!got)
			break;
		else
			size += (size_t)got;
	}
	assert_int_equal(size, LARGE + strlen("domtrace/1 done 4194304\n"));
	assert_memory_equal(text, "domtrace/1 done 4194304\nxxxx", 28);
	free(text);
	close(slow);
}

static double since(const struct timespec *begin)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - begin->tv_sec) + (double)(now.tv_nsec - begin->tv_nsec) / 1e9;
}

/* Who says nothing, and who does not read, is let go when their time is over, without anybody else's doing. */
static void test_patience(void **state)
{
	int silent = visit(), deaf = ask("domtrace/1 status\n");
	struct pollfd ready = { .fd = dt_control_fd(control), .events = POLLIN };
	struct timespec begin;
	char text[8];

	(void)state;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	run();
	assert_waits(silent);
	while (!hear(silent, text, sizeof(text))) {
		assert_true(poll(&ready, 1, 60000) > 0);
		run();
	}
	assert_true(since(&begin) >= 5);
	/* The deaf one's time is over, too, or a moment later. */
	while (poll(&ready, 1, 1000) > 0)
		run();
	dt_control_close(control);      /* would wait for it */
	control = NULL;
	close(silent);
	close(deaf);
}

/* What was asked before the end is answered before the end; afterwards nobody is there. */
static void test_close(void **state)
{
	int fd = ask("domtrace/1 stop\n"), late;

	(void)state;
	run();
	late = visit();
	dt_control_close(control);
	control = NULL;
	assert_heard(fd, "domtrace/1 done 5\nstop\n");
	assert_heard(late, "");
	assert_int_equal(dt_runtime_connect(directory, getpid(), &fd), -ENOENT);
}

static enum dt_log_level warned;

static void note_warning(void *context, enum dt_log_level level, const char *line)
{
	(void)context, (void)line;
	warned = level;
}

/* Where no socket can be, there is none, and all goes on. */
static void test_nowhere(void **state)
{
	static const struct dt_log log = { note_warning, NULL };
	struct dt_control *none = (struct dt_control *)&log;

	(void)state;
	assert_int_equal(dt_control_open("/proc/self/nowhere", &log, &none), 0);
	assert_null(none);
	assert_int_equal(warned, DT_LOG_WARNING);
	assert_int_equal(dt_control_fd(none), -1);
	dt_control_dispatch(none, answer, NULL);
	dt_control_close(none);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_each), CASE(test_in_pieces), CASE(test_rude), CASE(test_crowd), CASE(test_large_answer), CASE(test_patience),
		CASE(test_close), cmocka_unit_test(test_nowhere),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
