/* SPDX-License-Identifier: BSD-2-Clause */
/* size_line: live blocks by size class, in few words. */
#ifndef DT_EXPORT_SIZE_LINE_H
#define DT_EXPORT_SIZE_LINE_H

#include "export/page.h"
#include "snapshot/snapshot.h"

/* "    live sizes <=16B:1,024 <=1MiB:30": blocks of at most so many bytes, and of more than half of it; nothing where there are no blocks. `blocks`: how many there are. -ENOMEM. */
int dt_size_line_write(const struct dt_page *page, const struct dt_snapshot_sizes *sizes, uint64_t blocks);

#endif
