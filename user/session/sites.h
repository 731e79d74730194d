/* SPDX-License-Identifier: BSD-2-Clause */
/* sites: which functions of sites.def a file defines, and where each is best probed. */
#ifndef DT_SESSION_SITES_H
#define DT_SESSION_SITES_H

#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/log.h"
#include "target/elf.h"
#include "target/probe_site.h"
#include "target/python_alloc.h"

struct dt_site_info {
	const char *symbol;
	enum dt_source source;
	enum dt_shape shape;
};

/* The row of sites.def. */
const struct dt_site_info *dt_site_info(enum dt_site site);

/* One function of one file. */
struct dt_site_plan {
	enum dt_site site;
	uint64_t entry_vaddr;
	uint64_t offset;                /* in the file, of the probed instruction */
	struct dt_probe_site place;
	uint32_t aliases;               /* bit n: site n is another name of the same function */
	uint32_t cookie;                /* of its probe: the site, and DT_COOKIE_… */
};

/*
 * Finds all sites of a file, functions with several names once. `cheap`: take the cheapest place, otherwise the entry.
 * *ret_plans is the caller's to free; none found is no error. `file` names the file in messages.
 */
int dt_sites_plan(const struct dt_elf *elf, const char *file, bool cheap, const struct dt_log *log,
		  struct dt_site_plan **ret_plans, size_t *ret_count);

/*
 * Adds the functions of CPython's allocators, which are not found by their names: those of `alloc`. *plans has room for
 * DT_SITE_COUNT. -ENOTSUP, said: one of them cannot be probed; then none is added.
 */
int dt_sites_plan_python(const struct dt_elf *elf, const char *file, bool cheap, const struct dt_log *log,
			 const struct dt_python_alloc *alloc, struct dt_site_plan *plans, size_t *count);

#endif
