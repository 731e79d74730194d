/* SPDX-License-Identifier: BSD-2-Clause */
/* choice: which of all processes are traced, as the programs ask (struct dt_choice), and as userspace asks of those that run already. */
#ifndef DT_SESSION_CHOICE_H
#define DT_SESSION_CHOICE_H

#include <stdbool.h>
#include <sys/types.h>

#include <domtrace/domtrace.h>
#include <linux/types.h>
#include <domtrace/wire.h>

/* From the options; nothing given: every process but this one. -EINVAL, -ENOENT …: said in one sentence. */
int dt_choice_read(const struct dt_session_opts *opts, struct dt_choice *ret_choice);
/* Is a running process one of those? Not when it has gone. */
bool dt_choice_holds(const struct dt_choice *choice, pid_t pid);

#endif
