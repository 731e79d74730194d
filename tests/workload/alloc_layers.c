// SPDX-License-Identifier: BSD-2-Clause
/*
 * Blocks of several domains that lie in libc's, and in one another, in every way: a whole block, parts of one, several and what is
 * between them, inside a part, beyond the end, in a mapping, in a block that has been freed. tracemalloc's interface is its own.
 *
 * It prints {"pid": …} and then answers each line of standard input with one of JSON:
 *   step SEED OPERATIONS  random operations; all live blocks: {"pid": …, "libc": [[address, bytes], …], "domains": {"7": [[…], …], …}}
 *   fork SEED OPERATIONS  a child goes on from here with random operations, and forks off one that does the same; both stand still
 *                         then until this process ends. Three answers, each as above, of the youngest first
 *   churn                 another thread allocates and frees, again and again
 *   hold                  it has stopped, and has freed what it had: the same answer
 */
#include <pthread.h>
#include <stdarg.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "truth.h"

#define POOLS 64
#define PARTS 400
#define MAPPING_BYTES (1 << 16)
#define DOMAINS 3
#define ANSWER_BYTES (1 << 16)

struct part {
	unsigned domain;                /* 0: free slot */
	uintptr_t address;
	size_t bytes;
};

static const unsigned domains[DOMAINS] = { 389047, 7, 4294967295 };
static struct part pools[POOLS], parts[PARTS];
static char *mapping;
static uint64_t state;
static char answer[ANSWER_BYTES];
static size_t answer_size;
static volatile bool churning, churned;
static int commands[2];                 /* a byte for each time that the other thread is to begin */

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

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled" */
static uint64_t below(uint64_t bound)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dull >> 33) % bound;
}

SITE void change_pool(struct part *pool)
{
	if (pool->address) {
		free((void *)pool->address);    /* parts may go on living in it */
		pool->address = 0;
		return;
	}
	pool->bytes = below(4) ? below(600) : below(200000);
	pool->address = (uintptr_t)malloc(pool->bytes);
}

static void choose_place(struct part *part)
{
	const struct part *pool = &pools[below(POOLS)], *other = &parts[below(PARTS)];
	uint64_t kind = below(10);

	part->address = pool->address;
	part->bytes = pool->bytes;
	if (kind < 2)                           /* a block as it is */
		return;
	if (kind < 7 && pool->bytes) {          /* in one, perhaps beyond its end */
		part->address += below(pool->bytes);
		part->bytes = below(pool->bytes + 30);
	} else if (kind < 9 && other->domain && other->bytes) { /* in another part */
		part->address = other->address + below(other->bytes);
		part->bytes = below(other->bytes);
	} else {
		part->address = (uintptr_t)mapping + below(MAPPING_BYTES);
		part->bytes = below(MAPPING_BYTES);
	}
}

static bool is_tracked(const struct part *part)
{
	for (unsigned i = 0; i < PARTS; i++)
		if (parts[i].domain == part->domain && parts[i].address == part->address)
			return true;
	return false;
}

SITE void change_part(struct part *part)
{
	struct part next = { .domain = domains[below(DOMAINS)] };

	if (part->domain) {
		PyTraceMalloc_Untrack(part->domain, part->address);
		part->domain = 0;
		return;
	}
	choose_place(&next);
	if (!next.address || is_tracked(&next)) /* a block of a domain is known by its address */
		return;
	PyTraceMalloc_Track(next.domain, next.address, next.bytes);
	*part = next;
}

static __attribute__((format(printf, 1, 2))) void say(const char *format, ...)
{
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vsnprintf(answer + answer_size, ANSWER_BYTES - answer_size, format, arguments);
	va_end(arguments);
	answer_size += (size_t)size;
	if (answer_size >= ANSWER_BYTES)
		truth_stop("alloc_layers: the answer is longer than there is room for\n");
}

