/* SPDX-License-Identifier: BSD-2-Clause */
/* watch: the loop around a session that traces: signals, timers, snapshots, until it ends. */
#ifndef DT_CLI_WATCH_H
#define DT_CLI_WATCH_H

#include <stdint.h>
#include <sys/types.h>

#include <domtrace/domtrace.h>

struct dt_control;

struct dt_watch_opts {
	struct dt_session *session;     /* everything is attached */
	struct dt_output *output;       /* NULL: snapshots are only reported */
	const char *output_name;        /* as the user has it; NULL: none */
	const struct dt_report_opts *report; /* NULL: no reports */
	struct dt_control *control;     /* through which others ask; NULL: nobody can */
	void (*keep)(void *context, struct dt_snapshot *snapshot); /* gets each snapshot for good, but for labels "exit"; NULL: nobody */
	void *context;                  /* of `keep` */
	const struct dt_log *log;
	pid_t command;                  /* that the session launched; 0: none */
	uint64_t interval_ns;           /* 0: no snapshots in between */
	uint64_t count;                 /* of them; 0: until something else ends the trace */
	uint64_t duration_ns;           /* 0: until something else ends the trace */
};

/*
 * Takes snapshots, reports them on standard output and writes them down, until a signal, the duration, the count or
 * the end of all processes ends the trace; then waits for the command, if there is one. For good, it blocks the signals
 * that it takes and ignores SIGPIPE: a process does nothing after it but end. When a signal has ended the trace, a
 * SIGINT ends domtrace at once. Negative when anything failed on the way; each failure has been said.
 */
int dt_watch_run(const struct dt_watch_opts *opts);

#endif
