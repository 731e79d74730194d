/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/module.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "session/declared.h"
#include "target/process.h"

static void module_free(struct dt_module *module)
{
	if (!module)
		return;
	dt_links_close(&module->links);
	dt_elf_close(module->elf);
	free(module->plans);
	dt_notes_clear(&module->notes);
	free(module->markers);
	free(module->path);
	free(module);
}

/*
 * Where glibc's malloc.c calls its own free(), for blocks that the program has given back already (the end of a thread's cache). In its
 * library these are the calls that do not go through the PLT. In a program that carries it no call does, and a symbol is needed.
 */
static bool find_allocator_range(const struct dt_module *module, uint64_t *ret_start, uint64_t *ret_end)
{
	struct dt_elf_symbol symbol;

	*ret_start = 0;
	*ret_end = UINT64_MAX;
	if (!module->has_tls_layout)
		return false;
	if (!dt_elf_entry(module->elf) || dt_elf_interpreter(module->elf))
		return true;
	if (dt_elf_find_symbol(module->elf, "__malloc_arena_thread_freeres", &symbol))
		return false;
	*ret_start = symbol.vaddr;
	*ret_end = symbol.vaddr + symbol.size;
	return true;
}

static int find_allocator_calls(struct dt_module *module)
{
	uint64_t start, end;

	for (size_t i = 0; i < module->plan_count; i++) {
		if (dt_site_info(module->plans[i].site)->shape != DT_SHAPE_FREE)
			continue;
		if (!find_allocator_range(module, &start, &end))
			return 0;
		return dt_probe_site_find_callers(module->elf, module->plans[i].entry_vaddr, start, end, module->allocator_calls,
						  DT_ALLOCATOR_CALLS_MAX, &module->allocator_call_count);
	}
	return 0;
}

/* Where NumPy says nothing of a block. */
static int find_untold(const struct dt_modules *modules, struct dt_module *module)
{
	int error = dt_untold_find(module->elf, module->untold, DT_UNTOLD_MAX, &module->untold_count);

	if (module->untold_count > DT_UNTOLD_MAX) {
		dt_log_warning(modules->log, "%s has %zu calls behind which it may say nothing of a block, %d are watched: blocks may be "
			       "missing", module->path, module->untold_count, DT_UNTOLD_MAX);
		module->untold_count = DT_UNTOLD_MAX;
	}
	return error;
}

/* Where the loader's hook for debuggers is probed: like any other site, never on a 5-byte nop. */
static uint64_t find_debug_state(const struct dt_elf *elf)
{
	struct dt_elf_symbol symbol;
	struct dt_probe_site place;

	if (dt_elf_find_symbol(elf, "_dl_debug_state", &symbol) || !symbol.function || dt_probe_site_find(elf, symbol.vaddr, &place))
		return 0;
	return place.vaddr;
}

/* _r_debug.r_state: struct r_debug { int r_version; struct link_map *r_map; Elf64_Addr r_brk; int r_state; … } (glibc elf/link.h). */
#define R_STATE_OFFSET 24

static uint64_t find_loader_state(const struct dt_elf *elf)
{
	struct dt_elf_symbol symbol;

	return dt_elf_find_symbol(elf, "_r_debug", &symbol) || !symbol.object ? 0 : symbol.vaddr + R_STATE_OFFSET;
}

/* Of copies of a library in containers one is enough. A forged one with another's build id is none of them. */
static struct dt_module *find_original(const struct dt_modules *modules, const struct dt_elf *elf)
{
	const char *build_id = dt_elf_build_id(elf);

	for (struct dt_module *module = modules->table; module && build_id; module = module->hh.next)
		if (module->elf && !module->original && dt_elf_build_id(module->elf) &&
		    !strcmp(dt_elf_build_id(module->elf), build_id) && dt_elf_is_same(module->elf, elf))
			return module;
	return NULL;
}

static int store_unwind_table(struct dt_modules *modules, struct dt_module *module)
{
	struct dt_unwind_table table;
	int error;

	if (!modules->unwind)           /* nobody walks: only its sites are asked for */
		return 0;
	if (module->original) {
		module->unwind = module->original->unwind;
		return 0;
	}
	error = dt_unwind_table_read(module->elf, &table);
	if (error)
		return error;
	error = dt_unwind_add_table(modules->unwind, &table, &module->unwind);
	dt_unwind_table_clear(&table);
	if (!error || error == -ENOMEM)
		return error;
	module->unwind = (struct dt_unwind_place){ .lost = true };
	dt_log_warning(modules->log, "no room for the unwind table of %s: native tracebacks through it are truncated", module->path);
	return 0;
}

