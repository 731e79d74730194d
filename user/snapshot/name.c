/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "snapshot/snapshot.h"

#define TRACEMALLOC_PREFIX "tracemalloc:"
#define DECLARED_PREFIX "declared:"

/* Domain numbers that their libraries document. */
static const struct {
	uint32_t id;
	const char *name;
} known_domains[] = {
	{ 389047, "numpy" },            /* numpy/core/include/numpy/ndarraytypes.h: NPY_TRACE_DOMAIN */
	{ 424242, "pandas" },           /* pandas/_libs/src/klib/khash_python.h: KHASH_TRACE_DOMAIN */
};

static const struct {
	const char *name, *help;
	bool is_loss;
} counters[] = {
#define LOSS true
#define COUNT false
#define DT_COUNTER(name, kind, help) [DT_COUNTER_##name] = { #name, help, kind },
#include <domtrace/counters.def>
#undef DT_COUNTER
#undef COUNT
#undef LOSS
};

static const struct {
	const char *name, *help;
} truncations[DT_TRUNCATION_COUNT] = {
#define DT_TRUNCATION(name, help) [DT_TRUNCATION_##name] = { #name, help },
#include <domtrace/truncations.def>
#undef DT_TRUNCATION
	[DT_TRUNCATION_lost] = { "lost", "the traceback itself was lost; a loss says why" },
};

const char *dt_source_name(enum dt_source source)
{
	static const char *const names[] = {
		[DT_SOURCE_LIBC] = "libc",
		[DT_SOURCE_PYTHON] = "python",
		[DT_SOURCE_TRACEMALLOC] = "tracemalloc",
		[DT_SOURCE_DECLARED] = "declared",
	};

	_Static_assert(DT_ARRAY_SIZE(names) == DT_SOURCE_COUNT, "a source has no name");
	return names[source];
}

const char *dt_truncation_name(enum dt_truncation truncation)
{
	return truncations[truncation].name;
}

const char *dt_truncation_help(enum dt_truncation truncation)
{
	return truncations[truncation].help;
}

const char *dt_counter_name(enum dt_counter counter)
{
	return counters[counter].name;
}

const char *dt_counter_help(enum dt_counter counter)
{
	return counters[counter].help;
}

bool dt_counter_is_loss(enum dt_counter counter)
{
	return counters[counter].is_loss;
}

void dt_domain_name_format(enum dt_source source, uint32_t id, char name[DT_DOMAIN_NAME_SIZE])
{
	if (source != DT_SOURCE_TRACEMALLOC) {
		if (source == DT_SOURCE_DECLARED)
			snprintf(name, DT_DOMAIN_NAME_SIZE, DECLARED_PREFIX "%u", id);
		else
			snprintf(name, DT_DOMAIN_NAME_SIZE, "%s", dt_source_name(source));
		return;
	}
	for (size_t i = 0; i < DT_ARRAY_SIZE(known_domains); i++)
		if (known_domains[i].id == id) {
			snprintf(name, DT_DOMAIN_NAME_SIZE, "%s", known_domains[i].name);
			return;
		}
	snprintf(name, DT_DOMAIN_NAME_SIZE, TRACEMALLOC_PREFIX "%u", id);
}

/* Sources that are one domain each. */
static const enum dt_source plain_sources[] = { DT_SOURCE_LIBC, DT_SOURCE_PYTHON };

int dt_domain_name_parse(const char *name, enum dt_source *ret_source, uint32_t *ret_id)
{
	uint64_t id;

	for (size_t i = 0; i < DT_ARRAY_SIZE(plain_sources); i++)
		if (!strcmp(name, dt_source_name(plain_sources[i]))) {
			*ret_source = plain_sources[i];
			*ret_id = 0;
			return 0;
		}
	for (size_t i = 0; i < DT_ARRAY_SIZE(known_domains); i++)
		if (!strcmp(name, known_domains[i].name)) {
			*ret_source = DT_SOURCE_TRACEMALLOC;
			*ret_id = known_domains[i].id;
			return 0;
		}
	if (!strncmp(name, TRACEMALLOC_PREFIX, strlen(TRACEMALLOC_PREFIX)))
		name += strlen(TRACEMALLOC_PREFIX);
	/* Domain 0 is CPython's own: its hooks never call PyTraceMalloc_Track, so nothing would ever be found in it. */
	if (dt_parse_u64(name, 1, UINT32_MAX, &id))
		return -EINVAL;
	*ret_source = DT_SOURCE_TRACEMALLOC;
	*ret_id = (uint32_t)id;
	return 0;
}
