/* SPDX-License-Identifier: BSD-2-Clause */
/* maps: which file is mapped where in a process (/proc/PID/maps). */
#ifndef DT_TARGET_MAPS_H
#define DT_TARGET_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct dt_mapping {
	uint64_t start, end;            /* addresses, end exclusive */
	uint64_t offset;                /* in the file */
	uint64_t device, inode;         /* as maps says; inode 0: no file */
	bool readable, writable, executable;
	bool deleted;                   /* the file was unlinked or replaced */
	char *path;                     /* as the process sees it, escapes undone, without " (deleted)"; "[vdso]"; or NULL */
};

struct dt_maps {
	struct dt_mapping *mappings;    /* by address */
	size_t count;
};

/* -ESRCH when the process has gone, -EACCES, -ENOMEM. */
int dt_maps_read(pid_t pid, struct dt_maps *ret_maps);
/* The same from the text of a maps file. A line that is no mapping: -EBADMSG. */
int dt_maps_parse(const char *text, size_t size, struct dt_maps *ret_maps);
void dt_maps_clear(struct dt_maps *maps);
/* NULL where nothing is mapped. */
const struct dt_mapping *dt_maps_find(const struct dt_maps *maps, uint64_t address);
/*
 * Opens the very file that is mapped, whatever became of its name and in whatever mount namespace the process lives:
 * /proc/PID/map_files first, then /proc/PID/root + path if device and inode still agree. Returns the descriptor or -errno.
 */
int dt_mapping_open(pid_t pid, const struct dt_mapping *mapping);
/*
 * A path that names the very file, for interfaces that take no descriptor (uprobes): /proc/PID/map_files/…, or
 * /proc/PID/root/…; *ret_path is the caller's.
 */
int dt_mapping_path(pid_t pid, const struct dt_mapping *mapping, char **ret_path);

#endif