/*
 * Are all of its code's offsets in the file as far from its addresses? Only then it takes no more than the file to find its table.
 * *ret_first is the least of the addresses.
 */
static bool find_distance(const struct dt_elf *elf, uint64_t *ret_distance, uint64_t *ret_first)
{
	uint64_t start, end, offset;
	size_t count = 0;

	for (; dt_elf_text_range(elf, count, &start, &end); count++) {
		if (dt_elf_vaddr_to_offset(elf, start, &offset) || (count && start - offset != *ret_distance))
			return false;
		*ret_distance = start - offset;
		if (!count || start < *ret_first)
			*ret_first = start;
	}
	return count;
}

static struct dt_file_key file_key(const struct dt_module *module)
{
	return (struct dt_file_key){
		.inode = module->key.inode,
		.device = major(module->key.device) << 20 | minor(module->key.device),
	};
}

/* Programs find it by themselves from now on. */
static void show_file(const struct dt_modules *modules, struct dt_module *module)
{
	const struct dt_file_key key = file_key(module);
	uint64_t distance, first;

	module->leaving = false;
	if (!modules->unwind || !module->elf || module->key.device == DT_MODULE_VDSO_DEVICE || module->unwind.lost ||
	    !find_distance(module->elf, &distance, &first))
		return;
	dt_unwind_show_file(modules->unwind, &key, &(struct dt_file_row){
		.base = module->unwind.vaddr - distance,
		.pages = module->unwind.pages,
		.page_count = module->unwind.page_count,
		.number = module->number,
		.flags = dt_module_is_allocator(module) ? DT_MAPPING_ALLOCATOR : 0,
		.code_offset = first - distance,
	});
}

static void hide_file(const struct dt_modules *modules, struct dt_module *module)
{
	const struct dt_file_key key = file_key(module);

	module->leaving = true;
	if (modules->unwind)
		dt_unwind_hide_file(modules->unwind, &key);
}

/*
 * What the tables hold decides nothing but whom calls go to, up to 3.11. Later releases also ask them which allocator they have
 * when they count blocks and set the allocator of an interpreter up (Objects/obmalloc.c, _PyMem_PymallocEnabled()).
 */
#define ALIASES_BEFORE 0x030c0000

/* CPython's own allocators, if they are asked for and understood. */
static int find_python_alloc(struct dt_modules *modules, struct dt_module *module)
{
	int error;

	if (!modules->python_alloc || !module->has_python)
		return 0;
	error = dt_python_alloc_find(module->elf, &module->python_alloc);
	if (!error)
		error = dt_sites_plan_python(module->elf, &(struct dt_site_search){ module->path, modules->cheap_sites, NULL, modules->log },
					     &module->python_alloc, module->plans, &module->plan_count);
	if (module->python_alloc.inlined && (!module->python.version_hex || module->python.version_hex >= ALIASES_BEFORE))
		module->python_alloc.unsupported = "what would make them is known to be right for CPython up to 3.11 only";
	module->has_python_alloc = !error;
	return error == -ENOMEM ? error : 0;
}

/* What attaching to it takes. */
static int read_sites(struct dt_modules *modules, struct dt_module *module)
{
	const struct dt_site_search search = { module->path, modules->cheap_sites, modules->allocators, modules->log };
	int error = dt_sites_plan(module->elf, &search, &module->plans, &module->plan_count);

	module->has_tls_layout = !dt_python_read_tls_layout(module->elf, &module->tls_first_block, &module->tls_blocks);
	if (!error)
		error = find_allocator_calls(module);
	if (!error)
		error = find_untold(modules, module);
	if (error)
		return error;
	if (module->allocator_call_count > DT_ALLOCATOR_CALLS_MAX)
		module->allocator_call_count = 0;       /* so many: not the pattern of an allocator's own housekeeping */
	module->has_python = !dt_python_detect(module->elf, &module->python);
	error = find_python_alloc(modules, module);
	if (error)
		return error;
	error = dt_notes_read(module->elf, &module->notes);
	if (!error)
		error = dt_declared_plan(module->elf, &module->notes, module->path, modules->log, &module->plans, &module->plan_count);
	if (!error && modules->markers)
		error = dt_markers_plan(modules->markers, module->elf, &module->notes, module->path, modules->log, &module->markers,
					&module->marker_count);
	if (error)
		return error;
	module->debug_state_vaddr = find_debug_state(module->elf);
	if (module->debug_state_vaddr)
		module->loader_state_vaddr = find_loader_state(module->elf);
	return 0;
}

