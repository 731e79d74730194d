/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * python_calls: whether all calls of CPython's allocators in a process get to the functions that are probed, and what is done about it
 * where they do not: aliases are written into its tables (target/python_alias.h), and taken out again. A process of which that is not
 * certain is not traced in the domain python at all.
 */
#ifndef DT_SESSION_PYTHON_CALLS_H
#define DT_SESSION_PYTHON_CALLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "target/python_alloc.h"

struct dt_python_calls {
	const struct dt_python_alloc *alloc;    /* of its CPython, owned by the module; NULL: none is known */
	uint64_t bias;
	bool are_seen;                  /* all of them */
	bool written;                   /* aliases stand in its tables because we have put them there */
	bool refused;                   /* that, and why, has been said */
};

/*
 * Sees to it that all calls are seen. `may_write`: if need be, by writing. `held`: a thread that the caller holds; 0: none. -EAGAIN: not
 * while the tables hold what they do, which may be nothing yet: the loader fills them in. -ENOTSUP: never, which is said once. -ESRCH.
 */
int dt_python_calls_open(struct dt_python_calls *calls, pid_t pid, pid_t held, bool may_write, const struct dt_log *log);
/* The sentence for -EAGAIN where it stays so. Returns -ENOTSUP. */
int dt_python_calls_say_others(pid_t pid, const struct dt_log *log);
/* Is what was so when they were opened still so? */
bool dt_python_calls_check(const struct dt_python_calls *calls, pid_t pid);
/* Puts everything back. */
void dt_python_calls_close(struct dt_python_calls *calls, pid_t pid, const struct dt_log *log);

#endif
