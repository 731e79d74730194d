/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two indexes, each made once: the ranges of all compilation units when the first address is asked for, and those of the
 * functions of a unit when the first address in it is. libdw's own ways (dwarf_addrdie, dwarf_getscopes) need .debug_aranges,
 * which clang and rustc do not write, and go through the whole unit for each address.
 *
 * Every entry is visited once and in the order of the file, whatever the entries claim about their neighbours: so it ends.
 */
#include "target/source.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uthash.h>

#include "base/cleanup.h"

#define DEPTH_MAX 256                   /* of entries in each other; real programs stay below 50 */

struct range {
	uint64_t start, end;            /* end exclusive */
	uint64_t reach;                 /* largest end of this and all ranges before */
	Dwarf_Off die;
	uint32_t unit;                  /* index, of a range of a unit */
};

struct ranges {
	struct range *rows;             /* by start once they are sorted; of one start the larger one first */
	size_t count, room;
};

struct unit {
	Dwarf_Off die;
	struct ranges functions;
	bool indexed;
};

/* A path that the compiler gave relative to the directory that it ran in. */
struct path {
	const char *given;              /* libdw's; its address is the key */
	char *whole;
	UT_hash_handle hh;
};

struct dt_source {
	int fd;
	Dwarf *dwarf;
	struct unit *units;
	size_t unit_count, unit_room;
	struct ranges ranges;
	bool indexed;
	struct path *paths;
};

/* ---- ranges ------------------------------------------------------------------------------------------------------ */

static int add_range(struct ranges *ranges, uint64_t start, uint64_t end, Dwarf_Off die, uint32_t unit)
{
	if (start >= end)
		return 0;
	if (ranges->count == ranges->room) {
		size_t room = ranges->room ? 2 * ranges->room : 64;
		struct range *grown = reallocarray(ranges->rows, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		ranges->rows = grown;
		ranges->room = room;
	}
	ranges->rows[ranges->count++] = (struct range){ .start = start, .end = end, .die = die, .unit = unit };
	return 0;
}

static int add_ranges(struct ranges *ranges, Dwarf_Die *die, uint32_t unit)
{
	Dwarf_Addr base, start, end;
	Dwarf_Off offset = dwarf_dieoffset(die);
	ptrdiff_t at = 0;

	while ((at = dwarf_ranges(die, at, &base, &start, &end)) > 0) {
		/* Functions that the linker threw away stand at 0. */
		int error = start ? add_range(ranges, start, end, offset, unit) : 0;

		if (error)
			return error;
	}
	return 0;
}

static int compare_ranges(const void *left, const void *right)
{
	const struct range *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	if (a->end != b->end)
		return a->end > b->end ? -1 : 1;
	return a->die < b->die ? -1 : a->die > b->die;
}

static void sort_ranges(struct ranges *ranges)
{
	uint64_t reach = 0;

	if (ranges->count)
		qsort(ranges->rows, ranges->count, sizeof(*ranges->rows), compare_ranges);
	for (size_t i = 0; i < ranges->count; i++) {
		if (ranges->rows[i].end > reach)
			reach = ranges->rows[i].end;
		ranges->rows[i].reach = reach;
	}
}

/* The innermost range that holds an address: the one that starts last. */
static const struct range *find_range(const struct ranges *ranges, uint64_t vaddr)
{
	size_t low = 0, high = ranges->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (ranges->rows[middle].start <= vaddr)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- && ranges->rows[low].reach > vaddr)
		if (vaddr < ranges->rows[low].end)
			return &ranges->rows[low];
	return NULL;
}

/* ---- entries ----------------------------------------------------------------------------------------------------- */

/* The next entry at the same depth, behind this one. */
static bool next_sibling(Dwarf_Die *die)
{
	Dwarf_Off before = dwarf_dieoffset(die);

	return !dwarf_siblingof(die, die) && dwarf_dieoffset(die) > before;
}

static bool first_child(Dwarf_Die *die, Dwarf_Die *ret_child)
{
	return !dwarf_child(die, ret_child) && dwarf_dieoffset(ret_child) > dwarf_dieoffset(die);
}

/* What can hold functions: types and their members, variables and the like cannot. */
static bool holds_functions(int tag)
{
	switch (tag) {
	case DW_TAG_subprogram:
	case DW_TAG_lexical_block:
	case DW_TAG_namespace:
	case DW_TAG_module:
	case DW_TAG_class_type:
	case DW_TAG_structure_type:
	case DW_TAG_union_type:
	case DW_TAG_enumeration_type:
	case DW_TAG_inlined_subroutine:
		return true;
	default:
		return false;
	}
}

