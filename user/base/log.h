/* SPDX-License-Identifier: BSD-2-Clause */
/* One sentence to whoever listens. The callback type is the public one. */
#ifndef DT_BASE_LOG_H
#define DT_BASE_LOG_H

#include <domtrace/domtrace.h>

/* Writes one sentence; `log` may be NULL. Returns `error`, so that a failure can be said and returned in one line. */
int dt_log_write(const struct dt_log *log, enum dt_log_level level, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

#define dt_log_error(log, error, ...) dt_log_write(log, DT_LOG_ERROR, error, __VA_ARGS__)
#define dt_log_warning(log, ...) ((void)dt_log_write(log, DT_LOG_WARNING, 0, __VA_ARGS__))
#define dt_log_info(log, ...) ((void)dt_log_write(log, DT_LOG_INFO, 0, __VA_ARGS__))
#define dt_log_debug(log, ...) ((void)dt_log_write(log, DT_LOG_DEBUG, 0, __VA_ARGS__))

#endif
