// SPDX-License-Identifier: BSD-2-Clause
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <malloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"

/* A function whose name the books tell: it keeps its own frame and is neither inlined, cloned nor renamed. */
#define SITE static __attribute__((noipa))
#define TOO_MUCH ((size_t)1 << 63)

const char *const function_names[FUNCTION_COUNT] = {
#define F(id, text) [FUNCTION_##id] = "call_" text,
	FAMILY(F)
#undef F
};
const char *const context_names[CONTEXT_COUNT] = {
#define C(id, text) [CONTEXT_##id] = text,
	CONTEXTS(C)
#undef C
};

/* A call, and what it returned. volatile: the frame must be there when the call is made, so no tail call. */
struct call {
	void *old;
	uint64_t bytes, detail;
	void *volatile block;
};

SITE void call_malloc(struct call *call) { call->block = malloc(call->bytes); }
SITE void call_calloc(struct call *call) { call->block = calloc(call->detail, call->bytes); }
SITE void call_realloc(struct call *call) { call->block = realloc(call->old, call->bytes); }
SITE void call_reallocarray(struct call *call) { call->block = reallocarray(call->old, call->detail, call->bytes); }
SITE void call_aligned_alloc(struct call *call) { call->block = aligned_alloc(call->detail, call->bytes); }
SITE void call_memalign(struct call *call) { call->block = memalign(call->detail, call->bytes); }
SITE void call_valloc(struct call *call) { call->block = valloc(call->bytes); }
#ifdef __GLIBC__
SITE void call_pvalloc(struct call *call) { call->block = pvalloc(call->bytes); }
#endif

SITE void call_posix_memalign(struct call *call)
{
	void *block = NULL;

	call->block = posix_memalign(&block, call->detail, call->bytes) ? NULL : block;
}

SITE void call_free(struct call *call)
{
	free(call->old);
	call->block = NULL;
}

static void (*const sites[FUNCTION_COUNT])(struct call *call) = {
	[FUNCTION_MALLOC] = call_malloc, [FUNCTION_CALLOC] = call_calloc, [FUNCTION_REALLOC] = call_realloc,
	[FUNCTION_REALLOCARRAY] = call_reallocarray, [FUNCTION_POSIX_MEMALIGN] = call_posix_memalign,
	[FUNCTION_ALIGNED_ALLOC] = call_aligned_alloc, [FUNCTION_MEMALIGN] = call_memalign, [FUNCTION_VALLOC] = call_valloc,
#ifdef __GLIBC__
	[FUNCTION_PVALLOC] = call_pvalloc,
#endif
};

typedef void site_function(struct call *call);

SITE void in_main(site_function *site, struct call *call) { site(call); call->detail = 0; }
SITE void in_thread(site_function *site, struct call *call) { site(call); call->detail = 1; }
SITE void in_handler(site_function *site, struct call *call) { site(call); call->detail = 2; }
SITE void in_borrower(site_function *site, struct call *call) { site(call); call->detail = 3; }
SITE void in_exit(site_function *site, struct call *call) { site(call); call->detail = 4; }

static void (*const contexts[CONTEXT_COUNT])(site_function *site, struct call *call) = {
	[CONTEXT_MAIN] = in_main, [CONTEXT_THREAD] = in_thread, [CONTEXT_HANDLER] = in_handler,
	[CONTEXT_BORROWER] = in_borrower, [CONTEXT_LAST] = in_exit,
};

static bool breaks(enum broken broken, bool here_too)
{
	return here_too && here.books->broken == broken;
}

static bool is_counted(uint32_t function)
{
	return function == FUNCTION_CALLOC || function == FUNCTION_REALLOCARRAY;
}

static unsigned row_of(enum context context, uint32_t function)
{
	return (unsigned)context * FUNCTION_COUNT + function;
}

/* It has come to hold a block: the first and last bytes are written, as programs do. */
static void fill(struct slot *slot, void *block, uint64_t bytes, unsigned row)
{
	if (bytes) {
		((char *)block)[0] = 1;
		((char *)block)[bytes - 1] = 2;
	}
	slot->block = block;
	slot->bytes = bytes;
	slot->row = row;
	slot->inherited = false;
}

