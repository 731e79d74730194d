/* SPDX-License-Identifier: BSD-2-Clause */
/* page: text of a certain width, in colour or not. */
#ifndef DT_EXPORT_PAGE_H
#define DT_EXPORT_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum dt_style {
	DT_STYLE_PLAIN,
	DT_STYLE_STRONG,
	DT_STYLE_WEAK,
	DT_STYLE_SOURCE,
	DT_STYLE_GOOD,
	DT_STYLE_BAD,
	DT_STYLE_COUNT,
};

struct dt_page {
	FILE *out;
	size_t columns;
	bool colour;
};

/* What is printed must be fit for a terminal (dt_text_fit). */
void dt_page_print(const struct dt_page *page, enum dt_style style, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* Prints words, beginning at column `at`; further lines begin at `indent`. Ends the line. */
void dt_page_print_words(const struct dt_page *page, enum dt_style style, size_t at, size_t indent, const char *words);

#endif
