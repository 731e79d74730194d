/* SPDX-License-Identifier: BSD-2-Clause */
/* declared: what programs say by <domtrace/domain.h>: probes in their files, and the names of an image's domains. */
#ifndef DT_SESSION_DECLARED_H
#define DT_SESSION_DECLARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/log.h"
#include "session/sites.h"
#include "target/elf.h"
#include "target/notes.h"

/* ---- probes ------------------------------------------------------------------------------------------------------ */

/*
 * Adds the probes of a file, "file" in messages, to its sites, which are moved for that. Says if there are others that are not as domain.h
 * makes them. -ENOMEM: nothing has changed.
 */
int dt_declared_plan(const struct dt_elf *elf, const struct dt_notes *notes, const char *file, const struct dt_log *log,
		     struct dt_site_plan **plans, size_t *count);

/* ---- names ------------------------------------------------------------------------------------------------------- */

#define DT_DECLARED_NAMES_MAX 4096      /* of one image */
#define DT_DECLARED_SHOWN_SIZE (DT_NAME_BYTES + 16)

struct dt_declared_name {
	uint32_t domain;
	uint32_t segment;               /* in which the program said it; 0: it is a constant of a file */
	char name[DT_NAME_BYTES];
};

struct dt_declared {
	struct dt_declared_name *names; /* in the order in which they came */
	size_t count, room;
	bool full;                      /* there was no room for one */
};

/* `segment` as above. Empty names are none. -ENOMEM; -ENOSPC: `full` is set, and if the domain has a name, it is replaced. */
int dt_declared_add(struct dt_declared *declared, uint32_t domain, uint32_t segment, const char *name);
/* What a child that was forked off behind `segment` has from its parent. -ENOMEM, -ENOSPC. */
int dt_declared_inherit(struct dt_declared *declared, const struct dt_declared *parent, uint32_t segment);
/* What the program said last, or else the last constant; NULL: none. */
const char *dt_declared_find(const struct dt_declared *declared, uint32_t domain);
void dt_declared_clear(struct dt_declared *declared);

/* Is it a word that stands for another domain, or may not be one's name for another reason? */
bool dt_declared_is_reserved(const char *name);
/* As it is shown; NULL: the domain has no name. Reserved ones are told apart by "declared:" before them. */
void dt_declared_format(const char *name, uint32_t domain, char shown[DT_DECLARED_SHOWN_SIZE]);
/* The name of any domain, as it is shown; of one that the program declares as `declared` has it. */
void dt_declared_show(const struct dt_declared *declared, enum dt_source source, uint32_t domain, char shown[DT_DECLARED_SHOWN_SIZE]);

#endif
