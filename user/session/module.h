/* SPDX-License-Identifier: BSD-2-Clause */
/* module: what is known of a file that processes map: read once, used for all of them. */
#ifndef DT_SESSION_MODULE_H
#define DT_SESSION_MODULE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "base/log.h"
#include "session/link.h"
#include "session/markers.h"
#include "session/sites.h"
#include "session/unwind.h"
#include "target/elf.h"
#include "target/maps.h"
#include "target/notes.h"
#include "target/python.h"
#include "target/untold.h"

struct dt_module {
	struct {
		uint64_t device, inode;
	} key;
	uint32_t number;                /* 1, 2, 3 …; no other ever has it */
	char *path;                     /* as the first process that mapped it sees it */
	struct dt_elf *elf;             /* NULL: not an ELF file, nothing below is filled in */
	struct dt_site_plan *plans;
	size_t plan_count;
	struct dt_python python;
	bool has_python;
	struct dt_python_alloc python_alloc;
	bool has_python_alloc;          /* asked for, and its functions can be probed */
	bool has_tls_layout;            /* it is a glibc */
	uint32_t tls_first_block, tls_blocks;
	uint64_t allocator_calls[DT_ALLOCATOR_CALLS_MAX]; /* vaddrs behind calls of free() by the allocator itself */
	size_t allocator_call_count;
	struct dt_notes notes;          /* what it says by domain.h */
	struct dt_untold untold[DT_UNTOLD_MAX]; /* calls behind which a block may be untold, with vaddrs */
	size_t untold_count;
	uint64_t debug_state_vaddr;     /* in _dl_debug_state of a dynamic loader, where it is probed; 0: none */
	uint64_t loader_state_vaddr;    /* of _r_debug.r_state; 0: it is no loader */
	struct dt_marker_place *markers; /* where snapshots are wanted */
	size_t marker_count;
	struct dt_module *original;     /* a file with the same bytes that was read before (copies in containers); NULL: none */
	struct dt_unwind_place unwind;  /* its unwind table in the kernel */
	struct dt_links links;          /* of probes in all processes */
	uint64_t attached_ns;           /* when they were put there (CLOCK_MONOTONIC); 0: they are not */
	uint64_t turn;                  /* dt_modules.turn when it was last in use */
	bool leaving;                   /* the programs do not find it by themselves any more */
	UT_hash_handle hh, by_number;
};

/* Is it the vDSO? No file, but code that the kernel maps into every process; it has nothing to attach to. */
#define DT_MODULE_VDSO_DEVICE (~0ull)

/* Files that nobody maps are kept, too, the last so many: a compiler is run again and again. */
#define DT_MODULES_IDLE_MAX 64

struct dt_modules {
	struct dt_module *table, *numbered;
	uint32_t numbers;               /* given out */
	uint64_t turn;                  /* how often it was looked which are in use */
	size_t kept;                    /* how many there were after that */
	struct dt_unwind *unwind;       /* where unwind tables go */
	bool cheap_sites;
	bool python_alloc;              /* CPython's allocators are traced, too */
	struct dt_allocators *allocators; /* named by the user; NULL: none */
	const struct dt_markers *markers; /* NULL: no snapshots at markers */
	const struct dt_log *log;
};

/*
 * The module of a mapping of a file, or of "[vdso]"; reads it when it is new. The result is owned by `modules` and
 * stays until dt_modules_prune() finds that nobody has said that it is in use. A file that is not ELF gives a module without `elf`. -ENOENT: the file cannot be opened any more. -ENOMEM.
 */
int dt_modules_get(struct dt_modules *modules, pid_t pid, const struct dt_mapping *mapping, struct dt_module **ret_module);
/* The one with that number; NULL: it has gone. */
struct dt_module *dt_modules_find(const struct dt_modules *modules, uint32_t number);
/*
 * Those that are not needed any more go, but for the last DT_MODULES_IDLE_MAX. Begin and name all that are in use (NULL does nothing);
 * select whom the programs shall not come to by themselves any more: false if that is nobody. When all that ran then have ended, and
 * what they sent has been taken in, begin again and name all; prune: of the selected, those that are not in use now go.
 */
void dt_modules_begin(struct dt_modules *modules);
void dt_modules_use(struct dt_modules *modules, struct dt_module *module);
void dt_modules_use_maps(struct dt_modules *modules, const struct dt_maps *maps);
bool dt_modules_in_use(const struct dt_modules *modules, const struct dt_module *module);
bool dt_modules_select(struct dt_modules *modules);
void dt_modules_prune(struct dt_modules *modules);
/* Is it time to do so, with so many that have come since? */
bool dt_modules_are_many(const struct dt_modules *modules);
/* Takes the probes out of all processes. */
void dt_modules_detach(struct dt_modules *modules);
void dt_modules_clear(struct dt_modules *modules);

/* Is it a program that is linked statically and has no symbols, so that nothing can be found in it by name? */
bool dt_module_is_stripped(const struct dt_module *module);

/* Has it functions whose calls of others of the family belong to their own? */
bool dt_module_is_allocator(const struct dt_module *module);

/* Address minus vaddr in a process that maps the module there. -ENXIO: the mapping is of no segment. */
int dt_module_bias(const struct dt_module *module, const struct dt_mapping *mapping, uint64_t *ret_bias);

#endif
