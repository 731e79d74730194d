/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * context_start: what the functions of coroutines return to. makecontext(3) lets them return to the first instruction of a function of
 * the C library's (glibc: __start_context; sysdeps/unix/sysv/linux/x86_64/makecontext.c), which nobody calls: there the stack ends. The
 * call instruction that is looked for before a return address is not there, and no table speaks of the byte that is.
 */
#ifndef DT_TARGET_CONTEXT_START_H
#define DT_TARGET_CONTEXT_START_H

#include <stddef.h>
#include <stdint.h>

#include "target/elf.h"

#define DT_CONTEXT_STARTS_MAX 8

/* The addresses that makecontext() of this file takes: the function is among them. Returns how many there are; 0 where it has none. */
size_t dt_context_start_find(const struct dt_elf *elf, uint64_t starts[DT_CONTEXT_STARTS_MAX]);

#endif
