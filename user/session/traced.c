/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/traced.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

struct dt_known_maps *dt_known_maps_share(struct dt_known_maps *known)
{
	if (known)
		known->references++;
	return known;
}

void dt_known_maps_release(struct dt_known_maps *known)
{
	if (!known || --known->references)
		return;
	dt_maps_clear(&known->maps);
	free(known);
}

struct dt_traced *dt_traced_new(pid_t pid, int pidfd)
{
	struct dt_traced *traced = calloc(1, sizeof(*traced));

	if (traced) {
		traced->pid = pid;
		traced->pidfd = pidfd;
		traced->generation = 1;
	} else if (pidfd >= 0) {
		close(pidfd);
	}
	return traced;
}

void dt_traced_free(struct dt_traced *traced)
{
	if (!traced)
		return;
	dt_links_close(&traced->links);
	dt_process_info_clear(&traced->info);
	dt_known_maps_release(traced->maps);
	free(traced->mappings);
	free(traced->inherited);
	dt_declared_clear(&traced->declared);
	free(traced->attached);
	if (traced->pidfd >= 0)
		close(traced->pidfd);
	free(traced);
}

static bool is_same_code(const struct dt_mapping *left, const struct dt_mapping *right)
{
	return left->start == right->start && left->end == right->end && left->offset == right->offset &&
	       left->device == right->device && left->inode == right->inode;
}

static const struct dt_mapping *next_code(const struct dt_maps *maps, size_t *at)
{
	while (*at < maps->count)
		if (maps->mappings[(*at)++].executable)
			return &maps->mappings[*at - 1];
	return NULL;
}

static bool have_same_code(const struct dt_maps *left, const struct dt_maps *right)
{
	const struct dt_mapping *a, *b;
	size_t i = 0, j = 0;

	do {
		a = next_code(left, &i);
		b = next_code(right, &j);
	} while (a && b && is_same_code(a, b));
	return !a && !b;
}

int dt_traced_read_maps(struct dt_traced *traced, uint32_t version, bool *ret_changed)
{
	struct dt_known_maps *known = calloc(1, sizeof(*known));
	int error = known ? dt_maps_read(traced->pid, &known->maps) : -ENOMEM;

	if (error) {
		free(known);
		return error;
	}
	known->references = 1;
	if (!known->maps.count) {       /* a process that is ending has given its memory back */
		dt_known_maps_release(known);
		return -ESRCH;
	}
	*ret_changed = !traced->maps || !have_same_code(&traced->maps->maps, &known->maps);
	if (!*ret_changed) {
		dt_known_maps_release(known);
		return 0;
	}
	known->version = traced->row.mappings_version = version;
	dt_known_maps_release(traced->maps);
	traced->maps = known;
	return 0;
}

int dt_traced_read_image(pid_t pid, uint64_t *ret_image)
{
	DT_FREE char *text = NULL;
	char path[64], *field;
	uint64_t image;
	int error;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	error = dt_file_read(path, &text, NULL);
	if (error)
		return error == -ENOENT ? -ESRCH : error;
	field = strrchr(text, ')');     /* the name before may hold anything */
	for (int i = 2; field && i < 28; i++)
		field = strchr(field + 1, ' ');
	if (!field)
		return -EBADMSG;
	image = strtoull(field + 1, NULL, 10);          /* field 28, startstack: proc(5) */
	/* 0 is told of a process that has given its memory back (fs/proc/array.c, do_task_stat()): it ends, nothing replaces it. */
	if (!image)
		return -ESRCH;
	*ret_image = image;
	return 0;
}

static bool is_attached(const struct dt_traced *traced, const struct dt_module *module)
{
	for (size_t i = 0; i < traced->attached_count; i++)
		if (traced->attached[i] == module)
			return true;
	return false;
}

