/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define COLUMNS_MIN 80
#define COLUMNS_MAX 120                 /* longer lines are hard to read */

static void write_line(void *context, enum dt_log_level level, const char *line)
{
	const enum dt_log_level *verbosity = context;

	if (level <= *verbosity)
		fprintf(stderr, "domtrace: %s\n", line);
}

struct dt_log dt_terminal_log(const enum dt_log_level *verbosity)
{
	return (struct dt_log){ write_line, (void *)verbosity };
}

bool dt_terminal_has_colour(FILE *out)
{
	const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");

	/* https://no-color.org: set and not empty, whatever it says */
	return isatty(fileno(out)) && !(no_colour && *no_colour) && !(terminal && !strcmp(terminal, "dumb"));
}

unsigned dt_terminal_columns(FILE *out)
{
	struct winsize size;

	if (ioctl(fileno(out), TIOCGWINSZ, &size) || size.ws_col < COLUMNS_MIN)
		return COLUMNS_MIN;
	return size.ws_col < COLUMNS_MAX ? size.ws_col : COLUMNS_MAX;
}

int dt_terminal_flush(FILE *out)
{
	if (fflush(out))
		return -errno;
	/* An earlier write failed and its errno is gone. */
	return ferror(out) ? -EIO : 0;
}
