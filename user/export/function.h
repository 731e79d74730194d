/* SPDX-License-Identifier: BSD-2-Clause */
/* function: names of functions with less in them than a demangler writes. */
#ifndef DT_EXPORT_FUNCTION_H
#define DT_EXPORT_FUNCTION_H

/* "std::vector<...>::reserve(...)": a copy without what stands in brackets, and without the type of the result. NULL: no memory. */
char *dt_function_outline(const char *function);

#endif
