// SPDX-License-Identifier: BSD-2-Clause
/*
 * A process that lies: it says that it is a CPython 3.11, with frames, code objects and strings that lead nowhere, back to themselves or
 * on for ever; it runs code without tables whose frame pointers do the same; it has thousands of mappings, and libraries that
 * its driver has damaged: `hostile_process [--truncate PATH] LIBRARY…`. It books what it allocates: that must be exact all the same.
 *
 * PATH is a library, too; it is used and then cut off to nothing while it is mapped.
 */
#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <sys/mman.h>

#include "truth.h"

enum row { ROW_ALL, ROW_COUNT };

static const struct truth_name names[ROW_COUNT] = { [ROW_ALL] = { .function = "any" } };
static struct truth truth;

/* ---- a CPython 3.11 (offsets: user/target/python_offsets.c) ------------------------------------------------------------ */

#define EXPORTED __attribute__((noipa, visibility("default")))

EXPORTED const char *Py_GetVersion(void);
EXPORTED int PyTraceMalloc_Track(unsigned domain, uintptr_t address, size_t bytes);
EXPORTED int PyTraceMalloc_Untrack(unsigned domain, uintptr_t address);
EXPORTED void *_PyEval_EvalFrameDefault(size_t bytes, unsigned depth);

extern const unsigned long Py_Version;
/* PyTypeObject, as much as is looked at. */
struct type {
	uint8_t head[32];
	uint64_t basic_size;
	uint8_t middle[200];
	const void *members;            /* tp_members: ends with a name that is 0 */
};

/* PyMemberDef */
static struct member {
	const char *name;
	uint64_t type, offset, flags, text;
} members[] = {
	{ .name = "co_filename", .offset = 112 }, { .name = "co_firstlineno", .offset = 72 }, { .name = "co_name", .offset = 120 },
	{ .name = "co_qualname", .offset = 128 }, { .name = "co_linetable", .offset = 136 }, { .name = NULL },
};

extern uint8_t _PyRuntime[1024];
extern struct type PyCode_Type, PyUnicode_Type;
const unsigned long Py_Version = 0x030b02f0;
uint8_t _PyRuntime[1024];
struct type PyCode_Type = { .basic_size = 184, .members = members }, PyUnicode_Type = { .basic_size = 80 };

#define PAGE 4096

struct forged {
	uint8_t thread[256], cframe[32], frames[4][128], codes[2][256], text[2][128], table[128];
};

static struct forged *forged;
static uint8_t *edge;                   /* behind it nothing is mapped */
static uint8_t *chain;                  /* frames, one behind the other */
static uint8_t *novel;                  /* a very long string */

#define CHAIN_FRAMES 100000u
#define NOVEL_BYTES (8u << 20)
#define KERNEL 0xffff888000000000ull
#define NOWHERE 0x10ull

static void put(void *memory, size_t offset, uint64_t value, size_t size)
{
	memcpy((uint8_t *)memory + offset, &value, size);
}

static uint64_t at(const void *memory)
{
	return (uintptr_t)memory;
}

static void put_frame(void *frame, const void *code, uint64_t previous, unsigned entry, unsigned owner)
{
	put(frame, 32, at(code), 8);
	put(frame, 48, previous, 8);
	put(frame, 56, at(code) + 184, 8);
	put(frame, 68, entry, 1);
	put(frame, 69, owner, 1);
}

static void put_text(void *text, const char *characters)
{
	put(text, 16, strlen(characters), 8);
	put(text, 32, 0xe4, 4);         /* compact, ASCII, kind 1 */
	memcpy((uint8_t *)text + 48, characters, strlen(characters));
}

/* All is well: one frame, of forged_name() in forged_file.py, line 7. */
static void put_right(void)
{
	memset(forged, 0, sizeof(*forged));
	put(_PyRuntime, 576, at(forged->thread), 8);
	put(forged->thread, 56, at(forged->cframe), 8);
	put(forged->thread, 152, (uint64_t)pthread_self(), 8);
	put(forged->cframe, 8, at(forged->frames[0]), 8);
	put_text(forged->text[0], "forged_file.py");
	put_text(forged->text[1], "forged_name");
	put(forged->table, 16, 2, 8);
	memcpy(forged->table + 32, "\xef\0", 2);        /* line + 0 for 16 bytes */
	for (unsigned i = 0; i < 2; i++) {
		put(forged->codes[i], 72, 7, 4);
		put(forged->codes[i], 112, at(forged->text[0]), 8);
		put(forged->codes[i], 128, at(forged->text[1]), 8);
		put(forged->codes[i], 136, at(forged->table), 8);
	}
	for (unsigned i = 0; i < 4; i++)
		put_frame(forged->frames[i], forged->codes[i % 2], i < 3 ? at(forged->frames[i + 1]) : 0, i == 3, 0);
}

