/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/wrapper.h"

#include <fnmatch.h>
#include <string.h>

#include "base/cleanup.h"

#define NAME_SIZE 96                    /* none of the list is as long */

static const char *const names[] = {
#define DT_WRAPPER(name) #name,
#define DT_WRAPPER_PATTERN(pattern)
#include "export/wrappers.def"
#undef DT_WRAPPER
#undef DT_WRAPPER_PATTERN
};

static const char *const patterns[] = {
#define DT_WRAPPER(name)
#define DT_WRAPPER_PATTERN(pattern) #pattern,
#include "export/wrappers.def"
#undef DT_WRAPPER
#undef DT_WRAPPER_PATTERN
};

/* Where the name itself ends: parameters, what GCC adds to the names of its clones, an ABI tag of Clang's. */
static bool is_end(const char *at)
{
	return *at == '(' || *at == '.' || !strncmp(at, "[abi:", strlen("[abi:")) || !strncmp(at, " [clone", strlen(" [clone"));
}

/* Leaves out what stands in angle brackets. False: too long to be in the list. */
static bool strip(const char *function, char name[NAME_SIZE])
{
	size_t size = 0, depth = 0;

	for (const char *at = function; *at && (depth || !is_end(at)); at++) {
		if (*at == '<') {
			depth++;
		} else if (*at == '>' && depth) {
			depth--;
		} else if (!depth) {
			name[size++] = *at;
			if (size == NAME_SIZE)
				return false;
		}
	}
	name[size] = '\0';
	return true;
}

static bool is_listed(const char *name)
{
	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

bool dt_wrapper_is(const char *function)
{
	char name[NAME_SIZE];
	const char *space;

	for (size_t i = 0; i < DT_ARRAY_SIZE(patterns); i++)
		if (!fnmatch(patterns[i], function, FNM_NOESCAPE))
			return true;
	if (!strip(function, name))
		return false;
	/* The demangled name of a function template begins with the type of its result (Itanium C++ ABI 5.1.5.3). */
	space = strrchr(name, ' ');
	return is_listed(name) || (space && is_listed(space + 1));
}
