// SPDX-License-Identifier: BSD-2-Clause
/*
 * processes: random programs of many processes, whose books say what each of them allocated and freed.
 *
 *	processes --print SEED                  the program of a seed, as text (--print-calm SEED: that of "calm")
 *	processes --tell BOOKS                  books as a line of JSON
 *	processes --serve DIRECTORY [--limit SECONDS] [--break NAME] [--without FUNCTION]...
 *		reads lines "seed NUMBER", "calm NUMBER" (the same without faults) or "script FILE" and runs the programs one after the other, each to its end and that of
 *		all its processes; answers each with a line of JSON that names its books in DIRECTORY
 *	processes --alone DIRECTORY WORD WORD   becomes the first image of the program itself, after a line like those and a line of its
 *		standard input: for a tracer that knows one process
 *	processes --image BOOKS NUMBER          what it runs itself as
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "run.h"

#define TEXT_MAX (1 << 20)

extern char **environ;

static const char *const break_names[] = {
	[BREAK_NOTHING] = "nothing",
#define B(id, text) [BREAK_##id] = text,
	BREAKS(B)
#undef B
};

static volatile sig_atomic_t too_late;

static void stop(const char *what)
{
	fprintf(stderr, "processes: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct books *map_books(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);
	void *mapped;

	if (fd < 0 || ((flags & O_CREAT) && ftruncate(fd, sizeof(struct books))))
		stop(path);
	mapped = mmap(NULL, sizeof(struct books), PROT_READ | (flags & O_CREAT ? PROT_WRITE : 0), MAP_SHARED, fd, 0);
	if (mapped == MAP_FAILED)
		stop(path);
	close(fd);
	return mapped;
}

/* ---- telling ------------------------------------------------------------------------------------------------------ */

static void tell_row(const struct image *image, unsigned number, const char *separator)
{
	const struct row *row = &image->rows[number];

	printf("%s{\"function\": \"%s\", \"caller\": \"%s\", \"module\": null, \"allocations\": %lu, \"allocated_bytes\": %lu, "
	       "\"frees\": %lu, \"freed_bytes\": %lu, \"blocks\": %lu, \"bytes\": %lu, \"inherited_blocks\": %lu, "
	       "\"inherited_bytes\": %lu}", separator, function_names[number % FUNCTION_COUNT], context_names[number / FUNCTION_COUNT],
	       row->allocations, row->allocated_bytes, row->frees, row->freed_bytes, row->allocations - row->frees,
	       row->allocated_bytes - row->freed_bytes, row->inherited_blocks, row->inherited_bytes);
}

static void tell_image(const struct books *books, uint64_t number)
{
	static const char *const starts[] = { "none", "fork", "exec", "failed" };
	static const char *const ends[END_COUNT] = {
#define E(id, text) [END_##id] = text,
		ENDS(E)
#undef E
		[END_NONE] = "none", [END_EXEC] = "exec",
	};
	const struct image *image = &books->images[number];
	const char *separator = "";

	printf("{\"pid\": %lu, \"start_ticks\": %lu, \"sequence\": %lu, \"parent\": %u, \"start\": \"%s\", \"end\": \"%s\", \"failed\": %lu, "
	       "\"abandoned\": %lu, \"unmatched\": %lu, \"rows\": [", image->pid, image->start_ticks, image->sequence, image->parent,
	       starts[image->start % 4], ends[image->end % END_COUNT], image->failed, image->abandoned, image->unmatched);
	for (unsigned row = 0; row < ROWS; row++) {
		if (!image->rows[row].allocations)
			continue;
		tell_row(image, row, separator);
		separator = ", ";
	}
	printf("]}");
}

static int tell(const char *path)
{
	const struct books *books = map_books(path, O_RDONLY);

	printf("{\"seed\": %lu, \"images_used\": %lu, \"images\": [", books->seed, books->images_used);
	for (uint64_t i = 0; i < books->images_used && i < IMAGES_MAX; i++) {
		if (i)
			printf(", ");
		tell_image(books, i);
	}
	printf("]}\n");
	return 0;
}

/* ---- serving ------------------------------------------------------------------------------------------------------ */

static void read_script(struct program *program, const char *path)
{
	static char text[TEXT_MAX];
	FILE *file = fopen(path, "re");
	size_t length;
	unsigned line;

	if (!file)
		stop(path);
	length = fread(text, 1, sizeof(text) - 1, file);
	text[length] = '\0';
	fclose(file);
	line = program_parse(program, text);
	if (line) {
		fprintf(stderr, "processes: line %u of %s cannot be read\n", line, path);
		exit(1);
	}
}

static void expire(int number)
{
	(void)number;
	too_late = 1;
}

/* Books with the program that `line` names; `path`: where they lie. */
static struct books *prepare(const char *directory, char *line, char *path, size_t path_size)
{
	static unsigned number;
	struct books *books;

