/* SPDX-License-Identifier: BSD-2-Clause */
/* call: the call instruction behind a return address. */
#ifndef DT_TARGET_CALL_H
#define DT_TARGET_CALL_H

#include <stddef.h>
#include <stdint.h>

#define DT_CALL_BYTES_MAX 8             /* of the longest call instruction that is recognised */

/* The length of the call instruction that ends where `bytes` end; 0: there is none. */
size_t dt_call_length(const uint8_t *bytes, size_t size);

#endif
