/* SPDX-License-Identifier: BSD-2-Clause */
/* statistics: groups of traces, and their differences, as text or JSON. */
#ifndef DT_EXPORT_STATISTICS_H
#define DT_EXPORT_STATISTICS_H

#include "export/page.h"
#include "snapshot/group.h"

struct dt_statistics_table {
	const struct dt_snapshot *snapshot, *old; /* old: NULL, or what is compared with */
	const struct dt_groups *groups;
	bool cumulative;
	size_t top;
};

/* 0, -ENOMEM, or what writing says. */
int dt_statistics_write_text(const struct dt_statistics_table *statistics, const struct dt_page *page);
int dt_statistics_write_json(const struct dt_statistics_table *statistics, FILE *out);

#endif
