/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

static void module_free(struct dt_module *module)
{
	if (!module)
		return;
	dt_symbols_free(module->symbols);
	dt_elf_close(module->elf);
	free(module->plans);
	free(module->path);
	free(module);
}

/* The calls of free() that never hand back a block of the program: those that do not go through the PLT. */
static int find_allocator_calls(struct dt_module *module)
{
	for (size_t i = 0; i < module->plan_count; i++) {
		if (dt_site_info(module->plans[i].site)->shape != DT_SHAPE_FREE)
			continue;
		return dt_probe_site_find_callers(module->elf, module->plans[i].entry_vaddr, module->allocator_calls,
						  DT_ALLOCATOR_CALLS_MAX, &module->allocator_call_count);
	}
	return 0;
}

/* Where the loader's hook for debuggers is probed: like any other site, never on a 5-byte nop. */
static uint64_t find_debug_state(const struct dt_elf *elf)
{
	struct dt_elf_symbol symbol;
	struct dt_probe_site place;

	if (dt_elf_find_symbol(elf, "_dl_debug_state", &symbol) || !symbol.function || dt_probe_site_find(elf, symbol.vaddr, &place))
		return 0;
	return place.vaddr;
}

static int read_elf(struct dt_modules *modules, struct dt_module *module, int fd)
{
	int error = dt_elf_open(fd, &module->elf);

	if (error)
		return error == -ENOMEM ? error : 0;    /* mapped, executable, not ELF: code that has no names */
	error = dt_symbols_new(module->elf, &module->symbols);
	if (!error)
		error = dt_sites_plan(module->elf, module->path, modules->cheap_sites, modules->log,
				      &module->plans, &module->plan_count);
	if (!error)
		error = find_allocator_calls(module);
	if (error)
		return error;
	if (module->allocator_call_count > DT_ALLOCATOR_CALLS_MAX)
		module->allocator_call_count = 0;       /* so many: not the pattern of an allocator's own housekeeping */
	module->has_python = !dt_python_detect(module->elf, &module->python);
	module->has_tls_layout = !dt_python_read_tls_layout(module->elf, &module->tls_first_block, &module->tls_blocks);
	module->debug_state_vaddr = find_debug_state(module->elf);
	return 0;
}

static int module_new(struct dt_modules *modules, pid_t pid, const struct dt_mapping *mapping, struct dt_module **ret_module)
{
	int fd = dt_mapping_open(pid, mapping), error;
	struct dt_module *module;

	if (fd < 0)
		return fd;
	module = calloc(1, sizeof(*module));
	if (module) {
		module->key.device = mapping->device;
		module->key.inode = mapping->inode;
		module->path = strdup(mapping->path ? mapping->path : "?");
	}
	if (!module || !module->path) {
		close(fd);
		module_free(module);
		return -ENOMEM;
	}
	error = read_elf(modules, module, fd);
	if (error) {
		module_free(module);
		return error;
	}
	*ret_module = module;
	return 0;
}

int dt_modules_get(struct dt_modules *modules, pid_t pid, const struct dt_mapping *mapping, struct dt_module **ret_module)
{
	struct dt_module *module, probe = { .key = { mapping->device, mapping->inode } };
	int error;

	HASH_FIND(hh, modules->table, &probe.key, sizeof(probe.key), module);
	if (!module) {
		error = module_new(modules, pid, mapping, &module);
		if (error)
			return error;
		HASH_ADD(hh, modules->table, key, sizeof(module->key), module);
	}
	*ret_module = module;
	return 0;
}

void dt_modules_clear(struct dt_modules *modules)
{
	struct dt_module *module, *next;

	HASH_ITER(hh, modules->table, module, next) {
		HASH_DEL(modules->table, module);
		module_free(module);
	}
}

int dt_module_bias(const struct dt_module *module, const struct dt_mapping *mapping, uint64_t *ret_bias)
{
	uint64_t vaddr;
	int error = dt_elf_offset_to_vaddr(module->elf, mapping->offset, &vaddr);

	if (!error)
		*ret_bias = mapping->start - vaddr;
	return error;
}
