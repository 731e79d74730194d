/* SPDX-License-Identifier: BSD-2-Clause */
/* bash(1), Programmable Completion: a function that fills COMPREPLY. It does without the package bash-completion. */
#include "cli/completion_shell.h"

#include "cli/completion.h"

/* Offers what stands behind an option, in `$cur`'s place. */
static const char *const offers[] = {
	[DT_VALUE_NONE] = "return",
	[DT_VALUE_FILE] = "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")",
	[DT_VALUE_DIRECTORY] = "compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\")",
	[DT_VALUE_PROCESS] = "mapfile -t COMPREPLY < <(cd /proc && compgen -W \"$(echo [0-9]*)\" -- \"$cur\")",
	[DT_VALUE_USER] = "mapfile -t COMPREPLY < <(compgen -u -- \"$cur\")",
};

static void write_value(const struct dt_option *option, FILE *out)
{
	struct dt_completion completion = { 0 };

	if (!option->argument)
		return;
	dt_completion_find(option, &completion);
	fputs("\t", out);
	if (option->letter)
		fprintf(out, "-%c | ", option->letter);
	fprintf(out, "--%s) ", option->name);
	if (completion.value == DT_VALUE_WORDS) {
		fputs("mapfile -t COMPREPLY < <(compgen -W \"", out);
		for (size_t i = 0; i < completion.word_count; i++)
			fprintf(out, "%s%s", i ? " " : "", completion.words[i]);
		fputs("\" -- \"$cur\")", out);
	} else {
		fputs(offers[completion.value], out);
	}
	fputs("; return ;;\n", out);
}

static void write_options(enum dt_command command, FILE *out)
{
	const char *name = dt_command_names[command];

	fprintf(out, "\t%s) options=\"", name ? name : "trace");
	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		if (!(option->commands & 1u << command))
			continue;
		fprintf(out, "--%s ", option->name);
		if (option->letter)
			fprintf(out, "-%c ", option->letter);
	}
	fputs("\" ;;\n", out);
}

/* The letters and names of options behind which a word stands, as a pattern of case. */
static void write_with_argument(FILE *out)
{
	bool first = true;

	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		if (!option->argument)
			continue;
		fprintf(out, "%s--%s", first ? "" : " | ", option->name);
		if (option->letter)
			fprintf(out, " | -%c", option->letter);
		first = false;
	}
}

static void write_begin(FILE *out)
{
	fputs("# bash completion for domtrace, which has written this: domtrace completion bash\n"
	      "_domtrace()\n"
	      "{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command=trace options= at=1 ended=0\n"
	      "\n"
	      "\tCOMPREPLY=()\n"
	      "\t# --option=value is three words here.\n"
	      "\tif [[ $cur == \"=\" ]]; then\n"
	      "\t\tcur=\n"
	      "\telif [[ $prev == \"=\" ]]; then\n"
	      "\t\tprev=${COMP_WORDS[COMP_CWORD-2]}\n"
	      "\tfi\n"
	      "\tif (( COMP_CWORD > 1 )); then\n"
	      "\t\tcase ${COMP_WORDS[1]} in\n"
	      "\t\t", out);
	for (int i = 0; i < DT_COMMAND_COMPLETION; i++)
		if (dt_command_names[i])
			fprintf(out, "%s%s", i > 1 ? " | " : "", dt_command_names[i]);
	fputs(") command=${COMP_WORDS[1]} ;;\n"
	      "\t\tesac\n"
	      "\tfi\n"
	      "\t# Behind the first word that is no option everything is the command's that is traced.\n"
	      "\twhile [[ $command == trace ]] && (( at < COMP_CWORD )); do\n"
	      "\t\tcase ${COMP_WORDS[at]} in\n"
	      "\t\t--) at=$((at + 1)) ended=1; break ;;\n"
	      "\t\t=) at=$((at + 2)) ;;\n"
	      "\t\t", out);
	write_with_argument(out);
	fputs(") [[ ${COMP_WORDS[at+1]} == \"=\" ]] && at=$((at + 1)) || at=$((at + 2)) ;;\n"
	      "\t\t-*) at=$((at + 1)) ;;\n"
	      "\t\t*) break ;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tif [[ $command == trace ]] && (( at < COMP_CWORD || (ended && at == COMP_CWORD) )); then\n"
	      "\t\tif (( at == COMP_CWORD )); then\n"
	      "\t\t\tmapfile -t COMPREPLY < <(compgen -c -- \"$cur\")\n"
	      "\t\telif declare -F _command_offset >/dev/null; then\n"
	      "\t\t\t_command_offset \"$at\"\n"
	      "\t\telse\n"
	      "\t\t\tcompopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
	      "\t\tfi\n"
	      "\t\treturn\n"
	      "\tfi\n", out);
}

void dt_completion_write_bash(FILE *out)
{
	write_begin(out);
	fputs("\tcase $prev in\n", out);
	for (const struct dt_option *option = dt_option_table; option->name; option++)
		write_value(option, out);
	fputs("\tesac\n"
	      "\tcase $command in\n", out);
	for (enum dt_command command = 0; command < DT_COMMAND_COMPLETION; command++)
		write_options(command, out);
	fputs("\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
	      "\t\treturn\n"
	      "\tfi\n"
	      "\tcase $command in\n"
	      "\ttrace) mapfile -t COMPREPLY < <(", out);
	fputs("{ (( COMP_CWORD > 1 )) || compgen -W \"", out);
	for (int i = 0; i < DT_COMMAND_COMPLETION; i++)
		if (dt_command_names[i])
			fprintf(out, "%s ", dt_command_names[i]);
	fputs("\" -- \"$cur\"; compgen -c -- \"$cur\"; }) ;;\n"
	      "\tctl) mapfile -t COMPREPLY < <(compgen -W \"", out);
	dt_completion_write_requests(out);
	fputs("\" -- \"$cur\") ;;\n"
	      "\treport | diff | export) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
	      "\tesac\n"
	      "}\n"
	      "complete -F _domtrace domtrace\n", out);
}
