/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DT_WORKLOAD_LIBALLOC_LATE_H
#define DT_WORKLOAD_LIBALLOC_LATE_H

#include <stddef.h>

void *late_library_malloc(size_t bytes);
void *late_library_calloc(size_t count, size_t bytes);
void late_library_free(void *block);

#endif
