/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/attach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "base/cleanup.h"
#include "session/skeleton.h"
#include "session/link.h"

enum dt_attach_method dt_attach_method_choose(const struct dt_features *features)
{
	if (!features->has[DT_FEATURE_MULTI])
		return DT_ATTACH_SINGLE;
	return features->has[DT_FEATURE_SESSION] ? DT_ATTACH_SESSION : DT_ATTACH_MULTI;
}

/* ---- which program for which shape ------------------------------------------------------------------------------- */

enum role {
	ROLE_ALLOC_ENTER,
	ROLE_ALLOC_EXIT,
	ROLE_ALLOC_SESSION,
	ROLE_FREE,
	ROLE_RELEASE,
	ROLE_NEW_ENTER,
	ROLE_NEW_EXIT,
	ROLE_TRACK,
	ROLE_UNTRACK,
	ROLE_NAME,
	ROLE_VFORK,
	ROLE_DROP,
	ROLE_CONTROL,
	ROLE_CODE,
	ROLE_MAPPINGS,
	ROLE_MARKER,
	ROLE_COUNT,
};

static const struct {
	const char *name;
	bool returns;
	bool session;                   /* attached as a session */
	bool methods[3];                /* loaded for this enum dt_attach_method */
} roles[ROLE_COUNT] = {
	[ROLE_ALLOC_ENTER] = { "alloc_enter", false, false, { false, true, true } },
	[ROLE_ALLOC_EXIT] = { "alloc_exit", true, false, { false, true, true } },
	[ROLE_ALLOC_SESSION] = { "alloc_session", false, true, { true, false, false } },
	[ROLE_FREE] = { "free_enter", false, false, { true, true, true } },
	[ROLE_RELEASE] = { "release_enter", false, false, { true, true, true } },
	[ROLE_NEW_ENTER] = { "new_enter", false, false, { true, true, true } },
	[ROLE_NEW_EXIT] = { "new_exit", false, false, { true, true, true } }, /* at its ends, not at its return */
	[ROLE_TRACK] = { "track_enter", false, false, { true, true, true } },
	[ROLE_UNTRACK] = { "untrack_enter", false, false, { true, true, true } },
	[ROLE_NAME] = { "name_enter", false, false, { true, true, true } },
	[ROLE_VFORK] = { "vfork_enter", false, false, { true, true, false } }, /* a single probe sees the child's calls, too */
	[ROLE_DROP] = { "drop_enter", false, false, { true, true, true } },
	[ROLE_CONTROL] = { "control_enter", false, false, { true, true, true } },
	[ROLE_CODE] = { "code_enter", false, false, { true, true, true } },
	[ROLE_MAPPINGS] = { "mappings_enter", false, false, { true, true, true } },
	[ROLE_MARKER] = { "marker_enter", false, false, { true, true, true } }, /* if they are asked for */
};

static bool role_serves(enum role role, enum dt_shape shape)
{
	switch (shape) {
	case DT_SHAPE_FREE:
		return role == ROLE_FREE;
	case DT_SHAPE_RELEASE:
		return role == ROLE_RELEASE;
	case DT_SHAPE_NEW:
		return role == ROLE_NEW_ENTER || role == ROLE_NEW_EXIT;
	case DT_SHAPE_TRACK:
		return role == ROLE_TRACK;
	case DT_SHAPE_UNTRACK:
		return role == ROLE_UNTRACK;
	case DT_SHAPE_NAME:
		return role == ROLE_NAME;
	case DT_SHAPE_VFORK:
		return role == ROLE_VFORK;
	case DT_SHAPE_DROP:
		return role == ROLE_DROP;
	case DT_SHAPE_CONTROL:
		return role == ROLE_CONTROL;
	default:
		return role == ROLE_ALLOC_ENTER || role == ROLE_ALLOC_EXIT || role == ROLE_ALLOC_SESSION;
	}
}

static int role_attach_type(enum role role, enum dt_attach_method method)
{
	if (method == DT_ATTACH_SINGLE)
		return 0;
	return roles[role].session ? DT_BPF_TRACE_UPROBE_SESSION : DT_BPF_TRACE_UPROBE_MULTI;
}

