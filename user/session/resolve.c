/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/known_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "target/call.h"
#include "target/debug_file.h"

#define ANSWER_NS 20000000000ull        /* the first address of a large file indexes it */

int dt_resolve_new(const struct dt_resolve_opts *opts, struct dt_resolve **ret_resolve)
{
	struct dt_resolve *resolve = calloc(1, sizeof(*resolve));
	int error = resolve ? dt_snapshot_new(&resolve->strings) : -ENOMEM;

	if (!error) {
		resolve->watched_fd = -1;
		resolve->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
		error = resolve->epoll_fd < 0 ? -errno : 0;
	}
	if (!error)
		error = dt_namer_new(&(struct dt_names_opts){ .raw = opts->raw_names }, opts->answer_ns ? opts->answer_ns : ANSWER_NS, &resolve->namer);
	if (error) {
		dt_resolve_free(resolve);
		return error;
	}
	resolve->opts = *opts;
	*ret_resolve = resolve;
	return 0;
}

/* Closes files and root directories, all or those that are not needed. */
static void remove_files(struct dt_resolve *resolve, bool all)
{
	struct dt_resolve_file *file, *next;

	HASH_ITER(hh, resolve->files, file, next) {
		if (file->needed && !all)
			continue;
		HASH_DEL(resolve->files, file);
		if (file->fetched_fd >= 0)
			close(file->fetched_fd);
		free(file);
	}
}

static void remove_roots(struct dt_resolve *resolve, bool all)
{
	struct dt_resolve_root **link = &resolve->roots, *root;

	while ((root = *link)) {
		if (root->needed && !all) {
			link = &root->next;
			continue;
		}
		*link = root->next;
		close(root->fd);
		free(root);
	}
}

static void free_place(struct dt_known_place *place)
{
	free(place->frames);
	free(place);
}

void dt_resolve_free(struct dt_resolve *resolve)
{
	if (!resolve)
		return;
	dt_fetch_stop(&resolve->fetch);
	dt_namer_free(resolve->namer);
	dt_jit_clear(&resolve->jits);
	HASH_CLEAR(hh, resolve->table);
	for (size_t i = 0; i < resolve->place_count; i++)
		free_place(resolve->places[i]);
	free(resolve->places);
	remove_files(resolve, true);
	remove_roots(resolve, true);
	if (resolve->strings && resolve->epoll_fd >= 0)
		close(resolve->epoll_fd);
	dt_snapshot_free(resolve->strings);
	free(resolve);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static struct dt_resolve_root *known_root(const struct dt_resolve *resolve, const struct statx *status)
{
	struct dt_resolve_root *root = resolve->roots;

	while (root && (root->inode != status->stx_ino || root->mount != status->stx_mnt_id ||
			root->device != makedev(status->stx_dev_major, status->stx_dev_minor)))
		root = root->next;
	return root;
}

/* The root directory of a process: one for all that have the same. NULL: it has gone. */
static struct dt_resolve_root *find_root(struct dt_resolve *resolve, pid_t pid)
{
	struct dt_resolve_root *known;
	struct dt_resolve_root *root;
	struct statx status;
	bool own;
	DT_FD int fd = dt_debug_root_open(pid, &own);

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &status))
		return NULL;
	known = known_root(resolve, &status);
	if (known)
		return known;
	root = calloc(1, sizeof(*root));
	if (!root)
		return NULL;
	*root = (struct dt_resolve_root){
		.next = resolve->roots,
		.device = makedev(status.stx_dev_major, status.stx_dev_minor),
		.inode = status.stx_ino,
		.mount = status.stx_mnt_id,
		.fd = DT_TAKE_FD(fd),
		.own = own,
	};
	resolve->roots = root;
	return root;
}

void dt_resolve_add_process(struct dt_resolve *resolve, const struct dt_traced *traced)
{
	dt_jit_add_process(&resolve->jits, traced);
}

void dt_resolve_reach_names(struct dt_resolve *resolve, const struct dt_traced *traced)
{
	dt_jit_open(resolve->jits, traced->image);
}

/* Copies of a file have the same names. */
static uint32_t id_of(const struct dt_module *module)
{
	return module->original ? module->original->number : module->number;
}

static struct dt_resolve_file *find_file(struct dt_resolve *resolve, pid_t pid, struct dt_module *module)
{
	uint32_t id = id_of(module);
	struct dt_resolve_file *file;

