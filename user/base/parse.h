/* SPDX-License-Identifier: BSD-2-Clause */
/* Numbers from text: all of the text, in range, or -EINVAL / -ERANGE; nothing in between. */
#ifndef DT_BASE_PARSE_H
#define DT_BASE_PARSE_H

#include <stdint.h>

/* Decimal digits only: no sign, no space, no empty text. */
int dt_parse_u64(const char *text, uint64_t minimum, uint64_t maximum, uint64_t *ret_value);
/* "4096", "64K", "400M", "2G": bytes; a letter stands for a power of 1024. */
int dt_parse_bytes(const char *text, uint64_t *ret_bytes);
/* "5", "0.25": seconds as decimal digits with at most nine behind the point, more than 0; into nanoseconds. */
int dt_parse_seconds(const char *text, uint64_t *ret_ns);

/* "250ms", "60s", "0.5s", "5m", "1h", "2d": one number, as above, and one unit; into nanoseconds. */
int dt_parse_duration(const char *text, uint64_t *ret_ns);

#endif
