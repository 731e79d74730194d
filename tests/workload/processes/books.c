// SPDX-License-Identifier: BSD-2-Clause
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "books.h"

struct here here;

static _Thread_local int held;          /* how often this thread has gone through the gate, or closed it */

/* ---- the gate ----------------------------------------------------------------------------------------------------- */

void gate_enter(void)
{
	int32_t seen;

	if (held++)
		return;
	for (;;) {
		seen = __atomic_load_n(&here.gate, __ATOMIC_RELAXED);
		if (seen >= 0 && !__atomic_load_n(&here.closing, __ATOMIC_RELAXED) &&
		    __atomic_compare_exchange_n(&here.gate, &seen, seen + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return;
		sched_yield();
	}
}

void gate_leave(void)
{
	if (!--held)
		__atomic_fetch_sub(&here.gate, 1, __ATOMIC_RELEASE);
}

void gate_close(void)
{
	int32_t none = 0;

	if (held++)
		return;
	__atomic_fetch_add(&here.closing, 1, __ATOMIC_RELAXED);
	while (!__atomic_compare_exchange_n(&here.gate, &none, -1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		none = 0;
		sched_yield();
	}
	__atomic_fetch_sub(&here.closing, 1, __ATOMIC_RELAXED);
}

void gate_open(void)
{
	if (!--held)
		__atomic_store_n(&here.gate, 0, __ATOMIC_RELEASE);
}

void gate_renew(void)
{
	held = 0;
	here.closing = 0;
	here.gate = 0;
}

/* ---- slots -------------------------------------------------------------------------------------------------------- */

struct slot *slot_claim(uint32_t slot, enum slot_state from)
{
	uint32_t state = from;

	return __atomic_compare_exchange_n(&here.slots[slot].state, &state, SLOT_BUSY, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED) ?
		&here.slots[slot] : NULL;
}

void slot_release(struct slot *slot, enum slot_state state)
{
	__atomic_store_n(&slot->state, state, __ATOMIC_RELEASE);
}

/* ---- books -------------------------------------------------------------------------------------------------------- */

void book_add(uint64_t *number, uint64_t more)
{
	__atomic_fetch_add(number, more, __ATOMIC_RELAXED);
}

void book_allocation(unsigned row, uint64_t bytes)
{
	book_add(&here.image->rows[row].allocations, 1);
	book_add(&here.image->rows[row].allocated_bytes, bytes);
}

void book_free(const struct slot *slot)
{
	book_add(&here.image->rows[slot->row].frees, 1);
	book_add(&here.image->rows[slot->row].freed_bytes, slot->bytes);
}

static void book_inherited(struct image *image)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		const struct slot *slot = &here.slots[i];
		struct row *row = &image->rows[slot->row];

		if (slot->state != SLOT_LIVE)
			continue;
		row->allocations++;
		row->allocated_bytes += slot->bytes;
		row->inherited_blocks++;
		row->inherited_bytes += slot->bytes;
	}
}

struct image *image_add(enum start start, uint32_t node, bool copies)
{
	uint64_t number = __atomic_fetch_add(&here.books->images_used, 1, __ATOMIC_RELAXED);
	struct image *image;

	if (number >= IMAGES_MAX)
		return NULL;
	image = &here.books->images[number];
	image->parent = here.image ? (uint32_t)(here.image - here.books->images) : 0;
	image->node = node;
	image->start = start;
	if (copies)
		book_inherited(image);
	return image;
}

/* proc(5): the name of the program, the second field, may hold anything. */
static uint64_t read_start_ticks(void)
{
	char text[1024], *at;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (length <= 0)
		_exit(95);
	close(fd);
	text[length] = '\0';
	at = strrchr(text, ')');
	for (int field = 2; field < 22 && at; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at, NULL, 10) : 0;
}

/* Images of one process never run beside each other, so their numbers grow with time. */
void image_begin(struct image *image)
{
	struct books *books = here.books;

	image->start_ticks = read_start_ticks();
	image->sequence = 0;
	for (struct image *other = books->images; other < books->images + IMAGES_MAX; other++)
		if (other != image && other->pid == (uint64_t)getpid() && other->start_ticks == image->start_ticks)
			image->sequence++;
	__atomic_store_n(&image->pid, (uint64_t)getpid(), __ATOMIC_RELEASE);
	here.image = image;
}

void image_end(enum end end)
{
	__atomic_store_n(&here.image->end, end, __ATOMIC_RELEASE);
}
