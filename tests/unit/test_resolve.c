/* SPDX-License-Identifier: BSD-2-Clause */
/* Places and their names: of libraries that are gone by then, of JIT code, and whatever becomes of the process that reads them. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "session/resolve.h"
#include "shell.h"

#define SECOND 1000000000ull

static const char source[] =
	"#include <stdlib.h>\n"
	"static inline __attribute__((always_inline)) void *inner(size_t size) { return malloc(size); }\n"
	"void *library_outer(size_t size)\n"
	"{\n"
	"	char *block = inner(size);\n"
	"	if (block)\n"
	"		*block = 1;\n"
	"	return block;\n"
	"}\n";

/* What was said, a sentence a line. */
struct said {
	char text[4096];
	struct dt_log log;
};

static void hear(void *context, enum dt_log_level level, const char *line)
{
	struct said *said = context;

	if (level <= DT_LOG_WARNING)
		snprintf(said->text + strlen(said->text), sizeof(said->text) - strlen(said->text), "%s\n", line);
}

struct scene {
	struct said said;
	struct dt_modules modules;
	struct dt_module module;        /* of the library */
	struct dt_traced traced;        /* this process */
	struct dt_maps maps;
	struct dt_resolve *resolve;
	void *library;
	uint64_t address;               /* behind the call of malloc in library_outer */
};

/* The return address of the first call in a function: e8 or ff 15, which is all that calls malloc there. */
static uint64_t find_call(const void *function)
{
	const uint8_t *code = function;

	while (*code != 0xe8 && !(code[0] == 0xff && code[1] == 0x15))
		code++;
	return (uintptr_t)code + (*code == 0xe8 ? 5 : 6);
}

static void begin(struct scene *scene, const char *options, uint64_t answer_ns)
{
	const struct dt_mapping *mapping;

	memset(scene, 0, sizeof(*scene));
	scene->said.log = (struct dt_log){ .write = hear, .context = &scene->said };
	shell_write("library.c", source);
	shell("gcc -O2 %s -shared -fPIC -o library.so library.c", options);
	scene->library = dlopen("./library.so", RTLD_NOW);
	assert_non_null(scene->library);
	scene->address = find_call(dlsym(scene->library, "library_outer"));
	scene->traced.pid = getpid();
	scene->traced.image = 17;
	assert_int_equal(dt_maps_read(getpid(), &scene->maps), 0);
	mapping = dt_maps_find(&scene->maps, scene->address);
	assert_non_null(mapping);
	/* By hand, so that nothing is attached to and no table goes into the kernel. */
	scene->module.key.device = mapping->device;
	scene->module.key.inode = mapping->inode;
	scene->module.number = 1;
	scene->module.path = mapping->path;
	assert_int_equal(dt_elf_open(dt_mapping_open(getpid(), mapping), &scene->module.elf), 0);
	struct dt_module *module = &scene->module;

	HASH_ADD(hh, scene->modules.table, key, sizeof(module->key), module);
	HASH_ADD(by_number, scene->modules.numbered, number, sizeof(module->number), module);
	struct dt_resolve_opts opts = { .modules = &scene->modules, .log = &scene->said.log, .answer_ns = answer_ns };

	assert_int_equal(dt_resolve_new(&opts, &scene->resolve), 0);
	dt_resolve_add_process(scene->resolve, &scene->traced);
}

static void end(struct scene *scene)
{
	dt_resolve_free(scene->resolve);
	HASH_CLEAR(by_number, scene->modules.numbered);
	HASH_CLEAR(hh, scene->modules.table);
	dt_elf_close(scene->module.elf);
	dt_maps_clear(&scene->maps);
	if (scene->library)
		dlclose(scene->library);
}

static struct dt_resolve_place add(struct scene *scene, uint64_t address, bool exact)
{
	struct dt_resolve_place place;

	assert_int_equal(dt_resolve_add(scene->resolve, &scene->traced, &scene->maps, address, exact, &place), 0);
	return place;
}

