/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/watch.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <domtrace/snapshot.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/terminal.h"

#define NS_PER_SECOND 1000000000u
#define TRIM_SECONDS 10u

struct watch {
	const struct dt_watch_opts *opts;
	int signal_fd, timer_fd;
	uint64_t next_ns, deadline_ns;  /* CLOCK_MONOTONIC: of the next interval's snapshot, of the end; UINT64_MAX: never */
	uint64_t trim_ns;               /* CLOCK_MONOTONIC: not before */
	uint64_t taken;                 /* snapshots of the interval */
	uint64_t reports;               /* written; a blank line stands between them */
	bool tracing;                   /* false: only waits for the command */
	bool mute;                      /* standard output does not take reports any more */
	int error;                      /* the first */
};

/* Remembers a failure that has been said; the watch goes on. */
static void note(struct watch *watch, int error)
{
	if (!watch->error)
		watch->error = error;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* ---- snapshots --------------------------------------------------------------------------------------------- */

static void stop(struct watch *watch)
{
	watch->tracing = false;
	note(watch, dt_session_stop(watch->opts->session));
}

static void report(struct watch *watch, const struct dt_snapshot *snapshot)
{
	int error, flushed;

	if (watch->reports++)
		putchar('\n');
	error = dt_report_write(snapshot, watch->opts->report, stdout);
	flushed = dt_terminal_flush(stdout);
	if (!error || error == -EIO)    /* EIO: it knows that something went wrong, not what */
		error = flushed ? flushed : error;
	if (!error)
		return;
	watch->mute = true;
	note(watch, dt_log_error(watch->opts->log, error, "cannot write the report to standard output: %s; %s", strerror(-error),
				 watch->opts->output ? "tracing goes on without reports" : "tracing ends"));
}

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

/* What is to be shown or kept of a snapshot. Its number is in *ret_sequence, once it is written down. */
static int show(struct watch *watch, struct dt_snapshot **snapshot, uint64_t *ret_sequence)
{
	struct dt_snapshot_info info = { .size = sizeof(info) };
	int error = 0;

	*ret_sequence = dt_snapshot_get_info(*snapshot, &info) ? 0 : info.sequence;
	if (watch->opts->output)
		error = dt_output_write(watch->opts->output, *snapshot);
	note(watch, error);
	if (!watch->mute && watch->opts->report)
		report(watch, *snapshot);
	if (watch->opts->keep)
		watch->opts->keep(watch->opts->context, DT_TAKE(*snapshot));
	return error;
}

/* One of a thread that waits at a marker. False: there is none. */
static bool take_marked(struct watch *watch)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	int error = dt_session_take_marked(watch->opts->session, &snapshot);
	uint64_t sequence;

	if (error == -EAGAIN)
		return false;
	note(watch, error);
	if (!error)
		show(watch, &snapshot, &sequence);
	return true;
}

/* `label` NULL: the last one, which has its own. */
static int take(struct watch *watch, const char *label, uint64_t *ret_sequence)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	struct dt_session *session = watch->opts->session;
	int error;

	do
		error = label ? dt_session_take_snapshot(session, label, &snapshot) : dt_session_take_final(session, &snapshot);
	while (error == -EBUSY && take_marked(watch));
	note(watch, error);
	return error ? error : show(watch, &snapshot, ret_sequence);
}

/* Those that have ended: what they had goes to the file, before it leaves the tables. */
static void take_ended(struct watch *watch, bool at_once)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	int error;

	do
		error = dt_session_take_ended(watch->opts->session, at_once, &snapshot);
	while (error == -EBUSY && take_marked(watch));
	if (error && error != -EAGAIN)
		note(watch, error);
	if (!error && watch->opts->output)
		note(watch, dt_output_write(watch->opts->output, snapshot));
}

/*
 * What a burst of processes or a large snapshot took goes back to the system; malloc would keep it, as it lies between what is
 * still used. Not often: what is needed again costs its page faults. Here, since a library has no business with its host's heap.
 */
