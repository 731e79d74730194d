/* SPDX-License-Identifier: BSD-2-Clause */
/* domains: from the words of --domain to what is attached and what the programs let through. */
#ifndef DT_SESSION_DOMAINS_H
#define DT_SESSION_DOMAINS_H

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/log.h"
#include "session/attach.h"
#include "session/declared.h"

/* A domain that a program declares, by its name. */
struct dt_domain_word {
	char name[DT_DECLARED_SHOWN_SIZE];
	bool met;                       /* a process has declared one of this name */
};

struct dt_domains {
	struct dt_attach_filter filter;
	bool required[DT_SOURCE_COUNT]; /* asked for by name: a process without it is an error */
	uint32_t count;                 /* tracemalloc domains in the filter of the programs */
	bool excluded;                  /* … all but these */
	uint32_t ids[DT_DOMAIN_FILTER_MAX];
	bool only_named;                /* of those that programs declare, only words[0]; otherwise all */
	struct dt_domain_word words[2][DT_DOMAIN_FILTER_MAX]; /* those without, those with '!' */
	uint32_t word_counts[2];
};

/*
 * "numpy", "!libc", "389047" …, NULL-terminated; NULL or none: all. Names without '!' leave only themselves; of those,
 * names with '!' are taken away again. What is no known domain is one that a program declares. -EINVAL, said: no name at all, or nothing is
 * left; -E2BIG: too many.
 */
int dt_domains_parse(const char *const *names, const struct dt_log *log, struct dt_domains *ret_domains);

/* A process has declared a domain of this name, as it is shown: is it wanted? */
bool dt_domains_meet(struct dt_domains *domains, const char *name);
/* Says which of those that were asked for no process has declared. */
void dt_domains_say_missing(const struct dt_domains *domains, const struct dt_log *log);

#endif
