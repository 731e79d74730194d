/* SPDX-License-Identifier: BSD-2-Clause */
/* notes: what a file says by <domtrace/domain.h>: where its probes are, and the names of domains that are constants. */
#ifndef DT_TARGET_NOTES_H
#define DT_TARGET_NOTES_H

#include <stddef.h>
#include <stdint.h>

#include "target/elf.h"

enum dt_note_kind {
	DT_NOTE_TRACK,                  /* domain, pointer, bytes: in the first three registers for arguments of a function */
	DT_NOTE_UNTRACK,                /* domain, pointer: in the first two */
	DT_NOTE_NAME,                   /* domain, pointer to the name: in the first two */
	DT_NOTE_SNAPSHOT,               /* pointer to the label: in the first */
	DT_NOTE_KINDS,
};

struct dt_note_probe {
	enum dt_note_kind kind;
	uint64_t vaddr;                 /* of its instruction, a nop of one byte in the file's code */
};

#define DT_NOTE_NAME_SIZE 64            /* with its NUL: DT_DOMAIN_NAME_BYTES and one */

struct dt_note_name {
	uint32_t domain;
	char name[DT_NOTE_NAME_SIZE];   /* not empty; whatever bytes the file has */
};

#define DT_NOTE_PROBES_MAX 1000         /* of one file: more are refused */
#define DT_NOTE_NAMES_MAX 1024

struct dt_notes {
	struct dt_note_probe *probes;   /* by kind, then by vaddr; each once */
	size_t probe_count;
	struct dt_note_name *names;     /* as they stand in the file: of one domain the last counts */
	size_t name_count;
	size_t refused;                 /* notes of provider domtrace that are not as domain.h makes them, or are too many */
	const char *why;                /* of the first of them, a constant: "its operands are not those of domain.h" */
};

/*
 * None: counts are 0. -ENOMEM. Damaged files have those that stand before the damage. Probes whose code the linker threw away are none.
 */
int dt_notes_read(struct dt_elf *elf, struct dt_notes *ret_notes);
void dt_notes_clear(struct dt_notes *notes);

#endif
