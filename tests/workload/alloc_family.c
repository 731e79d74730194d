// SPDX-License-Identifier: BSD-2-Clause
/*
 * Every function of the malloc family in every special case, once: --from-start leaves out what needs blocks, streams or
 * libraries from before the trace. Facts tell which of the cases that the allocator decides really came up.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <sys/mman.h>

#include "calls.h"

#define REFUSED ((size_t)1 << 63)       /* more than PTRDIFF_MAX: refused before anything is tried */
#define TOO_LARGE ((size_t)1 << 50)     /* more than the address space: tried, and refused by the kernel */

#define ROWS(R) \
	R(OLDER_MALLOC, "call_malloc", "older_blocks") \
	R(MALLOC, "call_malloc", "step_malloc") \
	R(CALLOC, "call_calloc", "step_calloc") \
	R(REALLOC_NULL, "call_realloc", "step_realloc_null") \
	R(GROW_MALLOC, "call_malloc", "step_realloc_grow") \
	R(GROW_REALLOC, "call_realloc", "step_realloc_grow") \
	R(SHRINK_MALLOC, "call_malloc", "step_realloc_shrink") \
	R(SHRINK_REALLOC, "call_realloc", "step_realloc_shrink") \
	R(MOVE_MALLOC, "call_malloc", "step_realloc_move") \
	R(MOVE_REALLOC, "call_realloc", "step_realloc_move") \
	R(PLACE_MALLOC, "call_malloc", "step_realloc_in_place") \
	R(PLACE_REALLOC, "call_realloc", "step_realloc_in_place") \
	R(MAPPED_MALLOC, "call_malloc", "step_realloc_mapped") \
	R(MAPPED_REALLOC, "call_realloc", "step_realloc_mapped") \
	R(ZERO_MALLOC, "call_malloc", "step_realloc_zero") \
	R(ZERO_REALLOC, "call_realloc", "step_realloc_zero") \
	R(REFUSED_MALLOC, "call_malloc", "step_realloc_refused") \
	R(REFUSED_REALLOC, "call_realloc", "step_realloc_refused") \
	R(ARRAY, "call_reallocarray", "step_reallocarray") \
	R(POSIX_MEMALIGN, "call_posix_memalign", "step_posix_memalign") \
	R(ALIGNED_ALLOC, "call_aligned_alloc", "step_aligned_alloc") \
	R(MEMALIGN, "call_memalign", "step_memalign") \
	R(VALLOC, "call_valloc", "step_valloc") \
	R(PVALLOC, "call_pvalloc", "step_pvalloc") \
	R(OLDER_REALLOC, "call_realloc", "step_older") \
	R(MISSED, "call_malloc", "step_missed") \
	R(CFREE, "call_malloc", "step_cfree") \
	R(STRDUP, "strdup|__strdup|__GI___strdup", "step_strings") \
	R(STRNDUP, "strndup|__strndup|__GI___strndup", "step_strings") \
	R(GETLINE, "getdelim|__getdelim|__GI___getdelim", "step_getline") \
	R(NEW, "_Znwm|operator new(unsigned long)", "step_new")

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

static unsigned moved, stayed;
static void *older[6];
static FILE *stream;
static char stream_buffer[4096];
static void *(*operator_new)(size_t);
static void (*operator_delete)(void *);
static void (*cfree_function)(void *);

SITE void older_blocks(void)
{
	for (unsigned i = 0; i < 6; i++)
		older[i] = call_malloc(ROW_OLDER_MALLOC, 100 + i);
}

SITE void step_malloc(void)
{
	call_malloc(ROW_MALLOC, 100);
	call_malloc(ROW_MALLOC, 0);
	call_malloc(ROW_MALLOC, 1 << 20);
	call_free(call_malloc(ROW_MALLOC, 24));
	call_free(call_malloc(ROW_MALLOC, 0));
	call_free(call_malloc(ROW_MALLOC, 3 << 20));
	call_malloc(ROW_MALLOC, REFUSED);
	call_malloc(ROW_MALLOC, TOO_LARGE);
	call_free(NULL);
}

SITE void step_calloc(void)
{
	call_calloc(ROW_CALLOC, 7, 13);
	call_calloc(ROW_CALLOC, 0, 8);
	call_calloc(ROW_CALLOC, 8, 0);
	call_calloc(ROW_CALLOC, 1000, 200);
	call_free(call_calloc(ROW_CALLOC, 3, 5));
	call_calloc(ROW_CALLOC, REFUSED, 2);
	call_calloc(ROW_CALLOC, 1, TOO_LARGE);
}

SITE void step_realloc_null(void)
{
	call_realloc(ROW_REALLOC_NULL, NULL, 64);
	call_realloc(ROW_REALLOC_NULL, NULL, 0);
	call_realloc(ROW_REALLOC_NULL, NULL, REFUSED);
}

