/* SPDX-License-Identifier: BSD-2-Clause */
/* option: the one table of options, which parser, help and the test of the manual share. */
#ifndef DT_CLI_OPTION_H
#define DT_CLI_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "cli/options.h"

struct dt_option {
	char letter;                    /* 0: it has only the long name */
	const char *name;
	const char *argument;           /* as the help shows it; NULL: takes none */
	unsigned commands;              /* bits 1 << enum dt_command: who takes it */
	/* -EINVAL or -ERANGE: the value is wrong. -ENOMEM. */
	int (*set)(struct dt_options *options, const struct dt_option *option, const char *text);
	size_t offset;                  /* of the member that `set` fills */
	uint64_t minimum, maximum;      /* of a number */
	const char *wants;              /* completes "'TEXT' is not …"; NULL: a whole number in that range */
	const char *help;
};

#define DT_OPTION_COUNT 37
/* The row behind the last has no name. */
extern const struct dt_option dt_option_table[DT_OPTION_COUNT + 1];
extern const char *const dt_command_names[DT_COMMAND_COUNT_];

#endif
