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

FRAME static void below_described(size_t bytes)
{
	MARK();
	unwind_keep(malloc(bytes));
}

FRAME static void below_undescribed(size_t bytes)
{
	struct unwind_mark assembly = {assembly_name, unwind_assembly_return, unwind_marks};

	MARK_OUTSIDE(&assembly);
	unwind_keep(malloc(bytes));
	unwind_marks = assembly.outer;
}

FRAME static void call_undescribed(const char *name, void (*function)(callee *callee, size_t bytes), size_t bytes)
{
	MARK();
	assembly_name = name;
	unwind_fact = UNWIND_MARKED;
	function(below_undescribed, bytes);
	unwind_fact = UNWIND_KEPT;
}

FRAME void assembly_run(void)
{
	MARK();
	assembly_described(below_described, unwind_opaque(400));
	call_undescribed("assembly_frame_pointer", assembly_frame_pointer, 401);
	call_undescribed("assembly_bare", assembly_bare, 402);
	call_undescribed("assembly_unknowable", assembly_unknowable, 403);
}
