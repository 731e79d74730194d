/* SPDX-License-Identifier: BSD-2-Clause */
/* said: what is told to a log, for tests of what is said when something fails: errors only, each of one line. */
#ifndef DT_UNIT_SAID_H
#define DT_UNIT_SAID_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/log.h"

struct said {
	enum dt_log_level level;        /* that lines have to have; an error unless it is set */
	int lines;
	char last[512];
};

static void said_write(void *context, enum dt_log_level level, const char *line)
{
	struct said *said = context;

	assert_int_equal(level, said->level);
	said->lines++;
	snprintf(said->last, sizeof(said->last), "%s", line);
}

static struct dt_log said_log(struct said *said)
{
	return (struct dt_log){ .write = said_write, .context = said };
}

#endif