static void allocate(enum context context, const struct node *node)
{
	struct call call = { .bytes = node->bytes, .detail = node->detail };
	uint64_t bytes = is_counted(node->function) ? call.bytes * call.detail : call.bytes;
	unsigned row = row_of(context, node->function);
	struct slot *slot = slot_claim(node->slot, SLOT_EMPTY);

	if (!slot)
		return;
	contexts[context](sites[node->function], &call);
	if (!call.block) {              /* refused, or a null pointer for 0 bytes, which is one, too */
		book_add(&here.image->failed, 1);
		slot_release(slot, SLOT_EMPTY);
		return;
	}
	fill(slot, call.block, bytes, row);
	if (!breaks(BREAK_EXIT_HANDLER, context == CONTEXT_LAST))
		book_allocation(row, bytes);
	if (breaks(BREAK_BORROWED_MALLOC, context == CONTEXT_BORROWER && node->function == FUNCTION_MALLOC))
		book_allocation(row, bytes);
	slot_release(slot, SLOT_LIVE);
}

static void resize(enum context context, const struct node *node)
{
	struct slot *slot = slot_claim(node->slot, SLOT_LIVE);
	uint64_t bytes = node->function == FUNCTION_REALLOCARRAY ? node->bytes * node->detail : node->bytes;
	struct call call = { .bytes = node->bytes, .detail = node->detail };

	if (!slot)
		return;
	call.old = slot->block;
	contexts[context](sites[node->function], &call);
	if (!call.block && bytes) {
		book_add(&here.image->failed, 1);
		slot_release(slot, SLOT_LIVE);
		return;
	}
	if (!breaks(BREAK_CHILD_RESIZE, slot->inherited))
		book_free(slot);
	if (call.block) {
		fill(slot, call.block, bytes, row_of(context, node->function));
		book_allocation(slot->row, bytes);
	}
	/* To 0 bytes: some allocators free the block and return nothing, some return another one. */
	slot_release(slot, call.block ? SLOT_LIVE : SLOT_EMPTY);
}

static void release(enum context context, const struct node *node)
{
	struct slot *slot = slot_claim(node->slot, SLOT_LIVE);
	struct call call = { 0 };

	if (!slot) {
		contexts[context](call_free, &call);    /* a null pointer */
		return;
	}
	call.old = slot->block;
	contexts[context](call_free, &call);
	if (!breaks(BREAK_HANDLER_FREE, context == CONTEXT_HANDLER) && !breaks(BREAK_EXIT_HANDLER, context == CONTEXT_LAST))
		book_free(slot);
	slot_release(slot, SLOT_EMPTY);
}

static void refuse(enum context context, const struct node *node)
{
	struct call call = { .bytes = TOO_MUCH, .detail = is_counted(node->function) ? 2 : 4096 };

	contexts[context](sites[node->function], &call);
	if (call.block)
		_exit(94);
	book_add(&here.image->failed, 1);
}

/* ---- a call that is left by siglongjmp ------------------------------------------------------------------------------ */

static _Thread_local sigjmp_buf after_fault;

static void leave_call(int number)
{
	(void)number;
	siglongjmp(after_fault, 1);
}

SITE void call_into_fault(void *nowhere, uint64_t bytes)
{
	if (posix_memalign(nowhere, 64, bytes) == 0)
		_exit(93);
}

static void fault(const struct node *node)
{
	struct sigaction action = { .sa_handler = leave_call, .sa_flags = SA_NODEFER }, before;
	void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED || sigaction(SIGSEGV, &action, &before))
		_exit(92);
	if (!sigsetjmp(after_fault, 1))
		call_into_fault(page, node->bytes);
	book_add(&here.image->abandoned, 1);
	munmap(page, 4096);
}

static bool is_called(const struct node *node)
{
	bool names_function = node->action == ACTION_ALLOCATE || node->action == ACTION_RESIZE || node->action == ACTION_REFUSED;

	return !names_function || (sites[node->function] && !(here.books->without >> node->function & 1));
}

void act(enum context context, const struct node *node)
{
	if (!is_called(node))
		return;
	gate_enter();
	switch (node->action) {
	case ACTION_ALLOCATE:
		allocate(context, node);
		break;
	case ACTION_RESIZE:
		resize(context, node);
		break;
	case ACTION_FREE:
		release(context, node);
		break;
	case ACTION_REFUSED:
		refuse(context, node);
		break;
	case ACTION_FAULT:
		fault(node);
		break;
	}
	gate_leave();
}
