/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/domains.h"

#include <errno.h>
#include <string.h>

#include "snapshot/snapshot.h"

struct words {
	bool any[2];                    /* were there words without, with '!'? */
	bool sources[2][DT_SOURCE_COUNT]; /* those that are one domain each */
	uint32_t ids[2][DT_DOMAIN_FILTER_MAX];
	uint32_t counts[2];
	struct dt_domains declared;     /* its words alone */
};

static int refuse_word(const struct dt_log *log, const char *word)
{
	return dt_log_error(log, -EINVAL, "there is no domain '%s': name libc, python, numpy, pandas, a tracemalloc domain number or a domain "
			    "that the program declares, with '!' before it to leave it out", word);
}

static int refuse_many(const struct dt_log *log)
{
	return dt_log_error(log, -E2BIG, "too many domains: at most %d of tracemalloc's and %d of the program's own can be named",
			    DT_DOMAIN_FILTER_MAX, DT_DOMAIN_FILTER_MAX);
}

/* A word that is no known domain. Numbers, and what looks like known ones, are never shown so. */
static int parse_declared(const char *word, bool not, const struct dt_log *log, struct dt_domains *declared)
{
	uint32_t *count = &declared->word_counts[not];

	if (!*word || *word == '!' || strlen(word) >= DT_DECLARED_SHOWN_SIZE || dt_declared_is_reserved(word))
		return refuse_word(log, word);
	if (*count == DT_DOMAIN_FILTER_MAX)
		return refuse_many(log);
	strcpy(declared->words[not][(*count)++].name, word);
	return 0;
}

static int parse_words(const char *const *names, const struct dt_log *log, struct words *words)
{
	int error;

	for (; names && *names; names++) {
		bool not = **names == '!';
		enum dt_source source;
		uint32_t id;

		words->any[not] = true;
		if (dt_domain_name_parse(*names + not, &source, &id)) {
			error = parse_declared(*names + not, not, log, &words->declared);
			if (error)
				return error;
			continue;
		}
		if (source != DT_SOURCE_TRACEMALLOC)
			words->sources[not][source] = true;
		else if (words->counts[not] < DT_DOMAIN_FILTER_MAX)
			words->ids[not][words->counts[not]++] = id;
		else
			return refuse_many(log);
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

static struct dt_domain_word *find_word(struct dt_domains *domains, bool not, const char *name)
{
	for (uint32_t i = 0; i < domains->word_counts[not]; i++)
		if (!strcmp(domains->words[not][i].name, name))
			return &domains->words[not][i];
	return NULL;
}

/* Is one of those named that programs declare, and not taken away? */
static bool keeps_declared(struct dt_domains *domains)
{
	for (uint32_t i = 0; i < domains->word_counts[0]; i++)
		if (!find_word(domains, true, domains->words[0][i].name))
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
	/* Their names may come at any time: with a file that is loaded later, or when the program says them. */
	domains->filter.sources[DT_SOURCE_DECLARED] = domains->only_named = keeps_declared(domains);
}

/* All domains, without those that are taken away. The one of CPython's own allocators, which costs most, is traced when it is named. */
static void keep_others(const struct words *words, struct dt_domains *domains)
{
	domains->filter.sources[DT_SOURCE_LIBC] = !words->sources[1][DT_SOURCE_LIBC];
	domains->filter.sources[DT_SOURCE_TRACEMALLOC] = true;
	domains->filter.sources[DT_SOURCE_DECLARED] = true;
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
	domains = words.declared;
	if (words.any[0])
		keep_named(&words, &domains);
	else
		keep_others(&words, &domains);
	if (!leaves_any(&domains))
		return dt_log_error(log, -EINVAL, "the domains leave nothing to trace: each one named is also left out");
	*ret_domains = domains;
	return 0;
}

bool dt_domains_meet(struct dt_domains *domains, const char *name)
{
	struct dt_domain_word *found[2] = { find_word(domains, false, name), find_word(domains, true, name) };

	for (int i = 0; i < 2; i++)
		if (found[i])
			found[i]->met = true;
	return !found[1] && (found[0] || !domains->only_named);
}

void dt_domains_say_missing(const struct dt_domains *domains, const struct dt_log *log)
{
	for (int not = 0; not < 2; not++)
		for (uint32_t i = 0; i < domains->word_counts[not]; i++)
			if (!domains->words[not][i].met)
				dt_log_warning(log, "--domain: no process has declared a domain '%s' (libc, python, numpy, pandas and tracemalloc's "
					       "numbers are the others that can be named)", domains->words[not][i].name);
}
