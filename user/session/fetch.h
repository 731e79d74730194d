/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * fetch: debug files from the debuginfod servers of $DEBUGINFOD_URLS. Another process asks them, one for each file: it loads
 * libdebuginfod, so that nobody pays for that library who does not use it, and waits for the network.
 */
#ifndef DT_SESSION_FETCH_H
#define DT_SESSION_FETCH_H

#include <stdint.h>
#include <sys/types.h>

struct dt_fetch {
	pid_t pid;                      /* 0: none is under way */
	int socket;
	uint64_t limit_ns;              /* when to give up (CLOCK_MONOTONIC) */
};

/* Begins to fetch the debug file with a build id (lower-case hex). */
int dt_fetch_start(struct dt_fetch *fetch, const char *build_id, uint64_t limit_ns);
/*
 * The file, whose descriptor is the caller's. -EAGAIN: it is not there within `budget_ns`, ask again. -ENOENT: no server has it.
 * -ELIBACC: there is no libdebuginfod. -ETIMEDOUT. -EPIPE: the process died.
 */
int dt_fetch_wait(struct dt_fetch *fetch, uint64_t budget_ns, int *ret_fd);
/* Gives up. */
void dt_fetch_stop(struct dt_fetch *fetch);

#endif
