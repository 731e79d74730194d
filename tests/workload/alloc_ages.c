// SPDX-License-Identifier: BSD-2-Clause
/*
 * Blocks of known ages. One process, and those that it forks one from another: a command is a line,
 *
 *   a digit   that process performs a phase: random operations of four sites; it tells its pid, the phase, when it began and ended,
 *             and what is live by site and by the phase in which it was allocated (in whichever process), and by site and size; the most
 *             that was live at once, what of it was of which site, and how many blocks of each were temporary
 *   f         the last process forks another one, which tells its pid
 *   o N       N blocks of site_old
 *   c         all of them are freed, in random order, and each is followed by others of site_new at its address
 *   r N       N times a block of site_3 becomes another
 *
 * Sizes are drawn by their magnitude. A forked child has what its parent had, as if it had allocated it at once when it began.
 */
#include <stdio.h>
#include <sys/prctl.h>
#include <signal.h>
#include <time.h>

#include "truth.h"

#define SITES 4
#define PHASES 64
#define BLOCKS 512
#define OPERATIONS 400
#define CLASSES 24                      /* class k: more than 2^(k - 1) bytes, up to 2^k; 0 bytes are in class 0 */
#define CHURN_MAX 400000

SITE void *site_0(size_t bytes) { void *block = malloc(bytes); asm volatile("" : "+r"(block)); return block; }
SITE void *site_1(size_t bytes) { void *block = calloc(1, bytes); asm volatile("" : "+r"(block)); return block; }
SITE void *site_2(size_t bytes) { void *block = malloc(bytes); asm volatile("" : "+r"(block)); return block; }
SITE void *site_3(void *old, size_t bytes) { void *block = realloc(old, bytes); asm volatile("" : "+r"(block)); return block; }
SITE void *site_old(size_t bytes) { void *block = malloc(bytes); asm volatile("" : "+r"(block)); return block; }
SITE void *site_new(size_t bytes) { void *block = malloc(bytes); asm volatile("" : "+r"(block)); return block; }

static struct {
	void *block;
	size_t bytes;
	unsigned site, phase;
} blocks[BLOCKS];
static struct {
	uint64_t live[SITES], at_peak[SITES], temporary[SITES], total, peak;
	void *last;                     /* that this process allocated last, if it is there */
} books;
static unsigned phase;
static uint64_t random_state = 88172645463325252ull;
static void *old_blocks[CHURN_MAX], *new_blocks[1024];
static unsigned old_count;

static unsigned random_below(unsigned limit)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)((random_state >> 32) % limit);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_REALTIME, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static size_t random_size(void)
{
	unsigned magnitude = random_below(14);

	return magnitude ? 1 + random_below(1u << magnitude) : 0;
}

static unsigned class_of(size_t bytes)
{
	unsigned class = 0;

	while (((size_t)1 << class) < bytes)
		class++;
	return class;
}

static void book_end(unsigned slot)
{
	unsigned site = blocks[slot].site;

	if (!blocks[slot].block)
		return;
	books.live[site] -= blocks[slot].bytes;
	books.total -= blocks[slot].bytes;
	if (books.last == blocks[slot].block) {
		books.temporary[site]++;
		books.last = NULL;
	}
	blocks[slot].block = NULL;
}

/* A block that a realloc replaces goes in the same moment: the slot's. */
static void keep(unsigned slot, unsigned site, void *block, size_t bytes)
{
	book_end(slot);
	blocks[slot].block = block;
	blocks[slot].bytes = bytes;
	blocks[slot].site = site;
	blocks[slot].phase = phase;
	books.last = block;
	books.live[site] += bytes;
	books.total += bytes;
	if (books.total > books.peak) {
		books.peak = books.total;
		memcpy(books.at_peak, books.live, sizeof(books.at_peak));
	}
}

static void operate(void)
{
	unsigned slot = random_below(BLOCKS), site = random_below(SITES);
	size_t bytes = random_size();
	void *block;

	if (blocks[slot].block && site != 3) {
		free(blocks[slot].block);
		book_end(slot);
		return;
	}
	if (site == 3 && !bytes)        /* would free it */
		bytes = 1;
	block = site == 0 ? site_0(bytes) : site == 1 ? site_1(bytes) : site == 2 ? site_2(bytes) : site_3(blocks[slot].block, bytes);
	if (!block)
		truth_stop("alloc_ages: no memory\n");
	keep(slot, site, block, bytes);
	if (random_below(16) == 0) {
		free(blocks[slot].block);
		book_end(slot);
	}
}

static void put_number(const char *separator, uint64_t number)
{
	truth_put_string(separator);
	truth_put_number(number);
}

