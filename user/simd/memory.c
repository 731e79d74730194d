/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <domtrace/array.h>
#include <domtrace/domain.h>

#include "simd/memory.h"

#define ALIGNMENT 64
/* From here on the kernel is asked for huge pages, as NumPy does: the faults of small ones would take longer than the computing. */
#define HUGE_BYTES ((size_t)4 << 20)
#define PAGE_BYTES 4096                         /* or more; a start that madvise() does not take is only a hint lost */

DT_DOMAIN_DECLARE(DT_ARRAY_DOMAIN, DT_ARRAY_DOMAIN_NAME);

/*
 * An array's memory begins and ends to exist here and nowhere else: what declares it to a tracer goes into these two.
 * malloc, and not a call that aligns: calloc's fresh pages are zero already, and realloc can move pages instead of bytes.
 */
static void begin(struct dt_memory *memory, void *block, size_t bytes)
{
	memory->block = block;
	memory->data = (char *)block + -(uintptr_t)block % ALIGNMENT;
	memory->bytes = bytes;
	DT_DOMAIN_TRACK(DT_ARRAY_DOMAIN, memory->data, bytes);
	if (bytes >= HUGE_BYTES) {
		size_t gap = -(uintptr_t)memory->data % PAGE_BYTES;

		(void)madvise((char *)memory->data + gap, bytes - gap, MADV_HUGEPAGE);
	}
}

static void end(struct dt_memory *memory)
{
	DT_DOMAIN_UNTRACK(DT_ARRAY_DOMAIN, memory->data);
	*memory = (struct dt_memory){ 0 };
}

static int room_for(size_t bytes, size_t *ret_room)
{
	if (bytes > PTRDIFF_MAX - (ALIGNMENT - 1))
		return -EOVERFLOW;
	*ret_room = bytes + ALIGNMENT - 1;
	return 0;
}

int dt_memory_new(size_t bytes, bool zeroed, struct dt_memory *ret_memory)
{
	size_t room;
	void *block;
	int error = room_for(bytes, &room);

	if (error)
		return error;
	block = zeroed ? calloc(room, 1) : malloc(room);
	if (!block)
		return -ENOMEM;
	begin(ret_memory, block, bytes);
	return 0;
}

int dt_memory_resize(struct dt_memory *memory, size_t bytes)
{
	struct dt_memory before = *memory;
	size_t offset = (size_t)((char *)before.data - (char *)before.block);
	size_t kept = bytes < before.bytes ? bytes : before.bytes;
	size_t room;
	void *block;
	int error = room_for(bytes, &room);

	if (error)
		return error;
	block = realloc(before.block, room);
	if (!block)
		return -ENOMEM;
	end(memory);
	begin(memory, block, bytes);
	if ((char *)memory->data != (char *)block + offset)
		memmove(memory->data, (char *)block + offset, kept);
	memset((char *)memory->data + kept, 0, bytes - kept);
	return 0;
}

void dt_memory_free(struct dt_memory *memory)
{
	void *block = memory->block;

	end(memory);
	free(block);
}
