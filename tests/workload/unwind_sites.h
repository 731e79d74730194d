/* SPDX-License-Identifier: BSD-2-Clause */
/* unwind_sites.h: the groups of allocation sites that the builds of unwind_main.c are made of. */
#ifndef DT_WORKLOAD_UNWIND_SITES_H
#define DT_WORKLOAD_UNWIND_SITES_H

#include "unwind.h"

/* unwind_shapes.c: the shapes of frames */
void shapes_run(void);
void shapes_deep(unsigned depth);

/* unwind_assembly.c, unwind_assembly_code.S: frames that no compiler made */
void assembly_run(void);

#ifndef UNWIND_MARKS_ALONE
/* unwind_callbacks.c: called by the C library */
void callbacks_run(void);

/* unwind_signals.c: on top of what a signal interrupted */
void signals_prepare(void);
void signals_run(void);

/* unwind_steps.c: interrupted at each instruction of some functions, one after the other; of the C library's, too, if asked to */
void steps_run(bool with_library);

/* unwind_contexts.c: stacks of other kinds than the main thread's */
void contexts_prepare(void);
void contexts_run(void);
#endif

#endif
