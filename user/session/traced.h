/* SPDX-License-Identifier: BSD-2-Clause */
/* traced: one traced image: a process from when it is added, or from its fork or exec, to its exec or end. */
#ifndef DT_SESSION_TRACED_H
#define DT_SESSION_TRACED_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "session/attach.h"
#include "session/declared.h"
#include "session/module.h"
#include "session/python_calls.h"
#include "target/maps.h"
#include "target/process.h"

/* What a process mapped at some time; shared by those that still speak of it. */
struct dt_known_maps {
	unsigned int references;
	uint32_t version;               /* dt_process.mappings_version */
	uint64_t turn;                  /* dt_modules.turn when its modules were last named */
	struct dt_maps maps;
};

struct dt_known_maps *dt_known_maps_share(struct dt_known_maps *known);
/* NULL does nothing. */
void dt_known_maps_release(struct dt_known_maps *known);

/* Blocks that an image had when it was forked off, of one traceback. */
struct dt_inherited {
	struct dt_owner owner;
	uint64_t traceback;
	uint64_t blocks, bytes;
};

struct dt_traced {
	pid_t pid;
	uint32_t slot, image;           /* as the programs know it */
	uint32_t generation;            /* of its blocks */
	int pidfd;                      /* readable when the process has ended; −1 afterwards */
	bool exited;
	bool root;                      /* was asked for: stays in the snapshots when it has ended */
	bool hidden;                    /* is in no snapshot: another image has taken its place, or it cannot be traced */
	bool reported;                  /* its last tables have been in a snapshot */
	bool stale;                     /* its mappings have changed */
	bool late;                      /* some of its files were probed when it ran already */
	bool untold_said;               /* that there is no room for all calls behind which a block may be untold */
	struct dt_process_info info;
	struct dt_module *python_module; /* NULL: none with a CPython was found */
	const struct dt_python *python; /* owned by that; NULL: none found */
	struct dt_python_calls python_calls;
	struct dt_declared declared;    /* names of its domains */
	uint32_t met_file;              /* number of the last file whose names it has from a frame; 0: none */
	uint64_t image_start;           /* where its stack begins: another value means another program (exec) */
	struct dt_known_maps *maps;     /* as last read; NULL: not yet */
	struct dt_module **attached;    /* modules whose sites are attached */
	size_t attached_count;
	size_t sites[DT_SOURCE_COUNT];  /* attached sites by source */
	struct dt_links links;
	struct dt_process row;          /* as the programs see it */
	struct dt_mapping_row *mappings; /* its executable mappings, row.mapping_count of them */
	bool shown;                     /* the programs see it */
	struct dt_inherited *inherited; /* session/inherit.h */
	size_t inherited_count;
	bool inherited_known;
};

/* Takes the descriptor. NULL: no memory, it is closed. */
struct dt_traced *dt_traced_new(pid_t pid, int pidfd);
void dt_traced_free(struct dt_traced *traced);

/*
 * Reads its mappings anew and says whether code came or went: they are `version` then, which no other mappings of any process
 * have. -ESRCH: it has gone, the old ones stay.
 */
int dt_traced_read_maps(struct dt_traced *traced, uint32_t version, bool *ret_changed);
/* Attaches what is mapped and not yet attached, and brings `row` and `mappings` up to date, but for where those are stored. */
int dt_traced_attach(struct dt_traced *traced, struct dt_modules *modules, const struct dt_attach_target *target);
/* The names of domains that are constants of a file. -ENOMEM. */
int dt_traced_note_names(struct dt_traced *traced, const struct dt_module *module, const struct dt_log *log);
/* Says once that there are names of domains for which there is no room: `was_full` before one was added. */
void dt_traced_say_full(const struct dt_traced *traced, bool was_full, const struct dt_log *log);
/* Names the modules that it needs as being in use. */
void dt_traced_use_modules(const struct dt_traced *traced, struct dt_modules *modules);
/* The same of what was mapped at some time; NULL does nothing. */
void dt_known_maps_use_modules(struct dt_known_maps *known, struct dt_modules *modules);
/* Where the stack of its program begins (/proc/PID/stat, startstack). -ESRCH. */
int dt_traced_read_image(pid_t pid, uint64_t *ret_image);

#endif
