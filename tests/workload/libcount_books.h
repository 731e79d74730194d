/* SPDX-License-Identifier: BSD-2-Clause */
/* libcount_books: the live blocks of this process, and the file that says what became of all. Only libcount.c has it. */
#ifndef DT_WORKLOAD_LIBCOUNT_BOOKS_H
#define DT_WORKLOAD_LIBCOUNT_BOOKS_H

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libcount.h"

#define BLOCKS_FIRST (1u << 14)

struct block {
	uintptr_t address;              /* 0: free slot */
	uint64_t bytes : 63, program : 1;
};

static struct block *blocks;
static size_t blocks_size, blocks_used;
static struct count_file *file;
static uintptr_t program_begin, program_end;

/* In the page that fork wipes: a child's lock is free, and `known` says that it is no child. */
static struct wiped {
	uint32_t known, owner, forking;
} *wiped;

__attribute__((noreturn)) static void stop(const char *why)
{
	char text[512];
	int length = snprintf(text, sizeof(text), "libcount: process %d: %s: %s\n", getpid(), why, strerror(errno));

	if (write(STDERR_FILENO, text, (size_t)length) != length)
		_exit(96);
	_exit(97);
}

static void *map_private(size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		stop("no memory for the table of live blocks");
	return memory;
}

/* ---- the lock: owned by a thread, so that a signal handler which allocates is refused instead of waiting for itself ---- */

