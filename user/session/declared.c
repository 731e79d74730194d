/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/declared.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/room.h"
#include "snapshot/snapshot.h"

_Static_assert(DT_NOTE_NAME_SIZE == DT_NAME_BYTES, "names are as long in files as from programs");

/* ---- probes ------------------------------------------------------------------------------------------------------ */

static const enum dt_site sites[DT_NOTE_KINDS] = {
	[DT_NOTE_TRACK] = DT_SITE_DT_DOMAIN_TRACK,
	[DT_NOTE_UNTRACK] = DT_SITE_DT_DOMAIN_UNTRACK,
	[DT_NOTE_NAME] = DT_SITE_DT_DOMAIN_NAME,
	[DT_NOTE_SNAPSHOT] = DT_SITE_COUNT, /* none: session/markers, whatever domains are wanted */
};

/* target/notes has seen to it that its instruction is the nop of one byte, which the kernel emulates. */
static struct dt_site_plan plan_probe(const struct dt_note_probe *probe)
{
	enum dt_site site = sites[probe->kind];

	return (struct dt_site_plan){
		.site = site,
		.cookie = site,
		.entry_vaddr = probe->vaddr,
		.place = { .vaddr = probe->vaddr, .emulated = true, .bytes = { 0x90 }, .size = 1, .instruction = "nop",
			   .reason = "a probe of <domtrace/domain.h>" },
		.names = { dt_site_info(site)->symbol },
		.name_count = 1,
	};
}

int dt_declared_plan(const struct dt_elf *elf, const struct dt_notes *notes, const char *file, const struct dt_log *log,
		     struct dt_site_plan **plans, size_t *count)
{
	struct dt_site_plan *grown;

	if (notes->refused)
		dt_log_warning(log, "%s: %zu probe%s or name%s in it cannot be used, because %s: what %s would tell is missing; compile it with "
			       "the <domtrace/domain.h> of this version", file, notes->refused, notes->refused == 1 ? "" : "s",
			       notes->refused == 1 ? "" : "s", notes->why, notes->refused == 1 ? "it" : "they");
	if (!notes->probe_count)
		return 0;
	grown = realloc(*plans, (*count + notes->probe_count) * sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	*plans = grown;
	for (size_t i = 0; i < notes->probe_count; i++) {
		if (sites[notes->probes[i].kind] == DT_SITE_COUNT)
			continue;
		grown[*count] = plan_probe(&notes->probes[i]);
		if (!dt_elf_vaddr_to_offset(elf, notes->probes[i].vaddr, &grown[*count].offset))
			(*count)++;
	}
	return 0;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

/* Of a name that was cut off: not in the middle of a character of UTF-8, if it is that. */
static void trim_character(char *name, size_t length)
{
	size_t start = length;

	while (start && length - start < 4 && ((unsigned char)name[start - 1] & 0xc0) == 0x80)
		start--;
	if (start && (unsigned char)name[start - 1] >= 0xc0) {
		unsigned char lead = (unsigned char)name[start - 1];
		size_t bytes = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

		if (length - (start - 1) < bytes)
			name[start - 1] = '\0';
	}
}

static bool is_later(const struct dt_declared_name *name, const struct dt_declared_name *than)
{
	return !than || name->segment >= than->segment;
}

static struct dt_declared_name *find_last(const struct dt_declared *declared, uint32_t domain)
{
	struct dt_declared_name *last = NULL;

	for (size_t i = 0; i < declared->count; i++)
		if (declared->names[i].domain == domain && is_later(&declared->names[i], last))
			last = &declared->names[i];
	return last;
}

static bool is_known(const struct dt_declared *declared, const struct dt_declared_name *name)
{
	for (size_t i = 0; i < declared->count; i++)
		if (declared->names[i].domain == name->domain && declared->names[i].segment == name->segment &&
		    !strcmp(declared->names[i].name, name->name))
			return true;
	return false;
}

int dt_declared_add(struct dt_declared *declared, uint32_t domain, uint32_t segment, const char *name)
{
	struct dt_declared_name row = { .domain = domain, .segment = segment }, *last;
	size_t length = strnlen(name, sizeof(row.name) - 1);

	memcpy(row.name, name, length);
	if (length == sizeof(row.name) - 1)
		trim_character(row.name, length);
	last = find_last(declared, domain);
	/* Constants are read again and again; what the program said twice may have been something else in between. */
	if (!*row.name || (segment ? last && last->segment == segment && !strcmp(last->name, row.name) : is_known(declared, &row)))
		return 0;
	if (declared->count == DT_DECLARED_NAMES_MAX) {
		declared->full = true;
		if (last && is_later(&row, last))
			*last = row;
		return -ENOSPC;
	}
	if (dt_room_make(&declared->names, declared->count, &declared->room, sizeof(row)))
		return -ENOMEM;
	declared->names[declared->count++] = row;
	return 0;
}

int dt_declared_inherit(struct dt_declared *declared, const struct dt_declared *parent, uint32_t segment)
{
	int error = 0;

	for (size_t i = 0; i < parent->count && !error; i++)
		if (parent->names[i].segment <= segment)
			error = dt_declared_add(declared, parent->names[i].domain, parent->names[i].segment, parent->names[i].name);
	return error;
}

const char *dt_declared_find(const struct dt_declared *declared, uint32_t domain)
{
	const struct dt_declared_name *last = find_last(declared, domain);

	return last ? last->name : NULL;
}

void dt_declared_clear(struct dt_declared *declared)
{
	free(declared->names);
	*declared = (struct dt_declared){ 0 };
}

/* ---- as they are shown ------------------------------------------------------------------------------------------- */

#define PREFIX "declared:"

bool dt_declared_is_reserved(const char *name)
{
	enum dt_source source;
	uint32_t id;

	return *name == '!' || !strncmp(name, "tracemalloc", strlen("tracemalloc")) || strspn(name, "0123456789") == strlen(name) ||
	       !dt_domain_name_parse(name, &source, &id);
}

void dt_declared_format(const char *name, uint32_t domain, char shown[DT_DECLARED_SHOWN_SIZE])
{
	if (!name)
		snprintf(shown, DT_DECLARED_SHOWN_SIZE, PREFIX "%u", domain);
	else
		snprintf(shown, DT_DECLARED_SHOWN_SIZE, "%s%s",
			 dt_declared_is_reserved(name) || !strncmp(name, PREFIX, strlen(PREFIX)) ? PREFIX : "", name);
}

void dt_declared_show(const struct dt_declared *declared, enum dt_source source, uint32_t domain, char shown[DT_DECLARED_SHOWN_SIZE])
{
	_Static_assert(DT_DECLARED_SHOWN_SIZE >= DT_DOMAIN_NAME_SIZE, "other names are shorter");

	if (source == DT_SOURCE_DECLARED)
		dt_declared_format(dt_declared_find(declared, domain), domain, shown);
	else
		dt_domain_name_format(source, domain, shown);
}