static int remember_attached(struct dt_traced *traced, struct dt_module *module)
{
	struct dt_module **grown = realloc(traced->attached, (traced->attached_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	traced->attached = grown;
	traced->attached[traced->attached_count++] = module;
	return 0;
}

/* False: there is no room for all of them. */
static bool fill_untold(struct dt_process *row, const struct dt_module *module, uint64_t bias)
{
	size_t to = 0;

	for (size_t i = 0; i < module->untold_count; i++) {
		while (to < DT_UNTOLD_MAX && row->untold[to].untrack)
			to++;
		if (to == DT_UNTOLD_MAX)
			return false;
		row->untold[to] = module->untold[i];
		row->untold[to].untrack += bias;
		row->untold[to].track += row->untold[to].track ? bias : 0;
	}
	return true;
}

/* What the programs must know of the process, from all that it maps now. */
static void fill_row(const struct dt_traced *traced, struct dt_process *row, const struct dt_module *module, uint64_t bias)
{
	if (traced->python == &module->python)
		dt_python_place(traced->python, traced->pid, bias, &row->python);
	if (module->has_tls_layout) {
		row->python.tls_first_block = module->tls_first_block;
		row->python.tls_blocks = module->tls_blocks;
	}
	if (module->loader_state_vaddr)
		row->loader_state = module->loader_state_vaddr + bias;
	for (size_t i = 0, to = 0; i < module->allocator_call_count; i++) {
		while (to < DT_ALLOCATOR_CALLS_MAX && row->allocator_calls[to])
			to++;
		if (to < DT_ALLOCATOR_CALLS_MAX)
			row->allocator_calls[to++] = module->allocator_calls[i] + bias;
	}
}

/* A program, its loader and its C library stay as long as it runs. */
static bool is_removable(const struct dt_module *module)
{
	return !module->has_tls_layout && !module->debug_state_vaddr && !dt_elf_interpreter(module->elf);
}

/* How the code of a mapping is walked; `module` NULL: it is not of an ELF file. */
static void fill_mapping(const struct dt_mapping *mapping, const struct dt_module *module, uint64_t bias, struct dt_mapping_row *row)
{
	*row = (struct dt_mapping_row){ .start = mapping->start, .end = mapping->end };
	if (!module) {
		if (mapping->path && !strcmp(mapping->path, "[uprobes]"))
			row->flags = DT_MAPPING_RETURN_PROBES;
		return;
	}
	row->base = module->unwind.vaddr + bias;
	row->pages = module->unwind.pages;
	row->page_count = module->unwind.page_count;
	row->flags = (module->unwind.lost ? DT_MAPPING_TABLE_LOST : 0) | (dt_module_is_allocator(module) ? DT_MAPPING_ALLOCATOR : 0);
	if (mapping->inode && is_removable(module)) {
		row->flags |= DT_MAPPING_REMOVABLE;
		row->file = module->number;
	}
}

static bool count_sites(const struct dt_module *module, const struct dt_attach_filter *filter, size_t sites[DT_SOURCE_COUNT])
{
	bool any = false;

	for (size_t i = 0; i < module->plan_count; i++) {
		const struct dt_site_info *info = dt_site_info(module->plans[i].site);
		bool counts = filter->sources[info->source] && dt_shape_is_booked(info->shape);

		sites[info->source] += counts;
		any = any || counts;
	}
	return any;
}

static void note_python(struct dt_traced *traced, struct dt_module *module, const struct dt_log *log)
{
	if (!module->has_python || traced->python == &module->python || (traced->python && !traced->python->unsupported))
		return;
	traced->python_module = module;
	traced->python = &module->python;
	if (module->python.unsupported)
		dt_log_warning(log, "process %d runs CPython %s, %s: its tracebacks are native",
			       (int)traced->pid, module->python.version, module->python.unsupported);
	else if (!module->python.code_free_vaddr)
		dt_log_debug(log, "process %d runs CPython %s, built so that the end of a code object cannot be seen: "
			     "each is read again for each event", (int)traced->pid, module->python.version);
}

int dt_traced_note_names(struct dt_traced *traced, const struct dt_module *module, const struct dt_log *log)
{
	bool was_full = traced->declared.full;
	int error = 0;

	for (size_t i = 0; i < module->notes.name_count && error != -ENOMEM; i++)
		error = dt_declared_add(&traced->declared, module->notes.names[i].domain, 0, module->notes.names[i].name);
	dt_traced_say_full(traced, was_full, log);
	return error == -ENOMEM ? error : 0;
}

void dt_traced_say_full(const struct dt_traced *traced, bool was_full, const struct dt_log *log)
{
	if (traced->declared.full && !was_full)
		dt_log_warning(log, "process %d names its domains more than %d times: others are shown by their numbers, or by an earlier name",
			       (int)traced->pid, DT_DECLARED_NAMES_MAX);
}

void dt_known_maps_use_modules(struct dt_known_maps *known, struct dt_modules *modules)
{
	if (!known || known->turn == modules->turn)
		return;
	known->turn = modules->turn;
	dt_modules_use_maps(modules, &known->maps);
}

void dt_traced_use_modules(const struct dt_traced *traced, struct dt_modules *modules)
{
	const char *alloc = (const char *)traced->python_calls.alloc;

	dt_known_maps_use_modules(traced->maps, modules);
	dt_modules_use(modules, traced->python_module);
	if (alloc)
		dt_modules_use(modules, (struct dt_module *)(uintptr_t)(alloc - offsetof(struct dt_module, python_alloc)));
	for (size_t i = 0; i < traced->attached_count; i++)
		dt_modules_use(modules, traced->attached[i]);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* For all processes at once, or for this one. */
static int attach_module(struct dt_traced *traced, const struct dt_mapping *mapping, struct dt_module *module,
			 const struct dt_attach_target *target)
{
	pid_t pid = traced->pid;
	int error;

	if (target->for_all) {
		error = dt_attach_module(target, pid, mapping, module, &module->links);
		module->attached_ns = error ? 0 : now_ns();
		return error;
	}
	error = dt_attach_module(target, pid, mapping, module, &traced->links);
	return error ? error : remember_attached(traced, module);
}

/* The module of a mapping and where it lies; *ret_module is NULL for code that is of no ELF file, or of one that cannot be read: -errno. */
static int find_module(const struct dt_traced *traced, struct dt_modules *modules, const struct dt_mapping *mapping,
		       struct dt_module **ret_module, uint64_t *ret_bias)
{
	struct dt_module *module;
	int error;

	*ret_module = NULL;
	if (!mapping->inode && (!mapping->path || strcmp(mapping->path, "[vdso]")))
		return 0;
	error = dt_modules_get(modules, traced->pid, mapping, &module);
	if (!error && module->elf && !dt_module_bias(module, mapping, ret_bias))
		*ret_module = module;
	return error;
}

/* What becomes known of a program while its mappings are gone through. */
struct making {
	struct dt_process row;
	struct dt_mapping_row *mappings;
	size_t sites[DT_SOURCE_COUNT];
};

static int make(const struct dt_traced *traced, struct making *making)
{
	*making = (struct making){ .row = traced->row, .mappings = calloc(traced->maps->maps.count + 1, sizeof(*making->mappings)) };
	making->row.mapping_count = 0;
	making->row.python = (struct dt_interpreter){ 0 };
	memset(making->row.allocator_calls, 0, sizeof(making->row.allocator_calls));
	memset(making->row.untold, 0, sizeof(making->row.untold));
	making->row.loader_state = 0;
	return making->mappings ? 0 : -ENOMEM;
}

static void clear_making(struct making *making)
{
	free(making->mappings);
}

static void keep(struct dt_traced *traced, struct making *making)
{
	making->row.python.frees_are_seen = making->row.python.present && traced->python->code_free_vaddr;
	traced->row = making->row;
	memcpy(traced->sites, making->sites, sizeof(making->sites));
	free(traced->mappings);
	traced->mappings = DT_TAKE(making->mappings);
}

/* What a module tells of the program that has mapped it. */
static void note_module(struct dt_traced *traced, struct making *making, struct dt_module *module, uint64_t bias,
			const struct dt_attach_target *target)
{
	/* What it called before the file was probed for all was not seen, unless it was held. */
	if (count_sites(module, target->filter, making->sites) && target->started_ns && target->started_ns < module->attached_ns)
		traced->late = true;
	note_python(traced, module, target->log);
	fill_row(traced, &making->row, module, bias);
	if (!fill_untold(&making->row, module, bias) && !traced->untold_said) {
		traced->untold_said = true;
		dt_log_warning(target->log, "process %d has more than %d calls behind which NumPy may say nothing of a block: "
			       "blocks may be missing", (int)traced->pid, DT_UNTOLD_MAX);
	}
	if (module->has_python_alloc && !traced->python_calls.alloc)
		traced->python_calls = (struct dt_python_calls){ .alloc = &module->python_alloc, .bias = bias };
}

/* *before is the module of the mapping before: a file may have several executable mappings, side by side. */
static int make_mapping(struct dt_traced *traced, struct making *making, struct dt_modules *modules, const struct dt_mapping *mapping,
			const struct dt_attach_target *target, const struct dt_module **before)
{
	struct dt_mapping_row *row = &making->mappings[making->row.mapping_count];
	struct dt_module *module;
	uint64_t bias = 0;
	int error = find_module(traced, modules, mapping, &module, &bias);

	if (error == -ENOMEM)
		return error;
	fill_mapping(mapping, module, bias, row);
	if (error)                      /* its table is not known: that is not to have none */
		row->flags |= DT_MAPPING_TABLE_LOST;
	making->row.mapping_count++;
	if (!module || module == *before || !mapping->inode)
		return 0;
	if (!(target->for_all ? module->attached_ns : is_attached(traced, module))) {
		error = attach_module(traced, mapping, module, target);
		if (error)              /* -ENOENT: unmapped since the mappings were read: nothing runs there */
			return error == -ENOENT ? 0 : error;
	}
	note_module(traced, making, module, bias, target);
	*before = module;
	return dt_traced_note_names(traced, module, target->log);
}

int dt_traced_attach(struct dt_traced *traced, struct dt_modules *modules, const struct dt_attach_target *target)
{
	DT_CLEANUP(clear_making) struct making making = { .mappings = NULL };
	const struct dt_module *before = NULL;
	int error = make(traced, &making);

	for (size_t i = 0; i < traced->maps->maps.count && !error; i++)
		if (traced->maps->maps.mappings[i].executable)
			error = make_mapping(traced, &making, modules, &traced->maps->maps.mappings[i], target, &before);
	if (!error)
		keep(traced, &making);
	return error;
}