/* [[site, phase, blocks, bytes], …] */
static void put_live(void)
{
	const char *separator = "[";

	for (unsigned site = 0; site < SITES; site++)
		for (unsigned born = 0; born <= phase; born++) {
			uint64_t count = 0, bytes = 0;

			for (unsigned i = 0; i < BLOCKS; i++)
				if (blocks[i].block && blocks[i].site == site && blocks[i].phase == born) {
					count++;
					bytes += blocks[i].bytes;
				}
			if (!count)
				continue;
			truth_put_string(separator);
			put_number("[", site);
			put_number(", ", born);
			put_number(", ", count);
			put_number(", ", bytes);
			truth_put_string("]");
			separator = ", ";
		}
	truth_put_string("]");
}

/* [[site, upper bytes, blocks, bytes], …] */
static void put_sizes(void)
{
	const char *separator = "[";

	for (unsigned site = 0; site < SITES; site++)
		for (unsigned class = 0; class < CLASSES; class++) {
			uint64_t count = 0, bytes = 0;

			for (unsigned i = 0; i < BLOCKS; i++)
				if (blocks[i].block && blocks[i].site == site && class_of(blocks[i].bytes) == class) {
					count++;
					bytes += blocks[i].bytes;
				}
			if (!count)
				continue;
			truth_put_string(separator);
			put_number("[", site);
			put_number(", ", 1ull << class);
			put_number(", ", count);
			put_number(", ", bytes);
			truth_put_string("]");
			separator = ", ";
		}
	truth_put_string("]");
}

static void put_sites(const char *name, const uint64_t figures[SITES])
{
	truth_put_string(name);
	for (unsigned site = 0; site < SITES; site++)
		put_number(site ? ", " : "[", figures[site]);
	truth_put_string("]");
}

static void perform(void)
{
	uint64_t begin = now();

	if (phase == PHASES)
		truth_stop("alloc_ages: too many phases\n");
	for (int i = 0; i < OPERATIONS; i++)
		operate();
	truth_put_string("{");
	truth_put_field("pid", (uint64_t)getpid());
	truth_put_string(", ");
	truth_put_field("phase", phase);
	truth_put_string(", ");
	truth_put_field("begin", begin);
	truth_put_string(", ");
	truth_put_field("end", now());
	truth_put_string(", \"live\": ");
	put_live();
	truth_put_string(", \"sizes\": ");
	put_sizes();
	truth_put_string(", ");
	truth_put_field("peak", books.peak);
	put_sites(", \"at_peak\": ", books.at_peak);
	put_sites(", \"temporary\": ", books.temporary);
	truth_put_string("}\n");
	truth_flush();
	phase++;
}

static void tell(void)
{
	truth_put_string("{");
	truth_put_field("pid", (uint64_t)getpid());
	truth_put_string("}\n");
	truth_flush();
}

static void make_old(unsigned count)
{
	if (count > CHURN_MAX)
		truth_stop("alloc_ages: too many blocks\n");
	for (old_count = 0; old_count < count; old_count++)
		old_blocks[old_count] = site_old(24 + random_below(500));
	tell();
}

static void churn(void)
{
	for (unsigned left = old_count; left; left--) {
		unsigned i = random_below(left), slot = random_below(sizeof(new_blocks) / sizeof(new_blocks[0]));

		free(old_blocks[i]);
		old_blocks[i] = old_blocks[left - 1];
		free(new_blocks[slot]);
		new_blocks[slot] = site_new(24 + random_below(500));
	}
	old_count = 0;
	tell();
}

static void churn_one(unsigned count)
{
	void *block = NULL;

	for (unsigned i = 0; i < count; i++)
		block = site_3(block, 1 + random_below(1u << random_below(16)));
	free(block);
	tell();
}

/* What a child has of its parent is its own peak at first; its blocks are as old as they were. */
static void begin_child(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	books.last = NULL;
	books.peak = books.total;
	memcpy(books.at_peak, books.live, sizeof(books.at_peak));
	memset(books.temporary, 0, sizeof(books.temporary));
	tell();
}

static void read_line(int fd, char line[16])
{
	unsigned length = 0;

	for (char c; read(fd, &c, 1) == 1 && c != '\n';)
		if (length < 15)
			line[length++] = c;
	line[length] = '\0';
}

int main(void)
{
	int in = STDIN_FILENO, next[2] = { -1, -1 };
	unsigned number = 0;

	tell();
	for (char line[16];;) {
		read_line(in, line);
		if (!*line)
			return 0;
		if (next[1] >= 0 && (*line == 'f' || *line != (char)('0' + number))) {
			if (write(next[1], line, strlen(line)) < 0 || write(next[1], "\n", 1) < 0)
				return 1;
		} else if (*line == 'f') {
			if (pipe(next))
				return 1;
			if (!fork()) {
				in = next[0];
				close(next[1]);
				next[1] = -1;
				number++;
				begin_child();
			} else {
				close(next[0]);
			}
		} else if (*line == 'o') {
			make_old((unsigned)atoi(line + 2));
		} else if (*line == 'c') {
			churn();
		} else if (*line == 'r') {
			churn_one((unsigned)atoi(line + 2));
		} else {
			perform();
		}
	}
}
