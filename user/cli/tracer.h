/* SPDX-License-Identifier: BSD-2-Clause */
/* tracer: a session that traces what the options ask for. */
#ifndef DT_CLI_TRACER_H
#define DT_CLI_TRACER_H

#include "cli/options.h"

/*
 * Attaches to all that was asked for, or starts it; gives up the privileges that this took. Returns an exit status; *command is the
 * process that was started, if any.
 */
int dt_tracer_attach(const struct dt_options *options, const struct dt_log *log, struct dt_session *session, pid_t *command);
/* The exit status when domtrace itself has failed. */
int dt_tracer_fail(const struct dt_options *options);

#endif
