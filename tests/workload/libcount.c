// SPDX-License-Identifier: BSD-2-Clause
/*
 * libcount: preloaded, it counts what its process allocates, as domtrace does but by other means. It is built with glibc and
 * with musl, and works with every allocator that the next library in line has. What it writes: libcount.h.
 *
 *	DT_COUNT=DIRECTORY LD_PRELOAD=…/libcount.so COMMAND
 *
 * A call that an allocator makes of another of these functions belongs to the outer call, as in bpf/inflight.bpf.h. The table
 * of live blocks is private memory, so fork copies it, and vfork and threads share it. A forked child is known by a page that
 * fork wipes (madvise(2), MADV_WIPEONFORK); it begins a file of its own at once if the libc runs fork handlers, else with its
 * first call.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "libcount_books.h"

#define EXPORT __attribute__((visibility("default")))
#define BOOTSTRAP_BYTES 65536

static void *(*next_malloc)(size_t), *(*next_calloc)(size_t, size_t), *(*next_realloc)(void *, size_t);
static void *(*next_reallocarray)(void *, size_t, size_t), *(*next_aligned_alloc)(size_t, size_t), *(*next_memalign)(size_t, size_t);
static void *(*next_valloc)(size_t), *(*next_pvalloc)(size_t), (*next_free)(void *);
static int (*next_posix_memalign)(void **, size_t, size_t);
static void (*next_longjmp)(void *, int), (*next_siglongjmp)(void *, int);

/* What dlsym asks for before it has answered. */
static char bootstrap[BOOTSTRAP_BYTES] __attribute__((aligned(16)));
static size_t bootstrap_used;
static bool resolving;

static __thread uintptr_t call_frame __attribute__((tls_model("initial-exec"))); /* of the outermost call; 0: none */

