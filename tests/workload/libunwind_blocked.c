// SPDX-License-Identifier: BSD-2-Clause
/* Allocates and then waits in the same function for a line: what a debugger finds meanwhile is what the tracer must have found. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unwind.h"

SHOWN void unwind_blocked(size_t bytes);

FRAME static void wait_here(size_t bytes)
{
	char c;

	unwind_keep(malloc(bytes));
	if (write(STDOUT_FILENO, "{\"gate\": \"blocked\"}\n", 20) == 20)
		while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
			;
}

FRAME static void blocked_realigned(size_t bytes)
{
	char text[64] __attribute__((aligned(64)));
	char more[bytes];

	unwind_keep(text);
	unwind_keep(more);
	wait_here(bytes);
	unwind_keep(text);
	unwind_keep(more);
}

FRAME static unsigned blocked_recursion(unsigned depth, size_t bytes)
{
	volatile unsigned kept = depth;

	if (depth)
		return blocked_recursion(depth - 1, bytes) + kept;
	blocked_realigned(bytes);
	return kept;
}

FRAME static void blocked_handler(int number)
{
	blocked_recursion(3, 1600 + (size_t)number);
	unwind_keep(NULL);
}

/* In a handler, on top of raise() and of a large frame. */
void unwind_blocked(size_t bytes)
{
	char text[100 * 1024];

	memset(text, (int)bytes, sizeof(text));
	signal(SIGUSR1, blocked_handler);
	raise(SIGUSR1);
	unwind_keep(text);
}