static void trim(struct watch *watch)
{
	uint64_t now = now_ns();

	if (now < watch->trim_ns)
		return;
	malloc_trim(0);
	watch->trim_ns = now + TRIM_SECONDS * NS_PER_SECOND;
}

/* A snapshot on the way. Where nobody can be told of it there is no reason to go on. */
static int take_and_go_on(struct watch *watch, const char *label, uint64_t *ret_sequence)
{
	int error = take(watch, label, ret_sequence);

	if (watch->mute && !watch->opts->output)
		stop(watch);
	trim(watch);
	return error;
}

static int finish_with(struct watch *watch, uint64_t *ret_sequence)
{
	int error;

	take_marked(watch);
	take_ended(watch, true);
	error = take(watch, NULL, ret_sequence);
	stop(watch);
	return error;
}

static void finish(struct watch *watch)
{
	uint64_t sequence;

	finish_with(watch, &sequence);
}

/* ---- time -------------------------------------------------------------------------------------------------- */

static uint64_t add_time(uint64_t time_ns, uint64_t span_ns)
{
	uint64_t sum;

	return __builtin_add_overflow(time_ns, span_ns, &sum) ? UINT64_MAX : sum;
}

static void set_timer(struct watch *watch)
{
	uint64_t due_ns = watch->next_ns < watch->deadline_ns ? watch->next_ns : watch->deadline_ns;
	struct itimerspec due = { .it_value = { (time_t)(due_ns / NS_PER_SECOND), due_ns % NS_PER_SECOND } };

	if (due_ns == UINT64_MAX || !watch->tracing)
		due = (struct itimerspec){ 0 }; /* never */
	if (timerfd_settime(watch->timer_fd, TFD_TIMER_ABSTIME, &due, NULL))
		note(watch, dt_log_error(watch->opts->log, -errno, "cannot set the timer of the snapshots: %s", strerror(errno)));
}

static void start_timer(struct watch *watch)
{
	uint64_t start_ns = now_ns();

	if (watch->opts->interval_ns)
		watch->next_ns = add_time(start_ns, watch->opts->interval_ns);
	if (watch->opts->duration_ns)
		watch->deadline_ns = add_time(start_ns, watch->opts->duration_ns);
	set_timer(watch);
}

/* The timer has fired. What is due follows from the times that were meant: -t 10 -i 5 always ends with 5, final. */
static void tick(struct watch *watch)
{
	uint64_t interval_ns = watch->opts->interval_ns, now, sequence;

	if (watch->deadline_ns <= watch->next_ns || watch->deadline_ns <= now_ns()) {
		finish(watch);
		return;
	}
	take_and_go_on(watch, "interval", &sequence);
	if (watch->tracing && ++watch->taken == watch->opts->count) {
		take_ended(watch, true);
		stop(watch);
	}
	/* A multiple of the interval after the start, so that delays do not add up; those that have passed are left out. */
	now = now_ns();
	watch->next_ns = add_time(watch->next_ns, interval_ns);
	if (watch->next_ns <= now)
		watch->next_ns = add_time(watch->next_ns, ((now - watch->next_ns) / interval_ns + 1) * interval_ns);
	set_timer(watch);
}

/* ---- the command ------------------------------------------------------------------------------------------- */

static bool command_runs(const struct watch *watch)
{
	int status;

	return dt_session_command_status(watch->opts->session, &status) == -EAGAIN;
}

/*
 * A signal that domtrace alone was sent is meant for the command, too. One from the terminal (sent by the kernel) has
 * reached the command already: both are in the process group of the foreground.
 */
static void pass_on(const struct watch *watch, int number)
{
	if (!watch->opts->command || !command_runs(watch))
		return;
	if (kill(watch->opts->command, number))
		dt_log_warning(watch->opts->log, "cannot pass signal %d on to process %d: %s", number,
			       (int)watch->opts->command, strerror(errno));
}

/* ---- signals ----------------------------------------------------------------------------------------------- */

static void leave_at_once(int number)
{
	_exit(DT_EXIT_SIGNAL + number); /* the kernel detaches what we leave behind */
}

