/* SPDX-License-Identifier: BSD-2-Clause */
/* skeleton: the BPF object as bpftool made a header of it, which needs the types of its read-only data. */
#ifndef DT_SESSION_SKELETON_H
#define DT_SESSION_SKELETON_H

#include <stdbool.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "domtrace.skel.h"

#endif