SITE void step_realloc_grow(void)
{
	void *block = call_malloc(ROW_GROW_MALLOC, 1000);

	block = call_realloc(ROW_GROW_REALLOC, block, 50000);
	call_realloc(ROW_GROW_REALLOC, block, 60000);
}

SITE void step_realloc_shrink(void)
{
	void *block = call_malloc(ROW_SHRINK_MALLOC, 5000);

	call_realloc(ROW_SHRINK_REALLOC, block, 100);
}

/* The block behind it is in use, so that it must move. */
SITE void step_realloc_move(void)
{
	void *block = call_malloc(ROW_MOVE_MALLOC, 3000);
	uintptr_t before = (uintptr_t)block;
	void *barrier = call_malloc(ROW_MOVE_MALLOC, 3000);

	block = call_realloc(ROW_MOVE_REALLOC, block, 6000);
	moved = before != (uintptr_t)block;
	call_free(barrier);
}

/* A chunk of glibc is a multiple of 16 and holds 8 bytes of its own: 100 and 104 bytes need the same one. */
SITE void step_realloc_in_place(void)
{
	void *block = call_malloc(ROW_PLACE_MALLOC, 100);
	uintptr_t before = (uintptr_t)block;

	block = call_realloc(ROW_PLACE_REALLOC, block, 104);
	stayed = before == (uintptr_t)block;
}

/* Blocks with a mapping of their own go through mremap. */
SITE void step_realloc_mapped(void)
{
	void *block = call_malloc(ROW_MAPPED_MALLOC, 64 << 20);

	block = call_realloc(ROW_MAPPED_REALLOC, block, 96 << 20);
	call_realloc(ROW_MAPPED_REALLOC, block, 40 << 20);
}

SITE void step_realloc_zero(void)
{
	call_realloc(ROW_ZERO_REALLOC, call_malloc(ROW_ZERO_MALLOC, 40), 0);
	call_realloc(ROW_ZERO_REALLOC, call_malloc(ROW_ZERO_MALLOC, 0), 0);
}

/* What is refused changes nothing: the old block lives on. */
SITE void step_realloc_refused(void)
{
	void *block = call_malloc(ROW_REFUSED_MALLOC, 77);

	call_realloc(ROW_REFUSED_REALLOC, block, REFUSED);
	call_realloc(ROW_REFUSED_REALLOC, block, TOO_LARGE);
	block = call_realloc(ROW_REFUSED_REALLOC, block, 500);
	call_realloc(ROW_REFUSED_REALLOC, block, REFUSED);
}

SITE void step_reallocarray(void)
{
	void *block = call_reallocarray(ROW_ARRAY, NULL, 10, 20);

	block = call_reallocarray(ROW_ARRAY, block, 300, 20);
	call_reallocarray(ROW_ARRAY, block, REFUSED, 3);
	call_reallocarray(ROW_ARRAY, block, TOO_LARGE, 1);
	call_reallocarray(ROW_ARRAY, NULL, REFUSED, 2);
	call_reallocarray(ROW_ARRAY, call_reallocarray(ROW_ARRAY, NULL, 5, 5), 0, 8);
}

SITE void step_posix_memalign(void)
{
	call_posix_memalign(ROW_POSIX_MEMALIGN, 64, 1000);
	call_posix_memalign(ROW_POSIX_MEMALIGN, 8, 0);
	call_free(call_posix_memalign(ROW_POSIX_MEMALIGN, 4096, 10));
	call_posix_memalign(ROW_POSIX_MEMALIGN, 3, 100);
	call_posix_memalign(ROW_POSIX_MEMALIGN, 64, REFUSED);
}

SITE void step_aligned_alloc(void)
{
	call_aligned_alloc(ROW_ALIGNED_ALLOC, 256, 512);
	call_free(call_aligned_alloc(ROW_ALIGNED_ALLOC, 32, 64));
	call_aligned_alloc(ROW_ALIGNED_ALLOC, 32, TOO_LARGE);
}

SITE void step_memalign(void)
{
	call_memalign(ROW_MEMALIGN, 4096, 100);
	call_memalign(ROW_MEMALIGN, 8, 30);
	call_free(call_memalign(ROW_MEMALIGN, 128, 1));
	call_memalign(ROW_MEMALIGN, 64, REFUSED);
}

SITE void step_valloc(void)
{
	call_valloc(ROW_VALLOC, 5000);
	call_free(call_valloc(ROW_VALLOC, 1));
	call_valloc(ROW_VALLOC, REFUSED);
}

SITE void step_pvalloc(void)
{
	call_pvalloc(ROW_PVALLOC, 5000);
	call_free(call_pvalloc(ROW_PVALLOC, 1));
	call_pvalloc(ROW_PVALLOC, SIZE_MAX - 10);
}

