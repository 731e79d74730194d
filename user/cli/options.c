/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cli/option.h"

#define LONG_ONLY 256                   /* getopt's value for option i is LONG_ONLY + i, beyond all letters */

/* The table as getopt wants it. */
struct grammar {
	struct option options[DT_OPTION_COUNT + 1];
	char letters[2 + 2 * DT_OPTION_COUNT + 1];
};

static struct grammar make_grammar(bool mixed)
{
	/* "+": the first word that is no option ends the options. ":": getopt prints nothing itself. */
	struct grammar grammar = { .letters = "+:" };
	char *end = grammar.letters + 2;

	if (mixed)
		*--end = '\0', grammar.letters[0] = ':';

	for (int i = 0; dt_option_table[i].name; i++) {
		const struct dt_option *option = &dt_option_table[i];
		int argument = option->argument ? required_argument : no_argument;

		grammar.options[i] = (struct option){ option->name, argument, NULL, LONG_ONLY + i };
		if (option->letter)
			*end++ = option->letter;
		if (option->letter && option->argument)
			*end++ = ':';
	}
	return grammar;
}

static bool reads_files(enum dt_command command)
{
	return command == DT_COMMAND_REPORT || command == DT_COMMAND_DIFF || command == DT_COMMAND_EXPORT;
}

static bool has_words(enum dt_command command)
{
	return command == DT_COMMAND_CTL || command == DT_COMMAND_COMPLETION;
}

static const struct dt_option *find_option(int value)
{
	for (int i = 0; dt_option_table[i].name; i++)
		if (value == LONG_ONLY + i || (value && value == dt_option_table[i].letter))
			return &dt_option_table[i];
	return NULL;
}

/* What getopt could not take; `word` is the one it stopped at. */
static int refuse_option(const struct dt_log *log, int value, const char *word)
{
	const struct dt_option *option = find_option(optopt);

	if (value == ':')
		return dt_log_error(log, -EINVAL, "--%s needs a value: %s", option->name, option->argument);
	if (option)
		return dt_log_error(log, -EINVAL, "--%s takes no value", option->name);
	if (optopt)
		return dt_log_error(log, -EINVAL, "there is no option -%c", optopt);
	return dt_log_error(log, -EINVAL, "there is no option %s, or it is short for several", word);
}

static int refuse_value(const struct dt_log *log, const struct dt_option *option, const char *text, int error)
{
	if (error == -ENOMEM)
		return dt_log_error(log, error, "not enough memory to read the options");
	if (option->wants)
		return dt_log_error(log, -EINVAL, "--%s: '%s' is not %s", option->name, text, option->wants);
	return dt_log_error(log, -EINVAL, "--%s: '%s' is not a whole number from %llu to %llu", option->name, text,
			    (unsigned long long)option->minimum, (unsigned long long)option->maximum);
}

static int parse_words(int argc, char **argv, const struct dt_log *log, struct dt_options *options)
{
	/* Their words may have options behind them. */
	struct grammar grammar = make_grammar(reads_files(options->command) || has_words(options->command));
	int value, error;

	optind = 0;     /* getopt is to begin anew, whoever used it before */
	while ((value = getopt_long(argc, argv, grammar.letters, grammar.options, NULL)) >= 0) {
		const struct dt_option *option = value == '?' || value == ':' ? NULL : find_option(value);

		if (!option)
			return refuse_option(log, value, argv[optind - 1]);
		if (!(option->commands & 1u << options->command) && !dt_command_names[options->command])
			return dt_log_error(log, -EINVAL, "--%s is not for tracing: 'domtrace %s' takes it", option->name,
					    dt_command_names[__builtin_ctz(option->commands)]);
		if (!(option->commands & 1u << options->command))
			return dt_log_error(log, -EINVAL, "'domtrace %s' does not take --%s",
					    dt_command_names[options->command], option->name);
		error = option->set(options, option, optarg);
		if (error)
			return refuse_value(log, option, optarg, error);
		if (options->help || options->version)
			return 0;
	}
	if (optind < argc)
		options->argv = argv + optind;
	return 0;
}

/* Of running processes: both ends are now. */
static int check_over(const struct dt_options *options, const struct dt_log *log)
{
	if (!options->pid_count)
		return dt_log_error(log, -EINVAL, "--over is about running processes: give them with -p PID");
	if (!options->over_ns)
		return dt_log_error(log, -EINVAL, "'domtrace diff -p' needs a time to wait: give it with --over, as --over 60s");
	if (options->argv)
		return dt_log_error(log, -EINVAL, "-p and a file ('%s') exclude each other", options->argv[0]);
	return 0;
}

/* What only a session can be told, and no file. */
static int check_live(const struct dt_options *options, const struct dt_log *log)
{
	if (!options->children && !options->patch_python && !options->raw_names && !options->debuginfod && !options->allocators &&
	    !options->frame_limit && !options->tables && !options->without)
		return 0;
	return dt_log_error(log, -EINVAL, "options of tracing do not change files: 'domtrace diff' takes them with -p PID only");
}

static int check_files(const struct dt_options *options, const struct dt_log *log)
{
	const char *name = dt_command_names[options->command];
	size_t count = 0;

	while (options->argv && options->argv[count])
		count++;
	if (options->pid_count || options->over_ns)
		return check_over(options, log);
	if (check_live(options, log))
		return -EINVAL;
	if (options->command == DT_COMMAND_DIFF && count != 2)
		return dt_log_error(log, -EINVAL, "'domtrace diff' needs two snapshots, the old one and the new one: FILE or FILE#NUMBER");
	if (!count)
		return dt_log_error(log, -EINVAL, "'domtrace %s' needs a file of snapshots: what domtrace -o wrote, or - for standard input", name);
	if (options->command == DT_COMMAND_EXPORT && !options->to)
		return dt_log_error(log, -EINVAL, "'domtrace export' needs a format: give it with --to");
	return 0;
}

