/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/help.h"

#include <string.h>

#include "cli/option.h"

#define HELP_COLUMNS 80
#define HELP_INDENT 28

/* Writes `text` from column HELP_INDENT on, broken at spaces; the cursor is at column `at`. */
static void write_wrapped(FILE *out, int at, const char *text)
{
	while (*text) {
		int room = HELP_COLUMNS - HELP_INDENT, size = (int)strlen(text);

		if (size > room)
			for (size = room; size > 1 && text[size] != ' '; size--)
				;
		if (at > HELP_INDENT - 2) {
			fputc('\n', out);
			at = 0;
		}
		fprintf(out, "%*s%.*s\n", HELP_INDENT - at, "", size, text);
		text += size;
		text += strspn(text, " ");
		at = 0;
	}
}

static void write_option(FILE *out, const struct dt_option *option)
{
	int at = option->letter ? fprintf(out, "  -%c, ", option->letter) : fprintf(out, "      ");

	at += fprintf(out, "--%s", option->name);
	if (option->argument)
		at += fprintf(out, " %s", option->argument);
	write_wrapped(out, at, option->help);
}

static void write_taken(FILE *out, enum dt_command command)
{
	int at = fprintf(out, "'domtrace %s' takes", dt_command_names[command]);

	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		int size = option->letter ? 3 : 3 + (int)strlen(option->name);

		if (!(option->commands & 1u << command))
			continue;
		if (at + size >= HELP_COLUMNS)
			at = fprintf(out, "\n ") - 1;
		if (option->letter)
			at += fprintf(out, " -%c", option->letter);
		else
			at += fprintf(out, " --%s", option->name);
	}
	fputs(".\n", out);
}

void dt_help_write(FILE *out)
{
	const char *name, *help;
	uint64_t bytes;

	fputs("Usage: domtrace [OPTION]... -p PID[,PID...]         trace running processes\n"
	      "       domtrace [OPTION]... --all                   trace every process\n"
	      "       domtrace [OPTION]... [--] COMMAND [WORD]...  start COMMAND and trace it\n"
	      "       domtrace sites [OPTION]... -p PID[,PID...]   show where it would probe\n"
	      "       domtrace doctor [OPTION]...                  show what this machine has\n"
	      "       domtrace report [OPTION]... FILE...          show snapshots of files\n"
	      "       domtrace diff [OPTION]... OLD NEW            show what has changed\n"
	      "       domtrace diff [OPTION]... -p PID --over 60s  show what changes just now\n"
	      "       domtrace export --to FORMAT FILE...          write them in another form\n"
	      "       domtrace ctl [PID-OF-DOMTRACE] REQUEST       ask a domtrace that traces:\n"
	      "                    snapshot, clear, reset-peak, status or stop\n"
	      "\n"
	      "Traces the memory that processes allocate, by domain and by traceback.\n"
	      "\n", out);
	for (const struct dt_option *option = dt_option_table; option->name; option++)
		write_option(out, option);
	fputc('\n', out);
	write_taken(out, DT_COMMAND_SITES);
	write_taken(out, DT_COMMAND_DOCTOR);
	write_taken(out, DT_COMMAND_REPORT);
	write_taken(out, DT_COMMAND_DIFF);
	write_taken(out, DT_COMMAND_EXPORT);
	write_taken(out, DT_COMMAND_CTL);
	fputs("\nFeatures that --without knows:\n", out);
	for (size_t i = 0; (name = dt_feature_name(i, &help)); i++)
		write_wrapped(out, fprintf(out, "  %s", name), help);
	fputs("\nTables that --table knows, and how large they may become:\n", out);
	for (size_t i = 0; (name = dt_table_name(i, &bytes, &help)); i++)
		write_wrapped(out, fprintf(out, "  %s=%lluM", name, (unsigned long long)bytes >> 20), help);
	fputs("\nThe manual: man domtrace\n", out);
}