static void expect_frame(const struct dt_snapshot_frame *frame, const char *function, const char *file, int line, bool inlined)
{
	assert_int_equal(frame->kind, DT_FRAME_NATIVE);
	assert_int_equal(!frame->function, !function);
	if (function)
		assert_string_equal(frame->function, function);
	assert_int_equal(!frame->file, !file);
	if (file)
		assert_string_equal(strrchr(frame->file, '/') + 1, file);
	assert_int_equal(frame->line, line);
	assert_int_equal(frame->inlined, inlined);
}

/* Both frames of the call of malloc, with what they have in common. */
static void expect_named(struct scene *scene, uint32_t number)
{
	size_t count;
	const struct dt_snapshot_frame *frames = dt_resolve_find(scene->resolve, number, &count);

	assert_int_equal(count, 2);
	expect_frame(&frames[0], "inner", "library.c", 2, true);
	expect_frame(&frames[1], "library_outer", "library.c", 5, false);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(frames[i].module, scene->module.path);
		assert_string_equal(frames[i].build_id, dt_elf_build_id(scene->module.elf));
	}
}

/* The children of this process: the helper. */
static pid_t find_helper(void)
{
	DT_FREE char *text = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	assert_int_equal(dt_file_read(path, &text, NULL), 0);
	return (pid_t)strtol(text, NULL, 10);
}

/* ---- places ------------------------------------------------------------------------------------------------------ */

static void test_places(void **state)
{
	struct scene scene;
	struct dt_resolve_place place, other;
	size_t count;

	(void)state;
	begin(&scene, "-g", 0);
	place = add(&scene, scene.address, false);
	assert_true(place.called);
	other = add(&scene, scene.address, false);
	assert_int_equal(other.number, place.number);
	other = add(&scene, scene.address + 1, false);
	assert_false(other.called);
	assert_int_not_equal(other.number, place.number);
	other = add(&scene, scene.address - 1, true);
	assert_int_not_equal(other.number, place.number);
	assert_int_equal(dt_resolve_count(scene.resolve), 3);
	assert_false(dt_resolve_is_named(scene.resolve, 1));
	/* Before it is named: where it is, and one frame. */
	const struct dt_snapshot_frame *frames = dt_resolve_find(scene.resolve, place.number, &count);

	assert_int_equal(count, 1);
	expect_frame(frames, NULL, NULL, 0, false);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	assert_true(dt_resolve_is_named(scene.resolve, 3));
	expect_named(&scene, place.number);
	expect_named(&scene, other.number);
	assert_int_equal(dt_resolve_work(scene.resolve, 0), 0);
	assert_string_equal(scene.said.text, "");
	end(&scene);
	dt_resolve_free(NULL);
}

