/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/resolve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "base/cleanup.h"
#include "session/fetch.h"
#include "session/jit.h"
#include "session/namer.h"
#include "target/call.h"
#include "target/debug_file.h"

#define ANSWER_NS 20000000000ull        /* the first address of a large file indexes it */
#define FETCH_NS 30000000000ull         /* how long a server may take for a file */

/* The root directory of a process: where its files have their debug files. */
struct root {
	struct root *next;
	pid_t pid;                      /* 0: of a program that is gone; files of it may need it still */
	int fd;
	bool own;                       /* it is ours, too */
};

/* What files of one build id have in common. */
struct file {
	char *id;
	uint32_t number;
	struct dt_module *module;
	const struct root *root;        /* NULL: the process was gone */
	uint32_t helper;                /* in which it is open, as dt_namer_start() counts them; 0: in none */
	bool has_lines, asked_server;
	bool no_lines, lost;            /* reading its lines, or all of it, has failed */
	unsigned int failures;
	int fetched_fd;                 /* its debug file, from a server; −1: none */
	UT_hash_handle hh;
};

struct place {
	struct {
		uint64_t module;        /* its address; 0: code of no ELF file … */
		uint64_t vaddr;
		uint64_t pid;           /* … of this process */
	} key;
	uint32_t number;
	struct file *file;              /* NULL: code of no ELF file */
	struct dt_snapshot_frame base;  /* without names */
	struct dt_snapshot_frame *frames; /* with them; NULL: there are none (yet) */
	size_t count;
	bool called;
	UT_hash_handle hh;
};

enum question { NOTHING, OPEN, NAMES, FETCH };

