/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/statistics.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "export/fold.h"

#define TOP_DEFAULT 10
#define COLUMNS_DEFAULT 80
#define COLUMNS_MIN 66                  /* as in report.c */

static int fail(const struct dt_log *log, int error, const struct dt_statistics_opts *opts)
{
	if (error == -EINVAL)
		return dt_log_error(log, error, "cumulative figures go with lineno and filename, not with %s", dt_group_name(opts->group));
	if (error == -EOVERFLOW)
		return dt_log_error(log, error, "the sums of the snapshot are beyond 64 bits, which no machine has");
	return dt_log_error(log, error, "the statistics cannot be written: %s", strerror(-error));
}

static int write_groups(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, const struct dt_statistics_opts *opts, FILE *out)
{
	DT_CLEANUP(dt_groups_clear) struct dt_groups groups = { 0 };
	struct dt_statistics_table statistics = {
		.snapshot = snapshot, .old = old, .groups = &groups, .cumulative = opts->cumulative,
		.top = opts->top ? opts->top : opts->json ? SIZE_MAX : TOP_DEFAULT,
	};
	unsigned columns = opts->columns ? opts->columns : COLUMNS_DEFAULT;
	struct dt_page page = { .out = out, .columns = columns < COLUMNS_MIN ? COLUMNS_MIN : columns, .colour = opts->colour };
	int error = dt_groups_make(snapshot, old, opts->group, opts->cumulative, opts->sort, &groups);

	if (!error)
		error = opts->json ? dt_statistics_write_json(&statistics, out) : dt_statistics_write_text(&statistics, &page);
	return error;
}

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

int dt_statistics_write(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, const struct dt_statistics_opts *opts,
			const struct dt_log *log, FILE *out)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *folded = NULL;
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *old_folded = NULL;
	int error = 0;

	if (opts->sort == DT_SORT_OLD && (!snapshot->ages.older_than_ns || (old && !old->ages.older_than_ns)))
		return dt_log_error(log, -ENODATA, "the order of old blocks needs their ages, which the snapshot does not tell (any more, behind a filter by "
				    "size or age): take it with --older-than");
	if (opts->fold)
		error = dt_fold_new(snapshot, &folded);
	if (opts->fold && old && !error)
		error = dt_fold_new(old, &old_folded);
	if (!error)
		error = write_groups(folded ? folded : snapshot, old_folded ? old_folded : old, opts, out);
	errno = 0;
	if (!error && (fflush(out) == EOF || ferror(out)))
		error = errno ? -errno : -EIO;
	return error ? fail(log, error, opts) : 0;
}