	HASH_FIND(hh, resolve->files, &id, sizeof(id), file);
	if (!file) {
		file = calloc(1, sizeof(*file));
		if (!file)
			return NULL;
		file->id = id;
		file->fetched_fd = -1;
		HASH_ADD(hh, resolve->files, id, sizeof(file->id), file);
	}
	if (!file->module)
		file->module = module;
	if (!file->root)
		file->root = find_root(resolve, pid);
	return file;
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static int add_place(struct dt_resolve *resolve, const struct dt_known_place *from, struct dt_known_place **ret_place)
{
	struct dt_known_place *place, *old;

	if (resolve->place_count == resolve->place_room) {
		size_t room = resolve->place_room ? 2 * resolve->place_room : 1024;
		struct dt_known_place **grown = room > UINT32_MAX / 2 ? NULL : reallocarray(resolve->places, room, sizeof(struct dt_known_place *));

		if (!grown)
			return -ENOMEM;
		resolve->places = grown;
		resolve->place_room = room;
	}
	place = malloc(sizeof(*place));
	if (!place)
		return -ENOMEM;
	*place = *from;
	place->number = (uint32_t)resolve->place_count;
	resolve->places[resolve->place_count++] = place;
	HASH_REPLACE(hh, resolve->table, key, sizeof(place->key), place, old);  /* the older one keeps its number */
	(void)old;
	*ret_place = place;
	return 0;
}

int dt_known_place_name(struct dt_known_place *place, const struct dt_snapshot_frame *frames, size_t count)
{
	struct dt_snapshot_frame *own = malloc(count * sizeof(*own));

	if (!own)
		return -ENOMEM;
	memcpy(own, frames, count * sizeof(*own));
	free(place->frames);
	place->frames = own;
	place->count = count;
	return 0;
}

/* The length of the call instruction before a return address; 0: there is none. */
static size_t find_call(const struct dt_module *module, uint64_t last_vaddr)
{
	uint8_t bytes[DT_CALL_BYTES_MAX];

	for (size_t size = DT_CALL_BYTES_MAX; size; size--)
		if (last_vaddr >= size - 1 && !dt_elf_read(module->elf, last_vaddr + 1 - size, bytes, size))
			return dt_call_length(bytes, size);
	return 0;
}

/* Code of an ELF file, by its offset there. -ENXIO: of no segment of it. */
static int add_in_file(struct dt_resolve *resolve, pid_t pid, struct dt_module *module, uint64_t offset, bool exact,
		       struct dt_resolve_place *ret_place)
{
	uint64_t vaddr;
	struct dt_known_place from = { .key = { .module = module->number } }, *place;
	size_t length;
	int error = dt_elf_offset_to_vaddr(module->elf, offset - !exact, &vaddr);

	if (error)
		return error;
	/* The frame of the call is keyed by its last byte, that of an instruction by its first: equal places are the same. */
	from.key.vaddr = vaddr;
	from.key.image = exact;
	HASH_FIND(hh, resolve->table, &from.key, sizeof(from.key), place);
	if (!place) {
		length = exact ? 0 : find_call(module, vaddr);
		from.called = length;
		from.file = find_file(resolve, pid, module);
		from.base = (struct dt_snapshot_frame){
			.kind = DT_FRAME_NATIVE,
			.module = dt_snapshot_string(resolve->strings, module->path),
			.build_id = dt_snapshot_string(resolve->strings, dt_elf_build_id(module->elf)),
			.address = offset - (exact ? 0 : length ? length : 1),
		};
		error = from.file && from.base.module ? add_place(resolve, &from, &place) : -ENOMEM;
		if (error)
			return error;
	}
	*ret_place = (struct dt_resolve_place){ .number = place->number, .called = place->called };
	return 0;
}

/* Names a place by what the JIT compiler says now. False: it says nothing. */
static int find_jit_name(struct dt_resolve *resolve, const struct dt_known_place *place, struct dt_snapshot_frame *ret_frame)
{
	uint64_t offset;
	const char *name = dt_jit_find(resolve->jits, (uint32_t)place->key.image, place->key.vaddr, &offset);

	if (!name)
		return -ENOENT;
	*ret_frame = place->base;
	ret_frame->function = dt_snapshot_string(resolve->strings, name);
	ret_frame->function_offset = offset;
	return ret_frame->function ? 0 : -ENOMEM;
}

/* Code of no ELF file. The same address may have held another function before: then this is another place. */
static int add_elsewhere(struct dt_resolve *resolve, uint32_t image, const struct dt_mapping *mapping, uint64_t address, bool exact,
			 struct dt_resolve_place *ret_place)
{
	struct dt_known_place from = { .key = { .vaddr = address - !exact, .image = image } }, *place;
	struct dt_snapshot_frame frame;
	bool is_file = mapping && mapping->inode;
	int named, error = 0;

