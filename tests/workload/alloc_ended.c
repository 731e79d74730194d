// SPDX-License-Identifier: BSD-2-Clause
/*
 * Threads that end in the middle of an allocator's call while their process goes on, and others that end so with it, or with its program.
 *
 * It prints {"pid": …} and waits for a line; ends threads in calls, tells how many, and waits; executes itself and exits, each
 * while a thread is in a call.
 */
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "truth.h"

#define PAGE 4096
#define ALIGNED 3                       /* threads that end in posix_memalign() */
#define BYTES 100000                    /* not mapped by itself, with room to grow in the heap of a thread */

static void *barred;                    /* nobody may write there */
static bool stays;                      /* in the call, instead of ending */
static sem_t there;

/* In the middle of the call. */
static void handle(int signal)
{
	(void)signal;
	if (!stays)
		syscall(SYS_exit, 0);
	sem_post(&there);
	for (;;)
		pause();
}

static void *align_into_fault(void *unused)
{
	(void)unused;
	if (posix_memalign(barred, 64, 1000))
		truth_stop("alloc_ended: no memory\n");
	truth_stop("alloc_ended: nothing keeps it from writing\n");
	return NULL;
}

SITE void *keep_block(size_t bytes)
{
	void *volatile block = malloc(bytes);

	return block;
}

SITE void *keep_behind(size_t bytes)
{
	void *volatile block = malloc(bytes);

	return block;
}

/* The copy of what the block holds comes to a page that cannot be read. */
static void *move_into_fault(void *unused)
{
	char *block = keep_block(BYTES);
	void *volatile moved = keep_behind(10);

	(void)unused;
	if (!moved || mprotect((void *)(((uintptr_t)block + 2 * PAGE) & ~(uintptr_t)(PAGE - 1)), PAGE, PROT_NONE))
		truth_stop("alloc_ended: no page in the block\n");
	moved = realloc(block, BYTES + BYTES / 5);
	truth_stop("alloc_ended: nothing keeps it from reading\n");
	return NULL;
}

static void *end_well(void *unused)
{
	void *volatile block = malloc(10);

	free(block);
	return unused;
}

static pthread_t begin(void *(*run)(void *))
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, NULL))
		truth_stop("alloc_ended: no thread\n");
	return thread;
}

static void begin_that_stays(void)
{
	stays = true;
	begin(align_into_fault);
	sem_wait(&there);
}

static void tell(int ended)
{
	char line[16];

	printf("{\"pid\": %d, \"ended\": %d}\n", (int)getpid(), ended);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		truth_stop("alloc_ended: nobody listens\n");
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = handle };
	int ended = 0;

	barred = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (barred == MAP_FAILED || sem_init(&there, 0, 0) || sigaction(SIGSEGV, &action, NULL))
		truth_stop("alloc_ended: no page, semaphore or handler\n");
	tell(0);
	if (argc == 1) {
		for (; ended < ALIGNED; ended++)
			pthread_join(begin(align_into_fault), NULL);
		pthread_join(begin(move_into_fault), NULL);
		pthread_join(begin(end_well), NULL);
		tell(ended + 1);
	}
	begin_that_stays();
	if (argc == 1)
		execl("/proc/self/exe", argv[0], "again", NULL);
	return argc == 1;
}