/* Outside all code; and code of no file. */
static void test_no_file(void **state)
{
	struct scene scene;
	struct dt_resolve_place place;
	uint8_t *code = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t count;
	char path[64], text[256];

	(void)state;
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	unlink(path);
	begin(&scene, "-g", 0);
	place = add(&scene, 0x10, false);
	assert_false(place.called);
	place = add(&scene, (uintptr_t)code + 0x10, false);
	assert_true(place.called);      /* as far as can be known */
	const struct dt_snapshot_frame *frames = dt_resolve_find(scene.resolve, place.number, &count);

	expect_frame(frames, NULL, NULL, 0, false);
	assert_null(frames->module);
	assert_int_equal(frames->address, (uintptr_t)code + 0xf);
	snprintf(text, sizeof(text), "%lx 20 jitted one\n", (unsigned long)(uintptr_t)code);
	shell_write(path, text);
	assert_int_equal(add(&scene, (uintptr_t)code + 0x10, false).number, place.number);
	expect_frame(dt_resolve_find(scene.resolve, place.number, &count), NULL, NULL, 0, false); /* it looks a few times a second at most */
	dt_resolve_look_again(scene.resolve);
	frames = dt_resolve_find(scene.resolve, place.number, &count);
	expect_frame(frames, "jitted one", NULL, 0, false);
	assert_int_equal(frames->function_offset, 0xf);
	assert_int_equal(add(&scene, (uintptr_t)code + 0x10, false).number, place.number);
	/* The compiler has put another function there: what was seen before keeps its name. */
	snprintf(text, sizeof(text), "%lx 20 jitted one\n%lx 40 jitted two\n", (unsigned long)(uintptr_t)code, (unsigned long)(uintptr_t)code);
	shell_write(path, text);
	usleep(300000);
	struct dt_resolve_place second = add(&scene, (uintptr_t)code + 0x10, false);

	assert_int_not_equal(second.number, place.number);
	expect_frame(dt_resolve_find(scene.resolve, place.number, &count), "jitted one", NULL, 0, false);
	expect_frame(dt_resolve_find(scene.resolve, second.number, &count), "jitted two", NULL, 0, false);
	/* Another program in this process: nothing of it is known. */
	unlink(path);
	dt_resolve_remove_process(scene.resolve, &scene.traced);
	scene.traced.image++;
	dt_resolve_add_process(scene.resolve, &scene.traced);
	second = add(&scene, (uintptr_t)code + 0x10, false);
	expect_frame(dt_resolve_find(scene.resolve, second.number, &count), NULL, NULL, 0, false);
	expect_frame(dt_resolve_find(scene.resolve, place.number, &count), "jitted one", NULL, 0, false);
	assert_int_equal(find_helper(), 0);     /* nobody was asked */
	end(&scene);
	munmap(code, 4096);
}

static void test_file_is_gone(void **state)
{
	struct scene scene;
	struct dt_resolve_place place;

	(void)state;
	begin(&scene, "-g", 0);
	place = add(&scene, scene.address, false);
	dlclose(scene.library);
	scene.library = NULL;
	shell("rm library.so library.c && echo other > library.so");
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_named(&scene, place.number);
	end(&scene);
}

/* ---- what nobody needs any more ---------------------------------------------------------------------------------- */

static void test_keep(void **state)
{
	struct scene scene;
	bool kept[4] = { false, true, false, true };
	uint32_t numbers[4];
	size_t count;

	(void)state;
	begin(&scene, "-g", 0);
	add(&scene, scene.address - 1, true);
	add(&scene, scene.address, false);
	add(&scene, 0x10, false);
	add(&scene, 0x20, false);
	assert_int_equal(dt_resolve_count(scene.resolve), 4);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	dt_resolve_number(scene.resolve, kept, numbers);
	assert_int_equal(numbers[1], 0);
	assert_int_equal(numbers[3], 1);
	assert_int_equal(dt_resolve_keep(scene.resolve, kept), 0);
	assert_int_equal(dt_resolve_count(scene.resolve), 2);
	assert_true(dt_resolve_is_named(scene.resolve, 2));
	expect_named(&scene, 0);
	assert_int_equal(dt_resolve_find(scene.resolve, 1, &count)->address, 0x1f);
	/* Those that are there are found, the others are new. */
	assert_int_equal(add(&scene, scene.address, false).number, 0);
	assert_int_equal(add(&scene, 0x20, false).number, 1);
	assert_int_equal(add(&scene, 0x10, false).number, 2);
	assert_int_equal(add(&scene, scene.address - 1, true).number, 3);
	assert_false(dt_resolve_is_named(scene.resolve, 4));
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_named(&scene, 3);
	/* Nothing at all; and from the beginning. */
	memset(kept, 0, sizeof(kept));
	dt_resolve_number(scene.resolve, kept, numbers);
	assert_int_equal(dt_resolve_keep(scene.resolve, kept), 0);
	assert_int_equal(dt_resolve_count(scene.resolve), 0);
	assert_int_equal(add(&scene, scene.address, false).number, 0);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_named(&scene, 0);
	end(&scene);
}