/* One lie a number; false: there are no more. */
static bool put_lie(unsigned number)
{
	uint8_t *frame = forged->frames[0], *code = forged->codes[0];

	put_right();
	switch (number) {
	case 0: return true;
	case 1: put(frame, 48, at(frame), 8); return true;
	case 2: put(forged->frames[1], 48, at(frame), 8); return true;
	case 3: put(frame, 69, 255, 1); put(frame, 48, at(frame), 8); return true;
	case 4: put(frame, 69, 1, 1); put(frame, 48, at(frame), 8); return true;
	case 5: put(frame, 48, at(forged->frames[1]) + 4, 8); return true;
	case 6: put(frame, 48, KERNEL, 8); return true;
	case 7: put(frame, 48, at(edge) - 16, 8); return true;
	case 8: put(forged->cframe, 8, at(edge) - 72, 8); memcpy(edge - 72, frame, 72); return true;
	case 9: put(frame, 48, UINT64_MAX - 7, 8); return true;
	case 10: put(frame, 32, 0, 8); return true;
	case 11: put(frame, 32, KERNEL, 8); return true;
	case 12: put(frame, 32, at(edge) - 80, 8); return true;
	case 13: put(forged->text[0], 16, INT64_MAX, 8); return true;
	case 14: put(forged->text[0], 16, 1ull << 32, 8); return true;
	case 15: put(forged->text[1], 32, 0, 4); return true;
	case 16: put(forged->text[1], 32, 0xb0, 4); put(forged->text[1], 16, UINT32_MAX, 8); return true;
	case 17: put(forged->table, 16, INT64_MAX, 8); return true;
	case 18: put(forged->table, 16, UINT64_MAX, 8); return true;
	case 19: put(code, 136, 0, 8); return true;
	case 20: put(code, 136, at(edge) - 33, 8); return true;
	case 21: put(code, 112, KERNEL, 8); return true;
	case 22: put(code, 128, NOWHERE, 8); return true;
	case 23: put(code, 168, (uint32_t)INT_MIN, 4); put(frame, 56, 0, 8); return true;
	case 24: put(code, 168, INT_MAX, 4); put(frame, 48, at(frame), 8); return true;
	case 25: put(frame, 56, UINT64_MAX, 8); return true;
	case 26: put(frame, 48, at(chain), 8); return true;
	case 27: put(code, 112, at(novel), 8); return true;
	case 28: put(forged->thread, 152, 1, 8); return true;
	case 29: put(forged->thread, 56, KERNEL, 8); return true;
	case 30: put(_PyRuntime, 576, at(edge) - 64, 8); return true;
	case 31: put(_PyRuntime, 592, 1, 4); put(_PyRuntime, 596, UINT32_MAX, 4); put(_PyRuntime, 576, 0, 8); return true;
	case 32: memset(forged, 0xff, sizeof(*forged)); put(_PyRuntime, 576, at(forged->thread), 8); return true;
	default: return false;
	}
}

const char *Py_GetVersion(void)
{
	return "3.11.2";
}

int PyTraceMalloc_Track(unsigned domain, uintptr_t address, size_t bytes)
{
	return domain && address && bytes ? -2 : -1;
}

int PyTraceMalloc_Untrack(unsigned domain, uintptr_t address)
{
	return domain && address ? -2 : 0;
}

void *_PyEval_EvalFrameDefault(size_t bytes, unsigned depth)
{
	void *volatile block = depth ? _PyEval_EvalFrameDefault(bytes, depth - 1) : malloc(bytes);

	if (!depth)
		truth_allocated(&truth, ROW_ALL, (uintptr_t)block, bytes);
	return block;
}