static int read_elf(struct dt_modules *modules, struct dt_module *module)
{
	int error = module->key.device != DT_MODULE_VDSO_DEVICE ? read_sites(modules, module) : 0;

	module->original = find_original(modules, module->elf);
	if (!error)
		error = store_unwind_table(modules, module);
	dt_elf_trim(module->elf);       /* code and tables are large, and few of them are looked at again */
	return error;
}

/* The vDSO is one image for all processes: the same key for all. */
static void fill_key(const struct dt_mapping *mapping, struct dt_module *module)
{
	bool is_file = mapping->inode;

	module->key.device = is_file ? mapping->device : DT_MODULE_VDSO_DEVICE;
	module->key.inode = mapping->inode;
}

#define VDSO_BYTES_MAX (1u << 20)

/* A copy in a file without a name, so that it is named as any other file is. */
static int open_vdso(pid_t pid, const struct dt_mapping *mapping)
{
	size_t size = mapping->end - mapping->start;
	DT_FREE void *image = NULL;
	DT_FD int fd = -1;
	int error;

	if (size > VDSO_BYTES_MAX)
		return -ENOEXEC;
	image = malloc(size);
	if (!image)
		return -ENOMEM;
	error = dt_process_read_memory(pid, mapping->start, image, size);
	if (error)
		return error;
	fd = memfd_create("domtrace-vdso", MFD_CLOEXEC);
	error = fd < 0 ? -errno : dt_file_write_all(fd, image, size);
	return error ? error : DT_TAKE_FD(fd);
}

static int open_elf(struct dt_module *module, pid_t pid, const struct dt_mapping *mapping)
{
	int fd = mapping->inode ? dt_mapping_open(pid, mapping) : open_vdso(pid, mapping);

	return fd < 0 ? fd : dt_elf_open(fd, &module->elf);
}

/* Mapped, executable, not ELF (or damaged): code that has no names. */
static bool is_no_elf(int error)
{
	return error == -ENOEXEC || error == -EBADMSG;
}

static int module_new(struct dt_modules *modules, pid_t pid, const struct dt_mapping *mapping, struct dt_module **ret_module)
{
	struct dt_module *module = calloc(1, sizeof(*module));
	int error;

	if (!module)
		return -ENOMEM;
	fill_key(mapping, module);
	module->path = strdup(mapping->path ? mapping->path : "?");
	error = module->path ? open_elf(module, pid, mapping) : -ENOMEM;
	if (!error)
		error = read_elf(modules, module);
	if (error && !is_no_elf(error)) {
		module_free(module);
		return error;
	}
	*ret_module = module;
	return 0;
}

/* The module of a mapping; NULL: it is of none that is known. */
static struct dt_module *find_module(const struct dt_modules *modules, const struct dt_mapping *mapping)
{
	struct dt_module *module, probe;

	fill_key(mapping, &probe);
	HASH_FIND(hh, modules->table, &probe.key, sizeof(probe.key), module);
	return module;
}

int dt_modules_get(struct dt_modules *modules, pid_t pid, const struct dt_mapping *mapping, struct dt_module **ret_module)
{
	struct dt_module *module = find_module(modules, mapping);
	int error;

	if (!module) {
		error = module_new(modules, pid, mapping, &module);
		if (error)
			return error;
		module->number = ++modules->numbers;
		dt_modules_use(modules, module);
		HASH_ADD(hh, modules->table, key, sizeof(module->key), module);
		HASH_ADD(by_number, modules->numbered, number, sizeof(module->number), module);
		show_file(modules, module);
	}
	*ret_module = module;
	return 0;
}

struct dt_module *dt_modules_find(const struct dt_modules *modules, uint32_t number)
{
	struct dt_module *module;

	HASH_FIND(by_number, modules->numbered, &number, sizeof(number), module);
	return module;
}

/* ---- those that are not needed any more -------------------------------------------------------------------------- */

void dt_modules_begin(struct dt_modules *modules)
{
	modules->turn++;
}

