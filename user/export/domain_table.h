/* SPDX-License-Identifier: BSD-2-Clause */
/* domain_table: the domains of one process as a table for people. */
#ifndef DT_EXPORT_DOMAIN_TABLE_H
#define DT_EXPORT_DOMAIN_TABLE_H

#include "export/page.h"
#include "snapshot/snapshot.h"

/* -ENOMEM. */
int dt_domain_table_write(const struct dt_page *page, const struct dt_snapshot *snapshot, uint32_t process);

#endif
