/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * names_main LIBRARY SHAPES COPY: tells its pid, and after "go" allocates a block of each size below, from: functions inlined into
 * each other; LIBRARY, which it unloads again; C++ in SHAPES; COPY of LIBRARY, whose file it removes; code that it makes itself and
 * names in /tmp/perf-PID.map. Then it removes its own file ("-": not), tells that it is done, and ends after another "go".
 * Comments like @this mark the line of the call that the case expects in that function.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { INLINED = 100001, UNLOADED, CXX, REMOVED, JITTED, FIRST = 200000 };

typedef void *(*allocate_fn)(size_t size);

static inline __attribute__((always_inline)) void *main_inner(size_t size)
{
	return malloc(size); /* @main_inner */
}

static __attribute__((noinline)) void *main_outer(size_t size)
{
	void *block = main_inner(size); /* @main_outer */

	__asm__ volatile("" :: "r"(block) : "memory");
	return block;
}

static void fail(const char *what)
{
	fprintf(stderr, "names_main: %s: %s\n", what, dlerror() ?: "failed");
	exit(1);
}

static allocate_fn load(const char *path, const char *name, void **ret_library)
{
	void *library = dlopen(path, RTLD_NOW);
	allocate_fn allocate = library ? (allocate_fn)dlsym(library, name) : NULL;

	if (!allocate)
		fail(path);
	*ret_library = library;
	return allocate;
}

/* push %rbp; mov %rsp, %rbp; movabs $malloc, %rax; call *%rax; pop %rbp; ret */
static allocate_fn compile(void)
{
	static const uint8_t head[] = { 0x55, 0x48, 0x89, 0xe5, 0x48, 0xb8 }, tail[] = { 0xff, 0xd0, 0x5d, 0xc3 };
	void *to = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	allocate_fn address = malloc;
	char path[64];
	FILE *map;

	if (to == MAP_FAILED)
		fail("mmap");
	memcpy(to, head, sizeof(head));
	memcpy((uint8_t *)to + sizeof(head), &address, sizeof(address));
	memcpy((uint8_t *)to + sizeof(head) + sizeof(address), tail, sizeof(tail));
	mprotect(to, 4096, PROT_READ | PROT_EXEC);
	snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
	map = fopen(path, "w");
	if (!map)
		fail(path);
	fprintf(map, "%lx 40 JIT:*jitted /srv/app.js:1\n", (unsigned long)(uintptr_t)to);
	fclose(map);
	return (allocate_fn)to;
}

static __attribute__((noinline)) void call(allocate_fn allocate, size_t size)
{
	void *block = allocate(size); /* @call */

	__asm__ volatile("" :: "r"(block) : "memory");
}

/* The first traceback through code that has just been mapped may be truncated. */
static allocate_fn introduce(allocate_fn allocate)
{
	call(allocate, FIRST);
	usleep(1000000);
	return allocate;
}

static void wait_for_go(void)
{
	char line[16];

	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		exit(1);
}

int main(int argc, char **argv)
{
	void *library, *other;
	allocate_fn allocate;

	if (argc != 5)
		return 2;
	printf("{\"pid\": %d}\n", (int)getpid());
	wait_for_go();
	main_outer(INLINED); /* @main_inlined */
	allocate = introduce(load(argv[1], "names_library", &library));
	call(allocate, UNLOADED); /* @main_unloaded */
	dlclose(library);
	allocate = introduce(load(argv[2], "names_shapes", &other));
	call(allocate, CXX); /* @main_cxx */
	allocate = load(argv[3], "names_library", &other);
	unlink(argv[3]);
	introduce(allocate);
	call(allocate, REMOVED); /* @main_removed */
	allocate = introduce(compile());
	call(allocate, JITTED); /* @main_jitted */
	if (strcmp(argv[4], "-"))
		unlink(argv[4]);
	printf("{\"done\": true}\n");
	wait_for_go();
	return 0;
}