int dt_attach_prepare(struct domtrace_bpf *bpf, enum dt_attach_method method, bool markers)
{
	for (enum role role = 0; role < ROLE_COUNT; role++) {
		struct bpf_program *program = bpf_object__find_program_by_name(bpf->obj, roles[role].name);
		int error;

		if (!program)
			return -ENOENT;
		error = bpf_program__set_autoload(program, roles[role].methods[method] && (markers || role != ROLE_MARKER));
		if (!error)
			error = bpf_program__set_expected_attach_type(program, (enum bpf_attach_type)role_attach_type(role, method));
		if (error)
			return error;
	}
	return 0;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

#define PLACES_MAX 1024                 /* of one program in one file */
_Static_assert(DT_SITE_PLANS_MAX < PLACES_MAX, "each function takes one, but for its ends");
_Static_assert(DT_NOTE_PROBES_MAX < PLACES_MAX, "each probe takes one");

struct places {
	uint64_t offsets[PLACES_MAX], cookies[PLACES_MAX];
	size_t count;
};

/* Once each: functions may end in the same code. */
static void add_place(struct places *places, uint64_t offset, uint64_t cookie, bool *full)
{
	for (size_t i = 0; i < places->count; i++)
		if (places->offsets[i] == offset)
			return;
	*full = *full || places->count == PLACES_MAX;
	if (places->count == PLACES_MAX)
		return;
	places->offsets[places->count] = offset;
	places->cookies[places->count++] = cookie;
}

static int attach_places(const struct dt_attach_target *target, enum role role, const char *path, pid_t pid,
			 const struct places *places, struct dt_links *links)
{
	int program_fd = bpf_program__fd(bpf_object__find_program_by_name(target->bpf->obj, roles[role].name)), fd, error = 0;

	if (target->method != DT_ATTACH_SINGLE) {
		fd = dt_link_create_multi(program_fd, role_attach_type(role, target->method), path, places->offsets, places->cookies,
					  places->count, pid, roles[role].returns);
		return fd < 0 ? fd : dt_links_add(links, fd);
	}
	for (size_t i = 0; i < places->count && !error; i++) {
		fd = dt_link_create_single(program_fd, path, places->offsets[i], places->cookies[i], pid, roles[role].returns);
		error = fd < 0 ? fd : dt_links_add(links, fd);
	}
	return error;
}

/* Places that are no sites: one each. */
static uint64_t find_place(const struct dt_module *module, const struct dt_attach_filter *filter, enum role role)
{
	if (role == ROLE_CODE && module->has_python && filter->python_frames)
		return module->python.code_free_vaddr;
	return role == ROLE_MAPPINGS ? module->debug_state_vaddr : 0;
}

static int collect_places(const struct dt_module *module, const struct dt_attach_filter *filter, enum role role, struct places *places)
{
	bool full = false;
	uint64_t place;

	places->count = 0;
	for (size_t i = 0; i < module->plan_count; i++) {
		const struct dt_site_plan *plan = &module->plans[i];
		const struct dt_site_info *info = dt_site_info(plan->site);

		if (!filter->sources[info->source] || !role_serves(role, info->shape))
			continue;
		if (role != ROLE_NEW_EXIT)
			add_place(places, plan->offset, plan->cookie, &full);
		for (size_t end = 0; role == ROLE_NEW_EXIT && end < plan->end_count; end++)
			add_place(places, plan->end_offsets[end], plan->cookie, &full);
	}
	for (size_t i = 0; i < module->marker_count && role == ROLE_MARKER; i++)
		add_place(places, module->markers[i].offset, module->markers[i].cookie, &full);
	place = find_place(module, filter, role);
	if (place && !dt_elf_vaddr_to_offset(module->elf, place, &places->offsets[0])) {
		places->cookies[0] = 0;
		places->count = 1;
	}
	return full ? -E2BIG : 0;
}

/* Returns before entries: no entry may be seen whose return is not. */
static const enum role attach_order[] = {
	ROLE_ALLOC_EXIT, ROLE_ALLOC_ENTER, ROLE_ALLOC_SESSION, ROLE_FREE, ROLE_RELEASE, ROLE_NEW_EXIT, ROLE_NEW_ENTER,
	ROLE_NAME, ROLE_TRACK, ROLE_UNTRACK, ROLE_VFORK, ROLE_DROP, ROLE_CONTROL, ROLE_CODE, ROLE_MAPPINGS, ROLE_MARKER,
};

int dt_attach_module(const struct dt_attach_target *target, pid_t pid, const struct dt_mapping *mapping,
		     const struct dt_module *module, struct dt_links *links)
{
	DT_FREE char *path = NULL;
	size_t before = links->count;
	int error = dt_mapping_path(pid, mapping, &path);

	for (size_t i = 0; i < DT_ARRAY_SIZE(attach_order) && !error; i++) {
		enum role role = attach_order[i];
		struct places places;

		/* Where all processes that map a file are probed a child of vfork() is, too. */
		if (!roles[role].methods[target->method] || (role == ROLE_VFORK && target->for_all))
			continue;
		error = collect_places(module, target->filter, role, &places);
		if (!error && places.count)
			error = attach_places(target, role, path, target->for_all ? 0 : pid, &places, links);
	}
	if (error) {
		dt_links_cut(links, before);
		if (error == -ESRCH || error == -ENOENT)
			return error;   /* the process or the mapping has gone; whoever asked for it says so */
		return dt_log_error(target->log, error, "cannot attach to %s in process %d: %s", module->path, (int)pid, strerror(-error));
	}
	return 0;
}
