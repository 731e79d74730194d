// SPDX-License-Identifier: BSD-2-Clause
/*
 * Fills the tables of a tracer: as many live blocks, tracebacks and domains as it is told, also of a child that inherits them.
 * tracemalloc's interface is its own.
 *
 * It prints {"pid": …} and then answers each line of standard input with its books since it began, one line of JSON:
 *   keep COUNT PLACES     allocates so many blocks, from so many places in turn, each of which has a size of its own: 16 bytes and
 *                         its number
 *   deep TIMES COUNT PLACES    `keep COUNT PLACES` so many times, each time by one call more
 *   move COUNT            reallocates the last ones to twice their sizes, from one place
 *   free COUNT            frees the last ones
 *   track DOMAINS COUNT   tracks so many blocks of 16 bytes in each of the domains 1 … DOMAINS
 *   untrack DOMAINS COUNT
 *   fork                  forks off a child that has the same blocks, and waits; it tells its pid and what it inherited
 *   act COUNT             that child frees the last of the blocks it inherited, and tells its own books
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>

#include "truth.h"

#define BLOCKS_MAX (1u << 19)
#define BYTES_MIN 16
#define LEVELS 4
#define DEEP_MAX 8
#define PLACES_MAX (1u << 2 * LEVELS)

struct block {
	void *address;
	size_t bytes;
};

static struct block blocks[BLOCKS_MAX];
static unsigned long block_count;
static struct truth_row books;
static int to_child = -1;

int PyTraceMalloc_Track(unsigned domain, uintptr_t address, size_t bytes);
int PyTraceMalloc_Untrack(unsigned domain, uintptr_t address);

__attribute__((noipa, visibility("default"))) int PyTraceMalloc_Track(unsigned domain, uintptr_t address, size_t bytes)
{
	return domain && address && bytes ? 0 : -2;
}

__attribute__((noipa, visibility("default"))) int PyTraceMalloc_Untrack(unsigned domain, uintptr_t address)
{
	return domain && address ? 0 : -2;
}

static void tell(void)
{
	truth_put_string("{");
	truth_put_field("pid", (uint64_t)getpid());
	truth_put_string(", ");
	truth_put_field("allocations", books.allocations);
	truth_put_string(", ");
	truth_put_field("allocated_bytes", books.allocated_bytes);
	truth_put_string(", ");
	truth_put_field("frees", books.frees);
	truth_put_string(", ");
	truth_put_field("freed_bytes", books.freed_bytes);
	truth_put_string("}\n");
	truth_flush();
}

static void book_allocation(const struct block *block)
{
	if (!block->address)
		truth_stop("alloc_full: out of memory\n");
	books.allocations++;
	books.allocated_bytes += block->bytes;
}

static void book_free(const struct block *block)
{
	books.frees++;
	books.freed_bytes += block->bytes;
}

/* Four calls from four places, one of which `place` chooses; different instructions behind them, or the compiler makes them one. */
SITE void *keep_from(unsigned long place, unsigned level, size_t bytes)
{
	void *address;

	if (level == LEVELS) {
		address = malloc(bytes);
		__asm__ volatile("" : "+r"(address));
		return address;
	}
	switch (place >> 2 * level & 3) {
	case 0:
		address = keep_from(place, level + 1, bytes);
		__asm__ volatile("# 0" : "+r"(address));
		return address;
	case 1:
		address = keep_from(place, level + 1, bytes);
		__asm__ volatile("# 1" : "+r"(address));
		return address;
	case 2:
		address = keep_from(place, level + 1, bytes);
		__asm__ volatile("# 2" : "+r"(address));
		return address;
	default:
		address = keep_from(place, level + 1, bytes);
		__asm__ volatile("# 3" : "+r"(address));
		return address;
	}
}

static void keep(unsigned long count, unsigned long places)
{
	for (unsigned long i = 0; i < count; i++) {
		struct block *block = &blocks[block_count++];

		block->bytes = BYTES_MIN + i % places;
		block->address = keep_from(i % places, 0, block->bytes);
		book_allocation(block);
	}
}