static void prepare_python(void)
{
	forged = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	edge = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	chain = mmap(NULL, CHAIN_FRAMES * 72ul, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	novel = mmap(NULL, NOVEL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (forged == MAP_FAILED || edge == MAP_FAILED || chain == MAP_FAILED || novel == MAP_FAILED || munmap(edge + PAGE, PAGE))
		truth_stop("hostile_process: no memory\n");
	edge += PAGE;
	put_right();
	for (unsigned i = 0; i < CHAIN_FRAMES; i++)
		put_frame(chain + 72 * i, forged->codes[i % 2], i + 1 < CHAIN_FRAMES ? at(chain + 72 * (i + 1)) : 0, i % 3 == 0, 0);
	memset(novel, 'n', NOVEL_BYTES);
	put(novel, 16, NOVEL_BYTES - 48, 8);
	put(novel, 32, 0xe4, 4);
}

static void lie_about_python(void)
{
	for (unsigned lie = 0; put_lie(lie); lie++) {
		_PyEval_EvalFrameDefault(100 + lie, lie % 4);
		PyTraceMalloc_Track(4242, 0x1000 + lie, lie + 1);
	}
	memset(_PyRuntime, 0, sizeof(_PyRuntime));
}

/* ---- frame pointers ------------------------------------------------------------------------------------------------------ */

/* push %rbp; mov %rdi, %rbp; mov %rsi, %rdi; call *%rdx; pop %rbp; ret */
static const uint8_t code[] = { 0x55, 0x48, 0x89, 0xfd, 0x48, 0x89, 0xf7, 0xff, 0xd2, 0x5d, 0xc3 };
#define BEHIND_CALL 9

typedef void *call_fn(const void *frame_pointer, size_t bytes, void *(*function)(size_t));

static call_fn *call;

static void prepare_code(void)
{
	void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		truth_stop("hostile_process: no memory\n");
	memcpy(page, code, sizeof(code));
	if (mprotect(page, PAGE, PROT_READ | PROT_EXEC))
		truth_stop("hostile_process: code cannot be made\n");
	call = (call_fn *)(uintptr_t)page;
}

static void call_with(const void *frame_pointer, size_t bytes)
{
	void *block = call(frame_pointer, bytes, malloc);

	truth_allocated(&truth, ROW_ALL, (uintptr_t)block, bytes);
}

#define FRAMES 20000

SITE void lie_about_frames(void)
{
	uint64_t frames[2 * FRAMES], behind = (uintptr_t)call + BEHIND_CALL;

	for (unsigned i = 0; i < FRAMES; i++) {
		frames[2 * i] = at(&frames[2 * i + 2]);
		frames[2 * i + 1] = behind;
	}
	call_with(frames, 1001);                /* on and on */
	frames[4] = at(frames);
	call_with(frames, 1002);                /* in a circle */
	frames[0] = at(frames);
	call_with(frames, 1003);                /* in the smallest one */
	frames[0] = at(&frames[2]) + 1;
	call_with(frames, 1004);
	frames[0] = KERNEL;
	call_with(frames, 1005);
	frames[1] = KERNEL;
	call_with(frames, 1006);
	call_with((const void *)NOWHERE, 1007);
	call_with((const void *)(uintptr_t)KERNEL, 1008);
	call_with(edge - 8, 1009);
}

/* ---- mappings and libraries ------------------------------------------------------------------------------------------------ */

#define MAPPINGS 3000

/* Neighbours of different rights are mappings of their own. */
static void make_mappings(void)
{
	uint8_t *start = mmap(NULL, MAPPINGS * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (start == MAP_FAILED)
		truth_stop("hostile_process: no memory\n");
	for (unsigned i = 0; i < MAPPINGS; i += 2)
		if (mprotect(start + i * PAGE, PAGE, PROT_READ | PROT_EXEC))
			truth_stop("hostile_process: there cannot be so many mappings\n");
}

typedef void *library_fn(size_t bytes);

static library_fn *load(const char *path)
{
	void *library = dlopen(path, RTLD_NOW);
	library_fn *function = NULL;

	if (library)
		*(void **)&function = dlsym(library, "late_library_malloc");
	if (!function)
		truth_stop("hostile_process: a library cannot be loaded\n");
	return function;
}

static void use_library(library_fn *function, size_t bytes)
{
	void *block = function(bytes);

	truth_allocated(&truth, ROW_ALL, (uintptr_t)block, bytes);
}

#define LIBRARIES_MAX 32

int main(int argc, char **argv)
{
	library_fn *libraries[LIBRARIES_MAX];
	bool truncate_one = argc > 2 && !strcmp(argv[1], "--truncate");
	int first = truncate_one ? 2 : 1, count = argc - first;

	if (count > LIBRARIES_MAX)
		truth_stop("hostile_process: so many libraries?\n");
	for (int i = 0; i < count; i++)
		libraries[i] = load(argv[first + i]);
	prepare_python();
	prepare_code();
	make_mappings();
	truth_print_pid();
	truth_wait();
	lie_about_python();
	lie_about_frames();
	for (int i = 0; i < count; i++)
		use_library(libraries[i], 2000 + (size_t)i);
	if (truncate_one && truncate(argv[2], 0))
		truth_stop("hostile_process: the library cannot be truncated\n");
	lie_about_python();
	truth_print(&truth, names, ROW_COUNT, "");
	truth_wait();
	_exit(0);                       /* what the loader would do now needs the library that was cut off */
}
