/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/option.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define TRACE (1u << DT_COMMAND_TRACE)
#define SITES (1u << DT_COMMAND_SITES)
#define DOCTOR (1u << DT_COMMAND_DOCTOR)
#define REPORT (1u << DT_COMMAND_REPORT)
#define DIFF (1u << DT_COMMAND_DIFF)
#define EXPORT (1u << DT_COMMAND_EXPORT)
#define CTL (1u << DT_COMMAND_CTL)
#define COMPLETION (1u << DT_COMMAND_COMPLETION)
#define LIVE (TRACE | SITES | DOCTOR)
#define FILES (REPORT | DIFF | EXPORT)
#define EVERY (LIVE | FILES | CTL | COMPLETION)

static void *member(struct dt_options *options, const struct dt_option *option)
{
	return (char *)options + option->offset;
}

static int set_true(struct dt_options *options, const struct dt_option *option, const char *text)
{
	(void)text;
	*(bool *)member(options, option) = true;
	return 0;
}

static int set_quiet(struct dt_options *options, const struct dt_option *option, const char *text)
{
	(void)option, (void)text;
	options->verbosity = DT_LOG_ERROR;
	return 0;
}

static int set_verbose(struct dt_options *options, const struct dt_option *option, const char *text)
{
	(void)option, (void)text;
	options->verbosity = options->verbosity < DT_LOG_DEBUG ? DT_LOG_DEBUG : DT_LOG_TRACE;
	return 0;
}

static int set_number(struct dt_options *options, const struct dt_option *option, const char *text)
{
	return dt_parse_u64(text, option->minimum, option->maximum, member(options, option));
}

static int set_seconds(struct dt_options *options, const struct dt_option *option, const char *text)
{
	return dt_parse_seconds(text, member(options, option));
}

static int set_duration(struct dt_options *options, const struct dt_option *option, const char *text)
{
	return dt_parse_duration(text, member(options, option));
}

static int set_text(struct dt_options *options, const struct dt_option *option, const char *text)
{
	*(const char **)member(options, option) = text;
	return *text ? 0 : -EINVAL;
}

static int set_stack(struct dt_options *options, const struct dt_option *option, const char *text)
{
	static const char *const modes[] = { "auto", "python", "native", "mixed" };

	for (size_t i = 0; i < DT_ARRAY_SIZE(modes); i++)
		if (!strcmp(modes[i], text))
			return set_text(options, option, text);
	return -EINVAL;
}

static int set_group(struct dt_options *options, const struct dt_option *option, const char *text)
{
	enum dt_group group;
	int error = dt_group_parse(text, &group);

	return error ? error : set_text(options, option, text);
}

static int set_format(struct dt_options *options, const struct dt_option *option, const char *text)
{
	return strcmp(text, "text") && strcmp(text, "json") ? -EINVAL : set_text(options, option, text);
}

static int set_export(struct dt_options *options, const struct dt_option *option, const char *text)
{
	return dt_export_format_is_known(text) ? set_text(options, option, text) : -EINVAL;
}

static int set_sort(struct dt_options *options, const struct dt_option *option, const char *text)
{
	return dt_sort_parse(text, member(options, option));
}

