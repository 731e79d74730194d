/* SPDX-License-Identifier: BSD-2-Clause */
/* completion_shell: completion as each shell wants it written. */
#ifndef DT_CLI_COMPLETION_SHELL_H
#define DT_CLI_COMPLETION_SHELL_H

#include <stdio.h>

/* What 'domtrace ctl' can ask, with spaces between. */
void dt_completion_write_requests(FILE *out);

void dt_completion_write_bash(FILE *out);
void dt_completion_write_zsh(FILE *out);
void dt_completion_write_fish(FILE *out);

#endif
