/* SPDX-License-Identifier: BSD-2-Clause */
/* standstill: all threads of a process stand still (ptrace), for the moment that it takes to write into it. */
#ifndef DT_TARGET_STANDSTILL_H
#define DT_TARGET_STANDSTILL_H

#include <stddef.h>
#include <sys/types.h>

struct dt_standstill {
	pid_t *threads;
	int *signals;                   /* that each was just about to take */
	size_t count;
};

/*
 * Returns when none of its threads runs; thread `held` (0: none) rests already, by the caller's ptrace. -ESRCH: it has gone; -EPERM: not
 * permitted, or another tracer has it; -EBUSY: a thread does not come to rest within a fifth of a second, which happens in system calls
 * that nothing interrupts, or, if it only waits for a processor, within five seconds: it would stop later, and only the end of the
 * calling process lets it go on, so that had better be a process of its own. -ENOMEM. Otherwise nothing stands still after an error.
 */
int dt_standstill_begin(pid_t pid, pid_t held, struct dt_standstill *ret_standstill);
void dt_standstill_end(struct dt_standstill *standstill);

#endif