/* Appends to a NULL-terminated list. */
static int set_list(struct dt_options *options, const struct dt_option *option, const char *text)
{
	const char ***list = member(options, option), **grown;
	size_t count = 0;

	if (!*text)
		return -EINVAL;
	while (*list && (*list)[count])
		count++;
	grown = realloc(*list, (count + 2) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[count] = text;
	grown[count + 1] = NULL;
	*list = grown;
	return 0;
}

static int set_feature(struct dt_options *options, const struct dt_option *option, const char *text)
{
	const char *name, *help;

	for (size_t i = 0; (name = dt_feature_name(i, &help)); i++)
		if (!strcmp(name, text))
			return set_list(options, option, text);
	return -EINVAL;
}

static int add_pid(struct dt_options *options, pid_t pid)
{
	pid_t *grown;

	for (size_t i = 0; i < options->pid_count; i++)
		if (options->pids[i] == pid)
			return 0;
	grown = realloc(options->pids, (options->pid_count + 1) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	grown[options->pid_count++] = pid;
	options->pids = grown;
	return 0;
}

static int set_pids(struct dt_options *options, const struct dt_option *option, const char *text)
{
	for (;;) {
		size_t size = strcspn(text, ",");
		char word[16] = "";
		uint64_t pid;
		int error;

		if (size >= sizeof(word))
			return -ERANGE;
		memcpy(word, text, size);
		error = dt_parse_u64(word, option->minimum, option->maximum, &pid);
		if (!error)
			error = add_pid(options, (pid_t)pid);
		if (error || !text[size])
			return error;
		text += size + 1;
	}
}

#define AT(name) offsetof(struct dt_options, name)

const struct dt_option dt_option_table[DT_OPTION_COUNT + 1] = {
	{ 'p', "pid", "PID[,PID...]", TRACE | SITES | DIFF, set_pids, 0, 1, INT_MAX, "a list of process numbers",
	  "these running processes; repeatable" },
	{ 0, "children", NULL, TRACE | DIFF, set_true, AT(children), 0, 0, NULL,
	  "also what descends from the processes or the command" },
	{ 'a', "all", NULL, TRACE, set_true, AT(all), 0, 0, NULL,
	  "all processes, those that run and those that start later" },
	{ 0, "comm", "NAME", TRACE, set_text, AT(comm), 0, 0, "the name of a program",
	  "of all only programs of this name (as in ps -o comm), and what they fork" },
	{ 0, "uid", "USER", TRACE, set_text, AT(user), 0, 0, "a user",
	  "of all only processes of this user (name or number), and what they fork" },
	{ 0, "cgroup", "DIRECTORY", TRACE, set_text, AT(cgroup), 0, 0, "the directory of a cgroup",
	  "of all only processes in this cgroup (version 2) or below it, and what they fork" },
	{ 0, "exe", "FILE", TRACE, set_text, AT(exe), 0, 0, "the path of a program",
	  "of all only processes of this program file, and what they fork" },
	{ 'd', "domain", "NAME", TRACE | FILES, set_list, AT(domains), 0, 0, "the name of a domain",
	  "only this domain: libc, numpy, pandas, a number of tracemalloc's, or python; '!NAME' leaves one out; repeatable" },
	{ 0, "patch-python", NULL, TRACE | DIFF, set_true, AT(patch_python), 0, 0, NULL,
	  "-d python of running processes: change pointers in their memory, while traced, where calls cannot be seen otherwise" },
	{ 0, "allocator", "FILE[:PREFIX]", TRACE | SITES | DIFF, set_list, AT(allocators), 0, 0, "a file, or a file and a prefix",
	  "FILE, a name or a path as in maps, has an allocator, its functions PREFIXmalloc ...; repeatable" },
	{ 'i', "interval", "SECONDS", TRACE, set_seconds, AT(interval_ns), 0, 0, "a number of seconds above 0",
	  "a snapshot every so often, e.g. 0.5" },
	{ 'c', "count", "N", TRACE, set_number, AT(count), 1, UINT64_MAX, NULL,
	  "stop after N snapshots of -i" },
	{ 't', "duration", "SECONDS", TRACE, set_seconds, AT(duration_ns), 0, 0, "a number of seconds above 0",
	  "stop after so long" },
	{ 0, "over", "DURATION", DIFF, set_duration, AT(over_ns), 0, 0, "a number above 0 and ms, s, m, h or d, as 60s",
	  "with -p: what changes in so long, as 500ms, 60s, 5m or 1h" },
	{ 0, "snapshot-at", "FILE:SYMBOL", TRACE, set_list, AT(snapshot_at), 0, 0, "a file and a function of it",
	  "a snapshot whenever a thread comes to this function, which waits there for it; also MODULE!SYMBOL; repeatable" },
	{ 0, "older-than", "DURATION", TRACE, set_duration, AT(older_than_ns), 0, 0, "a number above 0 and ms, s, m, h or d, as 60s",
	  "show only live blocks that are at least so old, as 250ms, 60s, 5m or 1h: what may have leaked" },
	{ 0, "sizes", NULL, TRACE, set_true, AT(sizes), 0, 0, NULL,
	  "also of which sizes the live blocks are, by powers of two; each snapshot then reads all of them" },
	{ 'o', "output", "FILE", TRACE, set_text, AT(output), 0, 0, "the name of a file",
	  "append every snapshot to FILE, as a line of JSON; with %n in its name: one file a snapshot" },
	{ 0, "top", "N", TRACE | REPORT | DIFF, set_number, AT(top), 1, UINT32_MAX, NULL,
	  "tracebacks shown per domain, or rows of --group-by (10)" },
	{ 0, "processes", "N", TRACE | REPORT, set_number, AT(processes), 1, UINT32_MAX, NULL,
	  "processes shown in a report, the largest by the order of --sort (10)" },
	{ 0, "sort", "ORDER", TRACE | FILES, set_sort, AT(sort), 0, 0, "live, count, allocated, allocations, peak, at-peak, temporary or old",
	  "which come first: live (bytes, the default), count (live blocks), allocated (bytes ever), allocations, peak, at-peak (bytes at the "
	  "domain's peak), temporary (blocks freed before their thread allocated again), or old (with --older-than, and then the default)" },
	{ 0, "fold", NULL, TRACE | REPORT | DIFF, set_true, AT(fold), 0, 0, NULL,
	  "end tracebacks before the wrappers of allocators (operator new, PyMem_Malloc ...) and sum those that become equal" },
	{ 0, "stack", "MODE", TRACE | FILES, set_stack, AT(stack), 0, 0, "auto, python, native or mixed",
	  "which frames: auto (Python's, and the native ones from there to the allocator; the default), python, native or mixed" },
	{ 'l', "limit", "N", TRACE | DIFF, set_number, AT(frame_limit), 1, 256, NULL,
	  "native frames and Python frames kept per traceback, up to 256 of each (64)" },
	{ 0, "raw-names", NULL, TRACE | DIFF, set_true, AT(raw_names), 0, 0, NULL,
	  "functions of C++ and Rust by the names that the linker knows" },
	{ 0, "debuginfod", NULL, TRACE | DIFF, set_true, AT(debuginfod), 0, 0, NULL,
	  "ask the servers of DEBUGINFOD_URLS for debug information" },
	{ 0, "table", "NAME=BYTES", TRACE | DIFF, set_list, AT(tables), 0, 0, "the name of a table, and its size",
	  "the size of a table of the kernel, listed below, as live=2G; repeatable" },
	{ 0, "group-by", "KEY", REPORT | DIFF, set_group, AT(group), 0, 0,
	  "traceback, lineno, filename, function, module, domain or process",
	  "sums by traceback, lineno, filename (as tracemalloc has them), function, module, domain or process" },
	{ 0, "cumulative", NULL, REPORT | DIFF, set_true, AT(cumulative), 0, 0, NULL,
	  "sums by lineno or filename of all frames of tracebacks, not only the most recent ones" },
	{ 0, "filter", "EXPRESSION", FILES, set_list, AT(filters), 0, 0, "a filter",
	  "only these traces: file=PATTERN, line=N, all, function=, module=, domain=, process=, bytes>=N, size>N, age>=60s ..., with commas between; "
	  "'!EXPRESSION' leaves them out; repeatable" },
	{ 0, "format", "FORMAT", REPORT | DIFF | CTL, set_format, AT(format), 0, 0, "text or json",
	  "text (the default) or json" },
	{ 0, "to", "FORMAT", EXPORT, set_export, AT(to), 0, 0, "json, csv or folded",
	  "json (snapshots again), csv or folded (a line a traceback, for flame graphs)" },
	{ 0, "without", "FEATURE", LIVE | DIFF, set_feature, AT(without), 0, 0, "a feature; 'domtrace --help' lists them",
	  "do without a feature, listed below; repeatable" },
	{ 'q', "quiet", NULL, EVERY, set_quiet, 0, 0, 0, NULL,
	  "of the messages on standard error only errors" },
	{ 'v', "verbose", NULL, EVERY, set_verbose, 0, 0, 0, NULL,
	  "also what helps to find a fault; -vv: also what the kernel says of the programs" },
	{ 'h', "help", NULL, EVERY, set_true, AT(help), 0, 0, NULL,
	  "this text" },
	{ 'V', "version", NULL, EVERY, set_true, AT(version), 0, 0, NULL,
	  "the version" },
};

const char *const dt_command_names[DT_COMMAND_COUNT_] = {
	[DT_COMMAND_SITES] = "sites",
	[DT_COMMAND_DOCTOR] = "doctor",
	[DT_COMMAND_REPORT] = "report",
	[DT_COMMAND_DIFF] = "diff",
	[DT_COMMAND_EXPORT] = "export",
	[DT_COMMAND_CTL] = "ctl",
	[DT_COMMAND_COMPLETION] = "completion",
};