/* From now on SIGINT does not wait for whatever we are doing. */
static void arm_second_interrupt(void)
{
	struct sigaction action = { .sa_handler = leave_at_once };
	sigset_t interrupt;

	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	sigaction(SIGINT, &action, NULL);
	sigprocmask(SIG_UNBLOCK, &interrupt, NULL);
}

static void end_by_signal(struct watch *watch, const struct signalfd_siginfo *info)
{
	arm_second_interrupt();
	if (watch->tracing)
		finish(watch);
	if (info->ssi_code <= 0)
		pass_on(watch, (int)info->ssi_signo);
}

static int clear_traces(struct watch *watch)
{
	int error;

	do
		error = dt_session_clear_traces(watch->opts->session);
	while (error == -EBUSY && take_marked(watch));
	note(watch, error);
	if (!error)
		dt_log_info(watch->opts->log, "traces cleared; counts start again from zero");
	return error;
}

static void handle_signal(struct watch *watch, const struct signalfd_siginfo *info)
{
	uint64_t sequence;

	if (info->ssi_signo != SIGUSR1 && info->ssi_signo != SIGUSR2)
		end_by_signal(watch, info);
	else if (!watch->tracing)
		dt_log_warning(watch->opts->log, "tracing has ended: signal %u is ignored", info->ssi_signo);
	else if (info->ssi_signo == SIGUSR1)
		take_and_go_on(watch, "signal", &sequence);
	else
		clear_traces(watch);
}

static void read_signals(struct watch *watch)
{
	struct signalfd_siginfo info;

	while (read(watch->signal_fd, &info, sizeof(info)) == sizeof(info))
		handle_signal(watch, &info);
}

/* They stay blocked for the rest of domtrace's life: the command was started before and has its own mask. */
static int block_signals(void)
{
	static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 };
	struct sigaction ignore = { .sa_handler = SIG_IGN }, hangup;
	sigset_t ours;

	sigemptyset(&ours);
	for (size_t i = 0; i < DT_ARRAY_SIZE(numbers); i++)
		sigaddset(&ours, numbers[i]);
	/* nohup(1) asks for SIGHUP to be ignored; a blocked one would be queued all the same. */
	sigaction(SIGHUP, NULL, &hangup);
	if (hangup.sa_handler == SIG_IGN)
		sigdelset(&ours, SIGHUP);
	sigaction(SIGPIPE, &ignore, NULL);
	sigprocmask(SIG_BLOCK, &ours, NULL);
	return signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- requests ---------------------------------------------------------------------------------------------- */

/* As a SIGINT that domtrace alone was sent. */
static int end_by_request(struct watch *watch, uint64_t *ret_sequence)
{
	int error;

	arm_second_interrupt();
	error = finish_with(watch, ret_sequence);
	pass_on(watch, SIGINT);
	return error;
}

static int reset_peak(struct watch *watch)
{
	int error;

	do
		error = dt_session_reset_peak(watch->opts->session);
	while (error == -EBUSY && take_marked(watch));
	note(watch, error);
	if (!error)
		dt_log_info(watch->opts->log, "peaks start again from what is live");
	return error;
}

/* Who asks may be in another directory. */
static const char *name_output(const struct watch *watch, char path[2 * PATH_MAX])
{
	const char *name = watch->opts->output_name;
	char here[PATH_MAX];

	if (!name || *name == '/' || !getcwd(here, sizeof(here)))
		return name;
	snprintf(path, 2 * PATH_MAX, "%s/%s", here, name);
	return path;
}

static int write_status(struct watch *watch, bool json, FILE *out)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *totals = NULL;
	char path[2 * PATH_MAX];
	struct dt_status_opts opts = { .size = sizeof(opts), .json = json, .file = name_output(watch, path) };
	struct dt_tracer_memory memory = { .size = sizeof(memory) };
	int error;

	do
		error = dt_session_take_totals(watch->opts->session, &totals);
	while (error == -EBUSY && take_marked(watch));
	if (!error)
		error = dt_session_get_tracer_memory(watch->opts->session, &memory);
	opts.kernel_bytes = memory.kernel_bytes;
	return error ? error : dt_status_write(totals, &opts, out);
}

