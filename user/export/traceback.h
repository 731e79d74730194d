/* SPDX-License-Identifier: BSD-2-Clause */
/* traceback: frames as Python prints them, the most recent call last. */
#ifndef DT_EXPORT_TRACEBACK_H
#define DT_EXPORT_TRACEBACK_H

#include "export/listing.h"
#include "export/page.h"
#include "snapshot/snapshot.h"

/* -ENOMEM. */
int dt_traceback_write(const struct dt_page *page, const struct dt_snapshot *snapshot, uint32_t traceback,
		       struct dt_listing *listing);

#endif
