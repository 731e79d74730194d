/* SPDX-License-Identifier: BSD-2-Clause */
/* options: what the user asked for. */
#ifndef DT_CLI_OPTIONS_H
#define DT_CLI_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <domtrace/domtrace.h>

enum dt_command {
	DT_COMMAND_TRACE,               /* the default: has no name */
	DT_COMMAND_SITES,
	DT_COMMAND_DOCTOR,
	DT_COMMAND_REPORT,
	DT_COMMAND_DIFF,
	DT_COMMAND_EXPORT,
	DT_COMMAND_CTL,
	DT_COMMAND_COMPLETION,          /* hidden: for whoever installs domtrace */
	DT_COMMAND_COUNT_,
};

/* Zero stands for "not given", except that verbosity begins at DT_LOG_INFO. */
struct dt_options {
	enum dt_command command;
	bool help, version;             /* asked for: nothing else is to be done */
	enum dt_log_level verbosity;    /* levels above it are not shown */
	pid_t *pids;                    /* each once */
	size_t pid_count;
	const char **domains, **without, **allocators, **tables, **snapshot_at; /* NULL-terminated, or NULL */
	uint64_t interval_ns, duration_ns, over_ns;
	uint64_t older_than_ns;
	uint64_t count;
	uint64_t top, processes, frame_limit;
	enum dt_sort sort;
	const char *stack;
	bool sizes, fold, raw_names, debuginfod, patch_python;
	bool children, all;
	const char *comm, *user, *cgroup, *exe; /* of all only these */
	const char *output;
	const char *group;              /* name of a dt_group */
	const char **filters;           /* NULL-terminated, or NULL */
	const char *format, *to;
	bool cumulative;
	char **argv;                    /* the command to start, or the files to read, or NULL */
};

/* Strings stay in argv. -EINVAL: wrong usage, said in one sentence. -ENOMEM. Nothing is left to clear on failure. */
int dt_options_parse(int argc, char **argv, const struct dt_log *log, struct dt_options *ret_options);
void dt_options_clear(struct dt_options *options);
/* The part of the options that makes a session; points into them. */
struct dt_session_opts dt_options_session(const struct dt_options *options, const struct dt_log *log);
/* The parts that say what is looked at in files, and how it is shown; group, if none is given, by traceback. */
struct dt_filter_opts dt_options_filter(const struct dt_options *options);
struct dt_statistics_opts dt_options_statistics(const struct dt_options *options);
/* How a report of them all is shown; colour and columns are the terminal's. */
struct dt_report_opts dt_options_report(const struct dt_options *options);

#endif
