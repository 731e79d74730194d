// SPDX-License-Identifier: BSD-2-Clause
/*
 * A library that comes and goes: built twice, as libunwind_first and libunwind_second. Their code is the same instruction by
 * instruction, but for the size of the frames and the names: what is known of the one is wrong of the other, and both are
 * mapped over the same addresses when they take turns.
 */
#include <stdlib.h>

#include "unwind.h"

#define PASTE_(variant, name) variant##_##name
#define PASTE(variant, name) PASTE_(variant, name)
#define NAME(name) PASTE(UNWIND_VARIANT, name)

SHOWN void unwind_library(size_t bytes);

FRAME static void NAME(inner)(size_t bytes)
{
	char text[UNWIND_VARIANT_BYTES];

	MARK();
	unwind_keep(text);
	unwind_keep(malloc(bytes));
	unwind_keep(text);
}

FRAME static void NAME(middle)(size_t bytes)
{
	char text[2 * UNWIND_VARIANT_BYTES];

	MARK();
	unwind_keep(text);
	NAME(inner)(bytes);
	NAME(inner)(bytes);
	unwind_keep(text);
}

FRAME static void NAME(outer)(size_t bytes)
{
	char text[512 - UNWIND_VARIANT_BYTES];

	MARK();
	unwind_keep(text);
	NAME(middle)(bytes);
	unwind_keep(text);
}

/* In this one the two have the same frame: what differs is found under it alone. */
void unwind_library(size_t bytes)
{
	NAME(outer)(bytes);
	unwind_keep(NULL);
}
