/* SPDX-License-Identifier: BSD-2-Clause */
/* room: arrays that grow as they are filled. */
#ifndef DT_BASE_ROOM_H
#define DT_BASE_ROOM_H

#include <stddef.h>

/*
 * Makes room for one more element of `size` bytes behind the first `count`: `array` points to the pointer to them, `room` says how many
 * there is room for. -ENOMEM: nothing has changed.
 */
int dt_room_make(void *array, size_t count, size_t *room, size_t size);

#endif