static void say_parts(const struct part *from, unsigned count, unsigned domain)
{
	const char *comma = "";

	say("[");
	for (unsigned i = 0; i < count; i++) {
		if (from[i].domain != domain || !from[i].address)
			continue;
		say("%s[%zu, %zu]", comma, from[i].address, from[i].bytes);
		comma = ", ";
	}
	say("]");
}

static void say_all(void)
{
	answer_size = 0;
	say("{\"pid\": %d, \"libc\": ", (int)getpid());
	say_parts(pools, POOLS, 0);
	say(", \"domains\": {");
	for (unsigned i = 0; i < DOMAINS; i++) {
		say("%s\"%u\": ", i ? ", " : "", domains[i]);
		say_parts(parts, PARTS, domains[i]);
	}
	say("}}\n");
	if (write(STDOUT_FILENO, answer, answer_size) != (ssize_t)answer_size)
		truth_stop("alloc_layers: nobody listens\n");
}

SITE void *churn(void *context)
{
	void *blocks[16] = { NULL };
	char byte;

	free(malloc(1));                /* what the thread needs for itself it has from here on */
	churned = true;
	while (read(commands[0], &byte, 1) == 1) {
		churned = false;
		for (unsigned i = 0; churning; i++) {
			free(blocks[i % 16]);
			blocks[i % 16] = malloc(i % 1000);
		}
		for (unsigned i = 0; i < 16; i++) {
			free(blocks[i]);
			blocks[i] = NULL;
		}
		churned = true;
	}
	return context;
}

static void operate(unsigned long long seed, unsigned long long operations)
{
	state = seed * 2 + 1;
	for (; operations; operations--)
		below(4) ? change_part(&parts[below(PARTS)]) : change_pool(&pools[below(POOLS)]);
}

/* Returns when the child, and those that it forks off, have said all and stand still. */
static void fork_off(unsigned long long seed, unsigned long long operations, unsigned levels)
{
	int done[2];
	char byte;

	if (!levels)
		return;
	if (pipe(done))
		truth_stop("alloc_layers: no pipe\n");
	if (!fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		operate(seed, operations);
		fork_off(seed + 1, operations, levels - 1);
		say_all();
		if (write(done[1], "", 1) != 1)
			truth_stop("alloc_layers: nobody waits\n");
		for (;;)
			pause();
	}
	close(done[1]);
	if (read(done[0], &byte, 1) != 1)
		truth_stop("alloc_layers: a child has ended\n");
}

static bool obey(const char *line)
{
	unsigned long long seed, operations;

	if (sscanf(line, "step %llu %llu", &seed, &operations) == 2) {
		operate(seed, operations);
	} else if (sscanf(line, "fork %llu %llu", &seed, &operations) == 2) {
		fork_off(seed, operations, 2);
	} else if (!strcmp(line, "churn\n")) {
		churning = true;
		churned = false;
		if (write(commands[1], "", 1) != 1)
			return false;
	} else if (!strcmp(line, "hold\n")) {
		churning = false;
		while (!churned)
			usleep(1000);
	} else {
		return false;
	}
	say_all();
	return true;
}

/* Not stdio: it would allocate. */
static bool read_line(char *line, size_t room)
{
	size_t size = 0;

	while (size + 1 < room && read(STDIN_FILENO, line + size, 1) == 1)
		if (line[size++] == '\n')
			break;
	line[size] = '\0';
	return size;
}

int main(void)
{
	pthread_t thread;
	char line[80];

	mapping = mmap(NULL, 2 * MAPPING_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mapping == MAP_FAILED || pipe(commands) || pthread_create(&thread, NULL, churn, NULL))
		truth_stop("alloc_layers: cannot begin\n");
	while (!churned)
		usleep(1000);
	truth_print_pid();
	while (read_line(line, sizeof(line)))
		if (!obey(line))
			truth_stop("alloc_layers: step SEED OPERATIONS, fork SEED OPERATIONS, churn or hold\n");
	return 0;
}
