/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Churn: short-lived processes of every kind, one after the other.
 *
 * Usage: soak DIRECTORY FILE… (executables that are this program)
 * Each line of standard input, "COUNT EVERY LINGER", starts so many processes, one each EVERY milliseconds, and is answered when all of
 * them have ended: {"started": COUNT, "failed": COUNT, "files": COUNT, "seconds": SECONDS}. Every fourth runs a file that nobody has run
 * before: a copy in DIRECTORY, with a few bytes more at its end, which is removed when its process has ended; these wait for LINGER
 * milliseconds, so that there is time to look at them, and allocate before and after that.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNNING_MAX 256
#define INHERITED_COUNT 64
#define LARGE_BYTES 100000

struct churn {
	const char *directory;
	char linger[16];                /* milliseconds */
	char **files;
	int file_count;
	unsigned long started, failed, copies;
	pid_t running[RUNNING_MAX];
	unsigned long copied[RUNNING_MAX];      /* number of the copy that it runs; 0: none */
	void *inherited[INHERITED_COUNT];
};

/* ---- what a process does ----------------------------------------------------------------------------------------- */

static void *small_block(unsigned int seed)
{
	return malloc(16 + seed % 64);
}

static void *large_block(unsigned int seed)
{
	return calloc(1, LARGE_BYTES + seed % 1000);
}

static void *work(void *argument)
{
	unsigned int seed = (unsigned int)(uintptr_t)argument;
	void *blocks[32];

	for (unsigned int i = 0; i < 32; i++)
		blocks[i] = i % 8 ? small_block(seed + i) : large_block(seed + i);
	for (unsigned int i = 0; i < 32; i += 2)
		free(blocks[i]);
	return NULL;                    /* the others end with the process */
}

static int run_threads(unsigned int seed)
{
	pthread_t threads[4];

	for (unsigned int i = 0; i < 4; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)(seed + i)))
			return 1;
	for (unsigned int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

/* ---- how it is started ------------------------------------------------------------------------------------------- */

static pid_t fork_and_work(struct churn *churn, unsigned int seed)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int i = 0; i < INHERITED_COUNT; i += 2) {
		free(churn->inherited[i]);
		churn->inherited[i] = NULL;
	}
	if (seed % 2)
		_exit(run_threads(seed));
	work((void *)(uintptr_t)seed);
	_exit(0);
}

static pid_t fork_and_exec(const char *path, unsigned int seed, const char *linger)
{
	char number[16];
	pid_t pid = fork();

	if (pid)
		return pid;
	snprintf(number, sizeof(number), "%u", seed);
	execl(path, path, "--work", number, linger, (char *)NULL);
	_exit(1);
}

static pid_t spawn(const char *path, unsigned int seed, const char *linger)
{
	char number[16], option[] = "--work";
	char *argv[] = { (char *)(uintptr_t)path, option, number, (char *)(uintptr_t)linger, NULL };
	pid_t pid;

	snprintf(number, sizeof(number), "%u", seed);
	return posix_spawn(&pid, path, NULL, NULL, argv, environ) ? -1 : pid;
}

static void copy_path(const struct churn *churn, unsigned long number, char path[4096])
{
	snprintf(path, 4096, "%s/copy-%lu", churn->directory, number);
}

static int copy(const char *from, const char *to, unsigned long number)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
	struct stat status;
	int failed = in < 0 || out < 0 || fstat(in, &status);

	for (off_t left = failed ? 0 : status.st_size; left > 0 && !failed;) {
		ssize_t sent = sendfile(out, in, NULL, (size_t)left);

		failed = sent <= 0;
		left -= sent;
	}
	failed = failed || write(out, &number, sizeof(number)) != sizeof(number);
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return failed;
}

static pid_t exec_copy(struct churn *churn, unsigned int seed)
{
	unsigned long number = ++churn->copies;
	char path[4096];

	copy_path(churn, number, path);
	if (copy(churn->files[number % (unsigned long)churn->file_count], path, number))
		return -1;
	return number % 2 ? fork_and_exec(path, seed, churn->linger) : spawn(path, seed, churn->linger);
}

/* ---- one after the other ----------------------------------------------------------------------------------------- */

static void reap(struct churn *churn, int options)
{
	char path[4096];
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, options)) > 0) {
		churn->failed += status != 0;
		for (int i = 0; i < RUNNING_MAX; i++) {
			if (churn->running[i] != pid)
				continue;
			churn->running[i] = 0;
			if (!churn->copied[i])
				continue;
			copy_path(churn, churn->copied[i], path);
			unlink(path);
		}
	}
}

static int find_room(struct churn *churn)
{
	for (;;) {
		for (int i = 0; i < RUNNING_MAX; i++)
			if (!churn->running[i])
				return i;
		usleep(1000);
		reap(churn, WNOHANG);
	}
}

static void start(struct churn *churn)
{
	unsigned int seed = (unsigned int)churn->started++;
	int place = find_room(churn);
	pid_t pid;

	churn->copied[place] = 0;
	switch (seed % 4) {
	case 0:
		pid = exec_copy(churn, seed / 4);
		churn->copied[place] = churn->copies;
		break;
	case 1:
		pid = fork_and_exec(churn->files[seed / 4 % (unsigned int)churn->file_count], seed / 4, "0");
		break;
	case 2:
		pid = spawn(churn->files[seed / 4 % (unsigned int)churn->file_count], seed / 4, "0");
		break;
	default:
		pid = fork_and_work(churn, seed / 4);
		break;
	}
	if (pid < 0)
		churn->failed++;
	else
		churn->running[place] = pid;
}

/* The parent's own blocks come and go between the forks, too. */
static void turn_over(struct churn *churn)
{
	void **block = &churn->inherited[churn->started % INHERITED_COUNT];

	free(*block);
	*block = small_block((unsigned int)churn->started);
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void run(struct churn *churn, unsigned long count, unsigned long every)
{
	double begin = now(), next = begin, left;
	unsigned long copies = churn->copies;

	churn->failed = 0;
	for (unsigned long i = 0; i < count; i++) {
		turn_over(churn);
		start(churn);
		reap(churn, WNOHANG);
		next += (double)every / 1000;
		left = next - now();
		if (left > 0)
			usleep((useconds_t)(left * 1e6));
	}
	reap(churn, 0);
	printf("{\"started\": %lu, \"failed\": %lu, \"files\": %lu, \"seconds\": %.1f}\n", count, churn->failed, churn->copies - copies,
	       now() - begin);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static struct churn churn;
	unsigned long count, every, linger;
	char line[64];

	if (argc == 4 && !strcmp(argv[1], "--work")) {
		work((void *)(uintptr_t)strtoul(argv[2], NULL, 10));
		linger = strtoul(argv[3], NULL, 10);
		if (linger) {
			usleep((useconds_t)linger * 1000);
			work((void *)(uintptr_t)strtoul(argv[2], NULL, 10));
		}
		return 0;
	}
	if (argc < 3)
		return 2;
	churn.directory = argv[1];
	churn.files = argv + 2;
	churn.file_count = argc - 2;
	while (fgets(line, sizeof(line), stdin))
		if (sscanf(line, "%lu %lu %lu", &count, &every, &linger) == 3) {
			snprintf(churn.linger, sizeof(churn.linger), "%lu", linger);
			run(&churn, count, every);
		}
	return 0;
}
