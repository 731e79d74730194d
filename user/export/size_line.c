/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/size_line.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/figure.h"
#include "snapshot/sizes.h"

#define INDENT "    "

/* "<=16B:1,024", which no line ends in the middle of. A power of two is never rounded. */
static void print_class(FILE *out, const struct dt_snapshot_size *size)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	unsigned number = dt_size_class(size->upper_bytes);
	char blocks[DT_FIGURE_SIZE];

	dt_figure_grouped(size->blocks, blocks);
	fprintf(out, " <=%u%s:%s", 1u << number % 10, units[number / 10], blocks);
}

int dt_size_line_write(const struct dt_page *page, const struct dt_snapshot_sizes *sizes, uint64_t blocks)
{
	uint64_t known, bytes;
	char unknown[DT_FIGURE_SIZE];
	DT_FREE char *words = NULL;
	size_t size;
	FILE *out;

	if (!blocks)
		return 0;
	dt_sizes_total(sizes, &known, &bytes);
	dt_figure_grouped(blocks - known, unknown);
	out = open_memstream(&words, &size);
	if (!out)
		return -ENOMEM;
	fputs("live sizes", out);
	for (uint32_t i = 0; i < sizes->count; i++)
		print_class(out, &sizes->rows[i]);
	if (known != blocks)
		fprintf(out, " not known:%s", unknown);
	if (fclose(out))
		return -ENOMEM;
	dt_page_print(page, DT_STYLE_PLAIN, INDENT);
	dt_page_print_words(page, DT_STYLE_PLAIN, strlen(INDENT), strlen(INDENT) + 2, words);
	return 0;
}
