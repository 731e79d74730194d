/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/figure.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

void dt_figure_plain(uint64_t value, char text[DT_FIGURE_SIZE])
{
	snprintf(text, DT_FIGURE_SIZE, "%" PRIu64, value);
}

void dt_figure_grouped(uint64_t value, char text[DT_FIGURE_SIZE])
{
	char digits[24];
	int count = snprintf(digits, sizeof(digits), "%" PRIu64, value);

	for (int i = 0; i < count; i++) {
		if (i && (count - i) % 3 == 0)
			*text++ = ',';
		*text++ = digits[i];
	}
	*text = '\0';
}

/* With one decimal of the largest unit that leaves something before the point. A long double holds 64 bits exactly. */
static void scale(uint64_t value, unsigned base, const char *const units[], char text[DT_FIGURE_SIZE])
{
	uint64_t unit = base;
	size_t i = 0;

	while (i < 5 && value / unit >= base) {
		unit *= base;
		i++;
	}
	/* Exact where one decimal is enough. */
	bool exact = (unsigned __int128)value * 10 % unit == 0;

	snprintf(text, DT_FIGURE_SIZE, "%s%.1Lf %s", exact ? "" : "~", (long double)value / (long double)unit, units[i]);
}

void dt_figure_bytes(uint64_t bytes, char text[DT_FIGURE_SIZE])
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };

	if (bytes < 1024)
		snprintf(text, DT_FIGURE_SIZE, "%" PRIu64 " B", bytes);
	else
		scale(bytes, 1024, units, text);
}

void dt_figure_count(uint64_t count, char text[DT_FIGURE_SIZE])
{
	static const char *const units[] = { "k", "M", "G", "T", "P", "E" };

	if (count < 10000)
		dt_figure_plain(count, text);
	else
		scale(count, 1000, units, text);
}

void dt_figure_kib(uint64_t bytes, char text[DT_FIGURE_SIZE + 32], const char **ret_exact)
{
	char grouped[DT_FIGURE_SIZE];
	int size = snprintf(text, DT_FIGURE_SIZE, "%.1Lf KiB ", (long double)bytes / 1024);

	dt_figure_grouped(bytes, grouped);
	snprintf(text + size, (size_t)(DT_FIGURE_SIZE + 32 - size), "(%s bytes)", grouped);
	*ret_exact = text + size;
}

void dt_figure_seconds(uint64_t ns, char text[DT_FIGURE_SIZE])
{
	snprintf(text, DT_FIGURE_SIZE, "%s%.1Lf s", ns % 100000000 ? "~" : "", (long double)ns / 1e9L);
}
