/* SPDX-License-Identifier: BSD-2-Clause */
/* text: bytes of unknown origin made fit for JSON and for a terminal. */
#ifndef DT_EXPORT_TEXT_H
#define DT_EXPORT_TEXT_H

#include <stddef.h>

/*
 * Valid UTF-8 of the same meaning: what cannot be decoded becomes U+FFFD. *ret_text is `bytes` itself where that is
 * valid already (*ret_own is NULL), or else *ret_own, which is the caller's to free. -ENOMEM.
 */
int dt_text_decode(const char *bytes, const char **ret_text, size_t *ret_size, char **ret_own);

/*
 * A copy that is safe on a terminal, at most `columns` wide: a tab is a space; other control characters, those that
 * turn the direction of writing or cannot be seen, and what cannot be decoded are "?". Longer text is cut with "...".
 * NULL: no memory.
 */
enum dt_text_cut {
	DT_TEXT_CUT_MIDDLE,             /* paths and names: both ends say most */
	DT_TEXT_CUT_BEGIN,              /* paths of which the last names are enough */
	DT_TEXT_CUT_END,                /* lines of source */
};
char *dt_text_fit(const char *bytes, size_t size, size_t columns, enum dt_text_cut cut);

/* Columns that text from dt_text_fit takes. */
size_t dt_text_width(const char *text);
/* Makes columns of several texts in one line fit into `room`: the widest give up most, none more than to the others' width. */
void dt_text_share(size_t columns[], size_t count, size_t room);

#endif
