/* SPDX-License-Identifier: BSD-2-Clause */
/* wrapper: functions that only pass a request for memory on (wrappers.def). */
#ifndef DT_EXPORT_WRAPPER_H
#define DT_EXPORT_WRAPPER_H

#include <stdbool.h>

/* `function`: a name as in a native frame, demangled or not. */
bool dt_wrapper_is(const char *function);

#endif
