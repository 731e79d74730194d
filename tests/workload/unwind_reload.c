// SPDX-License-Identifier: BSD-2-Clause
/*
 * Libraries that come, go and are replaced: unwind_reload [--held LIBRARY]… [--turns N --first LIBRARY --second LIBRARY]
 *   held    loaded before the trace, one block before and one behind a gate: what is done to the files is the driver's
 *   turns   the first and the second one are loaded and unloaded in turns: used at once, behind a gate and once more
 */
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "truth.h"
#include "unwind.h"

#define HELD_MAX 8
#define GATED_TURNS 4

typedef void library_call(size_t bytes);

struct library {
	void *handle;
	library_call *call;
};

static char facts[128 * 1024];

static void tell_load(const char *path, uintptr_t base)
{
	size_t length = strlen(facts);

	if (length + strlen(path) + 64 > sizeof(facts))
		truth_stop("unwind_reload: more loads than can be told\n");
	snprintf(facts + length, sizeof(facts) - length, "%s[\"%s\", %ju]", length ? ", " : "", path, (uintmax_t)base);
}

FRAME static struct library load(const char *path)
{
	struct library library;
	struct link_map *map;

	MARK();
	library.handle = dlopen(path, RTLD_NOW);
	if (!library.handle || dlinfo(library.handle, RTLD_DI_LINKMAP, &map))
		truth_stop("unwind_reload: a library cannot be loaded\n");
	*(void **)&library.call = dlsym(library.handle, "unwind_library");
	if (!library.call)
		truth_stop("unwind_reload: a library lacks its function\n");
	unwind_load++;
	tell_load(path, map->l_addr);
	return library;
}

FRAME static void call_first(const struct library *library, size_t bytes)
{
	MARK();
	library->call(bytes);
	unwind_keep(NULL);
}

FRAME static void call_settled(const struct library *library, size_t bytes)
{
	MARK();
	library->call(bytes);
	unwind_keep(NULL);
}

FRAME static void turn(const char *path, unsigned number)
{
	struct library library;

	MARK();
	library = load(path);
	call_first(&library, 1500);
	if (number < GATED_TURNS) {
		unwind_tell_gate("turn");
		call_settled(&library, 1510);
	}
	call_first(&library, 1501);
	dlclose(library.handle);
}

FRAME static void turns(const char *const paths[2], unsigned count)
{
	MARK();
	for (unsigned i = 0; i < count; i++)
		turn(paths[i % 2], i);
}

FRAME static void held(const struct library *libraries, unsigned count)
{
	MARK();
	for (unsigned i = 0; i < count; i++) {
		unwind_load = i + 1;
		call_settled(&libraries[i], 1520 + i);
	}
	unwind_load = count;
}

static const char *word_option(int argc, char **argv, const char *option)
{
	for (int i = 1; i + 1 < argc; i++)
		if (!strcmp(argv[i], option))
			return argv[i + 1];
	return NULL;
}

int main(int argc, char **argv)
{
	const char *paths[2] = {word_option(argc, argv, "--first"), word_option(argc, argv, "--second")};
	struct library libraries[HELD_MAX];
	unsigned count = 0;

	MARK_OUTERMOST();
	for (int i = 1; i + 1 < argc && count < HELD_MAX; i++)
		if (!strcmp(argv[i], "--held"))
			libraries[count++] = load(argv[i + 1]);
	unwind_begin();
	unwind_tell_ready();
	held(libraries, count);
	if (count) {
		unwind_tell_gate("held");
		held(libraries, count);
	}
	if (paths[0] && paths[1])
		turns(paths, (unsigned)truth_number_option(argc, argv, "--turns", 0));
	memmove(facts + 10, facts, strlen(facts) + 1);
	memcpy(facts, "\"loads\": [", 10);
	strcat(facts, "]");
	unwind_tell(facts);
	return 0;
}