static bool lock_take(void)
{
	uint32_t self = (uint32_t)syscall(SYS_gettid), none = 0;

	while (!__atomic_compare_exchange_n(&wiped->owner, &none, self, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
		if (none == self) {
			if (wiped->forking)
				return false;   /* another fork handler: the books are whole */
			stop("a signal handler allocates in the middle of an allocation");
		}
		none = 0;
		sched_yield();
	}
	return true;
}

static void lock_give(bool taken)
{
	if (taken)
		__atomic_store_n(&wiped->owner, 0, __ATOMIC_RELEASE);
}

/* ---- live blocks: open addressing, linear probing, under the lock ------------------------------------------------ */

static size_t block_slot(uintptr_t address)
{
	size_t slot = (size_t)((address >> 4) * 0x9e3779b97f4a7c15ull >> 20) & (blocks_size - 1);

	while (blocks[slot].address && blocks[slot].address != address)
		slot = (slot + 1) & (blocks_size - 1);
	return slot;
}

static void blocks_grow(void)
{
	struct block *old = blocks;
	size_t old_size = blocks_size;

	blocks_size = old ? 2 * old_size : BLOCKS_FIRST;
	blocks = map_private(blocks_size * sizeof(*blocks));
	for (size_t i = 0; i < old_size; i++)
		if (old[i].address)
			blocks[block_slot(old[i].address)] = old[i];
	if (old)
		munmap(old, old_size * sizeof(*old));
}

static void block_put(const struct block *block)
{
	if (2 * ++blocks_used > blocks_size)
		blocks_grow();
	blocks[block_slot(block->address)] = *block;
}

static bool block_take(uintptr_t address, struct block *ret_block)
{
	size_t slot = block_slot(address);
	struct block moved;

	if (!blocks[slot].address)
		return false;
	*ret_block = blocks[slot];
	blocks[slot].address = 0;
	blocks_used--;
	for (;;) {                      /* later entries of its run move up, so that no search ends too early */
		slot = (slot + 1) & (blocks_size - 1);
		if (!blocks[slot].address)
			return true;
		moved = blocks[slot];
		blocks[slot].address = 0;
		blocks[block_slot(moved.address)] = moved;
	}
}

/* ---- the file ----------------------------------------------------------------------------------------------------- */

static void read_start(uint64_t *ret_start, char *command)
{
	char text[1024], *at;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (length <= 0)
		stop("cannot read /proc/self/stat");
	close(fd);
	text[length] = '\0';
	at = strrchr(text, ')');        /* the name may hold anything, also parentheses */
	if (!at || !strchr(text, '('))
		stop("/proc/self/stat has another form");
	*at = '\0';
	strncpy(command, strchr(text, '(') + 1, 15);
	for (int field = 2; field < 22 && at; field++)
		at = strchr(at + 1, ' ');
	if (!at)
		stop("/proc/self/stat has another form");
	*ret_start = strtoull(at, NULL, 10);
}

static int file_create(struct count_file *content)
{
	const char *directory = getenv("DT_COUNT");
	char path[512];

	for (content->serial = 0; content->serial < 10000; content->serial++) {
		snprintf(path, sizeof(path), "%s/%u-%llu-%llu", directory ? directory : "/tmp", (unsigned)content->pid,
			 (unsigned long long)content->start, (unsigned long long)content->serial);
		int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			break;
	}
	stop(path);
}

static void count_inherited(struct count_file *content)
{
	for (size_t i = 0; i < blocks_size; i++) {
		if (!blocks[i].address)
			continue;
		content->all.allocations++;
		content->all.allocated_bytes += blocks[i].bytes;
		if (blocks[i].program) {
			content->program.allocations++;
			content->program.allocated_bytes += blocks[i].bytes;
		}
	}
	content->all.peak_bytes = content->all.allocated_bytes;
	content->program.peak_bytes = content->program.allocated_bytes;
	content->inherited_blocks = content->all.allocations;
	content->inherited_bytes = content->all.allocated_bytes;
}

/* Begins the file of this image; `parent`: that of the process which it is a copy of. */
static void file_begin(struct count_file *parent)
{
	struct count_file content = { .pid = (uint64_t)getpid() };
	void *mapped;
	int fd;

	if (parent) {
		content.parent = parent->pid;
		content.parent_start = parent->start;
		content.parent_serial = parent->serial;
		count_inherited(&content);
	}
	read_start(&content.start, content.command);
	if (readlink("/proc/self/exe", content.exe, sizeof(content.exe) - 1) < 0)
		stop("cannot read /proc/self/exe");
	fd = file_create(&content);
	content.magic = COUNT_MAGIC;
	if (write(fd, &content, sizeof(content)) != sizeof(content))
		stop("cannot write to the directory of DT_COUNT");
	mapped = mmap(NULL, sizeof(content), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		stop("cannot map a file in the directory of DT_COUNT");
	close(fd);
	file = mapped;
	if (parent)
		munmap(parent, sizeof(*parent));
}

static void find_program(void)
{
	const ElfW(Phdr) *header = (const void *)getauxval(AT_PHDR);
	size_t count = getauxval(AT_PHNUM);
	uintptr_t base = 0;

	program_begin = UINTPTR_MAX;
	for (size_t i = 0; i < count; i++)
		if (header[i].p_type == PT_PHDR)
			base = (uintptr_t)header - header[i].p_vaddr;
	for (size_t i = 0; i < count; i++) {
		if (header[i].p_type != PT_LOAD)
			continue;
		if (base + header[i].p_vaddr < program_begin)
			program_begin = base + header[i].p_vaddr;
		if (base + header[i].p_vaddr + header[i].p_memsz > program_end)
			program_end = base + header[i].p_vaddr + header[i].p_memsz;
	}
}

/* One thread alone runs the first call of a program. */
static void begin(void)
{
	int error = errno;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	blocks_grow();
	wiped = map_private(page);
	if (madvise(wiped, page, MADV_WIPEONFORK))
		stop("no MADV_WIPEONFORK");
	find_program();
	file_begin(NULL);
	wiped->known = 1;
	errno = error;
}

static bool books_open(void)
{
	bool taken = lock_take();

	if (!wiped->known) {            /* a copy that no fork handler has seen */
		int error = errno;

		file_begin(file);
		wiped->known = 1;
		errno = error;
	}
	return taken;
}

static void fork_prepare(void)
{
	lock_take();
	wiped->forking = 1;
}

static void fork_parent(void)
{
	wiped->forking = 0;
	lock_give(true);
}

static void fork_child(void)
{
	lock_give(books_open());
}

/* ---- booking ------------------------------------------------------------------------------------------------------ */

static void count_allocation(struct count *count, uint64_t bytes)
{
	uint64_t live;

	count->allocations++;
	count->allocated_bytes += bytes;
	live = count->allocated_bytes - count->freed_bytes;
	if (live > count->peak_bytes)
		count->peak_bytes = live;
}

static void count_free(struct count *count, uint64_t bytes)
{
	count->frees++;
	count->freed_bytes += bytes;
}

static void book_end(const struct block *block)
{
	count_free(&file->all, block->bytes);
	if (block->program)
		count_free(&file->program, block->bytes);
}

/* `replaced`: what realloc has taken the place of; it ends now, if it was known. */
static void book_allocation(void *address, uint64_t bytes, void *caller, const struct block *replaced)
{
	struct block block = {
		.address = (uintptr_t)address, .bytes = bytes,
		.program = (uintptr_t)caller >= program_begin && (uintptr_t)caller < program_end,
	}, missed;
	bool taken = books_open();

	if (!address) {
		file->failed++;
		if (replaced)
			block_put(replaced);
		lock_give(taken);
		return;
	}
	if (replaced)
		book_end(replaced);
	if (block_take(block.address, &missed)) {
		file->missed_frees++;
		book_end(&missed);
	}
	count_allocation(&file->all, bytes);
	if (block.program)
		count_allocation(&file->program, bytes);
	block_put(&block);
	lock_give(taken);
}

/* Taken out before the allocator has it: after that another thread may be given its address. */
static bool take(void *address, struct block *ret_block, bool ends)
{
	bool taken = books_open(), found = block_take((uintptr_t)address, ret_block);

	if (!found && ends)
		file->unmatched_frees++;
	else if (ends)
		book_end(ret_block);
	lock_give(taken);
	return found;
}

static void book_reallocation(void *old, bool known, const struct block *block, void *address, uint64_t bytes, void *caller)
{
	bool taken;

	if (address || !old || bytes) {
		if (address && old && !known) {
			taken = books_open();
			file->unmatched_frees++;
			lock_give(taken);
		}
		book_allocation(address, bytes, caller, known ? block : NULL);
		return;
	}
	taken = books_open();
	if (known)                      /* realloc(old, 0) has freed it (glibc manual, "Changing Block Size") */
		book_end(block);
	else
		file->unmatched_frees++;
	lock_give(taken);
}

#endif
