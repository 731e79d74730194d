/* SPDX-License-Identifier: BSD-2-Clause */
/* tables: the sizes of the kernel's tables (tables.def), as the options say them. */
#ifndef DT_SESSION_TABLES_H
#define DT_SESSION_TABLES_H

#include <linux/types.h>
#include <stdint.h>

#include <domtrace/wire.h>

#include "base/log.h"

/* Rows of each table, by enum dt_table; of `events` bytes. */
struct dt_tables {
	uint64_t rows[DT_TABLE_COUNT];
};

/* "live=400M" …, NULL-terminated, or NULL; the last of several for one table counts. -EINVAL: said. */
int dt_tables_parse(const char *const *sizes, const struct dt_log *log, struct dt_tables *ret_tables);

#endif
