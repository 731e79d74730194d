/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/room.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 1024

int dt_room_make(void *array, size_t count, size_t *room, size_t size)
{
	size_t wanted = *room ? *room * 2 : ROOM_FIRST;
	void *elements;

	if (count < *room)
		return 0;
	memcpy(&elements, array, sizeof(elements));
	elements = reallocarray(elements, wanted, size);
	if (!elements)
		return -ENOMEM;
	memcpy(array, &elements, sizeof(elements));
	*room = wanted;
	return 0;
}
