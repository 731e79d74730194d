// SPDX-License-Identifier: BSD-2-Clause
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "run.h"

#define THREADS_MAX 16
#define BORROWER_STACK 65536

extern char **environ;

/* What a thread is in the middle of. */
static _Thread_local struct turn {
	pthread_t threads[THREADS_MAX];
	unsigned thread_count;
	const struct node *handled;
	sigjmp_buf left;
} turn;

static const char *books_path;

static void run_list(enum context context, uint32_t at);

static const struct node *node_at(uint32_t at)
{
	return &here.books->program.nodes[at];
}


static void wait_for(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

/* ---- ends --------------------------------------------------------------------------------------------------------- */

static bool is_main_thread(void)
{
	return syscall(SYS_gettid) == getpid();
}

static void leave_gate(void *nothing)
{
	(void)nothing;
	gate_leave();
}

/* Through the gate: glibc's first pthread_exit() of a process loads libgcc_s, for which it allocates. */
__attribute__((noreturn)) static void leave_thread(void)
{
	gate_enter();
	pthread_cleanup_push(leave_gate, NULL);
	pthread_exit(NULL);
	pthread_cleanup_pop(0);
}

/*
 * The main thread ends, others go on. musl 1.2.3: a lock is to be given back by the kernel at the end of the main thread, which
 * it does not do for one that fork has made (set_tid_address(2)), nor may that thread end without taking it.
 */
__attribute__((noreturn)) static void leave(enum end how)
{
	bool is_main = is_main_thread();

#ifdef __GLIBC__
	if (is_main && how == END_LEAVE_RAW) {
		image_end(how);
		syscall(SYS_exit, 0);
	}
#else
	if (is_main && here.image->start == START_FORK) {
		gate_close();
		image_end(END_NOW);
		_exit(0);
	}
#endif
	if (is_main)
		image_end(how);
	leave_thread();
}

/* Nobody is between a call and its booking when the process dies. */
__attribute__((noreturn)) static void end(enum end how)
{
	if (how == END_LEAVE || how == END_LEAVE_RAW)
		leave(how);
	gate_close();
	image_end(how);
	if (how == END_EXIT)
		exit(0);
	if (how == END_ABORT)
		abort();
	if (how == END_KILL)
		raise(SIGKILL);
	if (how == END_TERM)
		raise(SIGTERM);
	_exit(0);
}

/* In exit(): of those who leave last, too. */
static void run_last(void)
{
	struct node node = { .action = ACTION_ALLOCATE, .function = FUNCTION_MALLOC, .bytes = 77 };

	act(CONTEXT_LAST, &node);
	for (node.slot = 1, node.action = ACTION_FREE; node.slot < 8; node.slot += 3)
		act(CONTEXT_LAST, &node);
}

/* ---- other images ------------------------------------------------------------------------------------------------- */

struct words {
	char number[24];
	char *argv[5];
};

static void fill_words(struct words *words, const struct image *image)
{
	snprintf(words->number, sizeof(words->number), "%ld", (long)(image - here.books->images));
	words->argv[0] = here.books->program_path;
	words->argv[1] = (char *)"--image";
	words->argv[2] = (char *)books_path;
	words->argv[3] = words->number;
	words->argv[4] = NULL;
}

/* In a borrower the gate is its parent's, which is inside. */
static void run_exec(enum context context, const struct node *node)
{
	struct itimerval none = { 0 };
	struct image *image;
	struct words words;

	if (context != CONTEXT_BORROWER) {
		gate_close();
		setitimer(ITIMER_REAL, &none, NULL);
		signal(SIGALRM, SIG_IGN);       /* also what is pending: it would kill the next image before it has a handler */
		signal(SIGUSR2, SIG_IGN);
	}
	image = image_add(START_EXEC, node->body, false);
	if (!image)
		_exit(91);
	if (context != CONTEXT_BORROWER)
		image_end(END_EXEC);
	fill_words(&words, image);
	execve(words.argv[0], words.argv, environ);
	_exit(90);
}

static void run_fork(enum context context, const struct node *node)
{
	struct image *image;
	pid_t pid;

	gate_close();
	image = image_add(START_FORK, node->body, true);
	pid = image ? fork() : -1;
	if (!pid) {
		gate_renew();
		image_begin(image);
		turn.thread_count = 0;
		for (unsigned i = 0; i < SLOTS; i++)
			here.slots[i].inherited = true;
		run_list(context, node->body);
		end(END_NOW);
	}
	if (pid < 0 && image)
		image->start = START_FAILED;
	gate_open();
	if (pid > 0 && node->flag)
		wait_for(pid);
}

static int run_borrower(void *node)
{
	run_list(CONTEXT_BORROWER, ((const struct node *)node)->body);
	_exit(0);
}

static __attribute__((noipa)) void run_vfork(const struct node *node)
{
	pid_t pid;

	gate_enter();
	pid = vfork();
	if (!pid)
		run_borrower((void *)node);
	gate_leave();
	if (pid > 0)
		wait_for(pid);
}

static void run_borrow(const struct node *node)
{
	char *stack = mmap(NULL, BORROWER_STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	int pid;

	if (stack == MAP_FAILED)
		_exit(89);
	gate_enter();
	pid = clone(run_borrower, stack + BORROWER_STACK, CLONE_VM | SIGCHLD | (node->flag ? CLONE_VFORK : 0), (void *)node);
	if (pid > 0 && !node->flag)
		wait_for(pid);
	gate_leave();
	if (pid > 0 && node->flag)
		wait_for(pid);
	munmap(stack, BORROWER_STACK);
}

static void run_spawn(const struct node *node)
{
	struct image *image;
	struct words words;
	pid_t pid;

	gate_enter();
	image = image_add(START_EXEC, node->body, false);
	if (!image)
		_exit(88);
	fill_words(&words, image);
	if (posix_spawn(&pid, words.argv[0], NULL, NULL, words.argv, environ))
		image->start = START_FAILED, pid = -1;
	gate_leave();
	if (pid > 0 && node->flag)
		wait_for(pid);
}

/* ---- threads and signals ------------------------------------------------------------------------------------------ */

static void join_all(void)
{
	while (turn.thread_count)
		pthread_join(turn.threads[--turn.thread_count], NULL);
}

static void *run_in_thread(void *node)
{
	run_list(CONTEXT_THREAD, ((const struct node *)node)->body);
	join_all();
	return NULL;
}

/* Through the gate: it allocates (glibc's the table of the thread's own variables), and nobody may end or copy the process meanwhile. */
static bool start_thread(const struct node *node, pthread_t *ret_thread)
{
	int error;

	gate_enter();
	error = pthread_create(ret_thread, NULL, run_in_thread, (void *)node);
	gate_leave();
	return !error;
}

static void run_thread(const struct node *node)
{
	pthread_t thread;

	if (turn.thread_count == THREADS_MAX || !start_thread(node, &thread))
		return;
	if (node->flag)
		pthread_join(thread, NULL);
	else
		turn.threads[turn.thread_count++] = thread;
}

static void handle(int number)
{
	const struct node *node = turn.handled;

	(void)number;
	if (!node)
		return;
	turn.handled = NULL;
	run_list(CONTEXT_HANDLER, node->body);
	if (node->flag)
		siglongjmp(turn.left, 1);
}

static void run_signal(const struct node *node)
{
	if (!sigsetjmp(turn.left, 1)) {
		turn.handled = node;
		raise(SIGUSR1);
	}
	turn.handled = NULL;
}

static void interrupt(int number)
{
	(void)number;
}

static void run_timer(const struct node *node)
{
	struct timeval often = { .tv_sec = (time_t)(node->bytes / 1000000), .tv_usec = (suseconds_t)(node->bytes % 1000000) };

	setitimer(ITIMER_REAL, &(struct itimerval){ .it_interval = often, .it_value = often }, NULL);
}

/* ---- actions ------------------------------------------------------------------------------------------------------ */

static void run(enum context context, const struct node *node)
{
	switch (node->action) {
	case ACTION_FORK:
		run_fork(context, node);
		break;
	case ACTION_VFORK:
		run_vfork(node);
		break;
	case ACTION_BORROW:
		run_borrow(node);
		break;
	case ACTION_SPAWN:
		run_spawn(node);
		break;
	case ACTION_EXEC:
		run_exec(context, node);
		break;
	case ACTION_THREAD:
		run_thread(node);
		break;
	case ACTION_JOIN:
		join_all();
		break;
	case ACTION_REAP:
		while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
			;
		break;
	case ACTION_SIGNAL:
		run_signal(node);
		break;
	case ACTION_TIMER:
		run_timer(node);
		break;
	case ACTION_POKE:
		kill(getpid(), SIGUSR2);
		break;
	case ACTION_END:
		end(node->flag);
	default:
		act(context, node);
	}
}

static void run_list(enum context context, uint32_t at)
{
	for (; at != NO_NODE; at = node_at(at)->next)
		run(context, node_at(at));
}

/* ---- the beginning ------------------------------------------------------------------------------------------------ */

static void set_handler(int number, void (*handler)(int), int flags)
{
	sigaction(number, &(struct sigaction){ .sa_handler = handler, .sa_flags = SA_RESTART | flags }, NULL);
}

static void open_books(const char *path, uint64_t number)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *mapped = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof(struct books), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	here.books = mapped;
	if (mapped == MAP_FAILED || here.books->magic != BOOKS_MAGIC || number >= IMAGES_MAX)
		_exit(87);
	close(fd);
	books_path = path;
}

void run_image(const char *path, uint64_t number)
{
	sigset_t none;

	open_books(path, number);
	image_begin(&here.books->images[number]);
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	sigemptyset(&none);
	set_handler(SIGUSR1, handle, SA_NODEFER);       /* a child that is forked in it goes on there */
	set_handler(SIGUSR2, interrupt, 0);
	set_handler(SIGALRM, interrupt, 0);
	sigprocmask(SIG_SETMASK, &none, NULL);
	atexit(run_last);
	run_list(CONTEXT_MAIN, here.image->node);
	join_all();
	end(END_EXIT);
}
