/* SPDX-License-Identifier: BSD-2-Clause */
/* simd: which instruction sets there are, and which one to use. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/simd.h>

#define ANY(here, elsewhere) here
#ifdef __x86_64__
#define X86_64(here, elsewhere) here
#else
#define X86_64(here, elsewhere) elsewhere
#endif
#ifdef __aarch64__
#define AARCH64(here, elsewhere) here
#else
#define AARCH64(here, elsewhere) elsewhere
#endif

#define DT_SET(name, architecture, needs, has) extern const struct dt_simd dt_simd_##name;
#include "sets.def"
#undef DT_SET

#define DT_SET(name, architecture, needs, has) static bool has_##name(void) { return architecture(has, false); }
#include "sets.def"
#undef DT_SET

struct set {
	const char *name;
	const char *needs;
	const struct dt_simd *kernels;          /* NULL: of another architecture */
	bool (*is_here)(void);
};

static const struct set sets[] = {
#define DT_SET(name, architecture, needs, has) { #name, needs, architecture(&dt_simd_##name, NULL), has_##name },
#include "sets.def"
#undef DT_SET
};
#define SET_COUNT (sizeof(sets) / sizeof(sets[0]))

const char *dt_simd_name(size_t index)
{
	return index < SET_COUNT ? sets[index].name : NULL;
}

static const struct set *find(const char *name)
{
	for (size_t i = 0; i < SET_COUNT; i++) {
		if (strcmp(sets[i].name, name) == 0)
			return &sets[i];
	}
	return NULL;
}

static const struct set *find_best(void)
{
	size_t i = SET_COUNT - 1;

	while (i > 0 && !sets[i].is_here())
		i--;
	return &sets[i];                        /* the first one, scalar, is everywhere */
}

/* "scalar, sse2, avx2": all, or those that can be used here. */
static void list(char *text, size_t size, bool all)
{
	size_t used = 0;

	text[0] = '\0';
	for (size_t i = 0; i < SET_COUNT && used < size; i++) {
		if (all || sets[i].is_here())
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "", sets[i].name);
	}
}

static int refuse(int error, const char *origin, const char *name, const struct set *set, char *why)
{
	char names[96];

	if (!why)
		return error;
	list(names, sizeof(names), !set);
	if (!set)
		snprintf(why, DT_SIMD_WHY, "%s%.32s: there is no such instruction set; choose one of %s", origin, name, names);
	else if (!set->kernels)
		snprintf(why, DT_SIMD_WHY, "%s%s: that is of another processor architecture; choose one of %s", origin, name, names);
	else
		snprintf(why, DT_SIMD_WHY, "%s%s: this processor or system has no %s; choose one of %s", origin, name, set->needs, names);
	return error;
}

int dt_simd_get(const char *name, const struct dt_simd **ret_simd, char why[DT_SIMD_WHY])
{
	const char *origin = name ? "" : "DT_SIMD=";
	const struct set *set;

	if (!name)
		name = getenv("DT_SIMD");
	if (!name || (origin[0] && !name[0])) {
		*ret_simd = find_best()->kernels;
		return 0;
	}
	set = find(name);
	if (!set)
		return refuse(-EINVAL, origin, name, set, why);
	if (!set->is_here())
		return refuse(-ENOTSUP, origin, name, set, why);
	*ret_simd = set->kernels;
	return 0;
}
