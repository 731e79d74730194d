/* SPDX-License-Identifier: BSD-2-Clause */
/* process: what /proc says of one process. */
#ifndef DT_TARGET_PROCESS_H
#define DT_TARGET_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "target/smaps.h"

struct dt_process_info {
	pid_t pid, ppid;
	uint64_t start_time_ns;         /* after boot; with pid it names one process for ever */
	char *comm, *exe;               /* exe: as the process sees it, without " (deleted)" */
	char **command;                 /* NULL-terminated; empty for a kernel thread */
	uint64_t rss_bytes;
	struct dt_smaps smaps;          /* as last read, by whoever needs it (dt_process_read() does not) */
	uint64_t smaps_read_ns;         /* when that was done, as CLOCK_MONOTONIC has it; 0: not yet */
	uint64_t smaps_took_ns;
};

/*
 * Opens a process for tracing: *ret_pidfd becomes readable when it ends. Says in one sentence what is wrong:
 * -ESRCH no such process (or a zombie), -EINVAL a thread that is not the leader, a kernel thread or domtrace itself,
 * -EACCES not permitted.
 */
int dt_process_open(pid_t pid, const struct dt_log *log, int *ret_pidfd);
/* Reads everything about it. -ESRCH when it has gone. */
int dt_process_read(pid_t pid, struct dt_process_info *ret_info);
/* Only the resident memory. -ESRCH when it has gone. */
int dt_process_read_rss(pid_t pid, uint64_t *ret_bytes);
void dt_process_info_clear(struct dt_process_info *info);
/* Reads memory of the process; -EFAULT where it is not mapped, -ESRCH when it has gone. */
int dt_process_read_memory(pid_t pid, uint64_t address, void *data, size_t size);

#endif
