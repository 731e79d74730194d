/* SPDX-License-Identifier: BSD-2-Clause */
/* feature: what the kernel offers, found by trying it, and what is lost without it. */
#ifndef DT_SESSION_FEATURE_H
#define DT_SESSION_FEATURE_H

#include <stdbool.h>

#include "base/log.h"

enum dt_feature {
	DT_FEATURE_SESSION,             /* one probe for entry and return */
	DT_FEATURE_MULTI,               /* one link for many sites of a file */
	DT_FEATURE_CHEAP_SITES,         /* probes on instructions that the kernel emulates */
	DT_FEATURE_MARKERS,             /* snapshots at lines of programs */
	DT_FEATURE_COUNT,
};

struct dt_features {
	bool has[DT_FEATURE_COUNT];
	bool refused[DT_FEATURE_COUNT]; /* by --without */
};

/* Tries each feature that is not in `without` (NULL-terminated, may be NULL). -EINVAL: an unknown name. */
int dt_features_probe(const char *const *without, const struct dt_log *log, struct dt_features *ret_features);
/* What is lost without it: a clause that follows "without it". */
const char *dt_feature_loss(enum dt_feature feature);

/*
 * What nothing works without: capabilities, BTF, uprobes. Says the first thing that is missing, in one sentence:
 * -EPERM, -ENOTSUP.
 */
int dt_features_require(const struct dt_log *log);

/* What attaching without uprobe_multi takes on top of that: -EPERM. */
int dt_features_require_single(const struct dt_log *log);

/* Does the kernel offer this function to BPF programs, as its BTF has it? */
bool dt_kernel_has_function(const char *name);

/* Names of the capabilities that tracing needs and this process lacks, comma-separated, in `text`; "" if none. */
void dt_features_missing_capabilities(char *text, size_t size);

#endif
