/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * snapshot.h: what is in a snapshot, and what tracemalloc computes on one. Needs neither privileges nor a kernel feature.
 *
 *   tracemalloc                            here
 *   take_snapshot()                        dt_session_take_snapshot()
 *   Snapshot.dump(), .load()               dt_snapshot_dump(), dt_snapshot_load()
 *   Snapshot.traces                        dt_snapshot_get_trace(), and dt_snapshot_get_frame() of its traceback
 *   Snapshot.traceback_limit               dt_snapshot_info.traceback_limit
 *   Snapshot.filter_traces()               dt_snapshot_copy() and dt_snapshot_filter()
 *   Filter, DomainFilter                   texts of dt_filter_opts.filters: "file=*.py,line=3,all", "!domain=numpy"
 *   (beyond tracemalloc)                   "function=f*", "module=*.so", "process=nginx", "bytes>=1M", "size>4K", "age>=60s"
 *   Snapshot.statistics()                  dt_snapshot_statistics()
 *   Snapshot.compare_to()                  dt_snapshot_compare_to()
 *   Statistic.count, .size                 dt_statistic.live_blocks, .live_bytes
 *   StatisticDiff.count_diff, .size_diff   what those are more than .old_live_blocks, .old_live_bytes
 *   Statistic.traceback                    dt_statistics_get_frame()
 *   Frame.filename, .lineno                dt_frame_info.filename, .lineno
 *   Traceback.total_nframe                 dt_trace_info.total_frames
 *   Traceback.format()                     dt_statistics_format()
 *
 * Rows, figures, order and ties are tracemalloc's. A trace here is one traceback in one domain, with all blocks that it
 * allocated; tracemalloc has one trace for each block.
 *
 * Structs named *_info and struct dt_statistic begin with their size: set it to sizeof before they are filled in. Strings in them are
 * bytes as the system gave them (need not be UTF-8), owned by the snapshot or the statistics, and NULL where nothing is known. Times are
 * nanoseconds, indexes begin at 0. Errors are as in domtrace.h; all *_get functions: -ERANGE: there is no such row, -EINVAL: there is
 * no size. Of these two nothing is said to a log.
 *
 * A snapshot is plain data: any number of threads may read one at a time, none while another changes (dt_snapshot_filter) or
 * frees it. Statistics refer to their snapshots, which must stay as they are as long as they do.
 */
#ifndef DOMTRACE_SNAPSHOT_H
#define DOMTRACE_SNAPSHOT_H

#include <time.h>

#include <domtrace/domtrace.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- what is in it ----------------------------------------------------------------------------------------- */

struct dt_snapshot_info {
	size_t size;
	uint64_t sequence;              /* 1, 2, 3 … of one session */
	const char *label;
	struct timespec time;           /* CLOCK_REALTIME */
	uint64_t elapsed_ns;            /* since tracing started or was last cleared */
	uint32_t traceback_limit;       /* frames of each kind */
	bool complete;                  /* nothing was lost */
	size_t process_count, domain_count, trace_count;
};
int dt_snapshot_get_info(const struct dt_snapshot *snapshot, struct dt_snapshot_info *info);

struct dt_snapshot_process_info {
	size_t size;
	pid_t pid, ppid;
	uint64_t start_time_ns;         /* after boot */
	const char *comm, *exe;
	const char *const *command;     /* NULL-terminated */
	const char *python;             /* "3.11.2"; NULL: no CPython that is understood */
	bool exited;
	bool from_start;                /* all that its program allocated was seen */
	uint64_t resident_bytes;        /* of an exited process: when last seen */
};
int dt_snapshot_get_process(const struct dt_snapshot *snapshot, size_t index, struct dt_snapshot_process_info *info);

struct dt_domain_info {
	size_t size;
	size_t process;                 /* index */
	const char *name;               /* "libc", "numpy", "tracemalloc:7" … */
	uint64_t live_blocks, live_bytes;
	uint64_t peak_bytes;            /* since tracing started, was cleared, or peaks were reset */
	uint64_t allocations, allocated_bytes, frees, freed_bytes;
	uint64_t temporary;             /* frees of a block before its thread allocated another */
	uint64_t old_blocks, old_bytes; /* dt_session_opts.older_than_ns */
};
int dt_snapshot_get_domain(const struct dt_snapshot *snapshot, size_t index, struct dt_domain_info *info);

