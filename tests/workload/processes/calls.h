/* SPDX-License-Identifier: BSD-2-Clause */
/* calls: one named function for each member of the family, called from one named function a context. */
#ifndef DT_PROCESSES_CALLS_H
#define DT_PROCESSES_CALLS_H

#include "books.h"

extern const char *const function_names[FUNCTION_COUNT], *const context_names[CONTEXT_COUNT];

/* Does an action of ALLOCATE, RESIZE, FREE, REFUSED or FAULT. */
void act(enum context context, const struct node *node);

#endif