/* A place whose names have been asked for stays until they are there. */
static void test_keep_while_asked(void **state)
{
	struct scene scene;
	bool kept[2] = { false, false };
	uint32_t numbers[2];

	(void)state;
	begin(&scene, "-g", 0);
	add(&scene, 0x10, false);
	add(&scene, scene.address, false);
	assert_int_equal(dt_resolve_work(scene.resolve, 0), -EAGAIN);
	dt_resolve_number(scene.resolve, kept, numbers);
	assert_true(kept[1]);
	assert_int_equal(numbers[1], 0);
	assert_int_equal(dt_resolve_keep(scene.resolve, kept), 0);
	assert_int_equal(dt_resolve_count(scene.resolve), 1);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_named(&scene, 0);
	assert_string_equal(scene.said.text, "");
	end(&scene);
}

/* A module that nobody needs may go when its places have names, and not before. */
static void test_modules(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "-g", 0);
	add(&scene, scene.address, false);
	dt_modules_begin(&scene.modules);
	dt_resolve_use_modules(scene.resolve);
	assert_true(dt_modules_in_use(&scene.modules, &scene.module));
	dt_resolve_forget_modules(scene.resolve);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	dt_modules_begin(&scene.modules);
	dt_resolve_use_modules(scene.resolve);
	assert_false(dt_modules_in_use(&scene.modules, &scene.module));
	dt_resolve_forget_modules(scene.resolve);
	HASH_CLEAR(hh, scene.modules.table);
	expect_named(&scene, 0);
	/* It is mapped again: another module, of another number. */
	struct dt_module *module = &scene.module;

	scene.module.number = 2;
	HASH_ADD(hh, scene.modules.table, key, sizeof(module->key), module);
	assert_int_equal(add(&scene, scene.address, false).number, 1);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_named(&scene, 0);
	expect_named(&scene, 1);
	end(&scene);
}

/* ---- the helper -------------------------------------------------------------------------------------------------- */

/* Once it may have been anything's fault. */
static void test_helper_dies_once(void **state)
{
	struct scene scene;
	struct dt_resolve_place place;

	(void)state;
	begin(&scene, "-g", 0);
	place = add(&scene, scene.address, false);
	assert_int_equal(dt_resolve_work(scene.resolve, 0), -EAGAIN);
	kill(find_helper(), SIGKILL);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_named(&scene, place.number);
	assert_string_equal(scene.said.text, "");
	end(&scene);
}