SITE void keep_deep(unsigned level, unsigned long count, unsigned long places)
{
	if (level)
		keep_deep(level - 1, count, places);
	else
		keep(count, places);
	__asm__ volatile("");
}

static void move(unsigned long count)
{
	for (unsigned long i = block_count - count; i < block_count; i++) {
		book_free(&blocks[i]);
		blocks[i].bytes *= 2;
		blocks[i].address = realloc(blocks[i].address, blocks[i].bytes);
		book_allocation(&blocks[i]);
	}
}

static void release(unsigned long count)
{
	while (count--) {
		book_free(&blocks[--block_count]);
		free(blocks[block_count].address);
	}
}

/* Blocks of a domain are addresses that nobody looks at. */
static void track(unsigned long domains, unsigned long count, bool is_end)
{
	const struct block block = { .address = blocks, .bytes = BYTES_MIN };

	for (unsigned long domain = 1; domain <= domains; domain++) {
		for (unsigned long i = 0; i < count; i++) {
			if (is_end) {
				PyTraceMalloc_Untrack((unsigned)domain, (uintptr_t)&blocks[i]);
				book_free(&block);
			} else {
				PyTraceMalloc_Track((unsigned)domain, (uintptr_t)&blocks[i], BYTES_MIN);
				book_allocation(&block);
			}
		}
	}
}

/* The child's life: it waits for a number, and for its parent's end. */
static void be_child(int from_parent)
{
	unsigned long count = 0;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	books = (struct truth_row){ .allocations = books.allocations - books.frees, .allocated_bytes = books.allocated_bytes - books.freed_bytes };
	tell();
	while (read(from_parent, &count, sizeof(count)) == sizeof(count) && count <= block_count) {
		release(count);
		tell();
	}
	_exit(0);
}

static void begin_child(void)
{
	int ends[2];
	pid_t child = -1;

	if (!pipe2(ends, O_CLOEXEC))
		child = fork();
	if (child < 0)
		truth_stop("alloc_full: no child\n");
	if (!child) {
		close(ends[1]);
		be_child(ends[0]);
	}
	close(ends[0]);
	to_child = ends[1];
}

static void read_line(char *line, size_t room)
{
	size_t length = 0;

	while (length + 1 < room && read(STDIN_FILENO, &line[length], 1) == 1 && line[length] != '\n')
		length++;
	line[length] = '\0';
}

int main(void)
{
	unsigned long count, places, times;
	char line[128];

	truth_print_pid();
	for (;;) {
		read_line(line, sizeof(line));
		if (!*line)
			return 0;
		if (!strcmp(line, "fork")) {
			begin_child();
			continue;
		}
		if (sscanf(line, "act %lu", &count) == 1 && write(to_child, &count, sizeof(count)) == sizeof(count))
			continue;
		if (sscanf(line, "keep %lu %lu", &count, &places) == 2 && count <= BLOCKS_MAX - block_count && places && places <= PLACES_MAX)
			keep(count, places);
		else if (sscanf(line, "deep %lu %lu %lu", &times, &count, &places) == 3 && times <= DEEP_MAX && places &&
			 places <= PLACES_MAX && count <= (BLOCKS_MAX - block_count) / DEEP_MAX)
			for (unsigned level = 0; level < times; level++)
				keep_deep(level, count, places);
		else if (sscanf(line, "move %lu", &count) == 1 && count <= block_count)
			move(count);
		else if (sscanf(line, "free %lu", &count) == 1 && count <= block_count)
			release(count);
		else if (sscanf(line, "track %lu %lu", &places, &count) == 2 && count <= BLOCKS_MAX)
			track(places, count, false);
		else if (sscanf(line, "untrack %lu %lu", &places, &count) == 2 && count <= BLOCKS_MAX)
			track(places, count, true);
		else
			truth_stop("alloc_full: a line that is not understood\n");
		tell();
	}
}
