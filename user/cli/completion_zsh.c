/* SPDX-License-Identifier: BSD-2-Clause */
/* zshcompsys(1): the arguments of _arguments, one for each way to write an option. */
#include "cli/completion_shell.h"

#include "cli/completion.h"

/* Within single quotes, where [, ] and : have a meaning of their own. */
static void write_escaped(const char *text, FILE *out)
{
	for (; *text; text++) {
		if (*text == '\'')
			fputs("'\\'", out);
		else if (*text == '[' || *text == ']' || *text == ':' || *text == '\\')
			fputc('\\', out);
		fputc(*text, out);
	}
}

static void write_value(const struct dt_option *option, FILE *out)
{
	static const char *const actions[] = {
		[DT_VALUE_NONE] = " ",
		[DT_VALUE_FILE] = "_files",
		[DT_VALUE_DIRECTORY] = "_files -/",
		[DT_VALUE_PROCESS] = "_pids",
		[DT_VALUE_USER] = "_users",
	};
	struct dt_completion completion = { 0 };

	dt_completion_find(option, &completion);
	fputc(':', out);
	write_escaped(option->argument, out);
	fputc(':', out);
	if (completion.value != DT_VALUE_WORDS) {
		fputs(actions[completion.value], out);
		return;
	}
	for (size_t i = 0; i < completion.word_count; i++)
		fprintf(out, "%s%s", i ? " " : "(", completion.words[i]);
	fputc(')', out);
}

static void write_spec(const struct dt_option *option, bool letter, FILE *out)
{
	if (letter)
		fprintf(out, "\t\t'*-%c%s[", option->letter, option->argument ? "+" : "");
	else
		fprintf(out, "\t\t'*--%s%s[", option->name, option->argument ? "=" : "");
	write_escaped(option->help, out);
	fputc(']', out);
	if (option->argument)
		write_value(option, out);
	fputs("' \\\n", out);
}

static void write_arguments(enum dt_command command, FILE *out)
{
	const char *name = dt_command_names[command];

	fprintf(out, "\t%s) _arguments -s -S \\\n", name ? name : "trace");
	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		if (!(option->commands & 1u << command))
			continue;
		if (option->letter)
			write_spec(option, true, out);
		write_spec(option, false, out);
	}
	if (command == DT_COMMAND_TRACE) {
		fputs("\t\t'(-)1:command:_domtrace_first' '*::argument:_normal' ;;\n", out);
	} else if (command == DT_COMMAND_CTL) {
		fputs("\t\t'*:request:(", out);
		dt_completion_write_requests(out);
		fputs(")' ;;\n", out);
	} else if (command == DT_COMMAND_SITES || command == DT_COMMAND_DOCTOR) {
		fputs("\t\t;;\n", out);
	} else {
		fputs("\t\t'*:file:_files' ;;\n", out);
	}
}

void dt_completion_write_zsh(FILE *out)
{
	fputs("#compdef domtrace\n"
	      "# zsh completion for domtrace, which has written this: domtrace completion zsh\n"
	      "_domtrace_first()\n"
	      "{\n"
	      "\t(( CURRENT == 2 )) && compadd -- $commands_of_domtrace\n"
	      "\t_command_names -e\n"
	      "}\n"
	      "\n"
	      "_domtrace()\n"
	      "{\n"
	      "\tlocal command=trace\n"
	      "\tlocal -a commands_of_domtrace\n"
	      "\n"
	      "\tcommands_of_domtrace=(", out);
	for (int i = 0; i < DT_COMMAND_COMPLETION; i++)
		if (dt_command_names[i])
			fprintf(out, " %s", dt_command_names[i]);
	fputs(" )\n"
	      "\tif (( CURRENT > 2 && ${commands_of_domtrace[(Ie)${words[2]}]} )); then\n"
	      "\t\tcommand=${words[2]}\n"
	      "\t\tshift words\n"
	      "\t\t(( CURRENT-- ))\n"
	      "\tfi\n"
	      "\tcase $command in\n", out);
	for (enum dt_command command = 0; command < DT_COMMAND_COMPLETION; command++)
		write_arguments(command, out);
	fputs("\tesac\n"
	      "}\n"
	      "\n"
	      "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n"
	      "\t_domtrace \"$@\"\n"
	      "else\n"
	      "\tcompdef _domtrace domtrace\n"
	      "fi\n", out);
}
