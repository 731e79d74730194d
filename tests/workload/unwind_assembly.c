// SPDX-License-Identifier: BSD-2-Clause
/* Allocations below functions written by hand (unwind_assembly_code.S), which cannot mark themselves: their callee does it. */
#include <stdlib.h>

#include "unwind_sites.h"

typedef void callee(size_t bytes);

void assembly_described(callee *callee, size_t bytes);
void assembly_frame_pointer(callee *callee, size_t bytes);
void assembly_bare(callee *callee, size_t bytes);
void assembly_unknowable(callee *callee, size_t bytes);
extern const void *unwind_assembly_return;

static const char *assembly_name;

FRAME static void below(size_t bytes)
{
	struct unwind_mark assembly = {assembly_name, unwind_assembly_return, unwind_marks};

	MARK_OUTSIDE(&assembly);
	unwind_keep(malloc(bytes));
	unwind_marks = assembly.outer;
}

FRAME static void call(const char *name, void (*function)(callee *callee, size_t bytes), size_t bytes)
{
	MARK();
	assembly_name = name;
	function(below, bytes);
	unwind_keep(NULL);
}

FRAME void assembly_run(void)
{
	MARK();
	call("assembly_described", assembly_described, 400);
	unwind_fact = UNWIND_MARKED;
	call("assembly_frame_pointer", assembly_frame_pointer, 401);
	call("assembly_bare", assembly_bare, 402);
	call("assembly_unknowable", assembly_unknowable, 403);
	unwind_fact = UNWIND_KEPT;
}
