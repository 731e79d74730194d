/* SPDX-License-Identifier: BSD-2-Clause */
/* perf_map: names of code that a JIT compiler made, from /tmp/perf-PID.map (Linux tools/perf/Documentation/jit-interface.txt). */
#ifndef DT_TARGET_PERF_MAP_H
#define DT_TARGET_PERF_MAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct dt_perf_map;

/* Whose map it is: found out while the process lives, good after its end. */
struct dt_perf_map_owner {
	pid_t pid;
	int root_fd;                    /* its root directory */
	long own_pid;                   /* the number by which it knows itself */
	uid_t uid;
};

/* -ENOENT: there is no such process. */
int dt_perf_map_owner_open(pid_t pid, struct dt_perf_map_owner *ret_owner);
void dt_perf_map_owner_close(struct dt_perf_map_owner *owner);

/*
 * Opens the map of a process, as it sees it (its own /tmp, its own pid). Returns the descriptor, which outlives the process;
 * -ENOENT: there is none. -EPERM: it belongs to another user than the process, and not to root.
 */
int dt_perf_map_open(struct dt_perf_map_owner *owner);
/* Reads an open one from its start. Of one that is larger than DT_PERF_MAP_BYTES_MAX only the end, which is the latest. -ENOMEM. */
#define DT_PERF_MAP_BYTES_MAX (64u << 20)
int dt_perf_map_load(int fd, struct dt_perf_map **ret_map);
/* The same from its text; lines that are not as they should be are passed over. */
int dt_perf_map_parse(const char *text, size_t size, struct dt_perf_map **ret_map);
void dt_perf_map_free(struct dt_perf_map *map);
/* The function that holds an address; of several the one written last. NULL: none. */
const char *dt_perf_map_find(const struct dt_perf_map *map, uint64_t address, uint64_t *ret_offset);

#endif