static int index_functions(struct ranges *functions, Dwarf_Die *parent, unsigned int depth)
{
	Dwarf_Die die;
	int error = 0;

	if (depth == DEPTH_MAX || !first_child(parent, &die))
		return 0;
	do {
		int tag = dwarf_tag(&die);

		if (!holds_functions(tag))
			continue;
		if (tag == DW_TAG_subprogram)
			error = add_ranges(functions, &die, 0);
		if (!error)
			error = index_functions(functions, &die, depth + 1);
	} while (!error && next_sibling(&die));
	return error;
}

static int add_unit(struct dt_source *source, Dwarf_Die *die)
{
	if (source->unit_count == source->unit_room) {
		size_t room = source->unit_room ? 2 * source->unit_room : 64;
		struct unit *grown = reallocarray(source->units, room, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		source->units = grown;
		source->unit_room = room;
	}
	source->units[source->unit_count] = (struct unit){ .die = dwarf_dieoffset(die) };
	return add_ranges(&source->ranges, die, (uint32_t)source->unit_count++);
}

static int index_units(struct dt_source *source)
{
	Dwarf_CU *cu = NULL;
	Dwarf_Off before = 0;
	Dwarf_Die die;
	uint8_t type;
	int error = 0;

	while (!error && !dwarf_get_units(source->dwarf, cu, &cu, NULL, &type, &die, NULL)) {
		if (dwarf_dieoffset(&die) <= before)
			break;
		before = dwarf_dieoffset(&die);
		if (type == DW_UT_compile || type == DW_UT_skeleton)
			error = add_unit(source, &die);
	}
	sort_ranges(&source->ranges);
	return error;
}

/* ---- names and places -------------------------------------------------------------------------------------------- */

static const char *find_name(Dwarf_Die *die)
{
	static const unsigned int names[] = { DW_AT_linkage_name, DW_AT_MIPS_linkage_name, DW_AT_name };
	Dwarf_Attribute attribute;

	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++) {
		const char *name = dwarf_formstring(dwarf_attr_integrate(die, names[i], &attribute));

		if (name && *name)
			return name;
	}
	return NULL;
}

/* With the directory of the compiler. Where there is no memory for that, as it was given. */
static const char *whole_path(struct dt_source *source, Dwarf_Die *unit, const char *given)
{
	Dwarf_Attribute attribute;
	const char *directory = given && *given != '/' ? dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attribute)) : NULL;
	struct path *path;

	if (!directory || !*directory)
		return given;
	HASH_FIND_PTR(source->paths, &given, path);
	if (path)
		return path->whole;
	path = malloc(sizeof(*path));
	if (!path)
		return given;
	path->given = given;
	if (asprintf(&path->whole, "%s/%s", directory, given) < 0) {
		free(path);
		return given;
	}
	HASH_ADD_PTR(source->paths, given, path);
	return path->whole;
}

static int as_line(Dwarf_Word number)
{
	return number > INT32_MAX ? 0 : (int)number;
}

/* Where an inlined function was called from: that is the place of the frame that it is inlined into. */
static void find_call(struct dt_source *source, Dwarf_Die *unit, Dwarf_Die *inlined, struct dt_source_frame *frame)
{
	Dwarf_Attribute attribute;
	Dwarf_Files *files;
	Dwarf_Word number;

	if (!dwarf_formudata(dwarf_attr(inlined, DW_AT_call_file, &attribute), &number) &&
	    !dwarf_getsrcfiles(unit, &files, NULL))
		frame->file = whole_path(source, unit, dwarf_filesrc(files, number, NULL, NULL));
	if (!dwarf_formudata(dwarf_attr(inlined, DW_AT_call_line, &attribute), &number))
		frame->line = as_line(number);
}

/* Where the address itself is. */
static void find_line(struct dt_source *source, Dwarf_Die *unit, uint64_t vaddr, struct dt_source_frame *frame)
{
	Dwarf_Line *line = dwarf_getsrc_die(unit, vaddr);
	int number;

	if (!line)
		return;
	frame->file = whole_path(source, unit, dwarf_linesrc(line, NULL, NULL));
	if (!dwarf_lineno(line, &number) && number > 0)
		frame->line = number;
}

