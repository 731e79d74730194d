/* SPDX-License-Identifier: BSD-2-Clause */
/* help: what --help shows, from the table of options. */
#ifndef DT_CLI_HELP_H
#define DT_CLI_HELP_H

#include <stdio.h>

/* Not wider than 80 columns. */
void dt_help_write(FILE *out);

#endif