	from.base = (struct dt_snapshot_frame){
		.kind = DT_FRAME_NATIVE,
		.module = is_file ? dt_snapshot_string(resolve->strings, mapping->path) : NULL,
		.address = is_file ? from.key.vaddr - mapping->start + mapping->offset : from.key.vaddr,
	};
	HASH_FIND(hh, resolve->table, &from.key, sizeof(from.key), place);
	named = mapping ? find_jit_name(resolve, &from, &frame) : -ENOENT;
	if (named == -ENOMEM)
		return named;
	if (!place || (!named && place->frames && (place->frames->function != frame.function || place->base.address != frame.address)))
		error = add_place(resolve, &from, &place);
	if (!error && !named && !place->frames)
		error = dt_known_place_name(place, &frame, 1);
	if (error)
		return error;
	*ret_place = (struct dt_resolve_place){ .number = place->number, .called = mapping };
	return 0;
}

int dt_resolve_add(struct dt_resolve *resolve, const struct dt_traced *traced, const struct dt_maps *maps, uint64_t address, bool exact,
		   struct dt_resolve_place *ret_place)
{
	const struct dt_mapping *mapping = dt_maps_find(maps, address - !exact);
	struct dt_module *module = NULL;
	bool is_vdso;
	int error = 0;

	if (mapping && !mapping->executable)
		mapping = NULL;
	is_vdso = mapping && mapping->path && !mapping->inode && !strcmp(mapping->path, "[vdso]");
	if (mapping && (mapping->inode || is_vdso))
		error = dt_modules_get(resolve->opts.modules, traced->pid, mapping, &module);
	if (error == -ENOMEM)
		return error;
	if (!error && module && module->elf) {
		error = add_in_file(resolve, traced->pid, module, address - mapping->start + mapping->offset, exact, ret_place);
		if (error != -ENXIO)
			return error;
	}
	return add_elsewhere(resolve, traced->image, mapping, address, exact, ret_place);
}

int dt_resolve_add_in_file(struct dt_resolve *resolve, const struct dt_traced *traced, uint32_t number, uint64_t offset, bool exact,
			   struct dt_resolve_place *ret_place)
{
	struct dt_module *module = dt_modules_find(resolve->opts.modules, number);
	int error = module && module->elf ? add_in_file(resolve, traced->pid, module, offset, exact, ret_place) : -ENXIO;

