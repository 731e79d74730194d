/* SPDX-License-Identifier: BSD-2-Clause */
/* terminal: how to speak to the person who started domtrace. */
#ifndef DT_CLI_TERMINAL_H
#define DT_CLI_TERMINAL_H

#include <stdbool.h>
#include <stdio.h>

#include <domtrace/domtrace.h>

/* "domtrace: LINE" on standard error, for every level up to *verbosity, which must live as long as the log. */
struct dt_log dt_terminal_log(const enum dt_log_level *verbosity);
/* True where `out` is a terminal that shows colours and the user has not set NO_COLOR. */
bool dt_terminal_has_colour(FILE *out);
/* Columns of a report: 80, or as many as a wider terminal has, up to 120. */
unsigned dt_terminal_columns(FILE *out);
/* Flushes. 0, or -errno when anything written to `out` so far did not arrive. */
int dt_terminal_flush(FILE *out);

#endif
