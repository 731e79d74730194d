/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/domains.h"

#include <errno.h>

#include "snapshot/snapshot.h"

struct words {
	bool any[2];                    /* were there words without, with '!'? */
	bool sources[2][DT_SOURCE_COUNT]; /* those that are one domain each */
	uint32_t ids[2][DT_DOMAIN_FILTER_MAX];
	uint32_t counts[2];
};

static int parse_words(const char *const *names, const struct dt_log *log, struct words *words)
{
	for (; names && *names; names++) {
		bool not = **names == '!';
		enum dt_source source;
		uint32_t id;

		if (dt_domain_name_parse(*names + not, &source, &id))
			return dt_log_error(log, -EINVAL, "there is no domain '%s': name libc, python, numpy, pandas or a tracemalloc domain "
					    "number, with '!' before it to leave it out", *names + not);
		words->any[not] = true;
		if (source != DT_SOURCE_TRACEMALLOC)
			words->sources[not][source] = true;
		else if (words->counts[not] < DT_DOMAIN_FILTER_MAX)
			words->ids[not][words->counts[not]++] = id;
		else
			return dt_log_error(log, -E2BIG, "too many domains: at most %d tracemalloc domains can be named", DT_DOMAIN_FILTER_MAX);
	}
	return 0;
}

static bool contains(const uint32_t *ids, uint32_t count, uint32_t id)
{
	for (uint32_t i = 0; i < count; i++)
		if (ids[i] == id)
			return true;
	return false;
}

/* Only the domains that are named, without those that are taken away. */
static void keep_named(const struct words *words, struct dt_domains *domains)
{
	for (int source = 0; source < DT_SOURCE_COUNT; source++)
		domains->filter.sources[source] = words->sources[0][source] && !words->sources[1][source];
	for (uint32_t i = 0; i < words->counts[0]; i++)
		if (!contains(words->ids[1], words->counts[1], words->ids[0][i]))
			domains->ids[domains->count++] = words->ids[0][i];
	domains->filter.sources[DT_SOURCE_TRACEMALLOC] = domains->count;
	for (int source = 0; source < DT_SOURCE_COUNT; source++)
		domains->required[source] = domains->filter.sources[source];
}

/* All domains, without those that are taken away. The one of CPython's own allocators, which costs most, is traced when it is named. */
static void keep_others(const struct words *words, struct dt_domains *domains)
{
	domains->filter.sources[DT_SOURCE_LIBC] = !words->sources[1][DT_SOURCE_LIBC];
	domains->filter.sources[DT_SOURCE_TRACEMALLOC] = true;
	domains->excluded = words->counts[1];
	for (uint32_t i = 0; i < words->counts[1]; i++)
		domains->ids[domains->count++] = words->ids[1][i];
}

static bool leaves_any(const struct dt_domains *domains)
{
	bool any = false;

	for (int source = 0; source < DT_SOURCE_COUNT; source++)
		any = any || domains->filter.sources[source];
	return any;
}

int dt_domains_parse(const char *const *names, const struct dt_log *log, struct dt_domains *ret_domains)
{
	struct dt_domains domains = { 0 };
	struct words words = { 0 };
	int error = parse_words(names, log, &words);

	if (error)
		return error;
	if (words.any[0])
		keep_named(&words, &domains);
	else
		keep_others(&words, &domains);
	if (!leaves_any(&domains))
		return dt_log_error(log, -EINVAL, "the domains leave nothing to trace: each one named is also left out");
	*ret_domains = domains;
	return 0;
}
