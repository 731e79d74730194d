// SPDX-License-Identifier: BSD-2-Clause
/*
 * A library loaded after the trace began, used by the main thread and by a thread that starts later: `alloc_dlopen
 * PATH/liballoc_late.so`. The loader allocates as well; those rows are the loader's and are not told here.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "liballoc_late.h"
#include "truth.h"

#define ROWS(R) \
	R(MAIN_MALLOC, "late_library_malloc", "use_library") \
	R(MAIN_CALLOC, "late_library_calloc", "use_library") \
	R(THREAD_MALLOC, "late_library_malloc", "use_library_in_thread")

enum row {
#define R(id, function, caller) ROW_##id,
	ROWS(R)
#undef R
	ROW_COUNT
};

static const struct truth_name names[ROW_COUNT] = {
#define R(id, function_, caller_) [ROW_##id] = {.function = function_, .caller = caller_},
	ROWS(R)
#undef R
};

static struct truth truth;
static __typeof__(late_library_malloc) *library_malloc;
static __typeof__(late_library_calloc) *library_calloc;
static __typeof__(late_library_free) *library_free;

SITE void use_library(void)
{
	void *block;

	for (unsigned i = 0; i < 100; i++) {
		block = library_malloc(100 + i);
		truth_allocated(&truth, ROW_MAIN_MALLOC, (uintptr_t)block, 100 + i);
		if (i % 2) {
			truth_freed(&truth, (uintptr_t)block);
			library_free(block);
		}
	}
	block = library_calloc(10, 1000);
	truth_allocated(&truth, ROW_MAIN_CALLOC, (uintptr_t)block, 10000);
}

SITE void *use_library_in_thread(void *unused)
{
	void *block;

	for (unsigned i = 0; i < 50; i++) {
		block = library_malloc(1000 + i);
		truth_allocated(&truth, ROW_THREAD_MALLOC, (uintptr_t)block, 1000 + i);
	}
	return unused;
}

static void load(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);

	if (!library)
		truth_stop("alloc_dlopen: the library cannot be loaded\n");
	*(void **)&library_malloc = dlsym(library, "late_library_malloc");
	*(void **)&library_calloc = dlsym(library, "late_library_calloc");
	*(void **)&library_free = dlsym(library, "late_library_free");
	if (!library_malloc || !library_calloc || !library_free)
		truth_stop("alloc_dlopen: the library lacks a function\n");
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 2)
		truth_stop("alloc_dlopen: which library?\n");
	truth_print_pid();
	truth_wait();
	load(argv[1]);
	truth_put_string("{\"loaded\": true}\n"); /* what follows is traced by someone who knows the library */
	truth_flush();
	truth_wait();
	use_library();
	if (pthread_create(&thread, NULL, use_library_in_thread, NULL))
		truth_stop("alloc_dlopen: no thread\n");
	pthread_join(thread, NULL);
	truth_print(&truth, names, ROW_COUNT, "");
	truth_wait();
	return 0;
}
