/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * tables: how many rows the unwind tables of files have, and how long it takes to read them: one line of JSON a file.
 *
 * Usage: tables FILE…
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "target/elf.h"
#include "target/unwind_table.h"

static double now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int count_rows(const char *path)
{
	struct dt_unwind_table table;
	struct dt_elf *elf;
	double begin = now_ms();
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int error = fd < 0 ? -1 : dt_elf_open(fd, &elf);

	if (error)
		return error;
	error = dt_unwind_table_read(elf, &table);
	if (!error) {
		printf("{\"rows\": %zu, \"ms\": %.2f}\n", table.count, now_ms() - begin);
		dt_unwind_table_clear(&table);
	}
	dt_elf_close(elf);
	return error;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (count_rows(argv[i])) {
			fprintf(stderr, "tables: %s cannot be read\n", argv[i]);
			return 1;
		}
	}
	return 0;
}
