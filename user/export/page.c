/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/page.h"

#include <stdarg.h>
#include <string.h>

#include "base/cleanup.h"

/* Select Graphic Rendition (ECMA-48 8.3.117), only from the colours that every theme makes readable. */
static const char *const renditions[] = {
	[DT_STYLE_PLAIN] = "",
	[DT_STYLE_STRONG] = "\033[1m",
	[DT_STYLE_WEAK] = "\033[2m",
	[DT_STYLE_SOURCE] = "\033[36m",
	[DT_STYLE_GOOD] = "\033[32m",
	[DT_STYLE_BAD] = "\033[1;33m",
};
_Static_assert(DT_ARRAY_SIZE(renditions) == DT_STYLE_COUNT, "a style has no rendition");

void dt_page_print(const struct dt_page *page, enum dt_style style, const char *format, ...)
{
	bool coloured = page->colour && style != DT_STYLE_PLAIN;
	va_list arguments;

	if (coloured)
		fputs(renditions[style], page->out);
	va_start(arguments, format);
	vfprintf(page->out, format, arguments);
	va_end(arguments);
	if (coloured)
		fputs("\033[0m", page->out);
}

/* Bytes of the longest beginning that takes at most `room` columns and ends at a space; at least one word. */
static size_t line_bytes(const char *words, size_t room)
{
	size_t size = strcspn(words, " ");

	for (;;) {
		size_t more = size + strspn(words + size, " ");

		more += strcspn(words + more, " ");
		if (more == size || more > room)
			return size;
		size = more;
	}
}

void dt_page_print_words(const struct dt_page *page, enum dt_style style, size_t at, size_t indent, const char *words)
{
	while (*words) {
		size_t size = line_bytes(words, page->columns > at ? page->columns - at : 0);

		dt_page_print(page, style, "%.*s", (int)size, words);
		words += size + strspn(words + size, " ");
		at = indent;
		if (*words)
			fprintf(page->out, "\n%*s", (int)indent, "");
	}
	putc('\n', page->out);
}