struct dt_trace_info {
	size_t size;
	size_t domain;                  /* index */
	uint64_t live_blocks, live_bytes;
	uint64_t peak_bytes;
	uint64_t at_peak_bytes;         /* live when the domain was at its peak */
	uint64_t allocations, allocated_bytes;
	uint64_t temporary, old_blocks, old_bytes;
	uint32_t frame_count;           /* for dt_snapshot_get_frame() */
	uint32_t total_frames;          /* on the stack, kept or not */
	const char *truncated;          /* why older frames are missing; NULL: none are, but for the limit */
};
int dt_snapshot_get_trace(const struct dt_snapshot *snapshot, size_t index, struct dt_trace_info *info);

struct dt_frame_info {
	size_t size;
	const char *filename;           /* as tracemalloc's frames: of a native one without a known source the module, … */
	uint64_t lineno;                /* … and the address in it */
	bool python, inlined;
	const char *function;
	const char *file;               /* of source */
	int line;                       /* 0: unknown */
	const char *module, *build_id;  /* native: the mapped file */
	uint64_t address;               /* native: offset in that file; without one, the address */
};
/* Frame 0 is the oldest, the last one allocated. */
int dt_snapshot_get_frame(const struct dt_snapshot *snapshot, size_t trace, size_t frame, struct dt_frame_info *info);

/* ---- snapshots of snapshots -------------------------------------------------------------------------------- */

/* Equal tables, which may be filtered without changing the first ones. */
int dt_snapshot_copy(const struct dt_snapshot *snapshot, struct dt_snapshot **ret_snapshot);
/* One with the processes of all, as of several runs or machines. -EEXIST: two have the same domain of the same process. */
int dt_snapshot_merge(const struct dt_snapshot *const snapshots[], size_t count, const struct dt_log *log,
		      struct dt_snapshot **ret_snapshot);
/* Writes a file of this one snapshot, in place of one that was there: whole, or not at all. For files of many: dt_output_open(). */
int dt_snapshot_dump(const struct dt_snapshot *snapshot, const char *path, const struct dt_log *log);

/* ---- statistics -------------------------------------------------------------------------------------------- */

struct dt_statistics;

struct dt_grouping_opts {
	size_t size;
	enum dt_group group;
	bool cumulative;                /* by all frames, not the most recent ones alone: lineno and filename only */
	enum dt_sort sort;              /* DT_SORT_LIVE: tracemalloc's order */
};
/* -EINVAL: cumulative by something else. -EOVERFLOW: sums beyond 64 bits. `opts` NULL: by traceback. */
int dt_snapshot_statistics(const struct dt_snapshot *snapshot, const struct dt_grouping_opts *opts, const struct dt_log *log,
			   struct dt_statistics **ret_statistics);
/* What has changed since `old`. */
int dt_snapshot_compare_to(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, const struct dt_grouping_opts *opts,
			   const struct dt_log *log, struct dt_statistics **ret_statistics);
void dt_statistics_free(struct dt_statistics *statistics);
size_t dt_statistics_count(const struct dt_statistics *statistics);

struct dt_statistic {
	size_t size;
	const char *name;               /* of the function, module, domain or process; of lineno, filename, traceback: the latest file */
	uint64_t live_blocks, live_bytes;
	uint64_t old_live_blocks, old_live_bytes; /* compare_to: before; 0 in statistics */
	uint64_t allocations, allocated_bytes;
	uint64_t peak_bytes;            /* of several tracebacks: the sum of theirs, which is the most that it can have been */
	bool peak_exact;
	bool is_new, is_gone;           /* compare_to */
	pid_t pid;                      /* DT_GROUP_PROCESS; else 0 */
	uint32_t frame_count;           /* of its traceback: 1 by lineno and filename, 0 by domain and process */
};
int dt_statistics_get(const struct dt_statistics *statistics, size_t index, struct dt_statistic *statistic);
/* Frame 0 is the oldest. Where frames are summed up (filename, function, module), that of one of them. */
int dt_statistics_get_frame(const struct dt_statistics *statistics, size_t index, size_t frame, struct dt_frame_info *info);

struct dt_traceback_format_opts {
	size_t size;
	int64_t limit;                  /* above 0: the most recent so many frames; below 0: all but so many of them; 0: all */
	bool most_recent_first;
};
/*
 * Lines as Python prints them: `  File "…", line …`, and the source where it is on this machine. *ret_lines is NULL-terminated and one
 * block of memory, the caller's to free(); *ret_count may be NULL.
 */
int dt_statistics_format(const struct dt_statistics *statistics, size_t index, const struct dt_traceback_format_opts *opts,
			 char ***ret_lines, size_t *ret_count);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
