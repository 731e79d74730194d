// SPDX-License-Identifier: BSD-2-Clause
/*
 * dlopen_loop LIBRARY plain|handled|blocked COUNT: tells its pid and waits, then loads and unloads a library again and again. Tells how
 * often it did, and how many SIGURG it has come to notice: it handles that signal, blocks it, or does nothing about it.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t noticed;

static void notice(int number)
{
	noticed += number == SIGURG;
}

static int is_pending(void)
{
	sigset_t pending;

	sigpending(&pending);
	return sigismember(&pending, SIGURG);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = notice };
	unsigned long loaded = 0;
	sigset_t blocked;

	if (argc != 4)
		return 2;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGURG);
	if (!strcmp(argv[2], "handled"))
		sigaction(SIGURG, &action, NULL);
	if (!strcmp(argv[2], "blocked"))
		sigprocmask(SIG_BLOCK, &blocked, NULL);
	printf("{\"pid\": %d}\n", (int)getpid());
	fflush(stdout);
	if (getchar() == EOF)
		return 1;
	for (long left = atol(argv[3]); left > 0; left--) {
		void *library = dlopen(argv[1], RTLD_NOW), *(*allocate)(size_t), *block;

		allocate = library ? (void *(*)(size_t))(size_t)dlsym(library, "late_library_malloc") : NULL;
		if (!allocate)
			return 3;
		block = allocate(100);
		loaded += block && !dlclose(library);
		free(block);
	}
	printf("{\"loaded\": %lu, \"noticed\": %d}\n", loaded, (int)noticed + is_pending());
	fflush(stdout);
	return 0;
}
