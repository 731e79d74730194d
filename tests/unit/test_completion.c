/* SPDX-License-Identifier: BSD-2-Clause */
/* completion: bash, zsh and fish are asked what they would offer; it must be what the table of options has, no more and no less. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "cli/completion.h"
#include "shell.h"

static char top[PATH_MAX];              /* of the project */

/* One way to write a line and to ask a shell what would complete its last word: one offer a line. */
struct tested_shell {
	const char *name, *command;     /* of the shell; reads lines from "lines", writes "offers", a line with "." behind those of each */
};

static const struct tested_shell shells[] = {
	{ "bash", "bash --norc %s/tests/unit/complete.bash <lines >offers" },
	{ "zsh", "zsh -f %s/tests/unit/complete.zsh <lines >offers" },
	{ "fish", "HOME=$PWD fish --no-config %s/tests/unit/complete.fish <lines >offers" },
};

static bool is_there(const char *name)
{
	char command[64];

	snprintf(command, sizeof(command), "command -v %s >/dev/null", name);
	return !system(command);
}

static const char *name_of(enum dt_command command)
{
	return dt_command_names[command] ? dt_command_names[command] : "";
}

/* ---- what is asked, and what is expected ------------------------------------------------------------------------- */

struct book {
	FILE *lines, *expected;
};

static void expect_options(struct book *book, enum dt_command command)
{
	fprintf(book->lines, "domtrace %s --\n", name_of(command));
	for (const struct dt_option *option = dt_option_table; option->name; option++)
		if (option->commands & 1u << command)
			fprintf(book->expected, "--%s\n", option->name);
	fputs(".\n", book->expected);
}

/* Each option by what nobody else's name begins with. */
static void expect_each(struct book *book, enum dt_command command)
{
	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		if (!(option->commands & 1u << command))
			continue;
		fprintf(book->lines, "domtrace %s --%s\n", name_of(command), option->name);
		for (const struct dt_option *other = dt_option_table; other->name; other++)
			if (other->commands & 1u << command && !strncmp(other->name, option->name, strlen(option->name)))
				fprintf(book->expected, "--%s\n", other->name);
		fputs(".\n", book->expected);
	}
}

static void expect_values(struct book *book, enum dt_command command)
{
	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		struct dt_completion completion;

		if (!(option->commands & 1u << command) || !option->argument)
			continue;
		assert_int_equal(dt_completion_find(option, &completion), 0);
		if (completion.value != DT_VALUE_WORDS)
			continue;
		assert_true(completion.word_count > 1 && completion.word_count < DT_COMPLETION_WORDS_MAX);
		fprintf(book->lines, "domtrace %s --%s \n", name_of(command), option->name);
		for (size_t i = 0; i < completion.word_count; i++)
			fprintf(book->expected, "%s\n", completion.words[i]);
		fputs(".\n", book->expected);
	}
}

static void expect_others(struct book *book)
{
	fputs("domtrace ctl \ndomtrace ctl 12 re\ndomtrace report -q one\ndomtrace --cgroup tw\ndomtrace -o on\n", book->lines);
	fputs("snapshot\nclear\nreset-peak\nstatus\nstop\n.\nreset-peak\n.\none.json\n.\ntwo/\n.\none.json\n.\n", book->expected);
}

static void write_books(void)
{
	struct book book = { fopen("lines", "w"), fopen("expected", "w") };

	assert_true(book.lines && book.expected);
	for (enum dt_command command = 0; command < DT_COMMAND_COMPLETION; command++) {
		expect_options(&book, command);
		expect_each(&book, command);
		expect_values(&book, command);
	}
	expect_others(&book);
	assert_int_equal(fclose(book.lines) | fclose(book.expected), 0);
}

/* ---- tests ------------------------------------------------------------------------------------------------------- */

static void write_completion(const char *shell_name)
{
	FILE *out = fopen("completion", "w");

	assert_non_null(out);
	assert_int_equal(dt_completion_write(shell_name, out), 0);
	assert_int_equal(fclose(out), 0);
}

/* The offers of one line have no order, and zsh finds some of them twice. */
static void sort_offers(const char *file)
{
	shell("awk '{ if ($0 == \".\") n++; else print n \" \" $0 }' %s | sort -u >%s.sorted", file, file);
}

static void check_shell(const struct tested_shell *tested)
{
	DT_FREE char *expected = NULL;
	DT_FREE char *found = NULL;
	char command[PATH_MAX + 128];

	if (!is_there(tested->name)) {
		print_message("%s is not installed\n", tested->name);
		skip();
	}
	shell("touch one.json && mkdir -p two");
	write_books();
	write_completion(tested->name);
	snprintf(command, sizeof(command), tested->command, top);
	assert_int_equal(system(command), 0);
	sort_offers("expected");
	sort_offers("offers");
	assert_int_equal(dt_file_read("expected.sorted", &expected, NULL), 0);
	assert_int_equal(dt_file_read("offers.sorted", &found, NULL), 0);
	assert_string_equal(found, expected);
}

static void test_bash(void **state)
{
	(void)state;
	check_shell(&shells[0]);
}

static void test_zsh(void **state)
{
	(void)state;
	check_shell(&shells[1]);
}

static void test_fish(void **state)
{
	(void)state;
	check_shell(&shells[2]);
}

/* Of each argument in the table it is known what it is. */
static void test_arguments(void **state)
{
	(void)state;
	for (const struct dt_option *option = dt_option_table; option->name; option++) {
		struct dt_completion completion;

		if (option->argument && dt_completion_find(option, &completion))
			fail_msg("completion.c does not know what %s of --%s is", option->argument, option->name);
	}
	assert_int_equal(dt_completion_write("csh", stdout), -EINVAL);
}

static int enter(void **state)
{
	return getcwd(top, sizeof(top)) ? shell_enter(state) : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arguments), cmocka_unit_test(test_bash), cmocka_unit_test(test_zsh), cmocka_unit_test(test_fish),
	};

	return cmocka_run_group_tests(tests, enter, shell_leave);
}