static int do_request(struct watch *watch, enum dt_request request, FILE *out)
{
	uint64_t sequence = 0;
	int error;

	switch (request) {
	case DT_REQUEST_CLEAR:
		return clear_traces(watch);
	case DT_REQUEST_RESET_PEAK:
		return reset_peak(watch);
	case DT_REQUEST_STATUS:
	case DT_REQUEST_STATUS_JSON:
		return write_status(watch, request == DT_REQUEST_STATUS_JSON, out);
	case DT_REQUEST_SNAPSHOT:
		error = take_and_go_on(watch, "request", &sequence);
		break;
	default:
		error = end_by_request(watch, &sequence);
	}
	if (!error)
		fprintf(out, "snapshot %llu\n", (unsigned long long)sequence);
	return error;
}

static enum dt_verdict answer(void *context, enum dt_request request, FILE *out)
{
	struct watch *watch = context;

	if (!watch->tracing) {
		fputs("tracing has ended; it waits for the command that it has started\n", out);
		return DT_VERDICT_STOPPED;
	}
	if (!do_request(watch, request, out))
		return DT_VERDICT_DONE;
	fputs("that has failed; why, it has said on its standard error\n", out);
	return DT_VERDICT_FAILED;
}

/* ---- the loop ---------------------------------------------------------------------------------------------- */

static int wait_once(struct watch *watch)
{
	enum { SESSION, SIGNALS, TIMER, CONTROL, COUNT };
	struct pollfd fds[COUNT] = {
		[SESSION] = { .fd = dt_session_fd(watch->opts->session), .events = POLLIN },
		[SIGNALS] = { .fd = watch->signal_fd, .events = POLLIN },
		[TIMER] = { .fd = watch->timer_fd, .events = POLLIN },
		[CONTROL] = { .fd = dt_control_fd(watch->opts->control), .events = POLLIN },
	};
	int error = 0;

	if (poll(fds, COUNT, -1) < 0)
		return errno == EINTR ? 0 : dt_log_error(watch->opts->log, -errno, "cannot wait for events: %s", strerror(errno));
	/* Threads at markers first: they wait for it. */
	if (fds[SESSION].revents && watch->tracing && take_marked(watch) && watch->mute && !watch->opts->output)
		stop(watch);
	if (fds[SESSION].revents)
		error = dt_session_dispatch(watch->opts->session);
	if (watch->tracing && !error)
		take_ended(watch, false);
	if (fds[SIGNALS].revents)
		read_signals(watch);
	if (fds[TIMER].revents && watch->tracing)
		tick(watch);
	if (fds[CONTROL].revents)
		dt_control_dispatch(watch->opts->control, answer, watch);
	return error;
}

static void loop(struct watch *watch)
{
	while (watch->tracing || command_runs(watch)) {
		int error = 0;

		if (!watch->tracing || dt_session_running(watch->opts->session))
			error = wait_once(watch);
		else
			finish(watch);
		if (!error)
			continue;
		/* The session cannot be followed any more: save what it has. */
		note(watch, error);
		if (watch->tracing)
			finish(watch);
		return;
	}
}

int dt_watch_run(const struct dt_watch_opts *opts)
{
	DT_FD int signal_fd = block_signals();
	DT_FD int timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct watch watch = { .opts = opts, .signal_fd = signal_fd, .timer_fd = timer_fd, .next_ns = UINT64_MAX,
			       .deadline_ns = UINT64_MAX, .tracing = true };

	if (signal_fd < 0 || timer_fd < 0)
		return dt_log_error(opts->log, -errno, "cannot wait for signals and timers: %s", strerror(errno));
	dt_log_info(opts->log, "ready; Ctrl-C ends the trace");
	start_timer(&watch);
	loop(&watch);
	return watch.error;
}
