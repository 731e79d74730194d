// SPDX-License-Identifier: BSD-2-Clause
/*
 * Children of vfork() that allocate, free and resize in their parent's memory, made by the main thread and by another one. The truth is that
 * of both together; with --parent it is what someone sees who looks at the parent alone.
 */
#include <pthread.h>
#include <sys/wait.h>

#include "truth.h"

#define ROUNDS 20
#define VFORKS 40                       /* by each of the two threads so many */
#define TEXT(number) TEXT_(number)
#define TEXT_(number) #number
_Static_assert(VFORKS == 2 * ROUNDS, "a round has one");

enum row {
	ROW_PARENT,
	ROW_CHILD,
	ROW_CHILD_RESIZED,
	ROW_COUNT,
};

static const struct truth_name names[ROW_COUNT] = {
	[ROW_PARENT] = { .function = "parent_malloc", .caller = "round_of" },
	[ROW_CHILD] = { .function = "child_malloc", .caller = "child_main" },
	[ROW_CHILD_RESIZED] = { .function = "child_realloc", .caller = "child_main" },
};

static struct truth truth;
static bool parent_alone;
static pthread_barrier_t turn;

SITE void *parent_malloc(size_t bytes)
{
	void *block = malloc(bytes);

	truth_allocated(&truth, ROW_PARENT, (uintptr_t)block, bytes);
	return block;
}

static void parent_free(void *block)
{
	if (truth_blocks[truth_block_slot((uintptr_t)block)].address)
		truth_freed(&truth, (uintptr_t)block);
	else
		truth.unmatched_frees++;
	free(block);
}

SITE void *child_malloc(size_t bytes)
{
	void *block = malloc(bytes);

	if (!parent_alone)
		truth_allocated(&truth, ROW_CHILD, (uintptr_t)block, bytes);
	return block;
}

SITE void child_free(void *block)
{
	if (!parent_alone)
		truth_freed(&truth, (uintptr_t)block);
	free(block);
}

SITE void *child_realloc(void *old, size_t bytes)
{
	volatile uintptr_t old_address = (uintptr_t)old;
	void *block = realloc(old, bytes);

	if (!parent_alone)
		truth_reallocated(&truth, ROW_CHILD_RESIZED, old_address, (uintptr_t)block, bytes, false);
	return block;
}

struct blocks {
	void *to_free, *to_resize, *made;
};

SITE void child_main(struct blocks *blocks)
{
	child_free(blocks->to_free);
	blocks->made = child_malloc(200);
	child_free(child_malloc(3000));
	blocks->to_resize = child_realloc(blocks->to_resize, 70000);
}

/* Of what the child has made every other round leaves something live. */
SITE void round_of(unsigned number)
{
	struct blocks blocks = { parent_malloc(100), parent_malloc(50), NULL };
	pid_t child = vfork();
	int status;

	if (!child) {
		child_main(&blocks);
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status)
		truth_stop("alloc_vfork: no child\n");
	parent_malloc(100);
	if (number % 2)
		parent_free(blocks.made);
	else
		parent_free(blocks.to_resize);
}

static void *thread_main(void *unused)
{
	pthread_barrier_wait(&turn);
	for (unsigned i = 0; i < ROUNDS; i++)
		round_of(i);
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	parent_alone = argc > 1 && !strcmp(argv[1], "--parent");
	pthread_barrier_init(&turn, NULL, 2);
	if (pthread_create(&thread, NULL, thread_main, NULL))
		truth_stop("alloc_vfork: no thread\n");
	truth_print_pid();
	truth_wait();
	for (unsigned i = 0; i < ROUNDS; i++)
		round_of(i);
	pthread_barrier_wait(&turn);
	pthread_barrier_wait(&turn);
	truth_print(&truth, names, ROW_COUNT, "\"vforks\": " TEXT(VFORKS));
	truth_wait();
	pthread_barrier_wait(&turn);
	return pthread_join(thread, NULL);
}