	snprintf(path, path_size, "%s/books-%d-%u", directory, getpid(), number++);
	books = map_books(path, O_RDWR | O_CREAT | O_EXCL);
	books->magic = BOOKS_MAGIC;
	if (readlink("/proc/self/exe", books->program_path, sizeof(books->program_path) - 1) < 0)
		stop("/proc/self/exe");
	if (!strncmp(line, "seed ", 5) || !strncmp(line, "calm ", 5)) {
		books->seed = strtoull(line + 5, NULL, 10);
		program_generate(&books->program, books->seed, *line == 's');
	} else if (!strncmp(line, "script ", 7)) {
		read_script(&books->program, line + 7);
	} else {
		fprintf(stderr, "processes: not \"seed NUMBER\", \"calm NUMBER\" or \"script FILE\": %s\n", line);
		exit(2);
	}
	books->images[0].start = START_EXEC;
	books->images[0].node = books->program.nodes[0].body;
	books->images_used = 1;
	return books;
}

static pid_t start(struct books *books, char *path)
{
	char *argv[] = { books->program_path, (char *)"--image", path, (char *)"0", NULL };
	pid_t pid = vfork();

	if (!pid) {
		setpgid(0, 0);
		execve(books->program_path, argv, environ);
		_exit(86);
	}
	if (pid < 0)
		stop("vfork");
	return pid;
}

static int alone(char **argv)
{
	char path[512], line[512];
	struct books *books;

	snprintf(line, sizeof(line), "%s %s", argv[3], argv[4]);
	books = prepare(argv[2], line, path, sizeof(path));
	printf("{\"pid\": %d, \"books\": \"%s\"}\n", getpid(), path);
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 1;
	execve(books->program_path, (char *[]){ books->program_path, (char *)"--image", path, (char *)"0", NULL }, environ);
	return 1;
}

/* Waits for every process that has come of it: orphans become children of this one. */
static void wait_for_all(pid_t group, unsigned limit)
{
	too_late = 0;
	alarm(limit);
	while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
		if (too_late)
			kill(-group, SIGKILL);
	alarm(0);
}

struct terms {
	const char *directory;
	uint64_t broken, without;
	unsigned limit;
};

static void serve_one(const struct terms *terms, char *line)
{
	unsigned images, unended = 0;
	char path[512];
	struct books *books = prepare(terms->directory, line, path, sizeof(path));

	books->broken = terms->broken;
	books->without = terms->without;
	wait_for_all(start(books, path), terms->limit);
	images = (unsigned)books->images_used;
	for (unsigned i = 0; i < images && i < IMAGES_MAX; i++)
		unended += books->images[i].start != START_FAILED && (!books->images[i].pid || !books->images[i].end);
	printf("{\"seed\": %lu, \"books\": \"%s\", \"images\": %u, \"unended\": %u, \"hangs\": %s, \"full\": %s}\n", books->seed, path, images,
	       unended, too_late ? "true" : "false", images > IMAGES_MAX ? "true" : "false");
	fflush(stdout);
	munmap(books, sizeof(*books));
}

static uint64_t find_name(const char *const *names, size_t count, const char *name, size_t prefix)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(names[i] + prefix, name))
			return i;
	fprintf(stderr, "processes: there is no %s\n", name);
	exit(2);
}

static int serve(int argc, char **argv)
{
	struct terms terms = { .directory = argv[2], .limit = 60 };
	static char line[1024];

	for (int i = 3; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--limit"))
			terms.limit = (unsigned)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--break"))
			terms.broken = find_name(break_names, sizeof(break_names) / sizeof(break_names[0]), argv[i + 1], 0);
		else if (!strcmp(argv[i], "--without"))
			terms.without |= 1ull << find_name(function_names, FUNCTION_COUNT, argv[i + 1], strlen("call_"));
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigaction(SIGALRM, &(struct sigaction){ .sa_handler = expire }, NULL); /* without SA_RESTART */
	printf("{\"pid\": %d}\n", getpid());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		serve_one(&terms, line);
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct program program;

	if (argc == 4 && !strcmp(argv[1], "--image"))
		run_image(argv[2], strtoull(argv[3], NULL, 10));
	if (argc == 3 && !strcmp(argv[1], "--tell"))
		return tell(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "--alone"))
		return alone(argv);
	if (argc >= 3 && !strcmp(argv[1], "--serve"))
		return serve(argc, argv);
	if (argc == 3 && (!strcmp(argv[1], "--print") || !strcmp(argv[1], "--print-calm"))) {
		program_generate(&program, strtoull(argv[2], NULL, 10), !strcmp(argv[1], "--print"));
		program_print(&program);
		return 0;
	}
	fputs("Usage: processes --print SEED | --tell BOOKS | --serve DIRECTORY [--limit SECONDS] [--break NAME] [--without FUNCTION]...\n", stderr);
	return 2;
}
