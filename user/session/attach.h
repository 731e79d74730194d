/* SPDX-License-Identifier: BSD-2-Clause */
/* attach: puts the programs on the sites of one file in one process. */
#ifndef DT_SESSION_ATTACH_H
#define DT_SESSION_ATTACH_H

#include <stdbool.h>
#include <stddef.h>

#include "session/feature.h"
#include "session/module.h"

struct domtrace_bpf;

/* How entry and return of a call are attached; each the fallback of the one before. */
enum dt_attach_method {
	DT_ATTACH_SESSION,              /* one uprobe session link a file */
	DT_ATTACH_MULTI,                /* a uprobe_multi link for the entries, one for the returns */
	DT_ATTACH_SINGLE,               /* a perf event for each site, and one for its return */
};

enum dt_attach_method dt_attach_method_choose(const struct dt_features *features);

/* What is traced. */
struct dt_attach_filter {
	bool sources[DT_SOURCE_COUNT];
	bool python_frames;
};

/* Chooses, before load, which programs are loaded and how they will be attached. */
int dt_attach_prepare(struct domtrace_bpf *bpf, enum dt_attach_method method, bool markers);

/* How a session attaches. */
struct dt_attach_target {
	const struct domtrace_bpf *bpf;
	enum dt_attach_method method;
	const struct dt_attach_filter *filter;
	const struct dt_log *log;
	bool for_all;                   /* a file is probed once, for every process that maps it or will */
	uint64_t started_ns;            /* when the process began (CLOCK_MONOTONIC); 0: not known, or it is held */
};

/*
 * Attaches all wanted sites of a module, which process `pid` maps there, the loader's hook included; in that process or in all.
 * Nothing stays attached on failure, which is said.
 */
int dt_attach_module(const struct dt_attach_target *target, pid_t pid, const struct dt_mapping *mapping,
		     const struct dt_module *module, struct dt_links *links);

#endif
