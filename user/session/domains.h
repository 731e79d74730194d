/* SPDX-License-Identifier: BSD-2-Clause */
/* domains: from the words of --domain to what is attached and what the programs let through. */
#ifndef DT_SESSION_DOMAINS_H
#define DT_SESSION_DOMAINS_H

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/log.h"
#include "session/attach.h"

struct dt_domains {
	struct dt_attach_filter filter;
	bool required[DT_SOURCE_COUNT]; /* asked for by name: a process without it is an error */
	uint32_t count;                 /* tracemalloc domains in the filter of the programs */
	bool excluded;                  /* … all but these */
	uint32_t ids[DT_DOMAIN_FILTER_MAX];
};

/*
 * "numpy", "!libc", "389047" …, NULL-terminated; NULL or none: all. Names without '!' leave only themselves; of those,
 * names with '!' are taken away again. -EINVAL, said: an unknown name, or nothing is left; -E2BIG: too many numbers.
 */
int dt_domains_parse(const char *const *names, const struct dt_log *log, struct dt_domains *ret_domains);

#endif
