/* SPDX-License-Identifier: BSD-2-Clause */
/* The manual pages against the lists they repeat: options, counters, sites. Each section's list equals its source, in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/option.h"

#define MANUAL "user/cli/domtrace.1"    /* tests run in the project's directory */

static char *manual;

/* Collects, of the lines between `heading` and the next section, those that begin with `start`, with `more` lines behind each. */
static void collect(const char *heading, const char *start, int more, char *text)
{
	const char *line = strstr(manual, heading);
	int wanted = 0;

	assert_non_null(line);
	*text = '\0';
	for (line = strchr(line + 1, '\n') + 1; *line; line = strchr(line, '\n') + 1) {
		if (!strncmp(line, ".Sh ", 4) || !strncmp(line, ".Ss ", 4))
			break;
		if (!strncmp(line, start, strlen(start)))
			wanted = 1 + more;
		if (wanted-- > 0)
			strncat(text, line, strcspn(line, "\n") + 1);
	}
}

/* Each command has a page with the options that it takes; the overview has those of tracing. */
static void check_options(enum dt_command command)
{
	char expected[4096] = "", found[4096], *overview = manual, path[64] = MANUAL;

	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		char *end = expected + strlen(expected);

		if (!(option->commands & 1u << command))
			continue;
		end += sprintf(end, ".It");
		if (option->letter)
			end += sprintf(end, " Fl %c ,", option->letter);
		end += sprintf(end, " Fl -%s", option->name);
		sprintf(end, option->argument ? " Ar %s\n" : "\n", option->argument);
	}
	if (dt_command_names[command])
		snprintf(path, sizeof(path), "user/cli/domtrace-%s.1", dt_command_names[command]);
	assert_int_equal(dt_file_read(path, &manual, NULL), 0);
	collect("\n.Sh OPTIONS", ".It ", 0, found);
	free(manual);
	manual = overview;
	assert_string_equal(found, expected);
}

static void test_options(void **state)
{
	(void)state;
	for (enum dt_command command = 0; command < DT_COMMAND_COMPLETION; command++)
		check_options(command);
}

static void test_counters(void **state)
{
	char expected[8192] = "", found[8192];

	(void)state;
#define DT_COUNTER(name, kind, help) strcat(expected, ".It Cm " #name "\n" help "\n");
#include <domtrace/counters.def>
#undef DT_COUNTER
	collect("\n.Ss COUNTERS", ".It ", 1, found);
	assert_string_equal(found, expected);
}

static void test_truncations(void **state)
{
	char expected[4096] = "", found[4096];

	(void)state;
#define DT_TRUNCATION(name, help) strcat(expected, ".It Cm " #name "\n" help ".\n");
#include <domtrace/truncations.def>
#undef DT_TRUNCATION
	strcat(expected, ".It Cm lost\nthe traceback itself was lost.\n");
	collect("\n.Ss TRUNCATED TRACEBACKS", ".It ", 1, found);
	assert_string_equal(found, expected);
}

/* The losses stand together and before the others: the list is cut where the kind changes. */
static void test_losses(void **state)
{
	const char *others = strstr(manual, "\nThe others take nothing away from the tables.\n");

	(void)state;
	assert_non_null(others);
#define LOSS true
#define COUNT false
#define DT_COUNTER(name, kind, help) assert_int_equal(strstr(manual, ".It Cm " #name "\n") < others, kind);
#include <domtrace/counters.def>
#undef DT_COUNTER
}

static void test_sites(void **state)
{
	char expected[8192] = "", found[8192], *to = found;

	(void)state;
#define DT_SITE(symbol, ...) strcat(expected, ".Fn " #symbol "\n");
#include <domtrace/sites.def>
#undef DT_SITE
	collect("\n.Sh TRACED FUNCTIONS", ".Fn ", 0, found);
	/* Their commas do not count. */
	for (char *from = found; *from; from++)
		if (strncmp(from, " ,\n", 3) && (from == found || strncmp(from - 1, " ,\n", 3)))
			*to++ = *from;
	*to = '\0';
	assert_string_equal(found, expected);
}

static int load(void **state)
{
	(void)state;
	return dt_file_read(MANUAL, &manual, NULL);
}

static int unload(void **state)
{
	(void)state;
	free(manual);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options), cmocka_unit_test(test_counters), cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_losses), cmocka_unit_test(test_sites),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
