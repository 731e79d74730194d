/* SPDX-License-Identifier: BSD-2-Clause */
/* table: a BPF hash map, read and thinned out as a whole. */
#ifndef DT_SESSION_TABLE_H
#define DT_SESSION_TABLE_H

#include <stdbool.h>
#include <stddef.h>

/* Calls `fn` for every row; stops when it returns non-zero, and returns that. -ENOMEM, or what the kernel says. */
typedef int (*dt_table_fn)(void *context, const void *key, const void *value);
int dt_table_each(int map_fd, size_t key_size, size_t value_size, dt_table_fn fn, void *context);

/* Removes the rows that `choose` chooses, and adds their number to *removed, if that is wanted. Rows that come meanwhile may or may not be seen. */
typedef bool (*dt_table_choose_fn)(void *context, const void *key, const void *value);
int dt_table_remove(int map_fd, size_t key_size, size_t value_size, dt_table_choose_fn choose, void *context,
		    size_t *removed);

#endif
