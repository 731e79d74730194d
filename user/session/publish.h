/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * publish: shows processes to the programs: struct dt_process and the mappings it speaks of.
 *
 * What a program may be reading must not change under it. So a new row is written beside the old one and then takes its place by
 * one store, and the old one is used again only when no program can see it any more. Nobody waits for that here: it is known
 * after the next snapshot, or when so much has been replaced that a wait is worth it.
 */
#ifndef DT_SESSION_PUBLISH_H
#define DT_SESSION_PUBLISH_H

#include <stddef.h>

#include "session/traced.h"
#include "session/unwind.h"

struct domtrace_bpf;
struct dt_publish;

/* -ENOMEM. */
int dt_publish_new(struct domtrace_bpf *bpf, struct dt_unwind *unwind, struct dt_publish **ret_publish);
void dt_publish_free(struct dt_publish *publish);

/*
 * Shows an image as it stands in traced->row and traced->mappings; sets row.first_mapping. What was shown before stays until
 * dt_publish_reclaim(). -ENOSPC: there is no room for its mappings, it is shown without them. -EAGAIN: none for its row before
 * something is reclaimed, nothing was shown. -EEXIST: its process runs another image. -ENOMEM, or what the kernel says of the map.
 */
int dt_publish_process(struct dt_publish *publish, struct dt_traced *traced);
/* The image is not traced any more. */
void dt_publish_withdraw(struct dt_publish *publish, struct dt_traced *traced);

/* The mappings that a row speaks of, until it is reclaimed; empty ones if there are none. */
const struct dt_maps *dt_publish_maps(const struct dt_publish *publish, uint32_t row);
/* The same, to be shared; NULL: there are none. */
struct dt_known_maps *dt_publish_known_maps(const struct dt_publish *publish, uint32_t row);

/* Names the modules of all mappings that a row speaks of as being in use. */
void dt_publish_use_modules(const struct dt_publish *publish, struct dt_modules *modules);

/* How much has been replaced since something was last reclaimed. */
size_t dt_publish_replaced(const struct dt_publish *publish);
/* All programs that ran when the last of it was replaced have ended: its room can be used again. */
void dt_publish_reclaim(struct dt_publish *publish);

#endif
