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

static void free_files(struct dt_resolve *resolve)
{
	struct dt_resolve_file *file, *next;

	HASH_ITER(hh, resolve->files, file, next) {
		HASH_DEL(resolve->files, file);
		if (file->fetched_fd >= 0)
			close(file->fetched_fd);
		free(file->id);
		free(file);
	}
}

void dt_resolve_free(struct dt_resolve *resolve)
{
	if (!resolve)
		return;
	dt_fetch_stop(&resolve->fetch);
	dt_namer_free(resolve->namer);
	dt_jit_clear(&resolve->jits);
	HASH_CLEAR(hh, resolve->table);
	for (size_t i = 0; i < resolve->place_count; i++) {
		free(resolve->places[i]->frames);
		free(resolve->places[i]);
	}
	free(resolve->places);
	free_files(resolve);
	for (struct dt_resolve_root *next; resolve->roots; resolve->roots = next) {
		next = resolve->roots->next;
		close(resolve->roots->fd);
		free(resolve->roots);
	}
	if (resolve->strings && resolve->epoll_fd >= 0)
		close(resolve->epoll_fd);
	dt_snapshot_free(resolve->strings);
	free(resolve);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static const struct dt_resolve_root *known_root(const struct dt_resolve *resolve, const struct statx *status)
{
	const struct dt_resolve_root *root = resolve->roots;

	while (root && (root->inode != status->stx_ino || root->mount != status->stx_mnt_id ||
			root->device != makedev(status->stx_dev_major, status->stx_dev_minor)))
		root = root->next;
	return root;
}

/* The root directory of a process: one for all that have the same. NULL: it has gone. */
static const struct dt_resolve_root *find_root(struct dt_resolve *resolve, pid_t pid)
{
	const struct dt_resolve_root *known;
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
	find_root(resolve, traced->pid);
	dt_jit_add_process(&resolve->jits, traced);
}

/* Copies of a file have the same names. */
static char *make_id(const struct dt_module *module)
{
	const struct dt_module *original = module->original ? module->original : module;
	char *id = NULL;

	return asprintf(&id, "%llx:%llx", (unsigned long long)original->key.device, (unsigned long long)original->key.inode) < 0 ? NULL : id;
}

static struct dt_resolve_file *find_file(struct dt_resolve *resolve, pid_t pid, struct dt_module *module)
{
	DT_FREE char *id = make_id(module);
	struct dt_resolve_file *file = NULL;

	if (id)
		HASH_FIND_STR(resolve->files, id, file);
	if (!id || file)
		return file;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->number = resolve->file_count++;
	file->lost = file->number >= DT_NAMER_FILES_MAX;
	file->module = module;
	file->root = find_root(resolve, pid);
	file->fetched_fd = -1;
	file->id = DT_TAKE(id);
	HASH_ADD_KEYPTR(hh, resolve->files, file->id, strlen(file->id), file);
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

/* Code of an ELF file. -ENXIO: of no segment of it. */
static int add_in_file(struct dt_resolve *resolve, pid_t pid, struct dt_module *module, const struct dt_mapping *mapping, uint64_t address,
		       bool exact, struct dt_resolve_place *ret_place)
{
	uint64_t offset = address - mapping->start + mapping->offset, vaddr;
	struct dt_known_place from = { .key = { .module = (uintptr_t)module } }, *place;
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
			.module = module->path,
			.build_id = dt_elf_build_id(module->elf),
			.address = offset - (exact ? 0 : length ? length : 1),
		};
		error = from.file ? add_place(resolve, &from, &place) : -ENOMEM;
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
		error = add_in_file(resolve, traced->pid, module, mapping, address, exact, ret_place);
		if (error != -ENXIO)
			return error;
	}
	return add_elsewhere(resolve, traced->image, mapping, address, exact, ret_place);
}

void dt_resolve_remove_process(struct dt_resolve *resolve, const struct dt_traced *traced)
{
	dt_resolve_look_again(resolve);
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
