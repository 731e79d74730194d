/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * control: a running domtrace listens for 'domtrace ctl'. Whoever connects has a little time and few bytes to say what he wants, and
 * a little time to take the answer; of too many at a time the one who has said nothing for longest goes. Nothing waits for anyone.
 */
#ifndef DT_CLI_CONTROL_H
#define DT_CLI_CONTROL_H

#include <stdint.h>
#include <stdio.h>

#include <domtrace/domtrace.h>

#include "cli/request.h"

#define DT_CONTROL_CLIENTS_MAX 8
#define DT_CONTROL_PATIENCE_NS 5000000000u      /* to ask; and again to take the answer */

struct dt_control;

/* Does what is asked and writes the answer, lines of text. */
typedef enum dt_verdict (*dt_control_fn)(void *context, enum dt_request request, FILE *out);

/*
 * Listens in the runtime directory below `parent`. Where that cannot be, it is said as a warning, and *ret_control is NULL, which
 * all of these take: nobody can ask then. -ENOMEM and the like are errors, and said.
 */
int dt_control_open(const char *parent, const struct dt_log *log, struct dt_control **ret_control);
/* Sends what has been answered, as long as it is taken, and takes the socket away. */
void dt_control_close(struct dt_control *control);
/* A descriptor that is readable when dt_control_dispatch has something to do; -1: never. */
int dt_control_fd(const struct dt_control *control);
/* Reads requests, answers them, sends what is taken of the answers; does not wait. */
void dt_control_dispatch(struct dt_control *control, dt_control_fn answer, void *context);

#endif
