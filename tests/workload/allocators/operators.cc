/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * operators: every form of operator new and delete, and what happens when there is no memory: the exception must reach its handler
 * while the program is traced, and a new handler may allocate and free. With --no-throw all is granted: mimalloc built as C, as Debian's is,
 * ends the program instead. With --libstdc++ sizes are booked as its
 * operators round them before they call malloc.
 */
#include <new>

#include <stdio.h>

#include "../truth.h"

#define REFUSED (PTRDIFF_MAX - 4096ul)

enum row { ROW_OLDER, ROW_NEW, ROW_NOTHROW, ROW_ALIGNED, ROW_HANDLER, ROW_RESERVE, ROW_EXCEPTION, ROW_COUNT };

static const struct truth_name names[ROW_COUNT] = {
	{ "make_older", "main", nullptr },
	{ "do_new", "steps", nullptr },
	{ "do_nothrow", "steps", nullptr },
	{ "do_aligned", "steps", nullptr },
	{ "handle", nullptr, nullptr },
	{ "make_reserve", "run", nullptr },
	{ "__cxa_allocate_exception", nullptr, nullptr },
};

static struct truth truth;
static void *older, *reserve;
static unsigned caught;
static bool rounds;

static void got(unsigned row, void *block, size_t bytes)
{
	truth_allocated(&truth, row, (uintptr_t)block, bytes);
}

/* What libstdc++'s operators ask malloc and aligned_alloc for (libsupc++/new_op.cc, new_opa.cc). */
static size_t rounded(size_t bytes, size_t alignment)
{
	if (!rounds)
		return bytes;
	return ((bytes ? bytes : 1) + alignment - 1) & ~(alignment - 1);
}

static void gone(void *block)
{
	truth_freed(&truth, (uintptr_t)block);
}

SITE void *do_new(size_t bytes, bool array)
{
	void *block = array ? ::operator new[](bytes) : ::operator new(bytes);

	got(ROW_NEW, block, rounded(bytes, 1));
	return block;
}

SITE void *do_nothrow(size_t bytes, bool array)
{
	void *block = array ? ::operator new[](bytes, std::nothrow) : ::operator new(bytes, std::nothrow);

	if (block)
		got(ROW_NOTHROW, block, bytes);
	return block;
}

SITE void *do_aligned(size_t bytes, unsigned how)
{
	std::align_val_t alignment{64};
	void *block = how == 0 ? ::operator new(bytes, alignment) :
		      how == 1 ? ::operator new[](bytes, alignment) :
		      how == 2 ? ::operator new(bytes, alignment, std::nothrow) :
				 ::operator new[](bytes, alignment, std::nothrow);

	if (block)
		got(ROW_ALIGNED, block, rounded(bytes, 64));
	return block;
}

/* libstdc++ puts the exception behind a head of 128 bytes (libsupc++/unwind-cxx.h: __cxa_refcounted_exception). */
static void count_exception(void)
{
	truth_book_allocation(&truth, ROW_EXCEPTION, sizeof(std::bad_alloc) + 128);
	truth_book_free(&truth, ROW_EXCEPTION, sizeof(std::bad_alloc) + 128);
	caught++;
}

/* Frees, allocates, and gives up at the second call. */
SITE void handle(void)
{
	if (!reserve)
		throw std::bad_alloc();
	gone(reserve);
	::operator delete(reserve);
	reserve = nullptr;
	got(ROW_HANDLER, ::operator new(333), 333);
}

static void refuse(size_t bytes, unsigned how)
{
	try {
		if (how < 2)
			do_new(bytes, how);
		else
			do_aligned(bytes, how - 2);
		truth_stop("operators: that much memory?\n");
	} catch (const std::bad_alloc &) {
		count_exception();
	}
}

static inline __attribute__((always_inline)) void steps_sized(void)
{
	std::align_val_t alignment{64};
	void *block = do_new(100, false);

	gone(block);
	::operator delete(block, (size_t)100);
	block = do_new(101, true);
	gone(block);
	::operator delete[](block, (size_t)101);
	block = do_nothrow(102, false);
	gone(block);
	::operator delete(block, std::nothrow);
	block = do_nothrow(103, true);
	gone(block);
	::operator delete[](block, std::nothrow);
	for (unsigned how = 0; how < 6; how++) {
		block = do_aligned(640 + how, how % 4);
		gone(block);
		switch (how) {
		case 0: ::operator delete(block, alignment); break;
		case 1: ::operator delete[](block, alignment); break;
		case 2: ::operator delete(block, alignment, std::nothrow); break;
		case 3: ::operator delete[](block, alignment, std::nothrow); break;
		case 4: ::operator delete(block, (size_t)644, alignment); break;
		default: ::operator delete[](block, (size_t)645, alignment); break;
		}
	}
}

SITE void steps(void)
{
	for (size_t i = 0; i < 2000; i++) {
		void *block = do_new(i * (i % 50 ? 1 : 400) + 1, i % 2);

		if (i % 3) {
			gone(block);
			i % 2 ? ::operator delete[](block) : ::operator delete(block);
		}
		block = do_aligned(i + 1, i % 4);
		if (i % 5) {
			gone(block);
			i % 2 ? ::operator delete[](block, std::align_val_t{64}) : ::operator delete(block, std::align_val_t{64});
		}
		block = do_nothrow(i + 2, i % 2);
		gone(block);
		::operator delete(block);
	}
	steps_sized();
	do_new(0, true);
}

/* All that is refused, from frames at different depths, so that a call that was left is followed by others above and below it. */
SITE void steps_refused(unsigned depth)
{
	volatile char frame[256];

	frame[0] = (char)depth;
	for (unsigned how = 0; how < 4; how++)
		refuse(REFUSED - depth, how);
	do_nothrow(REFUSED, false);
	do_aligned(REFUSED, 2);
	if (depth)
		steps_refused(depth - 1);
	frame[1] = frame[0];
}

SITE void make_reserve(void)
{
	reserve = ::operator new(5555);
	got(ROW_RESERVE, reserve, 5555);
}

SITE void run(bool refused)
{
	steps();
	gone(older);
	::operator delete(older);
	if (!refused)
		return;
	steps_refused(3);
	make_reserve();
	std::set_new_handler(handle);
	refuse(REFUSED, 0);
	refuse(REFUSED, 1);
	std::set_new_handler(nullptr);
}

/* The unwinder allocates when it is first used: not while the program is traced. */
static void throw_once(void)
{
	try {
		throw std::bad_alloc();
	} catch (const std::bad_alloc &) {
		count_exception();
	}
}

SITE void make_older(void)
{
	older = ::operator new(1234);
	got(ROW_OLDER, older, 1234);
}

int main(int argc, char **argv)
{
	bool from_start = truth_has_option(argc, argv, "--from-start");
	char facts[64];

	rounds = truth_has_option(argc, argv, "--libstdc++");
	make_older();
	throw_once();
	truth_print_pid();
	truth_wait();
	if (!from_start)
		truth_begin(&truth);
	run(!truth_has_option(argc, argv, "--no-throw"));
	snprintf(facts, sizeof(facts), "\"caught\": %u", caught);
	truth_print(&truth, names, ROW_COUNT, facts);
	truth_wait();
	_exit(0);
}
