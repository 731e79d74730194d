/* SPDX-License-Identifier: BSD-2-Clause */
/* sites: which functions of sites.def a file defines, and where each is best probed. */
#ifndef DT_SESSION_SITES_H
#define DT_SESSION_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/log.h"
#include "session/allocators.h"
#include "target/code_ends.h"
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
/* Is a call of it booked when it returns, and may its return be probed? */
bool dt_shape_returns(enum dt_shape shape);
/* Does it allocate or free, or tell of such? Otherwise it is only looked at. */
bool dt_shape_is_booked(enum dt_shape shape);

#define DT_SITE_PLANS_MAX 512           /* of a file */
#define DT_SITE_NAMES_MAX 12

/* One function of one file. */
struct dt_site_plan {
	enum dt_site site;
	uint32_t cookie;                /* of its probe: the site, and DT_COOKIE_… */
	uint64_t entry_vaddr;
	uint64_t offset;                /* in the file, of the probed instruction */
	struct dt_probe_site place;
	const char *names[DT_SITE_NAMES_MAX]; /* as the file has them, owned by it; that of the site first */
	size_t name_count;
	uint64_t end_offsets[DT_CODE_ENDS_MAX]; /* DT_SHAPE_NEW: in the file, where it returns */
	size_t end_count;
};

/* What to look for in a file, and how. */
struct dt_site_search {
	const char *file;               /* its name, as the first process that mapped it sees it */
	bool cheap;                     /* take the cheapest place, otherwise the entry */
	struct dt_allocators *allocators; /* that the user has named; NULL: none. Those that match are marked */
	const struct dt_log *log;
};

/*
 * Finds all sites of a file, functions with several names once. *ret_plans is the caller's to free; none found is no error. A function
 * that always ends in another one of them is left to that one.
 */
int dt_sites_plan(struct dt_elf *elf, const struct dt_site_search *search, struct dt_site_plan **ret_plans, size_t *ret_count);

/*
 * Adds the functions of CPython's allocators, which are not found by their names: those of `alloc`. *plans is what dt_sites_plan() gave,
 * which has room for them. -ENOTSUP, said: one of them cannot be probed; then none is added.
 */
int dt_sites_plan_python(const struct dt_elf *elf, const struct dt_site_search *search, const struct dt_python_alloc *alloc,
			 struct dt_site_plan *plans, size_t *count);

#endif