/* The entries that hold the address within a function, outermost first: the inlined ones only. */
static size_t find_inlined(Dwarf_Die *function, uint64_t vaddr, Dwarf_Die inlined[DT_SOURCE_DEPTH_MAX])
{
	Dwarf_Die parent = *function, die;
	size_t count = 0;

	for (unsigned int depth = 0; depth < DEPTH_MAX && first_child(&parent, &die); depth++) {
		bool found = false;

		do {
			int tag = dwarf_tag(&die);

			found = (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_lexical_block) && dwarf_haspc(&die, vaddr) > 0;
		} while (!found && next_sibling(&die));
		if (!found)
			break;
		if (dwarf_tag(&die) == DW_TAG_inlined_subroutine) {
			if (count == DT_SOURCE_DEPTH_MAX - 1)           /* too many: those in between are left out */
				count--;
			inlined[count++] = die;
		}
		parent = die;
	}
	return count;
}

static size_t fill_frames(struct dt_source *source, Dwarf_Die *unit, Dwarf_Die *function, uint64_t start, uint64_t vaddr,
			  struct dt_source_frame *frames)
{
	Dwarf_Die inlined[DT_SOURCE_DEPTH_MAX];
	size_t count = find_inlined(function, vaddr, inlined);

	memset(frames, 0, (count + 1) * sizeof(*frames));
	find_line(source, unit, vaddr, &frames[0]);
	for (size_t i = 0; i < count; i++) {
		Dwarf_Die *die = &inlined[count - 1 - i];

		frames[i].function = find_name(die);
		find_call(source, unit, die, &frames[i + 1]);
	}
	frames[count].function = find_name(function);
	frames[count].start = start;
	return count + 1;
}

/* ---- the source -------------------------------------------------------------------------------------------------- */

int dt_source_open(int fd, struct dt_source **ret_source)
{
	struct dt_source *source = calloc(1, sizeof(*source));
	Dwarf_CU *cu = NULL;

	if (!source) {
		close(fd);
		return -ENOMEM;
	}
	source->fd = fd;
	source->dwarf = dwarf_begin(fd, DWARF_C_READ);
	if (!source->dwarf || dwarf_get_units(source->dwarf, NULL, &cu, NULL, NULL, NULL, NULL)) {
		dt_source_close(source);
		return -ENODATA;
	}
	*ret_source = source;
	return 0;
}

void dt_source_close(struct dt_source *source)
{
	struct path *path, *next;

	if (!source)
		return;
	HASH_ITER(hh, source->paths, path, next) {
		HASH_DEL(source->paths, path);
		free(path->whole);
		free(path);
	}
	dwarf_end(source->dwarf);
	close(source->fd);
	for (size_t i = 0; i < source->unit_count; i++)
		free(source->units[i].functions.rows);
	free(source->units);
	free(source->ranges.rows);
	free(source);
}

static int find_unit(struct dt_source *source, uint64_t vaddr, struct unit **ret_unit, Dwarf_Die *ret_die)
{
	const struct range *range;
	struct unit *unit;
	int error = 0;

	if (!source->indexed)
		error = index_units(source);
	source->indexed = true;
	range = error ? NULL : find_range(&source->ranges, vaddr);
	if (!range)
		return error ? error : -ENOENT;
	unit = &source->units[range->unit];
	if (!dwarf_offdie(source->dwarf, unit->die, ret_die))
		return -ENOENT;
	if (!unit->indexed) {
		unit->indexed = true;
		error = index_functions(&unit->functions, ret_die, 0);
		sort_ranges(&unit->functions);
	}
	*ret_unit = unit;
	return error;
}

int dt_source_find(struct dt_source *source, uint64_t vaddr, struct dt_source_frame frames[DT_SOURCE_DEPTH_MAX], size_t *ret_count)
{
	const struct range *range;
	Dwarf_Die unit_die, function;
	struct unit *unit = NULL;
	int error = find_unit(source, vaddr, &unit, &unit_die);

	if (error && error != -ENOENT)
		return error;
	*ret_count = 0;
	if (error)
		return 0;
	range = find_range(&unit->functions, vaddr);
	if (range && dwarf_offdie(source->dwarf, range->die, &function)) {
		*ret_count = fill_frames(source, &unit_die, &function, range->start, vaddr, frames);
		return 0;
	}
	memset(frames, 0, sizeof(*frames));     /* assembly has lines and no functions */
	find_line(source, &unit_die, vaddr, frames);
	*ret_count = frames->file != NULL;
	return 0;
}
