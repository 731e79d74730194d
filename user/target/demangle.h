/* SPDX-License-Identifier: BSD-2-Clause */
/* demangle: names of C++ and Rust functions as people write them. */
#ifndef DT_TARGET_DEMANGLE_H
#define DT_TARGET_DEMANGLE_H

/* The caller's; NULL: it is no mangled name (or no memory). */
char *dt_demangle(const char *name);

#endif
