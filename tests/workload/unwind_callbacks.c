// SPDX-License-Identifier: BSD-2-Clause
/* Functions that the C library calls, and functions of the C library that allocate. */
#include <link.h>
#include <pthread.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unwind_sites.h"

static unsigned calls;

FRAME static int compare(const void *left, const void *right)
{
	const int *a = left, *b = right;

	MARK();
	if (calls++ < 3)
		unwind_keep(malloc(600));
	return *a - *b;
}

FRAME static int compare_found(const void *left, const void *right)
{
	const int *a = left, *b = right;

	MARK();
	if (*a == *b)
		unwind_keep(malloc(601));
	return *a - *b;
}

FRAME static void sorting(void)
{
	int numbers[8] = {5, 3, 8, 1, 7, 2, 6, 4}, key = 6;
	void *tree = NULL;

	MARK();
	qsort(numbers, 8, sizeof(numbers[0]), compare);
	unwind_keep(bsearch(&key, numbers, 8, sizeof(numbers[0]), compare_found));
	for (int i = 0; i < 4; i++)
		tsearch(&numbers[i], &tree, compare_found); /* allocates its nodes itself */
	tfind(&numbers[2], &tree, compare_found);
}

/* glibc sorts in a block of its own when the array is larger than 1,024 bytes (stdlib/msort.c). */
FRAME static void sorting_much(void)
{
	static int numbers[1000];

	MARK();
	for (int i = 0; i < 1000; i++)
		numbers[i] = 7919 * i % 1000;
	calls = 0;
	unwind_fact = UNWIND_FREED;
	qsort(numbers, 1000, sizeof(numbers[0]), compare_found);
	unwind_fact = UNWIND_KEPT;
}

FRAME static void once(void)
{
	MARK();
	unwind_keep(malloc(602));
}

FRAME static int each_object(struct dl_phdr_info *info, size_t size, void *context)
{
	unsigned *count = context;

	(void)info;
	(void)size;
	MARK();
	if (!(*count)++)
		unwind_keep(malloc(603));
	return 0;
}

/* Read from inside of getdelim(), through the tables of the stream. */
FRAME static ssize_t cookie_read(void *cookie, char *buffer, size_t size)
{
	(void)cookie;
	MARK();
	unwind_keep(malloc(604));
	if (size < 8)
		return 0;
	memcpy(buffer, "a line\n", 7);
	return 7;
}

FRAME static void streams(void)
{
	cookie_io_functions_t functions = {.read = cookie_read};
	char *line = NULL;
	size_t room = 0;
	FILE *stream;

	MARK();
	stream = fopencookie(NULL, "r", functions);
	if (stream && getline(&line, &room, stream) == 7)
		unwind_keep(strdup(line));
}

#ifdef UNWIND_INDIRECT
int unwind_indirect(int number);

/* Its first call is bound by _dl_runtime_resolve, which asks for the function (libunwind_indirect.c). */
FRAME static void binding(void)
{
	MARK();
	if (unwind_indirect(1) != 2)
		abort();
}
#endif

FRAME void callbacks_run(void)
{
	static pthread_once_t control = PTHREAD_ONCE_INIT;
	unsigned count = 0;

	MARK();
	sorting();
	sorting_much();
	pthread_once(&control, once);
	dl_iterate_phdr(each_object, &count);
	streams();
#ifdef UNWIND_INDIRECT
	binding();
#endif
}
