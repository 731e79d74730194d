// SPDX-License-Identifier: BSD-2-Clause
/* A function that is chosen when it is first called (STT_GNU_IFUNC): the loader asks for it while it binds that call. */
#include <stdlib.h>

#include "unwind.h"

SHOWN int unwind_indirect(int number);

FRAME static void choose_inner(void)
{
	MARK();
	unwind_keep(malloc(1700));
}

static int chosen(int number)
{
	return number + 1;
}

typedef int indirect(int number);

/* Its address has two names, this one and that of what it chooses; domtrace shows the shorter one of those that are exported. */
SHOWN indirect *choose(void);

indirect *choose(void)
{
	MARK();
	choose_inner();
	return chosen;
}

int unwind_indirect(int number) __attribute__((ifunc("choose")));
