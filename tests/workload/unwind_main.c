// SPDX-License-Identifier: BSD-2-Clause
/*
 * The sites of unwind_sites.h, built in many ways (CMakeLists.txt): what is told must be right for each of them.
 *   --from-start   everything is recorded from the first constructor on
 *   --deep N       a recursion of N frames is among the sites
 *   --steps        each instruction of some functions of the C library's is among them: some two thousand
 */
#include <stdlib.h>

#include "truth.h"
#include "unwind_sites.h"

#ifndef UNWIND_MARKS_ALONE
static void prepare(void)
{
	unwind_adopt_libraries();
	signals_prepare();
	contexts_prepare();
}

static void run_more(bool steps_in_library)
{
	callbacks_run();
	signals_run();
	steps_run(steps_in_library);
	contexts_run();
}

/* Before main(). glibc gives a constructor the arguments, too (csu/libc-start.c, elf/dl-init.c). */
__attribute__((constructor, noipa)) static void constructor(int argc, char **argv)
{
	MARK_OUTERMOST();
	if (!truth_has_option(argc, argv, "--from-start"))
		return;
	unwind_begin();
	unwind_keep(malloc(500));
}
#else
static void prepare(void)
{
}

static void run_more(bool steps_in_library)
{
	(void)steps_in_library;
}
#endif

FRAME static void at_exit_inner(void)
{
	MARK();
	unwind_keep(malloc(501));
}

/* exit() calls it; what its callers are, backtrace() says. */
FRAME static void at_exit(void)
{
	MARK_OUTERMOST();
	at_exit_inner();
}

/* The handlers run in the order opposite to that of their registration. */
static void tell(void)
{
	unwind_tell("");
}

FRAME static void run(unsigned depth, bool steps_in_library)
{
	MARK();
	shapes_run();
	if (depth)
		shapes_deep(depth);
	assembly_run();
	run_more(steps_in_library);
}

int main(int argc, char **argv)
{
	MARK_OUTERMOST();
	if (atexit(tell) || atexit(at_exit))
		truth_stop("unwind: no handler\n");
	prepare();
	if (!truth_has_option(argc, argv, "--from-start"))
		unwind_begin();
	unwind_tell_ready();
	run((unsigned)truth_number_option(argc, argv, "--deep", 0), truth_has_option(argc, argv, "--steps"));
	return 0;
}
