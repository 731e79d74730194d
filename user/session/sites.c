/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/sites.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static const struct dt_site_info infos[DT_SITE_COUNT] = {
#define DT_SITE(name, family, form, size, count, block, out) \
	[DT_SITE_##name] = { .symbol = #name, .source = DT_SOURCE_##family, .shape = DT_SHAPE_##form },
#include <domtrace/sites.def>
};

static const char *const prefixes[] = {
#define DT_PREFIX(prefix) #prefix,
#include <domtrace/sites.def>
};

const struct dt_site_info *dt_site_info(enum dt_site site)
{
	return &infos[site];
}

bool dt_shape_returns(enum dt_shape shape)
{
	return shape == DT_SHAPE_ALLOC || shape == DT_SHAPE_OUT || shape == DT_SHAPE_REALLOC || shape == DT_SHAPE_REALLOCF || shape == DT_SHAPE_RESIZE;
}

bool dt_shape_is_booked(enum dt_shape shape)
{
	return shape != DT_SHAPE_VFORK && shape != DT_SHAPE_DROP && shape != DT_SHAPE_CONTROL;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

struct found {
	enum dt_site site;
	struct dt_elf_symbol symbol;
	bool named;                     /* the user has named the file */
};

struct search {
	const struct dt_elf *elf;
	const struct dt_site_search *asked;
	enum dt_site order[DT_SITE_COUNT]; /* by name */
	struct found *found;
	size_t count;
	bool overflow;
};

static int compare_names(const void *left, const void *right)
{
	return strcmp(infos[*(const enum dt_site *)left].symbol, infos[*(const enum dt_site *)right].symbol);
}

/* DT_SITE_COUNT: there is no such site. */
static enum dt_site find_name(const struct search *search, const char *name)
{
	size_t low = 0, high = DT_SITE_COUNT;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(infos[search->order[middle]].symbol, name);

		if (!order)
			return search->order[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return DT_SITE_COUNT;
}

/* A function of libc under an allocator's own name. */
static enum dt_site find_prefixed(const struct search *search, const char *name, const char *prefix)
{
	size_t length = strlen(prefix);
	enum dt_site site = strncmp(name, prefix, length) ? DT_SITE_COUNT : find_name(search, name + length);

	return site < DT_SITE_COUNT && infos[site].source == DT_SOURCE_LIBC ? site : DT_SITE_COUNT;
}

/* Is it named by the user: a function of this file, whoever else may call it? */
static enum dt_site find_named(const struct search *search, const char *name)
{
	const struct dt_allocators *allocators = search->asked->allocators;
	enum dt_site site = DT_SITE_COUNT;

	for (size_t i = 0; allocators && i < allocators->count && site == DT_SITE_COUNT; i++)
		if (dt_allocator_matches(&allocators->list[i], search->asked->file))
			site = find_prefixed(search, name, allocators->list[i].prefix);
	return site;
}

/*
 * The files of a process call each other's functions by their dynamic symbols. A program may also have functions for itself that
 * no library asks for: if they are global among its other symbols, its own files called each other by that name when they were linked.
 */
static bool is_callable(const struct dt_elf *elf, const struct dt_elf_symbol *symbol)
{
	return symbol->dynamic || (symbol->global && dt_elf_entry(elf));
}

static enum dt_site find_site(const struct search *search, const struct dt_elf_symbol *symbol, bool *ret_named)
{
	enum dt_site site = is_callable(search->elf, symbol) ? find_name(search, symbol->name) : DT_SITE_COUNT;

	if (site < DT_SITE_COUNT && (infos[site].source == DT_SOURCE_PYTHON || infos[site].source == DT_SOURCE_DECLARED))
		site = DT_SITE_COUNT;   /* not found by its name: target/python_alloc, target/notes */
	/* An allocator's own prefix is word enough, also of what a library keeps to itself. */
	for (size_t i = 0; i < DT_ARRAY_SIZE(prefixes) && site == DT_SITE_COUNT; i++)
		site = find_prefixed(search, symbol->name, prefixes[i]);
	if (site == DT_SITE_COUNT || infos[site].source == DT_SOURCE_LIBC) {
		enum dt_site named = find_named(search, symbol->name);

		*ret_named = named < DT_SITE_COUNT;
		site = site < DT_SITE_COUNT ? site : named;
	}
	return site;
}

static int take_symbol(void *context, const struct dt_elf_symbol *symbol)
{
	struct search *search = context;
	bool named = false;
	enum dt_site site;

	if (!symbol->function || symbol->indirect)
		return 0;
	site = find_site(search, symbol, &named);
	if (site == DT_SITE_COUNT)
		return 0;
	if (search->count == DT_SITE_PLANS_MAX) {
		search->overflow = true;
		return 1;
	}
	search->found[search->count++] = (struct found){ site, *symbol, named };
	return 0;
}

/* By site; dynamic symbols before the others; then as they stand in the file's tables. */
static int compare_found(const void *left, const void *right)
{
	const struct found *a = left, *b = right;

	if (a->site != b->site)
		return a->site < b->site ? -1 : 1;
	if (a->symbol.dynamic != b->symbol.dynamic)
		return a->symbol.dynamic ? -1 : 1;
	return a->symbol.vaddr < b->symbol.vaddr ? -1 : a->symbol.vaddr > b->symbol.vaddr;
}

/* Says which of the user's allocators the file is, and whether it is none after all. */
static void mark_allocators(const struct search *search)
{
	struct dt_allocators *allocators = search->asked->allocators;
	bool any = false;

	for (size_t i = 0; i < search->count; i++)
		any = any || search->found[i].named;
	for (size_t i = 0; allocators && i < allocators->count; i++) {
		struct dt_allocator *allocator = &allocators->list[i];

		if (!dt_allocator_matches(allocator, search->asked->file))
			continue;
		allocator->matched = true;
		if (!any)
			dt_log_warning(search->asked->log, "%s is named as an allocator, but has no symbol %smalloc or any other of the family: "
				       "nothing in it is traced for that", search->asked->file, allocator->prefix);
	}
}

/* A damaged symbol table has no names from where it is damaged on. */
static void find_all(struct search *search)
{
	for (enum dt_site site = 0; site < DT_SITE_COUNT; site++)
		search->order[site] = site;
	qsort(search->order, DT_SITE_COUNT, sizeof(*search->order), compare_names);
	dt_elf_each_symbol(search->elf, take_symbol, search);
	qsort(search->found, search->count, sizeof(*search->found), compare_found);
	if (search->overflow)
		dt_log_warning(search->asked->log, "%s has more than %d symbols of allocation functions: the others are not traced",
			       search->asked->file, DT_SITE_PLANS_MAX);
	mark_allocators(search);
}

static bool is_cxx(enum dt_site site)
{
	return infos[site].shape == DT_SHAPE_NEW || !strncmp(infos[site].symbol, "_Z", 2);
}

/* Operators of a file that defines no other function of the family end in malloc() and free(), or hand out parts of what these gave. */
static void drop_operators(struct search *search)
{
	size_t kept = 0;

	for (size_t i = 0; i < search->count; i++) {
		const struct dt_site_info *info = &infos[search->found[i].site];

		if (info->source == DT_SOURCE_LIBC && dt_shape_is_booked(info->shape) && (!is_cxx(search->found[i].site) || search->found[i].named))
			return;
	}
	for (size_t i = 0; i < search->count; i++)
		if (!is_cxx(search->found[i].site))
			search->found[kept++] = search->found[i];
	search->count = kept;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

struct plans {
	struct dt_site_plan *plans;
	size_t count;
};

static struct dt_site_plan *find_entry(const struct plans *plans, uint64_t entry_vaddr, enum dt_source source)
{
	for (size_t i = 0; i < plans->count; i++)
		if (plans->plans[i].entry_vaddr == entry_vaddr && infos[plans->plans[i].site].source == source)
			return &plans->plans[i];
	return NULL;
}

/* The entry itself, for machines or users that do without the cheap places. */
static void move_to_entry(struct dt_site_plan *plan)
{
	plan->place.vaddr = plan->entry_vaddr;
	plan->place.distance = 0;
	plan->place.reason = "the entry: cheap sites are not used";
}

static int plan_site(const struct dt_elf *elf, const struct dt_site_search *asked, enum dt_site site, uint64_t entry_vaddr, const char *name,
		     struct dt_site_plan *plan)
{
	int error = dt_probe_site_find(elf, entry_vaddr, &plan->place);

	plan->site = site;
	plan->cookie = site;
	plan->entry_vaddr = entry_vaddr;
	plan->names[0] = name;
	plan->name_count = 1;
	if (!error && !asked->cheap && plan->place.distance)
		move_to_entry(plan);
	if (!error)
		error = dt_elf_vaddr_to_offset(elf, plan->place.vaddr, &plan->offset);
	if (error)
		dt_log_warning(asked->log, "%s in %s cannot be probed (%s): its calls are not traced", name, asked->file, strerror(-error));
	return error;
}

static void add_name(struct dt_site_plan *plan, const char *name)
{
	for (size_t i = 0; i < plan->name_count; i++)
		if (!strcmp(plan->names[i], name))
			return;
	if (plan->name_count < DT_SITE_NAMES_MAX)
		plan->names[plan->name_count++] = name;
}

static void plan_entries(const struct search *search, struct plans *plans)
{
	for (size_t i = 0; i < search->count; i++) {
		const struct found *found = &search->found[i];
		struct dt_site_plan *same = find_entry(plans, found->symbol.vaddr, infos[found->site].source);

		if (same)
			add_name(same, found->symbol.name);
		else if (!plan_site(search->elf, search->asked, found->site, found->symbol.vaddr, found->symbol.name, &plans->plans[plans->count]))
			plans->count++;
	}
}

/* ---- functions that end in others -------------------------------------------------------------------------------- */

static bool gives_back(enum dt_site site)
{
	return infos[site].shape == DT_SHAPE_FREE || infos[site].shape == DT_SHAPE_RELEASE;
}

struct caller {
	const struct plans *plans;
	const struct dt_site_plan *plan;
};

/* Does what the plan's function would do end in the function at `vaddr`, which is probed itself? */
static bool ends_in(const void *context, uint64_t vaddr)
{
	const struct caller *caller = context;
	const struct dt_site_plan *other = find_entry(caller->plans, vaddr, infos[caller->plan->site].source);

	return other && other != caller->plan && gives_back(other->site) == gives_back(caller->plan->site);
}

static int plan_ends(struct dt_elf *elf, const struct dt_site_search *asked, const struct dt_code_ends *ends, struct dt_site_plan *plan)
{
	for (size_t i = 0; i < ends->count; i++)
		if (!dt_elf_vaddr_to_offset(elf, ends->vaddrs[i], &plan->end_offsets[plan->end_count]))
			plan->end_count++;
	if (ends->incomplete)
		dt_log_warning(asked->log, "%s in %s may also return from places that cannot be known: blocks that it returns there are not traced",
			       plan->names[0], asked->file);
	return 0;
}

/* *ret_keep: false if every way through the function leads through another one that is probed. */
static int plan_way(struct dt_elf *elf, const struct dt_site_search *asked, const struct plans *plans, struct dt_site_plan *plan, bool *ret_keep)
{
	const struct caller caller = { plans, plan };
	enum dt_shape shape = infos[plan->site].shape;
	struct dt_code_ends ends;
	int error;

	*ret_keep = true;
	if (shape != DT_SHAPE_NEW && shape != DT_SHAPE_RELEASE)
		return 0;
	error = dt_code_ends_find(elf, plan->entry_vaddr, ends_in, &caller, &ends);
	if (error)
		return error;
	*ret_keep = ends.count || ends.incomplete;
	return *ret_keep && shape == DT_SHAPE_NEW ? plan_ends(elf, asked, &ends, plan) : 0;
}

static int plan_ways(struct dt_elf *elf, const struct dt_site_search *asked, struct plans *plans)
{
	DT_FREE bool *keep = calloc(plans->count + 1, sizeof(*keep));
	size_t kept = 0;
	int error = keep ? 0 : -ENOMEM;

	for (size_t i = 0; i < plans->count && !error; i++)
		error = plan_way(elf, asked, plans, &plans->plans[i], &keep[i]);
	for (size_t i = 0; i < plans->count && !error; i++)
		if (keep[i])
			plans->plans[kept++] = plans->plans[i];
	plans->count = kept;
	return error;
}

int dt_sites_plan(struct dt_elf *elf, const struct dt_site_search *asked, struct dt_site_plan **ret_plans, size_t *ret_count)
{
	DT_FREE struct found *found = calloc(DT_SITE_PLANS_MAX, sizeof(*found));
	struct search search = { .elf = elf, .asked = asked, .found = found };
	DT_FREE struct dt_site_plan *all = NULL;
	struct plans plans = { 0 };
	int error;

	if (!found)
		return -ENOMEM;
	find_all(&search);
	drop_operators(&search);
	all = calloc(search.count + DT_PYTHON_TABLES * DT_PYTHON_CALLS, sizeof(*all));
	if (!all)
		return -ENOMEM;
	plans.plans = all;
	plan_entries(&search, &plans);
	error = plan_ways(elf, asked, &plans);
	if (error)
		return error;
	*ret_plans = DT_TAKE(all);
	*ret_count = plans.count;
	return 0;
}

/* ---- CPython's allocators ---------------------------------------------------------------------------------------- */

static const enum dt_site python_sites[DT_PYTHON_TABLES][DT_PYTHON_CALLS] = {
	[DT_PYTHON_RAW] = { DT_SITE__PyMem_RawMalloc, DT_SITE__PyMem_RawCalloc, DT_SITE__PyMem_RawRealloc, DT_SITE__PyMem_RawFree },
	[DT_PYTHON_OBJECT] = { DT_SITE__PyObject_Malloc, DT_SITE__PyObject_Calloc, DT_SITE__PyObject_Realloc, DT_SITE__PyObject_Free },
};

static bool is_planned(const struct dt_site_plan *plans, size_t count, uint64_t entry_vaddr)
{
	for (size_t i = 0; i < count; i++)
		if (plans[i].entry_vaddr == entry_vaddr)
			return true;
	return false;
}

int dt_sites_plan_python(const struct dt_elf *elf, const struct dt_site_search *search, const struct dt_python_alloc *alloc,
			 struct dt_site_plan *plans, size_t *count)
{
	size_t end = *count;

	/* PyMem_Malloc() goes through the functions of the one or the other: target/python_alloc. */
	for (size_t table = 0; table < DT_PYTHON_TABLES; table++) {
		for (size_t i = 0; i < DT_PYTHON_CALLS && table != DT_PYTHON_MEM; i++) {
			enum dt_site site = python_sites[table][i];
			uint64_t vaddr = alloc->functions[table][i];

			if (is_planned(plans, end, vaddr))      /* a CPython without an allocator of its own */
				continue;
			if (plan_site(elf, search, site, vaddr, infos[site].symbol, &plans[end]))
				return -ENOTSUP;
			plans[end++].cookie |= alloc->inlined ? DT_COOKIE_NEEDS_ALIASES : 0;
		}
	}
	*count = end;
	return 0;
}
