// SPDX-License-Identifier: BSD-2-Clause
/*
 * Children that end at once, one after the other, for as long as nobody says stop: when has each of them ended?
 *
 * It prints {"pid": …} and waits for a line; then forks until the next one comes, and tells {"children": [[PID, NANOSECONDS], …]}: by
 * when each had ended, as CLOCK_REALTIME has it; and waits for a third line.
 */
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "truth.h"

#define CHILDREN_MAX 100000
#define BLOCKS 3
#define BYTES 1000
#define PAUSE_MS 5                      /* between two children */

static struct {
	pid_t pid;
	unsigned long long end_ns;
} children[CHILDREN_MAX];

SITE void keep_block(void)
{
	void *block = malloc(BYTES);

	__asm__ volatile("" : : "r"(block) : "memory");
}

static void live(void)
{
	for (volatile int i = 0; i < BLOCKS; i++)       /* volatile: one call site, not three */
		keep_block();
	_exit(0);
}

static void run_child(size_t number)
{
	struct timespec now;
	pid_t pid = fork();

	if (!pid)
		live();
	if (pid < 0 || waitpid(pid, NULL, 0) != pid)
		truth_stop("alloc_brief: no child\n");
	clock_gettime(CLOCK_REALTIME, &now);
	children[number].pid = pid;
	children[number].end_ns = (unsigned long long)now.tv_sec * 1000000000 + (unsigned long long)now.tv_nsec;
}

int main(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	static char out[4096];
	size_t count = 0;

	setvbuf(stdout, out, _IOFBF, sizeof(out));
	printf("{\"pid\": %d, \"blocks\": %d, \"bytes\": %d}\n", (int)getpid(), BLOCKS, BLOCKS * BYTES);
	fflush(stdout);
	truth_wait();
	for (; count < CHILDREN_MAX && !poll(&input, 1, PAUSE_MS); count++)
		run_child(count);
	truth_wait();
	printf("{\"children\": [");
	for (size_t i = 0; i < count; i++)
		printf("%s[%d, %llu]", i ? ", " : "", (int)children[i].pid, children[i].end_ns);
	puts("]}");
	fflush(stdout);
	truth_wait();
	return 0;
}
