// SPDX-License-Identifier: BSD-2-Clause
/* A marker for languages that have no macros: numpy_sections.py calls it. */
#include <domtrace/domain.h>

__attribute__((visibility("default"))) void marker(const char *label);

void marker(const char *label)
{
	DT_SNAPSHOT(label);
}