static int check_words(const struct dt_options *options, const struct dt_log *log)
{
	size_t count = 0;

	while (options->argv && options->argv[count])
		count++;
	if (options->command == DT_COMMAND_CTL && (count < 1 || count > 2))
		return dt_log_error(log, -EINVAL, "'domtrace ctl' needs one request, snapshot, clear, reset-peak, status or stop; before it may "
				    "stand the process number of a domtrace");
	if (options->command == DT_COMMAND_COMPLETION && count != 1)
		return dt_log_error(log, -EINVAL, "'domtrace completion' needs a shell: bash, zsh or fish");
	return 0;
}

/* What no single option can see. */
static int check(const struct dt_options *options, const struct dt_log *log)
{
	const char *name = dt_command_names[options->command];

	if (options->help || options->version)
		return 0;
	if (reads_files(options->command))
		return check_files(options, log);
	if (has_words(options->command))
		return check_words(options, log);
	if (name && options->argv)
		return dt_log_error(log, -EINVAL, "'domtrace %s' does not take '%s'", name, options->argv[0]);
	if (options->command == DT_COMMAND_SITES && !options->pid_count)
		return dt_log_error(log, -EINVAL, "'domtrace sites' needs a process: give it with -p PID");
	if (options->command != DT_COMMAND_TRACE)
		return 0;
	if (options->all && (options->pid_count || options->argv))
		return dt_log_error(log, -EINVAL, "--all traces every process: it goes without -p and without a command");
	if (!options->all && (options->comm || options->user || options->cgroup || options->exe))
		return dt_log_error(log, -EINVAL, "--comm, --uid, --cgroup and --exe choose among all processes: give --all, too");
	if (options->pid_count && options->argv)
		return dt_log_error(log, -EINVAL, "-p and a command ('%s') exclude each other", options->argv[0]);
	if (!options->pid_count && !options->argv && !options->all)
		return dt_log_error(log, -EINVAL, "nothing to trace: give -p PID, a command to start, or --all");
	if (options->sort == DT_SORT_OLD && !options->older_than_ns)
		return dt_log_error(log, -EINVAL, "--sort old orders what --older-than shows: give that, too");
	if (options->sort && options->sort != DT_SORT_OLD && options->older_than_ns)
		return dt_log_error(log, -EINVAL, "--older-than shows the bytes of old blocks, the largest first: it goes without --sort");
	if (options->count && !options->interval_ns)
		return dt_log_error(log, -EINVAL, "--count counts the snapshots of --interval: give that, too");
	return 0;
}

int dt_options_parse(int argc, char **argv, const struct dt_log *log, struct dt_options *ret_options)
{
	struct dt_options options = { .verbosity = DT_LOG_INFO };
	int error;

	for (int i = 0; argc > 1 && i < DT_COMMAND_COUNT_; i++)
		if (dt_command_names[i] && !strcmp(argv[1], dt_command_names[i]))
			options.command = (enum dt_command)i;
	if (options.command != DT_COMMAND_TRACE)
		argc--, argv++;
	error = parse_words(argc, argv, log, &options);
	if (!error)
		error = check(&options, log);
	if (error)
		dt_options_clear(&options);
	else
		*ret_options = options;
	return error;
}

void dt_options_clear(struct dt_options *options)
{
	free(options->pids);
	free(options->domains);
	free(options->without);
	free(options->tables);
	free(options->allocators);
	free(options->snapshot_at);
	free(options->filters);
	*options = (struct dt_options){ 0 };
}

struct dt_session_opts dt_options_session(const struct dt_options *options, const struct dt_log *log)
{
	return (struct dt_session_opts){
		.size = sizeof(struct dt_session_opts),
		.log = *log,
		.domains = options->domains,
		.without = options->without,
		.allocators = options->allocators,
		.frame_limit = (uint32_t)options->frame_limit,
		.tables = options->tables,
		.stack = options->stack,
		.raw_names = options->raw_names,
		.older_than_ns = options->older_than_ns,
		.sizes = options->sizes,
		.patch_python = options->patch_python,
		.debuginfod = options->debuginfod,
		.children = options->children,
		.all = options->all,
		.comm = options->comm,
		.user = options->user,
		.cgroup = options->cgroup,
		.exe = options->exe,
		.markers = true,
		.snapshot_at = (const char *const *)options->snapshot_at,
	};
}

struct dt_filter_opts dt_options_filter(const struct dt_options *options)
{
	return (struct dt_filter_opts){
		.size = sizeof(struct dt_filter_opts),
		.filters = options->filters,
		.domains = options->domains,
		.stack = options->stack,
	};
}

struct dt_report_opts dt_options_report(const struct dt_options *options)
{
	return (struct dt_report_opts){
		.size = sizeof(struct dt_report_opts),
		.top = (size_t)options->top,
		.processes = (size_t)options->processes,
		.sort = options->sort,
		.fold = options->fold,
	};
}

struct dt_statistics_opts dt_options_statistics(const struct dt_options *options)
{
	struct dt_statistics_opts opts = {
		.size = sizeof(opts),
		.group = DT_GROUP_TRACEBACK,
		.cumulative = options->cumulative,
		.sort = options->sort,
		.top = (size_t)options->top,
		.json = options->format && !strcmp(options->format, "json"),
		.fold = options->fold,
	};

	if (options->group)
		dt_group_parse(options->group, &opts.group);
	return opts;
}
