// SPDX-License-Identifier: BSD-2-Clause
/* A program that allocates and waits (libunwind_blocked.c), once, below a call-back of the C library's. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "unwind.h"

void unwind_blocked(size_t bytes);

FRAME static int blocked_compare(const void *left, const void *right)
{
	static unsigned calls;

	if (!calls++)
		unwind_blocked(1600);
	return *(const char *)left - *(const char *)right;
}

FRAME static void blocked_sort(void)
{
	char text[] = "sorted";

	qsort(text, sizeof(text) - 1, 1, blocked_compare);
}

int main(void)
{
	char c;

	dprintf(STDOUT_FILENO, "{\"pid\": %d}\n", (int)getpid());
	while (read(STDIN_FILENO, &c, 1) == 1 && c != '\n')
		;
	blocked_sort();
	return 0;
}