/* Blocks from before the trace: freed, grown, refused, freed by size 0; two live on. */
SITE void step_older(void)
{
	call_free(older[0]);
	call_realloc(ROW_OLDER_REALLOC, older[1], 30000);
	call_realloc(ROW_OLDER_REALLOC, older[2], REFUSED);
	call_realloc(ROW_OLDER_REALLOC, older[3], 0);
	call_free(call_realloc(ROW_OLDER_REALLOC, older[4], 104));
}

/*
 * A block with a mapping of its own is unmapped behind the allocator's back, which hands out the address again. (glibc
 * keeps two words in front of such a block; the mapping begins there.)
 */
SITE void step_missed(void)
{
	size_t bytes = 48 << 20;
	uintptr_t block = (uintptr_t)call_malloc(ROW_MISSED, bytes);

	munmap((void *)(block - 16), bytes + 4096);
	call_malloc(ROW_MISSED, bytes);
}

SITE void step_cfree(void)
{
	void *block = call_malloc(ROW_CFREE, 222);

	call_malloc(ROW_CFREE, 223);
	truth_freed(&truth, (uintptr_t)block);
	cfree_function(block);
}

SITE void step_strings(void)
{
	const char *text = "a string of thirty-one letters.";
	char *copy = strdup(text);
	char *part;

	truth_allocated(&truth, ROW_STRDUP, (uintptr_t)copy, strlen(text) + 1);
	part = strndup(text, 9);
	truth_allocated(&truth, ROW_STRNDUP, (uintptr_t)part, 10);
	call_free(copy);
	copy = strdup("x");
	truth_allocated(&truth, ROW_STRDUP, (uintptr_t)copy, 2);
}

/* glibc begins with 120 bytes and then takes twice as much, or what the line needs when that is more. */
SITE void step_getline(void)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t length = getline(&line, &size, stream);

	truth_allocated(&truth, ROW_GETLINE, (uintptr_t)line + 1, 120);
	truth_freed(&truth, (uintptr_t)line + 1);
	truth_allocated(&truth, ROW_GETLINE, (uintptr_t)line, (uint64_t)length + 1);
}

SITE void step_new(void)
{
	void *block = operator_new(333);

	truth_allocated(&truth, ROW_NEW, (uintptr_t)block, 333);
	block = operator_new(334);
	truth_allocated(&truth, ROW_NEW, (uintptr_t)block, 334);
	truth_freed(&truth, (uintptr_t)block);
	operator_delete(block);
}

static void open_stream(void)
{
	char text[301];
	int fd = memfd_create("lines", 0);

	memset(text, 'x', sizeof(text));
	text[300] = '\n';
	if (fd < 0 || pwrite(fd, text, sizeof(text), 0) != sizeof(text))
		truth_stop("alloc_family: no file in memory\n");
	stream = fdopen(fd, "r");
	setvbuf(stream, stream_buffer, _IOFBF, sizeof(stream_buffer));
}

static void open_operators(void)
{
	void *library = dlopen("libstdc++.so.6", RTLD_NOW);

	if (!library)
		return;
	*(void **)&operator_new = dlsym(library, "_Znwm");
	*(void **)&operator_delete = dlsym(library, "_ZdlPv");
}

static void prepare(void)
{
	open_stream();
	open_operators();
	/* hidden from the linker since glibc 2.26, still exported for old programs */
	*(void **)&cfree_function = dlvsym(RTLD_DEFAULT, "cfree", "GLIBC_2.2.5");
	older_blocks();
}

static void steps_from_before(void)
{
	step_older();
	step_getline();
	if (operator_new && operator_delete)
		step_new();
	if (cfree_function)
		step_cfree();
}

static void steps(void)
{
	step_malloc();
	step_calloc();
	step_realloc_null();
	step_realloc_grow();
	step_realloc_shrink();
	step_realloc_move();
	step_realloc_in_place();
	step_realloc_mapped();
	step_realloc_zero();
	step_realloc_refused();
	step_reallocarray();
	step_posix_memalign();
	step_aligned_alloc();
	step_memalign();
	step_valloc();
	step_pvalloc();
	step_strings();
	step_missed();
}

static void print(void)
{
	static const char *const facts[2][2] = {
		{"\"moved\": 0, \"stayed\": 0", "\"moved\": 0, \"stayed\": 1"},
		{"\"moved\": 1, \"stayed\": 0", "\"moved\": 1, \"stayed\": 1"},
	};

	truth_print(&truth, names, ROW_COUNT, facts[moved][stayed]);
}

int main(int argc, char **argv)
{
	bool from_start = truth_has_option(argc, argv, "--from-start");

	if (!from_start)
		prepare();
	truth_print_pid();
	truth_wait();
	if (!from_start)
		truth_begin(&truth);
	steps();
	if (!from_start)
		steps_from_before();
	print();
	truth_wait();
	return 0;
}
