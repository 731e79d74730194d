/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/traced.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

struct dt_traced *dt_traced_new(pid_t pid, int pidfd)
{
	struct dt_traced *traced = calloc(1, sizeof(*traced));

	if (!traced)
		return NULL;
	traced->pid = pid;
	traced->pidfd = pidfd;
	return traced;
}

void dt_traced_free(struct dt_traced *traced)
{
	if (!traced)
		return;
	dt_links_close(&traced->links);
	dt_process_info_clear(&traced->info);
	dt_maps_clear(&traced->maps);
	free(traced->attached);
	if (traced->pidfd >= 0)
		close(traced->pidfd);
	free(traced);
}

int dt_traced_read_maps(struct dt_traced *traced)
{
	struct dt_maps maps;
	int error = dt_maps_read(traced->pid, &maps);

	if (error)
		return error;
	if (!maps.count) {              /* a process that is ending has given its memory back */
		dt_maps_clear(&maps);
		return -ESRCH;
	}
	dt_maps_clear(&traced->maps);
	traced->maps = maps;
	return 0;
}

int dt_traced_read_image(pid_t pid, uint64_t *ret_image)
{
	DT_FREE char *text = NULL;
	char path[64], *field;
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
	*ret_image = strtoull(field + 1, NULL, 10);     /* field 28, startstack: proc(5) */
	return 0;
}

static bool is_attached(const struct dt_traced *traced, const struct dt_module *module)
{
	for (size_t i = 0; i < traced->attached_count; i++)
		if (traced->attached[i] == module)
			return true;
	return false;
}

static int remember_attached(struct dt_traced *traced, const struct dt_module *module)
{
	const struct dt_module **grown = realloc(traced->attached, (traced->attached_count + 1) * sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	traced->attached = grown;
	traced->attached[traced->attached_count++] = module;
	return 0;
}

/* What the programs must know of the process, from all that it maps now. */
static void fill_row(struct dt_process *row, const struct dt_module *module, uint64_t bias)
{
	const struct dt_python *python = &module->python;

	if (module->has_python && python->layout) {
		row->python = *python->layout;
		row->thread_key = python->thread_key_vaddr + bias;
		row->thread_current = python->thread_current_vaddr + bias;
	}
	if (module->has_tls_layout) {
		row->tls_first_block = module->tls_first_block;
		row->tls_blocks = module->tls_blocks;
	}
	for (size_t i = 0, to = 0; i < module->allocator_call_count; i++) {
		while (to < DT_ALLOCATOR_CALLS_MAX && row->allocator_calls[to])
			to++;
		if (to < DT_ALLOCATOR_CALLS_MAX)
			row->allocator_calls[to++] = module->allocator_calls[i] + bias;
	}
}

static void count_sites(struct dt_traced *traced, const struct dt_module *module, const struct dt_attach_filter *filter)
{
	for (size_t i = 0; i < module->plan_count; i++) {
		enum dt_source source = dt_site_info(module->plans[i].site)->source;

		traced->sites[source] += filter->sources[source];
	}
}

static void note_python(struct dt_traced *traced, const struct dt_module *module, const struct dt_log *log)
{
	if (!module->has_python)
		return;
	traced->python = &module->python;
	if (!module->python.layout)
		dt_log_warning(log, "process %d runs CPython %s, whose frames domtrace does not understand: its tracebacks are native",
			       (int)traced->pid, module->python.version);
}

static int attach_module(struct dt_traced *traced, const struct dt_mapping *mapping, const struct dt_module *module,
			 const struct domtrace_bpf *bpf, enum dt_attach_method method,
			 const struct dt_attach_filter *filter, const struct dt_log *log)
{
	int error = dt_attach_module(bpf, method, filter, traced->pid, mapping, module, log, &traced->links);

	if (!error)
		error = remember_attached(traced, module);
	if (error)
		return error;
	count_sites(traced, module, filter);
	note_python(traced, module, log);
	return 0;
}

int dt_traced_attach(struct dt_traced *traced, struct dt_modules *modules, const struct domtrace_bpf *bpf,
		     enum dt_attach_method method, const struct dt_attach_filter *filter, const struct dt_log *log)
{
	struct dt_process row = { .generation = traced->row.generation, .hold_signal = traced->row.hold_signal };
	const struct dt_module *before = NULL;

	for (size_t i = 0; i < traced->maps.count; i++) {
		const struct dt_mapping *mapping = &traced->maps.mappings[i];
		struct dt_module *module;
		uint64_t bias;
		int error;

		if (!mapping->executable || !mapping->inode)
			continue;
		error = dt_modules_get(modules, traced->pid, mapping, &module);
		if (error == -ENOMEM)
			return error;
		if (error || !module->elf || module == before || dt_module_bias(module, mapping, &bias))
			continue;
		if (!is_attached(traced, module)) {
			error = attach_module(traced, mapping, module, bpf, method, filter, log);
			if (error)
				return error;
		}
		fill_row(&row, module, bias);
		before = module;        /* a file may have several executable mappings, side by side */
	}
	traced->row = row;
	return 0;
}

bool dt_traced_has_allocator(const struct dt_traced *traced)
{
	for (size_t i = 0; i < traced->attached_count; i++)
		for (size_t j = 0; j < traced->attached[i]->plan_count; j++)
			if (dt_site_info(traced->attached[i]->plans[j].site)->source == DT_SOURCE_LIBC)
				return true;
	return false;
}

void dt_traced_forget_image(struct dt_traced *traced)
{
	traced->python = NULL;
	traced->row = (struct dt_process){ .generation = traced->row.generation + 1 };
}
