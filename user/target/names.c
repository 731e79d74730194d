/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/debug_file.h"
#include "target/demangle.h"
#include "target/elf.h"
#include "target/source.h"
#include "target/symbols.h"

_Static_assert(DT_NAMES_DEPTH_MAX == DT_SOURCE_DEPTH_MAX, "names for all frames");

struct dt_names {
	struct dt_names_opts opts;
	struct dt_elf *elf;
	struct dt_symbols *symbols;
	struct dt_source *source;       /* NULL: there is no DWARF */
	struct dt_name found[DT_NAMES_DEPTH_MAX];
	char *readable[DT_NAMES_DEPTH_MAX]; /* what of them had to be made */
	size_t count;
};

/* The first that is one; the others are closed. −1: none is. */
static int choose_debug_file(struct dt_elf *elf, const int *fds, size_t count)
{
	int chosen = -1;

	for (size_t i = 0; i < count; i++) {
		if (chosen < 0 && elf && dt_debug_file_matches(elf, fds[i]))
			chosen = fds[i];
		else
			close(fds[i]);
	}
	return chosen;
}

/* In the file itself, or else in its debug file. */
static int open_source(struct dt_names *names, int fd, int debug_fd)
{
	int fds[] = { fd, debug_fd }, error = -ENODATA;

	for (size_t i = 0; i < DT_ARRAY_SIZE(fds) && error == -ENODATA; i++) {
		int own = fds[i] < 0 ? -1 : fcntl(fds[i], F_DUPFD_CLOEXEC, 0);

		if (own >= 0)
			error = dt_source_open(own, &names->source);
	}
	return error == -ENODATA ? 0 : error;
}

int dt_names_open(int fd, const int *debug_fds, size_t debug_count, const struct dt_names_opts *opts, struct dt_names **ret_names)
{
	struct dt_names *names = calloc(1, sizeof(*names));
	DT_FD int file = fd, debug = -1;
	int own = names ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
	int error = !names ? -ENOMEM : own < 0 ? -errno : dt_elf_open(own, &names->elf);

	debug = choose_debug_file(error ? NULL : names->elf, debug_fds, debug_count);
	if (!error) {
		names->opts = *opts;
		error = dt_symbols_new(names->elf, debug, &names->symbols);
	}
	if (!error && !opts->no_lines)
		error = open_source(names, file, debug);
	if (error) {
		dt_names_close(names);
		return error;
	}
	*ret_names = names;
	return 0;
}

static void forget_found(struct dt_names *names)
{
	for (size_t i = 0; i < names->count; i++) {
		free(names->readable[i]);
		names->readable[i] = NULL;
	}
	names->count = 0;
}

void dt_names_close(struct dt_names *names)
{
	if (!names)
		return;
	forget_found(names);
	dt_source_close(names->source);
	dt_symbols_free(names->symbols);
	dt_elf_close(names->elf);
	free(names);
}

bool dt_names_have_lines(const struct dt_names *names)
{
	return names->source;
}

/* The symbol of a part of a function, which DWARF knows by the name of the whole: f.part.0, f.constprop.0, f.cold. */
static bool is_part(const char *symbol, const char *function)
{
	size_t length = strlen(function);

	return !strncmp(symbol, function, length) && symbol[length] == '.';
}

/*
 * The function that really is there. A linkage name of C++ or Rust is exact, also where the linker has folded equal functions into
 * one. Else the symbol counts: C libraries know their functions by names of their own (glibc: __GI___strdup for strdup), and DWARF
 * may have only the last part of a C++ name.
 */
static void choose_function(const struct dt_names *names, uint64_t vaddr, const struct dt_source_frame *frame, struct dt_name *name)
{
	uint64_t offset = 0;
	const char *symbol = dt_symbols_find(names->symbols, vaddr, &offset);
	DT_FREE char *readable = NULL;

	if (!frame->function || !frame->start) {
		name->function = symbol ? symbol : frame->function;
		name->offset = offset;
		return;
	}
	name->function = frame->function;
	name->offset = vaddr - frame->start;
	if (!symbol || offset != name->offset || is_part(symbol, frame->function))
		return;
	readable = dt_demangle(frame->function);
	if (!readable)
		name->function = symbol;
}

static void make_readable(struct dt_names *names)
{
	for (size_t i = 0; i < names->count && !names->opts.raw; i++) {
		struct dt_name *name = &names->found[i];

		names->readable[i] = name->function ? dt_demangle(name->function) : NULL;
		if (names->readable[i])
			name->function = names->readable[i];
	}
}

int dt_names_find(struct dt_names *names, uint64_t vaddr, const struct dt_name **ret_found, size_t *ret_count)
{
	struct dt_source_frame frames[DT_SOURCE_DEPTH_MAX] = { 0 };
	size_t count = 0;
	int error = names->source ? dt_source_find(names->source, vaddr, frames, &count) : 0;

	if (error)
		return error;
	forget_found(names);
	names->count = count ? count : 1;
	for (size_t i = 0; i < names->count; i++) {
		names->found[i] = (struct dt_name){
			.function = frames[i].function,
			.file = frames[i].file,
			.line = frames[i].file ? frames[i].line : 0,
			.inlined = i + 1 < names->count,
		};
	}
	choose_function(names, vaddr, &frames[names->count - 1], &names->found[names->count - 1]);
	make_readable(names);
	*ret_found = names->found;
	*ret_count = names->count;
	return 0;
}