static void resolve(void)
{
	if (next_free)
		return;
	resolving = true;
	*(void **)&next_malloc = dlsym(RTLD_NEXT, "malloc");
	*(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
	*(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
	*(void **)&next_reallocarray = dlsym(RTLD_NEXT, "reallocarray");
	*(void **)&next_aligned_alloc = dlsym(RTLD_NEXT, "aligned_alloc");
	*(void **)&next_memalign = dlsym(RTLD_NEXT, "memalign");
	*(void **)&next_valloc = dlsym(RTLD_NEXT, "valloc");
	*(void **)&next_pvalloc = dlsym(RTLD_NEXT, "pvalloc");
	*(void **)&next_posix_memalign = dlsym(RTLD_NEXT, "posix_memalign");
	*(void **)&next_longjmp = dlsym(RTLD_NEXT, "longjmp");
	*(void **)&next_siglongjmp = dlsym(RTLD_NEXT, "siglongjmp");
	*(void **)&next_free = dlsym(RTLD_NEXT, "free");
	resolving = false;
	if (!next_malloc || !next_free)
		stop("no next malloc");
	begin();
}

static bool in_bootstrap(const void *block)
{
	return (const char *)block >= bootstrap && (const char *)block < bootstrap + sizeof(bootstrap);
}

static void *bootstrap_take(size_t bytes)
{
	char *block = bootstrap + bootstrap_used;

	bytes = (bytes + 15) & ~(size_t)15;
	if (bytes > sizeof(bootstrap) - bootstrap_used)
		stop("dlsym wants more memory than there is for it");
	bootstrap_used += bytes;
	return block;
}

/*
 * True: the call is the program's. An earlier one whose frame lies at this height or below was left without returning; one
 * further up may have been, too: longjmp below tells. Each function that is exported calls it with its own frame.
 */
static bool call_enter(uintptr_t frame)
{
	resolve();
	if (call_frame && frame < call_frame)
		return false;
	call_frame = frame;
	return true;
}

#define ENTER() call_enter((uintptr_t)__builtin_frame_address(0))
#define CALLER __builtin_return_address(0)

static uint64_t product(size_t count, size_t bytes)
{
	uint64_t result;

	return __builtin_mul_overflow(count, bytes, &result) ? UINT64_MAX : result;
}

static void *leave(void *address, uint64_t bytes, void *caller)
{
	call_frame = 0;
	book_allocation(address, bytes, caller, NULL);
	return address;
}

EXPORT void *malloc(size_t bytes)
{
	if (resolving)
		return bootstrap_take(bytes);
	if (!ENTER())
		return next_malloc(bytes);
	return leave(next_malloc(bytes), bytes, CALLER);
}

EXPORT void *calloc(size_t count, size_t bytes)
{
	if (resolving)
		return bootstrap_take(count * bytes);
	if (!ENTER())
		return next_calloc(count, bytes);
	return leave(next_calloc(count, bytes), product(count, bytes), CALLER);
}

EXPORT void *aligned_alloc(size_t alignment, size_t bytes)
{
	if (!ENTER())
		return next_aligned_alloc(alignment, bytes);
	return leave(next_aligned_alloc(alignment, bytes), bytes, CALLER);
}

EXPORT void *memalign(size_t alignment, size_t bytes)
{
	if (!ENTER())
		return next_memalign(alignment, bytes);
	return leave(next_memalign(alignment, bytes), bytes, CALLER);
}

EXPORT void *valloc(size_t bytes)
{
	if (!ENTER())
		return next_valloc(bytes);
	return leave(next_valloc(bytes), bytes, CALLER);
}

#ifdef __GLIBC__
EXPORT void *pvalloc(size_t bytes)
{
	if (!ENTER())
		return next_pvalloc(bytes);
	return leave(next_pvalloc(bytes), bytes, CALLER);
}
#endif

EXPORT int posix_memalign(void **ret_block, size_t alignment, size_t bytes)
{
	int error;

	if (!ENTER())
		return next_posix_memalign(ret_block, alignment, bytes);
	error = next_posix_memalign(ret_block, alignment, bytes);
	leave(error ? NULL : *ret_block, bytes, CALLER);
	return error;
}

EXPORT void *realloc(void *old, size_t bytes)
{
	struct block block;
	void *address;
	bool known;

	if (!ENTER())
		return next_realloc(old, bytes);
	if (in_bootstrap(old)) {
		call_frame = 0;
		address = malloc(bytes);
		return address ? memcpy(address, old, bytes < BOOTSTRAP_BYTES ? bytes : BOOTSTRAP_BYTES) : NULL;
	}
	known = old && take(old, &block, false);
	address = next_realloc(old, bytes);
	call_frame = 0;
	book_reallocation(old, known, &block, address, bytes, CALLER);
	return address;
}

EXPORT void *reallocarray(void *old, size_t count, size_t bytes)
{
	struct block block;
	void *address;
	bool known;

	if (!ENTER())
		return next_reallocarray(old, count, bytes);
	known = old && take(old, &block, false);
	address = next_reallocarray(old, count, bytes);
	call_frame = 0;
	book_reallocation(old, known, &block, address, product(count, bytes), CALLER);
	return address;
}

EXPORT void free(void *address)
{
	struct block block;

	if (!address || in_bootstrap(address))
		return;
	if (ENTER()) {
		take(address, &block, true);
		next_free(address);
		call_frame = 0;
	} else {
		next_free(address);
	}
}

/*
 * Of the allocators none jumps, and no handler that interrupts one may come back to it: a jump leaves the call. (Under these
 * names by way of the assembler: setjmp.h has types of its own. With _FORTIFY_SOURCE it is __longjmp_chk, which is not met here.)
 */
EXPORT __attribute__((noreturn)) void jump(void *where, int value) __asm__("longjmp");
EXPORT __attribute__((noreturn)) void jump(void *where, int value)
{
	resolve();
	call_frame = 0;
	next_longjmp(where, value);
	__builtin_unreachable();
}

EXPORT __attribute__((noreturn)) void signal_jump(void *where, int value) __asm__("siglongjmp");
EXPORT __attribute__((noreturn)) void signal_jump(void *where, int value)
{
	resolve();
	call_frame = 0;
	next_siglongjmp(where, value);
	__builtin_unreachable();
}

__attribute__((constructor)) static void begin_here(void)
{
	resolve();
	if (pthread_atfork(fork_prepare, fork_parent, fork_child))
		stop("pthread_atfork");
}
