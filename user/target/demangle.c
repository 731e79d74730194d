/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/demangle.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <demangle.h>

#define NAME_BYTES_MAX (64u * 1024)     /* of a mangled name; the longest real ones have some thousands */

/*
 * libiberty also takes names of Ada, D and Java for mangled ones, and plain C names are among those: only what a C++ or Rust
 * compiler begins a symbol with goes to it. Its limit on recursion stays on.
 */
static bool is_mangled(const char *name)
{
	return !strncmp(name, "_Z", 2) || !strncmp(name, "__Z", 3) || !strncmp(name, "_R", 2) || !strncmp(name, "_GLOBAL_", 8);
}

char *dt_demangle(const char *name)
{
	if (!is_mangled(name) || strnlen(name, NAME_BYTES_MAX) == NAME_BYTES_MAX)
		return NULL;
	return cplus_demangle(name, DMGL_PARAMS | DMGL_ANSI | DMGL_AUTO);
}
