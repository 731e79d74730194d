/* SPDX-License-Identifier: BSD-2-Clause */
/* shell: for tests that compile, split and pack programs, and ask other tools about them, in a directory of their own. */
#ifndef DT_UNIT_SHELL_H
#define DT_UNIT_SHELL_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char shell_directory[] = "/tmp/domtrace-unit-XXXXXX";

/* Group set-up: goes to a new directory. */
static inline int shell_enter(void **state)
{
	(void)state;
	return mkdtemp(shell_directory) && !chdir(shell_directory) ? 0 : -1;
}

/* Group tear-down. */
static inline int shell_leave(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", shell_directory);
	return chdir("/") || system(command);
}

/* Runs a command that must succeed. */
__attribute__((format(printf, 1, 2))) static inline void shell(const char *format, ...)
{
	char command[4096];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	if (system(command))
		fail_msg("this failed: %s", command);
}

static inline int shell_has(const char *program)
{
	char command[128];

	snprintf(command, sizeof(command), "command -v %s >/dev/null 2>&1", program);
	return !system(command);
}

static inline void shell_write(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	if (!file || fputs(text, file) == EOF || fclose(file))
		fail_msg("cannot write %s", path);
}

#endif
