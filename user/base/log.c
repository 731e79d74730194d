/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

int dt_log_write(const struct dt_log *log, enum dt_log_level level, int error, const char *format, ...)
{
	DT_FREE char *line = NULL;
	va_list arguments;

	if (!log || !log->write)
		return error;
	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	va_end(arguments);
	log->write(log->context, level, line ? line : format);
	return error;
}
