/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * debug_data: .gnu_debugdata ("MiniDebugInfo", gdb manual): a small ELF file with the .symtab of a stripped file, packed with xz.
 */
#ifndef DT_TARGET_DEBUG_DATA_H
#define DT_TARGET_DEBUG_DATA_H

#include <stddef.h>
#include <stdint.h>

#define DT_DEBUG_DATA_BYTES_MAX (256u << 20)

/* Unpacks it; *ret_image is the caller's. -EBADMSG: damaged. -ENOMEM: also when it asks for more than it may have. */
int dt_debug_data_unpack(const uint8_t *packed, size_t size, uint8_t **ret_image, size_t *ret_size);

#endif
