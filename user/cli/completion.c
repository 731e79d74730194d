/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/completion.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/completion_shell.h"
#include "cli/request.h"

/* What the help calls an argument tells what it is. */
static const struct {
	const char *argument;
	enum dt_value value;
} values[] = {
	{ "PID[,PID...]", DT_VALUE_PROCESS },
	{ "FILE", DT_VALUE_FILE },
	{ "FILE[:PREFIX]", DT_VALUE_FILE },
	{ "FILE:SYMBOL", DT_VALUE_FILE },
	{ "DIRECTORY", DT_VALUE_DIRECTORY },
	{ "USER", DT_VALUE_USER },
	{ "FEATURE", DT_VALUE_WORDS },
	{ "NAME=BYTES", DT_VALUE_WORDS },
	{ "KEY", DT_VALUE_WORDS },
	{ "MODE", DT_VALUE_WORDS },
	{ "ORDER", DT_VALUE_WORDS },
	{ "FORMAT", DT_VALUE_WORDS },
	{ "NAME", DT_VALUE_NONE },
	{ "N", DT_VALUE_NONE },
	{ "SECONDS", DT_VALUE_NONE },
	{ "DURATION", DT_VALUE_NONE },
	{ "EXPRESSION", DT_VALUE_NONE },
};

static void add_word(struct dt_completion *completion, const char *word, size_t size, const char *behind)
{
	if (completion->word_count < DT_COMPLETION_WORDS_MAX)
		snprintf(completion->words[completion->word_count++], DT_COMPLETION_WORD_SIZE, "%.*s%s", (int)size, word, behind);
}

/* "a, b or c", as the sentence about a wrong value has them. */
static void add_wanted(struct dt_completion *completion, const char *wants)
{
	while (*wants) {
		size_t size = strcspn(wants, ", ");

		if (size && strncmp(wants, "or ", 3))
			add_word(completion, wants, size, "");
		wants += size;
		wants += strspn(wants, ", ");
	}
}

static void add_words(struct dt_completion *completion, const struct dt_option *option)
{
	const char *name, *help;
	uint64_t bytes;

	if (!strcmp(option->argument, "FEATURE"))
		for (size_t i = 0; (name = dt_feature_name(i, &help)); i++)
			add_word(completion, name, strlen(name), "");
	else if (!strcmp(option->argument, "NAME=BYTES"))
		for (size_t i = 0; (name = dt_table_name(i, &bytes, &help)); i++)
			add_word(completion, name, strlen(name), "=");
	else
		add_wanted(completion, option->wants);
}

int dt_completion_find(const struct dt_option *option, struct dt_completion *ret_completion)
{
	struct dt_completion completion = { 0 };
	size_t i = 0;

	while (i < DT_ARRAY_SIZE(values) && strcmp(values[i].argument, option->argument))
		i++;
	if (i == DT_ARRAY_SIZE(values))
		return -ENOENT;
	completion.value = values[i].value;
	if (completion.value == DT_VALUE_WORDS)
		add_words(&completion, option);
	*ret_completion = completion;
	return 0;
}

void dt_completion_write_requests(FILE *out)
{
	const char *space = "";

	for (enum dt_request request = 0; request < DT_REQUEST_COUNT_; request++) {
		if (request == DT_REQUEST_STATUS_JSON)
			continue;       /* --format says that */
		fprintf(out, "%s%s", space, dt_request_name(request));
		space = " ";
	}
}

int dt_completion_write(const char *shell, FILE *out)
{
	static const struct {
		const char *name;
		void (*write)(FILE *out);
	} shells[] = {
		{ "bash", dt_completion_write_bash },
		{ "zsh", dt_completion_write_zsh },
		{ "fish", dt_completion_write_fish },
	};

	for (size_t i = 0; i < DT_ARRAY_SIZE(shells); i++) {
		if (strcmp(shells[i].name, shell))
			continue;
		shells[i].write(out);
		return 0;
	}
	return -EINVAL;
}
