/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/sites.h"

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"

static const struct dt_site_info infos[DT_SITE_COUNT] = {
#define DT_SITE(name, family, form, size, count, block, out) \
	[DT_SITE_##name] = { .symbol = #name, .source = DT_SOURCE_##family, .shape = DT_SHAPE_##form },
#include <domtrace/sites.def>
#undef DT_SITE
};

const struct dt_site_info *dt_site_info(enum dt_site site)
{
	return &infos[site];
}

static struct dt_site_plan *find_entry(struct dt_site_plan *plans, size_t count, uint64_t entry_vaddr)
{
	for (size_t i = 0; i < count; i++)
		if (plans[i].entry_vaddr == entry_vaddr)
			return &plans[i];
	return NULL;
}

/* The entry itself, for machines or users that do without the cheap places. */
static void move_to_entry(struct dt_site_plan *plan)
{
	plan->place.vaddr = plan->entry_vaddr;
	plan->place.distance = 0;
	plan->place.reason = "the entry: cheap sites are not used";
}

static int plan_site(const struct dt_elf *elf, const char *file, bool cheap, const struct dt_log *log,
		     uint64_t entry_vaddr, enum dt_site site, struct dt_site_plan *plan)
{
	int error = dt_probe_site_find(elf, entry_vaddr, &plan->place);

	plan->site = site;
	plan->cookie = site;
	plan->entry_vaddr = entry_vaddr;
	plan->aliases = 0;
	if (!error && !cheap && plan->place.distance)
		move_to_entry(plan);
	if (!error)
		error = dt_elf_vaddr_to_offset(elf, plan->place.vaddr, &plan->offset);
	if (error)
		dt_log_warning(log, "%s in %s cannot be probed (%s): its calls are not traced", infos[site].symbol, file, strerror(-error));
	return error;
}

/*
 * The files of a process call each other's functions by their dynamic symbols. A program that no loader takes part in is one file:
 * what its allocator's functions are called is in its other symbols, if it was not stripped of them.
 */
static bool is_callable(const struct dt_elf *elf, const struct dt_elf_symbol *symbol)
{
	if (!symbol->function || symbol->indirect)
		return false;
	return symbol->dynamic || (symbol->global && dt_elf_entry(elf) && !dt_elf_interpreter(elf));
}

int dt_sites_plan(const struct dt_elf *elf, const char *file, bool cheap, const struct dt_log *log,
		  struct dt_site_plan **ret_plans, size_t *ret_count)
{
	DT_FREE struct dt_site_plan *plans = calloc(DT_SITE_COUNT, sizeof(*plans));
	size_t count = 0;

	if (!plans)
		return -ENOMEM;
	for (enum dt_site site = 0; site < DT_SITE_COUNT; site++) {
		struct dt_elf_symbol symbol;
		struct dt_site_plan *same;

		if (infos[site].source == DT_SOURCE_PYTHON || dt_elf_find_symbol(elf, infos[site].symbol, &symbol) ||
		    !is_callable(elf, &symbol))
			continue;
		same = find_entry(plans, count, symbol.vaddr);
		if (same && infos[same->site].shape == infos[site].shape)
			same->aliases |= 1u << site;
		else if (!plan_site(elf, file, cheap, log, symbol.vaddr, site, &plans[count]))
			count++;
	}
	*ret_plans = DT_TAKE(plans);
	*ret_count = count;
	return 0;
}

static const enum dt_site python_sites[DT_PYTHON_TABLES][DT_PYTHON_CALLS] = {
	[DT_PYTHON_RAW] = { DT_SITE__PyMem_RawMalloc, DT_SITE__PyMem_RawCalloc, DT_SITE__PyMem_RawRealloc, DT_SITE__PyMem_RawFree },
	[DT_PYTHON_OBJECT] = { DT_SITE__PyObject_Malloc, DT_SITE__PyObject_Calloc, DT_SITE__PyObject_Realloc, DT_SITE__PyObject_Free },
};

int dt_sites_plan_python(const struct dt_elf *elf, const char *file, bool cheap, const struct dt_log *log,
			 const struct dt_python_alloc *alloc, struct dt_site_plan *plans, size_t *count)
{
	size_t end = *count;

	/* PyMem_Malloc() goes through the functions of the one or the other: target/python_alloc. */
	for (size_t table = 0; table < DT_PYTHON_TABLES; table++) {
		for (size_t i = 0; i < DT_PYTHON_CALLS && table != DT_PYTHON_MEM; i++) {
			uint64_t vaddr = alloc->functions[table][i];
			int error;

			if (find_entry(plans, end, vaddr))      /* a CPython without an allocator of its own */
				continue;
			error = plan_site(elf, file, cheap, log, vaddr, python_sites[table][i], &plans[end]);
			if (error)
				return -ENOTSUP;
			plans[end++].cookie |= alloc->inlined ? DT_COOKIE_NEEDS_ALIASES : 0;
		}
	}
	*count = end;
	return 0;
}
