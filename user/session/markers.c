/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/markers.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include <linux/types.h>

#include <domtrace/wire.h>

#include "base/cleanup.h"
#include "target/probe_site.h"

/* ---- what the user names ----------------------------------------------------------------------------------------- */

/* The path of a file that is there, as maps will show it. */
static char *follow_path(char *file)
{
	char *path = strchr(file, '/') ? realpath(file, NULL) : NULL;

	if (!path)
		return file;
	free(file);
	return path;
}

static int parse_one(const char *text, const struct dt_log *log, struct dt_marker_function *function)
{
	const char *mark = strrchr(text, '!');

	if (!mark)
		mark = strrchr(text, ':');
	if (!mark || mark == text || !mark[1])
		return dt_log_error(log, -EINVAL, "'%s' names no function of a file: it is FILE:SYMBOL or MODULE!SYMBOL", text);
	function->file = strndup(text, (size_t)(mark - text));
	function->symbol = strdup(mark + 1);
	if (!function->file || !function->symbol)
		return -ENOMEM;
	function->file = follow_path(function->file);
	return 0;
}

struct search {
	const struct dt_elf *elf;
	const char *symbol, *path;
	const struct dt_log *log;
	struct dt_marker_place *places;
	size_t count;
	uint64_t cookie;
	bool found;
};

static void add_place(struct search *search, uint64_t vaddr)
{
	uint64_t offset;

	if (search->count == DT_MARKER_PLACES_MAX || dt_elf_vaddr_to_offset(search->elf, vaddr, &offset))
		return;
	for (size_t i = 0; i < search->count; i++)
		if (search->places[i].offset == offset)
			return;
	search->places[search->count++] = (struct dt_marker_place){ offset, search->cookie };
}

static bool is_asked(const struct search *search, const struct dt_elf_symbol *symbol)
{
	return symbol->function && !symbol->indirect && !strcmp(symbol->name, search->symbol);
}

static int note_function(void *context, const struct dt_elf_symbol *symbol)
{
	struct search *search = context;

	search->found = search->found || is_asked(search, symbol);
	return search->found;
}

/* Each of the functions of that name: several of a program may be called alike if they are not global. */
static int add_function(void *context, const struct dt_elf_symbol *symbol)
{
	struct search *search = context;
	struct dt_probe_site place;
	int error;

	if (!is_asked(search, symbol))
		return 0;
	search->found = true;
	error = dt_probe_site_find(search->elf, symbol->vaddr, &place);
	if (error)
		dt_log_warning(search->log, "%s in %s cannot be probed (%s): no snapshot is taken there", symbol->name, search->path, strerror(-error));
	else
		add_place(search, place.vaddr);
	return 0;
}

/* A file that is there and has no such function will not have it later. What cannot be read now is looked at when it is mapped. */
static int check_file(const struct dt_marker_function *function, const struct dt_log *log)
{
	struct search search = { .symbol = function->symbol };
	struct dt_elf *elf;
	int fd = strchr(function->file, '/') ? open(function->file, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0 || dt_elf_open(fd, &elf))
		return 0;
	dt_elf_each_symbol(elf, note_function, &search);
	dt_elf_close(elf);
	return search.found ? 0 : dt_log_error(log, -ENOENT, "%s has no function '%s' for a snapshot to be taken at: it must be in the file's symbol "
					       "tables, by the name that the linker knows (nm, nm -D)", function->file, function->symbol);
}

int dt_markers_parse(const char *const *texts, const struct dt_log *log, struct dt_markers *ret_markers)
{
	DT_CLEANUP(dt_markers_clear) struct dt_markers markers = { 0 };
	size_t count = 0;

	while (texts && texts[count])
		count++;
	markers.list = calloc(count + 1, sizeof(*markers.list));
	if (!markers.list)
		return -ENOMEM;
	while (markers.count < count) {
		size_t i = markers.count++;
		int error = parse_one(texts[i], log, &markers.list[i]);

		if (!error)
			error = check_file(&markers.list[i], log);
		if (error)
			return error;
	}
	*ret_markers = markers;
	markers = (struct dt_markers){ 0 };
	return 0;
}

void dt_markers_clear(struct dt_markers *markers)
{
	for (size_t i = 0; i < markers->count; i++) {
		free(markers->list[i].file);
		free(markers->list[i].symbol);
	}
	free(markers->list);
	*markers = (struct dt_markers){ 0 };
}

/* ---- the places of a file ---------------------------------------------------------------------------------------- */

static bool is_of_file(const struct dt_marker_function *function, const char *path)
{
	const char *name = strrchr(path, '/');

	if (!strchr(function->file, '/'))
		path = name ? name + 1 : path;
	return !strcmp(function->file, path) || !fnmatch(function->file, path, 0);
}

static void add_named(const struct dt_markers *markers, struct search *search)
{
	for (size_t i = 0; i < markers->count; i++) {
		struct dt_marker_function *function = &markers->list[i];

		if (!is_of_file(function, search->path))
			continue;
		function->matched = true;
		search->symbol = function->symbol;
		search->cookie = i + 1;
		search->found = false;
		dt_elf_each_symbol(search->elf, add_function, search);
		if (!search->found)
			dt_log_warning(search->log, "%s has no function '%s': no snapshot is taken there; it must be in the file's symbol tables, "
				       "by the name that the linker knows (nm, nm -D)", search->path, function->symbol);
	}
}

/* What is wrong with notes is said by session/declared. */
static void add_declared(const struct dt_notes *notes, struct search *search)
{
	search->cookie = DT_MARKER_DECLARED;
	for (size_t i = 0; i < notes->probe_count; i++)
		if (notes->probes[i].kind == DT_NOTE_SNAPSHOT)
			add_place(search, notes->probes[i].vaddr);
}

int dt_markers_plan(const struct dt_markers *markers, const struct dt_elf *elf, const struct dt_notes *notes, const char *path,
		    const struct dt_log *log, struct dt_marker_place **ret_places, size_t *ret_count)
{
	DT_FREE struct dt_marker_place *places = calloc(DT_MARKER_PLACES_MAX, sizeof(*places));
	struct search search = { .elf = elf, .path = path, .log = log, .places = places };

	if (!places)
		return -ENOMEM;
	add_declared(notes, &search);
	add_named(markers, &search);
	if (search.count == DT_MARKER_PLACES_MAX)
		dt_log_warning(log, "%s has more than %d places for snapshots: at the others none is taken", path, DT_MARKER_PLACES_MAX - 1);
	*ret_places = search.count ? DT_TAKE(places) : NULL;
	*ret_count = search.count;
	return 0;
}
