/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * launch: starts a command and holds it, with ptrace, at the few moments when probes must be in place before it goes on.
 *
 * A tracer that dies, however, lets its tracees go on; so the command never hangs because domtrace did. Only the main
 * thread is traced, and signals pass through unchanged.
 */
#ifndef DT_TARGET_LAUNCH_H
#define DT_TARGET_LAUNCH_H

#include <stdbool.h>
#include <sys/types.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/log.h"

enum dt_launch_event {
	DT_LAUNCH_NOTHING,
	DT_LAUNCH_EXEC,                 /* held: a program has been loaded, none of its code has run */
	DT_LAUNCH_HELD,                 /* held: DT_HOLD_SIGNAL has come from the kernel */
	DT_LAUNCH_EXITING,              /* held: it ends, its memory is still there */
	DT_LAUNCH_ENDED,                /* see status */
};

struct dt_launch {
	pid_t pid;                      /* 0: nothing was launched */
	int signal_fd;                  /* readable when there may be an event: SIGCHLD, which is blocked for that */
	int status;                     /* as from waitpid, once ended */
	bool ended;
	bool held;                      /* at an event, until dt_launch_continue */
};

/*
 * Starts argv[0] (found through PATH), held at its first DT_LAUNCH_EXEC. Says what is wrong: -ENOENT, -EACCES, … as
 * execvp; -EPERM: ptrace is not permitted.
 */
int dt_launch_start(char *const argv[], const struct dt_log *log, struct dt_launch *ret_launch);
/* The next event, without blocking. Whatever is not an event has been passed on. */
enum dt_launch_event dt_launch_next(struct dt_launch *launch);
/* Lets it go on after DT_LAUNCH_EXEC, _HELD or _EXITING; does nothing to one that is not held. */
void dt_launch_continue(struct dt_launch *launch);
/* Stops tracing it; it goes on. Its end is still awaited. */
void dt_launch_detach(struct dt_launch *launch);
/* Detaches and gives the descriptors back. Does not end or await the command. */
void dt_launch_close(struct dt_launch *launch);

#endif