void dt_modules_use(struct dt_modules *modules, struct dt_module *module)
{
	if (module)
		module->turn = modules->turn;
	if (module && module->original) /* so that it never goes before its copies */
		module->original->turn = modules->turn;
}

void dt_modules_use_maps(struct dt_modules *modules, const struct dt_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		if (maps->mappings[i].executable)
			dt_modules_use(modules, find_module(modules, &maps->mappings[i]));
}

bool dt_modules_in_use(const struct dt_modules *modules, const struct dt_module *module)
{
	return module->turn == modules->turn;
}

static void remove_module(struct dt_modules *modules, struct dt_module *module)
{
	HASH_DEL(modules->table, module);
	HASH_DELETE(by_number, modules->numbered, module);
	if (modules->unwind && !module->original)
		dt_unwind_remove_table(modules->unwind, &module->unwind);
	module_free(module);
}

/* Which go first: those that were in use longest ago; of copies the original last. */
static int compare_use(const void *left, const void *right)
{
	const struct dt_module *a = *(struct dt_module *const *)left, *b = *(struct dt_module *const *)right;

	if (a->turn != b->turn)
		return a->turn < b->turn ? -1 : 1;
	return (int)!a->original - (int)!b->original;
}

bool dt_modules_select(struct dt_modules *modules)
{
	DT_FREE struct dt_module **idle = calloc(HASH_COUNT(modules->table) + 1, sizeof(struct dt_module *));
	struct dt_module *module, *next;
	size_t count = 0, selected = 0;

	if (!idle)                      /* another time */
		return false;
	HASH_ITER(hh, modules->table, module, next) {
		if (dt_modules_in_use(modules, module))
			continue;
		if (module->elf) {
			idle[count++] = module;
			continue;
		}
		hide_file(modules, module); /* its file is not held open: another may have its number soon */
		selected++;
	}
	if (count)
		qsort(idle, count, sizeof(*idle), compare_use);
	for (size_t i = 0; i + DT_MODULES_IDLE_MAX < count; i++, selected++)
		hide_file(modules, idle[i]);
	modules->kept = HASH_COUNT(modules->table) - selected;
	return selected;
}

/* Of copies the original last. */
void dt_modules_prune(struct dt_modules *modules)
{
	struct dt_module *module, *next;

	for (int originals = 0; originals < 2; originals++)
		HASH_ITER(hh, modules->table, module, next) {
			if (!module->leaving || (module->original == NULL) != originals)
				continue;
			if (dt_modules_in_use(modules, module))
				show_file(modules, module);
			else
				remove_module(modules, module);
		}
	if (modules->unwind)
		dt_unwind_trim(modules->unwind);
}

bool dt_modules_are_many(const struct dt_modules *modules)
{
	return HASH_COUNT(modules->table) > 2 * modules->kept + DT_MODULES_IDLE_MAX;
}

void dt_modules_detach(struct dt_modules *modules)
{
	for (struct dt_module *module = modules->table; module; module = module->hh.next)
		dt_links_close(&module->links);
}

void dt_modules_clear(struct dt_modules *modules)
{
	struct dt_module *module, *next;

	HASH_CLEAR(by_number, modules->numbered);
	HASH_ITER(hh, modules->table, module, next) {
		HASH_DEL(modules->table, module);
		module_free(module);
	}
}

static int is_function(void *context, const struct dt_elf_symbol *symbol)
{
	(void)context;
	return symbol->function;
}

bool dt_module_is_stripped(const struct dt_module *module)
{
	return module->elf && dt_elf_entry(module->elf) && !dt_elf_interpreter(module->elf) &&
	       !dt_elf_each_symbol(module->elf, is_function, NULL);
}

bool dt_module_is_allocator(const struct dt_module *module)
{
	for (size_t i = 0; i < module->plan_count; i++) {
		const struct dt_site_info *info = dt_site_info(module->plans[i].site);

		if (info->source < DT_SOURCES_CALLED && dt_shape_is_booked(info->shape))
			return true;
	}
	return false;
}

int dt_module_bias(const struct dt_module *module, const struct dt_mapping *mapping, uint64_t *ret_bias)
{
	uint64_t vaddr;
	int error = dt_elf_text_vaddr(module->elf, mapping->offset, &vaddr);

	if (!error)
		*ret_bias = mapping->start - vaddr;
	return error;
}
