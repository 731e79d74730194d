/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/memory.h"

#include <time.h>

/*
 * While the kernel walks over a mapping, the process waits where it changes its own (target/smaps.h): about 8 ms for a GiB.
 * One part in so many of the time is what snapshots at intervals may take.
 */
#define SHARE_OF_TIME 100

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool is_too_soon(const struct dt_process_info *info, uint64_t now)
{
	return info->smaps_read_ns && (now - info->smaps_read_ns) / SHARE_OF_TIME < info->smaps_took_ns;
}

static void read_smaps(struct dt_traced *traced, bool spared)
{
	struct dt_process_info *info = &traced->info;
	uint64_t begin = now_ns();

	if (traced->exited)
		return;
	if ((spared && is_too_soon(info, begin)) || dt_smaps_read(traced->pid, &info->smaps)) {
		dt_process_read_rss(traced->pid, &info->rss_bytes); /* else as last seen */
		return;
	}
	info->smaps_read_ns = now_ns();
	info->smaps_took_ns = info->smaps_read_ns - begin;
	info->rss_bytes = dt_smaps_resident(&info->smaps);
}

void dt_memory_read(struct dt_traced *traced, bool spared, uint64_t moment_ns, struct dt_snapshot_memory *ret_memory)
{
	const struct dt_process_info *info = &traced->info;

	read_smaps(traced, spared);
	*ret_memory = (struct dt_snapshot_memory){
		.known = info->smaps_read_ns,
		.after_ns = (int64_t)(info->smaps_read_ns - moment_ns),
		.resident_bytes = dt_smaps_resident(&info->smaps),
		.heap_bytes = info->smaps.resident_bytes[DT_SMAPS_HEAP],
		.anonymous_mapping_bytes = info->smaps.resident_bytes[DT_SMAPS_ANONYMOUS],
		.file_mapping_bytes = info->smaps.resident_bytes[DT_SMAPS_FILE],
		.other_mapping_bytes = info->smaps.resident_bytes[DT_SMAPS_OTHER],
		.private_bytes = info->smaps.private_bytes,
		.swap_bytes = info->smaps.swap_bytes,
		.hugetlb_bytes = info->smaps.hugetlb_bytes,
	};
}
