/* SPDX-License-Identifier: BSD-2-Clause */
/* code: CPython code objects by their numbers: file, name, lines. */
#ifndef DT_SESSION_CODE_H
#define DT_SESSION_CODE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "target/python_lines.h"

struct dt_code {
	uint64_t number;
	char *file, *name;              /* UTF-8 */
	uint8_t *bytes;                 /* of `lines` */
	struct dt_python_line_table lines;
	int first_line;
	UT_hash_handle hh;
};

/* Adds or replaces one, in a table of those of one image. Reads what did not fit into the record from process `pid`, if it is still there. -ENOMEM, -EBADMSG. */
int dt_codes_add(struct dt_code **codes, pid_t pid, const struct dt_code_event *event, size_t size);
const struct dt_code *dt_codes_find(struct dt_code *codes, uint64_t number);
void dt_codes_clear(struct dt_code **codes);

#endif
