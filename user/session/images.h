/* SPDX-License-Identifier: BSD-2-Clause */
/* images: the slots that images have (struct dt_process_state), as userspace takes, fills and empties them. */
#ifndef DT_SESSION_IMAGES_H
#define DT_SESSION_IMAGES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <linux/types.h>

#include <domtrace/wire.h>

struct domtrace_bpf;

/* All slots are free from now on. Returns what the kernel says of the map. */
int dt_images_start(struct domtrace_bpf *bpf);

struct dt_process_state *dt_images_state(struct domtrace_bpf *bpf, uint32_t slot);

/* Takes a slot for a process that runs already; it is not traced before it has a row. -ENOSPC: there is none. */
int dt_images_take(struct domtrace_bpf *bpf, pid_t pid, const char *comm, pid_t ppid, uint32_t *ret_slot);
/* Gives a slot back. No row of any table speaks of it any more. */
int dt_images_give(struct domtrace_bpf *bpf, uint32_t slot);

/* Leads from its process to an image. -EEXIST: that runs another one by now. */
int dt_images_enter(struct domtrace_bpf *bpf, uint32_t slot);
/* No event is booked for it any more. */
void dt_images_end(struct domtrace_bpf *bpf, uint32_t slot);
/* A new generation of its blocks; returns its number. */
uint32_t dt_images_clear(struct domtrace_bpf *bpf, uint32_t slot);

#endif
