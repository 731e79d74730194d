/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * domtrace.h: trace another process's allocations, take snapshots of them, write snapshots down.
 *
 * Every function that can fail returns 0 or a negative errno and stores results only on success. What went wrong is
 * said once, in one sentence (what, which object, why, what to do), through the log callback of the session or options;
 * the library never prints and never exits. Opaque objects come from *_new and go with *_free, which accepts NULL.
 * Structs named *_opts start with their size: set it to sizeof, leave what you do not use zero.
 *
 * Threads. A session may be shared: its functions wait for each other, so one thread may dispatch while another takes snapshots;
 * dt_session_free() comes last, when no other thread is or will be in the session. Only who launched a command may dispatch for it
 * (ptrace is a thread's): as long as that thread does not, a command that is being started stands still; it also stops and frees that session.
 * The log callback is called in the thread that called, within the session; it must not wait for another thread that uses it.
 * Sessions are independent of each other, and there may be several in a process, of one target, too. Only one of them launches a
 * command at a time: the end of a child (SIGCHLD, which is blocked for it) is told to one descriptor only. Snapshots: see snapshot.h.
 *
 *   tracemalloc                            here
 *   start(nframe), stop(), is_tracing()    dt_session_start() (dt_session_opts.frame_limit), dt_session_stop(), dt_session_is_tracing()
 *   take_snapshot(), clear_traces()        dt_session_take_snapshot(), dt_session_clear_traces()
 *   get_traced_memory(), reset_peak()      dt_session_get_traced_memory(), dt_session_reset_peak()
 *   get_tracemalloc_memory()               dt_session_get_tracer_memory()
 *   get_traceback_limit()                  dt_session_get_traceback_limit()
 *   get_object_traceback(obj)              dt_session_get_object_traceback()
 *   Snapshot, Statistic, Traceback …       snapshot.h
 */
#ifndef DOMTRACE_DOMTRACE_H
#define DOMTRACE_DOMTRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)     /* what is declared here is all that the library exports */

#define DOMTRACE_VERSION "0.1.0"

enum dt_log_level {
	DT_LOG_ERROR,
	DT_LOG_WARNING,
	DT_LOG_INFO,
	DT_LOG_DEBUG,
	DT_LOG_TRACE,                   /* what the kernel says of the programs */
};

/* `line` is one whole sentence without a newline at its end; it lives only for the call. */
typedef void (*dt_log_fn)(void *context, enum dt_log_level level, const char *line);

struct dt_log {
	dt_log_fn write;                /* NULL: say nothing */
	void *context;
};

/* ---- sessions ---------------------------------------------------------------------------------------------- */

struct dt_session;
struct dt_snapshot;

struct dt_session_opts {
	size_t size;
	struct dt_log log;
	const char *const *domains;     /* NULL-terminated "numpy", "!libc", "389047"…; NULL: all */
	const char *const *without;     /* NULL-terminated names of features not to use; NULL: use what is there */
	uint32_t frame_limit;           /* frames of each kind kept per traceback, 1 … 256; 0: 64 */
	const char *const *tables;      /* NULL-terminated "live=400M", …: bytes of tables of the kernel; NULL: as dt_table_name() tells */
	const char *const *allocators;  /* NULL-terminated "FILE" or "FILE:PREFIX": further files whose functions are an allocator's; NULL: none */
	const char *stack;              /* which frames: "auto", "python", "native", "mixed"; NULL: "auto" */
	uint64_t older_than_ns;         /* tell which blocks are at least so old; 0: do not */
	bool sizes;                     /* tell of which sizes the blocks are */
	bool patch_python;              /* domain python: pointers in the memory of running processes may be changed while they are traced */
	bool raw_names;                 /* function names as the linker knows them, not demangled */
	bool debuginfod;                /* ask the servers of $DEBUGINFOD_URLS for debug information that is not on this machine */
	bool children;                  /* trace, too, whatever descends from the traced processes */
	bool all;                       /* trace every program that starts from now on, and its descendants, where these hold: */
	const char *comm;               /* … its name, of at most 15 characters */
	const char *user;               /* … its user, by name or number */
	const char *cgroup;             /* … directory of a cgroup (version 2) that it is in */
	const char *exe;                /* … path of its executable */
	bool markers;                   /* a snapshot at each DT_SNAPSHOT (domain.h): dt_session_take_marked(), in the caller's loop, takes them */
	const char *const *snapshot_at; /* NULL-terminated "FILE:SYMBOL" or "MODULE!SYMBOL": … and at these functions' entries; NULL: none */
};

/* Loads the BPF programs. -EINVAL: an option is wrong. -EPERM, -ENOTSUP: the machine or the user lacks what it takes. */
int dt_session_new(const struct dt_session_opts *opts, struct dt_session **ret_session);
/* Detaches and frees; the traced processes go on untouched. */
void dt_session_free(struct dt_session *session);

/* Both in one: a session that traces a running process from now on. */
int dt_session_start(const struct dt_session_opts *opts, pid_t pid, struct dt_session **ret_session);
/* Traces a running process from now on. -ESRCH: no such process. -ENOENT: nothing in it that the domains ask for. */
int dt_session_add_process(struct dt_session *session, pid_t pid);
/*
 * Traces every running process for which the options of `all` hold and that has what the domains ask for. Others are passed over;
 * *ret_count says how many are traced now.
 */
int dt_session_add_all(struct dt_session *session, size_t *ret_count);
/* Starts argv[0] (found through PATH) and traces it from its first allocation on. -ENOENT, -EACCES: as execvp. */
int dt_session_launch(struct dt_session *session, char *const argv[], pid_t *ret_pid);

/* A descriptor that is readable (poll) when dt_session_dispatch has something to do. */
int dt_session_fd(const struct dt_session *session);
/* Does what is due, without blocking: reads new tracebacks, follows mappings and exits. */
int dt_session_dispatch(struct dt_session *session);
/* How many of the processes still run; with `all`, one more: there may always be others. */
size_t dt_session_running(const struct dt_session *session);
/* Wait status (waitpid) of the launched command. -EAGAIN: it still runs. -ECHILD: none was launched. */
int dt_session_command_status(const struct dt_session *session, int *ret_status);

/* `label`: interval, signal, request, final, exit, peak, marker:TEXT. -ESHUTDOWN: tracing has been stopped. -EBUSY: as below. */
int dt_session_take_snapshot(struct dt_session *session, const char *label, struct dt_snapshot **ret_snapshot);
/*
 * The last one of a trace (label "final"): it also shows the descendants that have ended and that dt_session_take_ended() has not told of,
 * so that none is missing that ended before its moment. -ESHUTDOWN, -EBUSY: as above.
 */
int dt_session_take_final(struct dt_session *session, struct dt_snapshot **ret_snapshot);
/* What a snapshot would say but for traces: processes, domains and losses. It has the number of the last snapshot. -ESHUTDOWN. -EBUSY: as below. */
int dt_session_take_totals(struct dt_session *session, struct dt_snapshot **ret_snapshot);
/*
 * The snapshot of a thread that has come to a marker (label "marker:TEXT"): the tables as they were at that line. The thread waits there
 * until they have been read, for a bounded time. -EAGAIN: there is none; dt_session_fd() will tell of the next. When another function
 * of this group returns -EBUSY, there is one that comes first: take it, and call that function again.
 */
int dt_session_take_marked(struct dt_session *session, struct dt_snapshot **ret_snapshot);
/*
 * The last tables of descendants that have ended (label "exit"); each process is in one such snapshot and then in none. They are
 * gathered for a while, unless `at_once`. -EAGAIN: there are none (yet). -EBUSY: as above.
 */
int dt_session_take_ended(struct dt_session *session, bool at_once, struct dt_snapshot **ret_snapshot);
/* Forgets all blocks; counts start again from zero. -EBUSY: as above. */
int dt_session_clear_traces(struct dt_session *session);
/*
 * Peaks start again from what is live now: those of domains and of tracebacks. -EOVERFLOW: after 65,535 times. -ESHUTDOWN: tracing
 * has been stopped. -EBUSY: as above.
 */
int dt_session_reset_peak(struct dt_session *session);
/*
 * Live bytes now and at most since tracing started, was cleared, or peaks were reset. `pid` 0: of all processes, `domain` NULL: of all
 * domains; 0 where there is nothing. Of several domains or processes the sum of their peaks is told, which need not have been at one
 * time: then the peak is an upper bound, and *ret_peak_exact (which may be NULL) false. Domains contain one another: NumPy's arrays
 * are in blocks of libc, too. Costs as a snapshot does, without names. -ESHUTDOWN: tracing has been stopped. -EBUSY: as above.
 */
int dt_session_get_traced_memory(struct dt_session *session, pid_t pid, const char *domain, uint64_t *ret_current_bytes,
				 uint64_t *ret_peak_bytes, bool *ret_peak_exact);
/*
 * The blocks that hold an address of a process, which may be anywhere in them: a snapshot with one domain and one trace for each, as a
 * NumPy array's lies in one of libc's. Looks through all live blocks, while the process goes on. -ENOENT: there is none, of which nothing
 * is said. -ESRCH: no such process is traced. -ESHUTDOWN: tracing has been stopped.
 */
int dt_session_get_object_traceback(struct dt_session *session, pid_t pid, uint64_t address, struct dt_snapshot **ret_snapshot);
/* Frames of each kind kept per traceback. */
uint32_t dt_session_get_traceback_limit(const struct dt_session *session);

struct dt_tracer_memory {
	size_t size;                    /* set by the caller */
	uint64_t kernel_bytes;          /* of the session's tables and programs, as the kernel tells; before 6.4 that is what full tables would take */
	uint64_t process_bytes;         /* resident in the calling process, all of it */
	uint64_t helper_bytes;          /* resident in the process that finds names; 0: none runs */
};
/* What tracing takes itself. -EINVAL: no size. */
int dt_session_get_tracer_memory(struct dt_session *session, struct dt_tracer_memory *memory);
/* Detaches. Afterwards snapshots are refused with -ESHUTDOWN. */
int dt_session_stop(struct dt_session *session);
bool dt_session_is_tracing(const struct dt_session *session);
/*
 * Gives up every privilege (capability) of the calling thread that a running session does not need any more.
 * `keep_files`: the caller still makes files where only root's override of permissions lets it.
 */
int dt_session_drop_privileges(struct dt_session *session, bool keep_files);

/* ---- what can be asked without tracing --------------------------------------------------------------------- */

/* Writes the sites of a process: function, file, offset, instruction, why there, how it is attached. */
int dt_sites_write(const struct dt_session_opts *opts, pid_t pid, FILE *out);
/* Writes what this machine has and what it lacks. *ret_able: tracing is possible. */
int dt_doctor_write(const struct dt_session_opts *opts, FILE *out, bool *ret_able);

/* ---- snapshots --------------------------------------------------------------------------------------------- */

void dt_snapshot_free(struct dt_snapshot *snapshot);

/*
 * A snapshot of a file of them, plain or compressed by gzip or zstd: "FILE#3" is its third, "FILE" its last whole one, "-" standard
 * input. -ENODATA: it has no such snapshot. Others: it cannot be read, or is not what it should be. Every error was told to `log`.
 */
int dt_snapshot_load(const char *name, const struct dt_log *log, struct dt_snapshot **ret_snapshot);

/* Of several files one snapshot with all their processes, none of which may be in two of them. NULL-terminated. */
int dt_snapshot_load_all(const char *const names[], const struct dt_log *log, struct dt_snapshot **ret_snapshot);

struct dt_filter_opts {
	size_t size;
	const char *const *filters;     /* NULL-terminated "file=*.py,all", "!bytes<=64K" … as domtrace-report(1) tells; NULL: none */
	const char *const *domains;     /* NULL-terminated "numpy", "!libc" …; NULL: all */
	const char *stack;              /* "python" or "native": frames of this kind only; NULL or others: all */
};
/*
 * Leaves in a snapshot what passes one of the filters, if there are any without "!", and none of those with "!"; the same for
 * domains. Frames are taken out first. What is said of domains is then of the traces that are left; of peaks it is an upper bound.
 * By "size>4K", "size<=4K", "age>=60s" and "age<60s" traces are cut to such live blocks, and all figures are of live blocks then: those
 * of dt_session_opts.sizes and .older_than_ns decide which bounds there are. -ENODATA: the snapshot cannot answer a filter exactly, and
 * the sentence says what it takes. -EINVAL: a filter is none.
 */
int dt_snapshot_filter(struct dt_snapshot *snapshot, const struct dt_filter_opts *opts, const struct dt_log *log);
/* Says where two snapshots are not one before the other of one run. */
void dt_snapshot_tell_pair(const struct dt_snapshot *old, const struct dt_snapshot *snapshot, const struct dt_log *log);

enum dt_sort {
	DT_SORT_LIVE,                   /* live bytes */
	DT_SORT_COUNT,                  /* live blocks */
	DT_SORT_ALLOCATED,              /* bytes ever allocated */
	DT_SORT_ALLOCATIONS,            /* allocations ever made */
	DT_SORT_PEAK,                   /* largest live bytes */
	DT_SORT_AT_PEAK,                /* bytes live when the domain was at its peak */
	DT_SORT_TEMPORARY,              /* blocks freed before their thread allocated again */
	DT_SORT_OLD,                    /* bytes of old blocks; of a snapshot that has ages, a report shows nothing else */
	DT_SORT_COUNT_,
};
const char *dt_sort_name(enum dt_sort sort);
/* -EINVAL: no such name. */
int dt_sort_parse(const char *name, enum dt_sort *ret_sort);

/* What traces are summed up by. The first three are tracemalloc's key types. */
enum dt_group {
	DT_GROUP_TRACEBACK,
	DT_GROUP_LINENO,                /* file and line of the most recent frame */
	DT_GROUP_FILENAME,              /* file of the most recent frame */
	DT_GROUP_FUNCTION,
	DT_GROUP_MODULE,
	DT_GROUP_DOMAIN,
	DT_GROUP_PROCESS,
	DT_GROUP_COUNT_,
};
const char *dt_group_name(enum dt_group group);
/* -EINVAL: no such name. */
int dt_group_parse(const char *name, enum dt_group *ret_group);

struct dt_report_opts {
	size_t size;
	size_t top;                     /* tracebacks shown per domain; 0: 10 */
	enum dt_sort sort;
	bool colour;
	unsigned columns;               /* 0: 80 */
	size_t processes;               /* shown, of all; 0: 10 */
	bool fold;                      /* tracebacks end before the wrappers of allocators; those that become equal are one */
};

struct dt_statistics_opts {
	size_t size;
	enum dt_group group;
	bool cumulative;                /* by all frames of tracebacks, not only the most recent ones: lineno and filename only */
	enum dt_sort sort;
	size_t top;                     /* rows shown; 0: 10, and all of JSON */
	bool json, colour;
	unsigned columns;               /* 0: 80 */
	bool fold;                      /* as in dt_report_opts */
};
/*
 * Sums of traces, as tracemalloc's Snapshot.statistics() makes them; with `old` what has changed since, as its compare_to(). In the
 * same order, rows and figures included. Every error was told to `log`.
 */
int dt_statistics_write(const struct dt_snapshot *snapshot, const struct dt_snapshot *old, const struct dt_statistics_opts *opts,
			const struct dt_log *log, FILE *out);

/* The report for people. -ENODATA: it is to be ordered by old blocks, and the snapshot does not tell ages. */
int dt_report_write(const struct dt_snapshot *snapshot, const struct dt_report_opts *opts, FILE *out);

struct dt_status_opts {
	size_t size;
	bool json;
	const char *file;               /* where snapshots are written; NULL: nowhere */
	uint64_t kernel_bytes;          /* that tracing takes of the kernel's memory */
};
/* What is traced and how much it holds, by what dt_session_take_totals() gave. */
int dt_status_write(const struct dt_snapshot *totals, const struct dt_status_opts *opts, FILE *out);
/* One line of JSON (user/snapshot/snapshot.schema.json), newline included. */
int dt_snapshot_write_json(const struct dt_snapshot *snapshot, FILE *out);

/* Other forms of a snapshot: "json", "csv", "folded". */
bool dt_export_format_is_known(const char *format);
/* All of it. -EINVAL: no such format. Every error was told to `log`. */
int dt_export_write(const struct dt_snapshot *snapshot, const char *format, enum dt_sort sort, const struct dt_log *log, FILE *out);

/*
 * Files of snapshots. Without "%n" in the path: JSON Lines, appended, each line whole and fsynced or not there at all.
 * With "%n" (the sequence number): one file a snapshot, renamed into place.
 */
struct dt_output;
int dt_output_open(const char *path, const struct dt_log *log, struct dt_output **ret_output);
int dt_output_write(struct dt_output *output, const struct dt_snapshot *snapshot);
void dt_output_close(struct dt_output *output);

/* ---- lists for manuals and help ---------------------------------------------------------------------------- */

/* Name and sentence of the i-th feature that `without` knows; NULL after the last. */
const char *dt_feature_name(size_t index, const char **ret_help);
/* Name, default size in bytes and sentence of the i-th table that `tables` knows; NULL after the last. */
const char *dt_table_name(size_t index, uint64_t *ret_bytes, const char **ret_help);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