struct dt_resolve {
	struct dt_resolve_opts opts;
	struct dt_snapshot *strings;    /* only for these */
	struct root *roots;
	struct file *files;
	uint32_t file_count;
	struct place *table;
	struct place **places;          /* by number */
	size_t place_count, place_room;
	size_t next;                    /* number of the first place that has not been asked for */
	size_t jit_from;                /* number of the first place of a JIT compiler that may have no name yet */
	struct dt_jit *jits;
	struct dt_namer *namer;
	struct dt_fetch fetch;
	enum question asked;
	int epoll_fd, watched_fd;       /* of whom an answer is awaited; −1: nobody */
	bool no_server, no_helper;      /* said once */
};

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
	struct file *file, *next;

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
	for (struct root *next; resolve->roots; resolve->roots = next) {
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

static const struct root *find_root(struct dt_resolve *resolve, pid_t pid)
{
	struct root *root = resolve->roots;
	bool own;
	int fd;

	while (root && root->pid != pid)
		root = root->next;
	if (root)
		return root;
	fd = dt_debug_root_open(pid, &own);
	root = fd < 0 ? NULL : calloc(1, sizeof(*root));
	if (!root) {
		if (fd >= 0)
			close(fd);
		return NULL;
	}
	*root = (struct root){ .next = resolve->roots, .pid = pid, .fd = fd, .own = own };
	resolve->roots = root;
	return root;
}

/* Copies of a file have the same names. */
static char *make_id(const struct dt_module *module)
{
	const struct dt_module *original = module->original ? module->original : module;
	char *id = NULL;

	return asprintf(&id, "%llx:%llx", (unsigned long long)original->key.device, (unsigned long long)original->key.inode) < 0 ? NULL : id;
}

static struct file *find_file(struct dt_resolve *resolve, pid_t pid, struct dt_module *module)
{
	DT_FREE char *id = make_id(module);
	struct file *file = NULL;

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

static int add_place(struct dt_resolve *resolve, const struct place *from, struct place **ret_place)
{
	struct place *place, *old;

	if (resolve->place_count == resolve->place_room) {
		size_t room = resolve->place_room ? 2 * resolve->place_room : 1024;
		struct place **grown = room > UINT32_MAX / 2 ? NULL : reallocarray(resolve->places, room, sizeof(struct place *));

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

static int name_place(struct place *place, const struct dt_snapshot_frame *frames, size_t count)
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
	struct place from = { .key = { .module = (uintptr_t)module } }, *place;
	size_t length;
	int error = dt_elf_offset_to_vaddr(module->elf, offset - !exact, &vaddr);

	if (error)
		return error;
	/* The frame of the call is keyed by its last byte, that of an instruction by its first: equal places are the same. */
	from.key.vaddr = vaddr;
	from.key.pid = exact;
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
static int find_jit_name(struct dt_resolve *resolve, const struct place *place, struct dt_snapshot_frame *ret_frame)
{
	uint64_t offset;
	const char *name = dt_jit_find(&resolve->jits, (pid_t)place->key.pid, place->key.vaddr, &offset);

	if (!name)
		return -ENOENT;
	*ret_frame = place->base;
	ret_frame->function = dt_snapshot_string(resolve->strings, name);
	ret_frame->function_offset = offset;
	return ret_frame->function ? 0 : -ENOMEM;
}

/* Code of no ELF file. The same address may have held another function before: then this is another place. */
static int add_elsewhere(struct dt_resolve *resolve, pid_t pid, const struct dt_mapping *mapping, uint64_t address, bool exact,
			 struct dt_resolve_place *ret_place)
{
	struct place from = { .key = { .vaddr = address - !exact, .pid = (uint64_t)pid } }, *place;
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
		error = name_place(place, &frame, 1);
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
	return add_elsewhere(resolve, traced->pid, mapping, address, exact, ret_place);
}

void dt_resolve_remove_process(struct dt_resolve *resolve, pid_t pid)
{
	dt_resolve_look_again(resolve);
	dt_jit_remove_process(&resolve->jits, pid);
	for (struct root *root = resolve->roots; root; root = root->next)
		if (root->pid == pid)
			root->pid = 0;
	for (size_t i = 0; i < resolve->place_count; i++) {
		struct place *place = resolve->places[i], *found;

		if (place->file || place->key.pid != (uint64_t)pid)
			continue;
		HASH_FIND(hh, resolve->table, &place->key, sizeof(place->key), found);
		if (found == place)
			HASH_DEL(resolve->table, place);
		place->key.pid = 0;
	}
}

void dt_resolve_look_again(struct dt_resolve *resolve)
{
	size_t from = resolve->place_count;

	dt_jit_look_again(resolve->jits);
	for (size_t i = resolve->jit_from; i < resolve->place_count; i++) {
		struct place *place = resolve->places[i];
		struct dt_snapshot_frame frame;

		if (place->file || place->frames || !place->key.pid)
			continue;
		if (!find_jit_name(resolve, place, &frame))
			name_place(place, &frame, 1);
		if (!place->frames && from > i)
			from = i;
	}
	resolve->jit_from = from;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static int open_in_helper(struct dt_resolve *resolve, struct file *file)
{
	int fds[2 * DT_DEBUG_FILES_MAX + 1], own_root, error;
	size_t count = 0;

	if (file->fetched_fd >= 0)
		fds[count++] = file->fetched_fd;
	if (file->root)
		count += dt_debug_file_open(file->module->elf, file->module->path, file->root->fd, fds + count);
	own_root = file->root && file->root->own ? -1 : open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (own_root >= 0) {
		count += dt_debug_file_open(file->module->elf, file->module->path, own_root, fds + count);
		close(own_root);
	}
	dt_elf_trim(file->module->elf);
	error = dt_namer_open(resolve->namer, file->number, dt_elf_fd(file->module->elf), fds, count, file->no_lines);
	for (size_t i = file->fetched_fd >= 0; i < count; i++)
		close(fds[i]);
	return error;
}

/* What there is to ask of a file before its names. */
static int ask_for_file(struct dt_resolve *resolve, struct file *file, enum question *ret_question)
{
	bool wants_server = resolve->opts.debuginfod && !resolve->no_server && !file->has_lines && !file->asked_server && !file->no_lines;

	if (file->helper != dt_namer_start(resolve->namer)) {
		*ret_question = OPEN;
		return open_in_helper(resolve, file);
	}
	*ret_question = NOTHING;
	if (!wants_server || !dt_elf_build_id(file->module->elf))
		return 0;
	file->asked_server = true;
	*ret_question = FETCH;
	return dt_fetch_start(&resolve->fetch, dt_elf_build_id(file->module->elf), FETCH_NS);
}

/* Asks the next question. -ENODATA: there is none. */
static int ask(struct dt_resolve *resolve)
{
	for (; resolve->next < resolve->place_count; resolve->next++) {
		struct place *place = resolve->places[resolve->next];
		int error;

		if (!place->file || place->file->lost || resolve->no_helper)
			continue;
		if (!dt_namer_start(resolve->namer)) {
			dt_log_warning(resolve->opts.log, "no process can be started to find names of functions: %s; native frames go without",
				       strerror(errno));
			resolve->no_helper = true;
			continue;
		}
		error = ask_for_file(resolve, place->file, &resolve->asked);
		if (!error && resolve->asked == NOTHING) {
			resolve->asked = NAMES;
			error = dt_namer_ask(resolve->namer, place->file->number, place->key.vaddr);
		}
		if (!error)
			return 0;
		resolve->asked = NOTHING;
		place->file->lost = true;
		dt_log_warning(resolve->opts.log, "functions in %s go without names: %s", place->file->module->path, strerror(-error));
	}
	return -ENODATA;
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

/*
 * The helper did not survive a question about a file. A helper that died is given another try, as it may have been out of
 * memory for all that it had read before; then the file's lines are left alone, then the file.
 */
static void blame(struct dt_resolve *resolve, struct file *file, int error)
{
	const char *why = error == -ETIMEDOUT ? "takes too long" : error == -ENOMEM ? "takes too much memory" : "fails";

	if (!file->failures++ && error == -EPIPE)
		return;
	if (!file->no_lines) {
		file->no_lines = true;
		file->helper = 0;
		dt_log_warning(resolve->opts.log, "functions in %s go without files and lines: reading its debug information %s",
			       file->module->path, why);
		return;
	}
	file->lost = true;
	dt_log_warning(resolve->opts.log, "functions in %s go without names: reading its symbols %s", file->module->path, why);
}

static int take_names(struct dt_resolve *resolve, const struct dt_namer_answer *answer)
{
	struct place *place = resolve->places[resolve->next];
	struct dt_snapshot_frame frames[DT_NAMES_DEPTH_MAX];

	for (size_t i = 0; i < answer->count; i++) {
		const struct dt_name *name = &answer->names[i];

		frames[i] = place->base;
		frames[i].function = dt_snapshot_string(resolve->strings, name->function);
		frames[i].file = dt_snapshot_string(resolve->strings, name->file);
		frames[i].line = name->line;
		frames[i].function_offset = name->offset;
		frames[i].inlined = name->inlined;
		if ((name->function && !frames[i].function) || (name->file && !frames[i].file))
			return -ENOMEM;
	}
	resolve->next++;
	return answer->count ? name_place(place, frames, answer->count) : 0;
}

static void take_fetched(struct dt_resolve *resolve, struct file *file, int fd, int error)
{
	if (!error) {
		file->fetched_fd = fd;
		file->helper = 0;       /* to be opened again, with it */
	} else if (error != -ENOENT) {
		resolve->no_server = true;
		dt_log_warning(resolve->opts.log, "no more debug files are fetched: %s",
			       error == -ELIBACC ? "libdebuginfod.so.1 is missing; install libdebuginfod1" :
			       error == -ETIMEDOUT ? "the servers of $DEBUGINFOD_URLS take too long" :
			       error == -ENOSYS ? "$DEBUGINFOD_URLS names no server" :
			       error == -EPIPE ? "the process that fetches them failed" : strerror(-error));
	}
}

/* Waits for the answer to what was asked, and takes it. -EAGAIN: it is not there yet. */
static int take_answer(struct dt_resolve *resolve, uint64_t budget_ns)
{
	struct file *file = resolve->places[resolve->next]->file;
	struct dt_namer_answer answer = { 0 };
	enum question asked = resolve->asked;
	int fd = -1, error = asked == FETCH ? dt_fetch_wait(&resolve->fetch, budget_ns, &fd) :
					      dt_namer_wait(resolve->namer, budget_ns, &answer);

	if (error == -EAGAIN)
		return error;
	resolve->asked = NOTHING;
	if (asked == FETCH) {
		take_fetched(resolve, file, fd, error);
	} else if (error == -EPIPE || error == -ETIMEDOUT || error == -ENOMEM) {
		blame(resolve, file, error);
	} else if (error) {
		file->lost = true;
		dt_log_warning(resolve->opts.log, "functions in %s go without names: %s", file->module->path, strerror(-error));
	} else if (asked == OPEN) {
		file->helper = dt_namer_start(resolve->namer);
		file->has_lines = answer.has_lines;
	} else {
		return take_names(resolve, &answer);
	}
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int work(struct dt_resolve *resolve, uint64_t budget_ns)
{
	uint64_t begin = now_ns(), passed = 0;

	for (;;) {
		int error = resolve->asked == NOTHING ? ask(resolve) : 0;

		if (error)
			return error == -ENODATA ? 0 : error;
		passed = now_ns() - begin;
		error = take_answer(resolve, budget_ns > passed ? budget_ns - passed : 0);
		if (error)
			return error;
	}
}

/* A descriptor that was closed meanwhile has left by itself. */
static void watch(struct dt_resolve *resolve)
{
	struct epoll_event event = { .events = EPOLLIN };

	if (resolve->watched_fd >= 0)
		epoll_ctl(resolve->epoll_fd, EPOLL_CTL_DEL, resolve->watched_fd, NULL);
	resolve->watched_fd = resolve->asked == NOTHING ? -1 : resolve->asked == FETCH ? resolve->fetch.socket : dt_namer_fd(resolve->namer);
	if (resolve->watched_fd >= 0)
		epoll_ctl(resolve->epoll_fd, EPOLL_CTL_ADD, resolve->watched_fd, &event);
}

int dt_resolve_work(struct dt_resolve *resolve, uint64_t budget_ns)
{
	int error = resolve->asked == NOTHING && resolve->next == resolve->place_count ? 0 : work(resolve, budget_ns);

	if (resolve->asked != NOTHING || resolve->watched_fd >= 0)
		watch(resolve);
	return error;
}

int dt_resolve_fd(const struct dt_resolve *resolve)
{
	return resolve->epoll_fd;
}

bool dt_resolve_is_named(const struct dt_resolve *resolve, size_t count)
{
	return resolve->next >= count;
}

/* ---- results ----------------------------------------------------------------------------------------------------- */

const struct dt_snapshot_frame *dt_resolve_find(const struct dt_resolve *resolve, uint32_t number, size_t *ret_count)
{
	const struct place *place = resolve->places[number];

	*ret_count = place->frames ? place->count : 1;
	return place->frames ? place->frames : &place->base;
}

size_t dt_resolve_count(const struct dt_resolve *resolve)
{
	return resolve->place_count;
}