	/* Not code after all: where it lay in the process is not known. */
	return error == -ENXIO ? add_elsewhere(resolve, traced->image, NULL, !exact, exact, ret_place) : error;
}

void dt_resolve_remove_process(struct dt_resolve *resolve, const struct dt_traced *traced)
{
	dt_jit_remove_process(&resolve->jits, traced->image);
}

void dt_resolve_look_again(struct dt_resolve *resolve)
{
	size_t from = resolve->place_count;

	dt_jit_look_again(resolve->jits);
	for (size_t i = resolve->jit_from; i < resolve->place_count; i++) {
		struct dt_known_place *place = resolve->places[i];
		struct dt_snapshot_frame frame;

		if (place->file || place->frames || !place->key.image)
			continue;
		if (!find_jit_name(resolve, place, &frame))
			dt_known_place_name(place, &frame, 1);
		if (!place->frames && from > i)
			from = i;
	}
	resolve->jit_from = from;
}

/* ---- what nobody needs any more ---------------------------------------------------------------------------------- */

void dt_resolve_use_modules(struct dt_resolve *resolve)
{
	for (size_t i = resolve->next; i < resolve->place_count; i++)
		if (resolve->places[i]->file)
			dt_modules_use(resolve->opts.modules, resolve->places[i]->file->module);
}

void dt_resolve_forget_modules(struct dt_resolve *resolve)
{
	for (struct dt_resolve_file *file = resolve->files; file; file = file->hh.next)
		if (file->module && !dt_modules_in_use(resolve->opts.modules, file->module))
			file->module = NULL;
}

/* Points the strings of a frame into another store. False: no memory; none where they are there already. */
static bool move_strings(struct dt_snapshot *strings, struct dt_snapshot_frame *frame)
{
	const char **fields[] = { &frame->function, &frame->file, &frame->module, &frame->build_id };

	for (size_t i = 0; i < DT_ARRAY_SIZE(fields); i++) {
		const char *moved = dt_snapshot_string(strings, *fields[i]);

		if (*fields[i] && !moved)
			return false;
		*fields[i] = moved;
	}
	return true;
}

/* The strings of the places that are kept, alone. */
static int copy_strings(const struct dt_resolve *resolve, const bool *kept, struct dt_snapshot *strings)
{
	for (size_t i = 0; i < resolve->place_count; i++) {
		const struct dt_known_place *place = resolve->places[i];
		struct dt_snapshot_frame frame = place->base;

		if (!kept[i])
			continue;
		if (!move_strings(strings, &frame))
			return -ENOMEM;
		for (size_t j = 0; place->frames && j < place->count; j++) {
			frame = place->frames[j];
			if (!move_strings(strings, &frame))
				return -ENOMEM;
		}
	}
	return 0;
}

static void keep_place(struct dt_resolve *resolve, struct dt_known_place *place)
{
	move_strings(resolve->strings, &place->base);
	for (size_t i = 0; place->frames && i < place->count; i++)
		move_strings(resolve->strings, &place->frames[i]);
	if (place->file)
		place->file->needed = true;
	place->number = (uint32_t)resolve->place_count;
	resolve->places[resolve->place_count++] = place;
}

static void drop_place(struct dt_resolve *resolve, struct dt_known_place *place)
{
	struct dt_known_place *known;

	HASH_FIND(hh, resolve->table, &place->key, sizeof(place->key), known);
	if (known == place)             /* not one that stands for another function at its address by now */
		HASH_DEL(resolve->table, place);
	free_place(place);
}

static void remove_places(struct dt_resolve *resolve, const bool *kept)
{
	size_t count = resolve->place_count, next = resolve->next, jit_from = resolve->jit_from;

	resolve->place_count = 0;
	for (size_t i = 0; i < count; i++) {
		if (i == next)
			resolve->next = resolve->place_count;
		if (i == jit_from)
			resolve->jit_from = resolve->place_count;
		if (kept[i])
			keep_place(resolve, resolve->places[i]);
		else
			drop_place(resolve, resolve->places[i]);
	}
	if (next == count)
		resolve->next = resolve->place_count;
	if (jit_from == count)
		resolve->jit_from = resolve->place_count;
}

void dt_resolve_number(const struct dt_resolve *resolve, bool *kept, uint32_t *ret_numbers)
{
	uint32_t number = 0;

	if (resolve->asked != DT_QUESTION_NONE) /* the answer is for this one */
		kept[resolve->next] = true;
	for (size_t i = 0; i < resolve->place_count; i++) {
		ret_numbers[i] = number;
		number += kept[i];
	}
}

int dt_resolve_keep(struct dt_resolve *resolve, const bool *kept)
{
	struct dt_snapshot *strings, *old = resolve->strings;
	int error = dt_snapshot_new(&strings);

	if (error)
		return error;
	error = copy_strings(resolve, kept, strings);
	if (error) {
		dt_snapshot_free(strings);
		return error;
	}
	for (struct dt_resolve_file *file = resolve->files; file; file = file->hh.next)
		file->needed = file->module;
	resolve->strings = strings;
	remove_places(resolve, kept);
	dt_snapshot_free(old);
	remove_files(resolve, false);
	for (struct dt_resolve_root *root = resolve->roots; root; root = root->next)
		root->needed = false;
	for (struct dt_resolve_file *file = resolve->files; file; file = file->hh.next)
		if (file->root)
			file->root->needed = true;
	remove_roots(resolve, false);
	return 0;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

const struct dt_snapshot_frame *dt_resolve_find(const struct dt_resolve *resolve, uint32_t number, size_t *ret_count)
{
	const struct dt_known_place *place = resolve->places[number];

	*ret_count = place->frames ? place->count : 1;
	return place->frames ? place->frames : &place->base;
}

size_t dt_resolve_count(const struct dt_resolve *resolve)
{
	return resolve->place_count;
}
