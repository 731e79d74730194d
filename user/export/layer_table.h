/* SPDX-License-Identifier: BSD-2-Clause */
/* layer_table: what one process has in memory, and which domains lie in which, as a table for people. */
#ifndef DT_EXPORT_LAYER_TABLE_H
#define DT_EXPORT_LAYER_TABLE_H

#include "export/page.h"
#include "snapshot/snapshot.h"

/* Writes nothing where nothing is known. -ENOMEM. */
int dt_layer_table_write(const struct dt_page *page, const struct dt_snapshot *snapshot, uint32_t process);

#endif
