/* SPDX-License-Identifier: BSD-2-Clause */
/* jit: names of code that is in no file, by the perf maps of the processes, read again as they grow. */
#ifndef DT_SESSION_JIT_H
#define DT_SESSION_JIT_H

#include <stdint.h>

#include "session/traced.h"

struct dt_jit;

/* Takes in whose map a process has, before it ends. */
void dt_jit_add_process(struct dt_jit **jits, const struct dt_traced *traced);
/*
 * Opens an image's map, if it is there by now: what is open stays readable. /tmp of a process with a mount namespace of its own may go with
 * it, before a name is asked for.
 */
void dt_jit_open(struct dt_jit *jits, uint32_t image);
/*
 * The function of an image that holds an address, NULL where none is known (yet). Owned by `jits`, until the next call. A map is
 * looked at again a few times a second at most, and not so often that reading it takes more than a twentieth of the time.
 */
const char *dt_jit_find(struct dt_jit *jits, uint32_t image, uint64_t address, uint64_t *ret_offset);
/* The next look-up looks at the maps again, unless reading them takes long. */
void dt_jit_look_again(struct dt_jit *jits);
void dt_jit_remove_process(struct dt_jit **jits, uint32_t image);
void dt_jit_clear(struct dt_jit **jits);

#endif
