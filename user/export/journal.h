/* SPDX-License-Identifier: BSD-2-Clause */
/* journal: a file of lines that are there whole or not at all. */
#ifndef DT_EXPORT_JOURNAL_H
#define DT_EXPORT_JOURNAL_H

#include <domtrace/domtrace.h>

struct dt_journal;

/* What to do about a failed write: the end of a sentence. */
const char *dt_journal_advice(int error);

/*
 * Opens or makes a file for appending; `path` "-" or "/dev/stdout" is standard output, which stays open. What an
 * interrupted run left of a line is cut off and said; a file that ends in the middle of anything else is refused.
 * `log` must outlive the journal.
 */
int dt_journal_open(const char *path, const struct dt_log *log, struct dt_journal **ret_journal);
void dt_journal_close(struct dt_journal *journal);
/*
 * Appends a snapshot and waits until it is on the disk; on failure a regular file is cut back to where the line began.
 * A pipe or a device can neither wait nor be cut back.
 */
int dt_journal_append(struct dt_journal *journal, const struct dt_snapshot *snapshot);

#endif
