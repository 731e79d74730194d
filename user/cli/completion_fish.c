/* SPDX-License-Identifier: BSD-2-Clause */
/* fish's complete(1): one line an option. */
#include "cli/completion_shell.h"

#include "cli/completion.h"

static void write_quoted(const char *text, FILE *out)
{
	fputc('\'', out);
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
	fputc('\'', out);
}

static void write_value(const struct dt_option *option, FILE *out)
{
	static const char *const actions[] = {
		[DT_VALUE_NONE] = " -x",
		[DT_VALUE_FILE] = " -r -F",
		[DT_VALUE_DIRECTORY] = " -x -a '(__fish_complete_directories)'",
		[DT_VALUE_PROCESS] = " -x -a '(__fish_complete_pids)'",
		[DT_VALUE_USER] = " -x -a '(__fish_complete_users)'",
	};
	struct dt_completion completion = { 0 };

	dt_completion_find(option, &completion);
	if (completion.value != DT_VALUE_WORDS) {
		fputs(actions[completion.value], out);
		return;
	}
	fputs(" -x -a '", out);
	for (size_t i = 0; i < completion.word_count; i++)
		fprintf(out, "%s%s", i ? " " : "", completion.words[i]);
	fputs("'", out);
}

static void write_option(const struct dt_option *option, FILE *out)
{
	fputs("complete -c domtrace -n '__domtrace_is", out);
	for (enum dt_command command = 0; command < DT_COMMAND_COMPLETION; command++)
		if (option->commands & 1u << command)
			fprintf(out, " %s", dt_command_names[command] ? dt_command_names[command] : "trace");
	fputs("'", out);
	if (option->letter)
		fprintf(out, " -s %c", option->letter);
	fprintf(out, " -l %s", option->name);
	if (option->argument)
		write_value(option, out);
	fputs(" -d ", out);
	write_quoted(option->help, out);
	fputc('\n', out);
}

static void write_commands(FILE *out)
{
	for (int i = 0; i < DT_COMMAND_COMPLETION; i++)
		if (dt_command_names[i])
			fprintf(out, " %s", dt_command_names[i]);
}

void dt_completion_write_fish(FILE *out)
{
	fputs("# fish completion for domtrace, which has written this: domtrace completion fish\n"
	      "function __domtrace_is\n"
	      "\tset -l words (commandline -opc)\n"
	      "\tset -l command trace\n"
	      "\tif test (count $words) -gt 1; and contains -- $words[2]", out);
	write_commands(out);
	fputs("\n"
	      "\t\tset command $words[2]\n"
	      "\tend\n"
	      "\tcontains -- $command $argv\n"
	      "end\n"
	      "function __domtrace_is_first\n"
	      "\ttest (count (commandline -opc)) -eq 1\n"
	      "end\n"
	      "complete -c domtrace -f\n"
	      "complete -c domtrace -n '__domtrace_is report diff export' -F\n"
	      "complete -c domtrace -n __domtrace_is_first -a '", out);
	write_commands(out);
	fputs("'\n"
	      "complete -c domtrace -n '__domtrace_is trace' -a '(__fish_complete_subcommand)'\n"
	      "complete -c domtrace -n '__domtrace_is ctl' -a '", out);
	dt_completion_write_requests(out);
	fputs("'\n", out);
	for (const struct dt_option *option = dt_option_table; option->name; option++)
		write_option(option, out);
}
