/* SPDX-License-Identifier: BSD-2-Clause */
/* figure: numbers as text for people. A rounded number says so by "~", unless the exact one stands beside it. */
#ifndef DT_EXPORT_FIGURE_H
#define DT_EXPORT_FIGURE_H

#include <stdint.h>

#define DT_FIGURE_SIZE 48

/* "14,900,224" */
void dt_figure_grouped(uint64_t value, char text[DT_FIGURE_SIZE]);
/* "14900224" */
void dt_figure_plain(uint64_t value, char text[DT_FIGURE_SIZE]);
/* "12.0 KiB", "~14.2 MiB" */
void dt_figure_bytes(uint64_t bytes, char text[DT_FIGURE_SIZE]);
/* "1000", "~1.2 M" */
void dt_figure_count(uint64_t count, char text[DT_FIGURE_SIZE]);
/* "1171.9 KiB (1,200,000 bytes)": KiB as tracemalloc's users print them. *ret_exact: where the part in brackets begins. */
void dt_figure_kib(uint64_t bytes, char text[DT_FIGURE_SIZE + 32], const char **ret_exact);
/* "5.0 s", "~5.2 s" */
void dt_figure_seconds(uint64_t ns, char text[DT_FIGURE_SIZE]);

#endif
