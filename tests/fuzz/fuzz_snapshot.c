/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of snapshots, plain and compressed; what could be read is filtered, grouped, compared, merged and written. */
#include "fuzz.h"

#include <errno.h>
#include <stdbool.h>

#include "snapshot/filter.h"
#include "snapshot/group.h"
#include "snapshot/kind.h"
#include "snapshot/load.h"
#include "snapshot/merge.h"

static void tell(void *context, enum dt_log_level level, const char *line)
{
	(void)level;
	*(unsigned *)context += 1;
	fuzz_touch(line, strlen(line));
}

static void touch_text(const char *text)
{
	if (text)
		fuzz_touch(text, strlen(text));
}

static void touch(const struct dt_snapshot *snapshot)
{
	for (uint32_t i = 0; i < snapshot->process_count; i++) {
		touch_text(snapshot->processes[i].comm);
		for (const char *const *word = snapshot->processes[i].command; *word; word++)
			touch_text(*word);
	}
	for (uint32_t i = 0; i < snapshot->frame_count; i++) {
		touch_text(snapshot->frames[i].file);
		touch_text(snapshot->frames[i].function);
		touch_text(snapshot->frames[i].module);
	}
}

/* Sums by a key are the sums of all; each row's neighbour is not before it. */
static void check_groups(const struct dt_snapshot *snapshot, enum dt_group group)
{
	uint64_t bytes = 0, of_rows = 0;
	struct dt_groups groups;
	int error = dt_groups_make(snapshot, NULL, group, false, DT_SORT_LIVE, &groups);

	FUZZ_EXPECT(!error || error == -EOVERFLOW);
	if (error)
		return;
	for (uint32_t i = 0; i < snapshot->trace_count; i++)
		bytes += snapshot->traces[i].blocks ? snapshot->traces[i].bytes : 0;
	for (size_t i = 0; i < groups.row_count; i++) {
		of_rows += groups.rows[i].now->bytes;
		FUZZ_EXPECT(!i || groups.rows[i - 1].now->bytes >= groups.rows[i].now->bytes);
	}
	FUZZ_EXPECT(bytes == of_rows);
	dt_groups_clear(&groups);
	error = dt_groups_make(snapshot, snapshot, group, false, DT_SORT_LIVE, &groups);
	FUZZ_EXPECT(!error);
	for (size_t i = 0; i < groups.row_count; i++)
		FUZZ_EXPECT(groups.rows[i].now->bytes == groups.rows[i].old->bytes && groups.rows[i].is_now && groups.rows[i].was_old);
	dt_groups_clear(&groups);
}

/* One that asks for sizes or ages may be refused. */
static void check_filter(struct dt_snapshot *snapshot, const char *text, bool refusable)
{
	struct dt_filter *filter;
	const char *reason;
	int error;

	FUZZ_EXPECT(!dt_filter_parse(text, NULL, &filter));
	error = dt_filter_apply(&filter, 1, snapshot, NULL);
	FUZZ_EXPECT(!error || (refusable && error == -ENODATA));
	dt_filter_free(filter);
	FUZZ_EXPECT(!dt_snapshot_check(snapshot, &reason));
}

static void check_merge(const struct dt_snapshot *snapshot)
{
	struct dt_snapshot *merged;
	const char *reason;
	uint32_t process;
	int error;

	FUZZ_EXPECT(!dt_snapshot_new(&merged));
	error = dt_merge_add(merged, snapshot, &process);
	FUZZ_EXPECT(!error && !dt_snapshot_check(merged, &reason));
	error = dt_merge_add(merged, snapshot, &process);
	FUZZ_EXPECT(error == (snapshot->domain_count ? -EEXIST : 0));
	dt_snapshot_free(merged);
}

static void check_snapshot(struct dt_snapshot *snapshot)
{
	const char *reason;

	touch(snapshot);
	FUZZ_EXPECT(!dt_snapshot_check(snapshot, &reason));
	for (enum dt_group group = 0; group < DT_GROUP_COUNT_; group++)
		check_groups(snapshot, group);
	check_merge(snapshot);
	dt_kind_keep(snapshot, DT_FRAME_PYTHON);
	check_filter(snapshot, "!file=*a*,line=2", false);
	check_groups(snapshot, DT_GROUP_TRACEBACK);
	check_filter(snapshot, "file=*,all,bytes>=2", false);
	check_filter(snapshot, snapshot->sequence & 1 ? "!age>=60s,line=1" : "size<=64,file=*", true);
	check_groups(snapshot, DT_GROUP_LINENO);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	uint64_t number = fuzz_number(&bytes, 1) % 4;
	unsigned told = 0;
	struct dt_log log = { tell, &told };
	struct dt_snapshot *snapshot = NULL;
	int file = fuzz_file(bytes.at, bytes.size), error;
	char path[64];
	struct dt_input *input;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	FUZZ_EXPECT(!dt_input_open(path, &input));
	error = dt_load_input(input, "fuzz", number, &log, &snapshot);
	FUZZ_EXPECT(!error == !!snapshot);
	FUZZ_EXPECT(!error || told == 1);
	dt_input_close(input);
	close(file);
	if (!error)
		check_snapshot(snapshot);
	dt_snapshot_free(snapshot);
	return 0;
}
