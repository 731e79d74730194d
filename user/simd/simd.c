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
#include <cpuid.h>
#define X86_64(here, elsewhere) here
#else
#define X86_64(here, elsewhere) elsewhere
#endif
#ifdef __aarch64__
#define AARCH64(here, elsewhere) here
#else
#define AARCH64(here, elsewhere) elsewhere
#endif

#define DT_SET(name, architecture, needs, has, suits) extern const struct dt_simd dt_simd_##name;
#include "sets.def"
#undef DT_SET

#ifdef __x86_64__
static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq");
}

/*
 * AMD's family 19h with AVX-512: Zen 3 has none, Zen 5 is 1Ah (AMD, Processor Programming References, CPUID Fn0000_0001_EAX).
 * gcc 12 has no name for it that __builtin_cpu_is() would take.
 */
static bool is_zen4(void)
{
	unsigned int signature, family, ignored;

	if (!__builtin_cpu_is("amd") || !has_avx512() || !__get_cpuid(1, &signature, &ignored, &ignored, &ignored))
		return false;
	family = (signature >> 8 & 0xf) + (signature >> 20 & 0xff);     /* the base family of all of these is Fh, so the extended one counts */
	return family == 0x19;
}
#endif

#define DT_SET(name, architecture, needs, has, suits) \
	static bool is_here_##name(void) { return architecture(has, false); } \
	static bool is_suited_##name(void) { return architecture(suits, false); }
#include "sets.def"
#undef DT_SET

struct set {
	const char *name;
	const char *needs;
	const struct dt_simd *kernels;          /* NULL: of another architecture */
	bool (*is_here)(void);
	bool (*is_suited)(void);
};

static const struct set sets[] = {
#define DT_SET(name, architecture, needs, has, suits) { #name, needs, architecture(&dt_simd_##name, NULL), is_here_##name, is_suited_##name },
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

	while (i > 0 && !(sets[i].is_here() && sets[i].is_suited()))
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
