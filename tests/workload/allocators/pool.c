/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool: an allocator that nobody knows, with memory of its own. PREFIX is what its names begin with. It is simple: one lock, one list of free
 * blocks for each power of two.
 */
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#define JOIN_(prefix, name) prefix##name
#define JOIN(prefix, name) JOIN_(prefix, name)
#define F(name) JOIN(PREFIX, name)

#ifndef EXPORT
#define EXPORT __attribute__((visibility("default"), noinline))
#endif

#define POOL_BYTES (1ull << 30)
#define CLASSES 30

struct head {
	uint32_t class;
	uint32_t offset;                /* of the block behind its place's beginning */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *pool;
static size_t used;
static void *lists[CLASSES];

/* 64 bytes in front of what is handed out hold the head, at its end. */
static void *take(uint32_t class)
{
	void *place = lists[class];

	if (place) {
		memcpy(&lists[class], place, sizeof(place));
		return place;
	}
	if (!pool) {
		pool = mmap(NULL, POOL_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (pool == MAP_FAILED)
			return pool = NULL;
	}
	if (POOL_BYTES - used < 1ull << class)
		return NULL;
	place = pool + used;
	used += 1ull << class;
	return place;
}

static void *allocate(size_t bytes, size_t alignment)
{
	size_t room = bytes + sizeof(struct head) + (alignment < 64 ? 64 : alignment);
	struct head head = { .class = 7 };
	char *place, *block;

	while (head.class < CLASSES && 1ull << head.class < room)
		head.class++;
	if (room < bytes || head.class == CLASSES)
		return errno = ENOMEM, NULL;
	pthread_mutex_lock(&lock);
	place = take(head.class);
	pthread_mutex_unlock(&lock);
	if (!place)
		return errno = ENOMEM, NULL;
	block = (char *)(((uintptr_t)place + sizeof(head) + (alignment < 16 ? 16 : alignment) - 1) & ~(uintptr_t)((alignment < 16 ? 16 : alignment) - 1));
	head.offset = (uint32_t)(block - place);
	memcpy(block - sizeof(head), &head, sizeof(head));
	return block;
}

static struct head head_of(void *block)
{
	struct head head;

	memcpy(&head, (char *)block - sizeof(head), sizeof(head));
	return head;
}

EXPORT void *F(malloc)(size_t bytes)
{
	return allocate(bytes, 16);
}

EXPORT void F(free)(void *block)
{
	struct head head;
	char *place;

	if (!block)
		return;
	head = head_of(block);
	place = (char *)block - head.offset;
	pthread_mutex_lock(&lock);
	memcpy(place, &lists[head.class], sizeof(void *));
	lists[head.class] = place;
	pthread_mutex_unlock(&lock);
}

EXPORT void *F(calloc)(size_t count, size_t bytes)
{
	size_t product;
	void *block;

	if (__builtin_mul_overflow(count, bytes, &product))
		return errno = ENOMEM, NULL;
	block = F(malloc)(product);
	return block ? memset(block, 0, product) : NULL;
}

EXPORT void *F(realloc)(void *old, size_t bytes)
{
	size_t room;
	void *block;

	if (!old)
		return F(malloc)(bytes);
	room = (1ull << head_of(old).class) - head_of(old).offset;
	if (bytes <= room)
		return old;
	block = F(malloc)(bytes);
	if (!block)
		return NULL;
	memcpy(block, old, room);
	F(free)(old);
	return block;
}

EXPORT int F(posix_memalign)(void **block, size_t alignment, size_t bytes)
{
	void *allocated;

	if (alignment < sizeof(void *) || alignment & (alignment - 1))
		return EINVAL;
	allocated = allocate(bytes, alignment);
	if (!allocated)
		return ENOMEM;
	*block = allocated;
	return 0;
}

EXPORT void *F(aligned_alloc)(size_t alignment, size_t bytes)
{
	return allocate(bytes, alignment);
}

EXPORT void F(free_sized)(void *block, size_t bytes)
{
	(void)bytes;
	F(free)(block);
}

EXPORT void F(free_aligned_sized)(void *block, size_t alignment, size_t bytes)
{
	(void)alignment, (void)bytes;
	F(free)(block);
}

EXPORT void *F(reallocf)(void *old, size_t bytes)
{
	void *block = F(realloc)(old, bytes);

	if (!block && bytes)
		F(free)(old);
	return block;
}