/* Works until somebody who kills the helper at each question has done so `times` times. */
static void work_with_killer(struct scene *scene, int times)
{
	for (int i = 0; i < times; i++) {
		assert_int_equal(dt_resolve_work(scene->resolve, 0), -EAGAIN);
		kill(find_helper(), SIGSTOP);
		kill(find_helper(), SIGKILL);
		waitid(P_PID, (id_t)find_helper(), &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	}
	assert_int_equal(dt_resolve_work(scene->resolve, 10 * SECOND), 0);
}

/* Then its lines are left alone, and then the file; said once each. */
static void test_helper_dies_always(void **state)
{
	struct scene scene;
	struct dt_resolve_place place;
	size_t count;

	(void)state;
	begin(&scene, "-g", 0);
	place = add(&scene, scene.address, false);
	work_with_killer(&scene, 2);
	expect_frame(dt_resolve_find(scene.resolve, place.number, &count), "library_outer", NULL, 0, false);
	assert_non_null(strstr(scene.said.text, "library.so go without files and lines: reading its debug information fails\n"));
	assert_ptr_equal(strchr(scene.said.text, '\n')[1], '\0');
	place = add(&scene, scene.address - 1, true);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_frame(dt_resolve_find(scene.resolve, place.number, &count), "library_outer", NULL, 0, false);
	end(&scene);

	begin(&scene, "-g", 0);
	place = add(&scene, scene.address, false);
	work_with_killer(&scene, 3);
	expect_frame(dt_resolve_find(scene.resolve, place.number, &count), NULL, NULL, 0, false);
	assert_non_null(strstr(scene.said.text, "library.so go without names: reading its symbols fails\n"));
	add(&scene, scene.address - 1, true);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	end(&scene);
}

static void test_helper_hangs(void **state)
{
	struct scene scene;
	struct dt_resolve_place place;
	size_t count;

	(void)state;
	begin(&scene, "-g", SECOND / 2);
	place = add(&scene, scene.address, false);
	assert_int_equal(dt_resolve_work(scene.resolve, 0), -EAGAIN);
	kill(find_helper(), SIGSTOP);
	assert_int_equal(dt_resolve_work(scene.resolve, 10 * SECOND), 0);
	expect_frame(dt_resolve_find(scene.resolve, place.number, &count), "library_outer", NULL, 0, false);
	assert_non_null(strstr(scene.said.text, "library.so go without files and lines: reading its debug information takes too long\n"));
	end(&scene);
}

/* A line program that never gets anywhere but back: libdw must not take us with it. */
static void test_damaged_debug_information(void **state)
{
	static const char *const sections[] = { ".debug_info", ".debug_abbrev", ".debug_line", ".debug_str", ".debug_rnglists" };

	(void)state;
	for (unsigned int seed = 0; seed < 20; seed++) {
		struct scene scene;
		struct dt_resolve_place place;
		size_t count;

		shell_write("library.c", source);
		shell("gcc -O2 -g -shared -fPIC -o whole.so library.c");
		shell("objcopy --dump-section %s=part whole.so && truncate -s %u part && objcopy --update-section %s=part whole.so damaged.so",
		      sections[seed % 5], 7 * seed, sections[seed % 5]);
		begin(&scene, "-g", 0);
		dt_elf_close(scene.module.elf);
		assert_int_equal(dt_elf_open(open("damaged.so", O_RDONLY | O_CLOEXEC), &scene.module.elf), 0);
		place = add(&scene, scene.address, false);
		assert_int_equal(dt_resolve_work(scene.resolve, 60 * SECOND), 0);
		const struct dt_snapshot_frame *frames = dt_resolve_find(scene.resolve, place.number, &count);

		assert_string_equal(frames[count - 1].function, "library_outer");
		end(&scene);
	}
}

/* What a frame says of itself, whose mapping was not read, leads to the same places as the mapping does. */
static void test_place_in_a_file(void **state)
{
	const struct dt_mapping *mapping;
	struct dt_resolve_place place;
	const struct dt_snapshot_frame *frames;
	struct scene scene;
	uint64_t offset;
	size_t count;

	(void)state;
	begin(&scene, "-g", 0);
	mapping = dt_maps_find(&scene.maps, scene.address);
	offset = scene.address - mapping->start + mapping->offset;
	for (int exact = 0; exact < 2; exact++) {
		struct dt_resolve_place by_address = add(&scene, scene.address, exact);

		assert_int_equal(dt_resolve_add_in_file(scene.resolve, &scene.traced, 1, offset, exact, &place), 0);
		assert_int_equal(place.number, by_address.number);
		assert_int_equal(place.called, by_address.called);
	}
	/* A file that has gone, and what is none of its code. */
	for (uint32_t number = 1; number <= 2; number++) {
		assert_int_equal(dt_resolve_add_in_file(scene.resolve, &scene.traced, number, 1ull << 39, false, &place), 0);
		assert_false(place.called);
		frames = dt_resolve_find(scene.resolve, place.number, &count);
		assert_int_equal(count, 1);
		assert_null(frames->module);
		assert_null(frames->function);
		assert_int_equal(frames->address, 0);
	}
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_places),
		cmocka_unit_test(test_no_file),
		cmocka_unit_test(test_file_is_gone),
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_keep_while_asked),
		cmocka_unit_test(test_modules),
		cmocka_unit_test(test_helper_dies_once),
		cmocka_unit_test(test_helper_dies_always),
		cmocka_unit_test(test_helper_hangs),
		cmocka_unit_test(test_damaged_debug_information),
		cmocka_unit_test(test_place_in_a_file),
	};

	return cmocka_run_group_tests(tests, shell_enter, shell_leave);
}
