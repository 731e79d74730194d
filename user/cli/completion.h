/* SPDX-License-Identifier: BSD-2-Clause */
/* completion: what shells are to offer behind "domtrace", from the table of options. */
#ifndef DT_CLI_COMPLETION_H
#define DT_CLI_COMPLETION_H

#include <stdbool.h>
#include <stdio.h>

#include "cli/option.h"

/* What stands behind an option. */
enum dt_value {
	DT_VALUE_NONE,                  /* nothing that could be offered: a number, a pattern */
	DT_VALUE_WORDS,
	DT_VALUE_FILE,
	DT_VALUE_DIRECTORY,
	DT_VALUE_PROCESS,
	DT_VALUE_USER,
};

#define DT_COMPLETION_WORDS_MAX 32
#define DT_COMPLETION_WORD_SIZE 32

struct dt_completion {
	enum dt_value value;
	char words[DT_COMPLETION_WORDS_MAX][DT_COMPLETION_WORD_SIZE];
	size_t word_count;
};

/* -ENOENT: nothing is known of such an argument, which is a fault of the table. */
int dt_completion_find(const struct dt_option *option, struct dt_completion *ret_completion);

/* "bash", "zsh" or "fish". -EINVAL: no such shell. */
int dt_completion_write(const char *shell, FILE *out);

#endif
