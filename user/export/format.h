/* SPDX-License-Identifier: BSD-2-Clause */
/* format: forms of a snapshot for other programs: one file and one line of the table in format.c each. */
#ifndef DT_EXPORT_FORMAT_H
#define DT_EXPORT_FORMAT_H

#include <stdio.h>

#include <domtrace/domtrace.h>

/* Each returns 0 or -errno; that all of it arrived is for who calls. */
int dt_csv_write(const struct dt_snapshot *snapshot, enum dt_sort sort, FILE *out);
int dt_folded_write(const struct dt_snapshot *snapshot, enum dt_sort sort, FILE *out);

#endif
