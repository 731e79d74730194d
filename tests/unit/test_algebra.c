/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is computed on snapshots, against CPython's own tracemalloc: algebra.py generates them and compares. It starts this program
 * again, as its driver, which does to snapshots what lines on standard input say, words with tabs between them, and answers each with
 * a line, "refused" where the snapshot cannot answer exactly, and an empty one where it failed:
 *   statistics GROUP CUMULATIVE(0|1) SORT NEW [FILTER]...      as JSON
 *   compare GROUP CUMULATIVE(0|1) SORT OLD NEW [FILTER]...     as JSON
 *   filter FILE [FILTER]...                                    the snapshot that is left, as JSON
 *   format LIMIT FIRST(0|1) FILE [FILTER]...                   lines of the traceback of each statistic by traceback, as JSON
 *   match PATTERN NAME                                         0 or 1
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <domtrace/snapshot.h>

#include "base/cleanup.h"
#include "snapshot/pattern.h"

#define PYTHON "/usr/bin/python3"
#define SCRIPT "tests/unit/algebra.py"  /* tests run in the project's directory */
#define WORDS_MAX 32

static void tell(void *context, enum dt_log_level level, const char *line)
{
	(void)context;
	if (level <= DT_LOG_WARNING && !strstr(line, "cannot be answered exactly"))
		fprintf(stderr, "test_algebra: %s\n", line);
}

static const struct dt_log log_to_stderr = { tell, NULL };

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

static int load(const char *name, char **filters, struct dt_snapshot **ret_snapshot)
{
	struct dt_filter_opts opts = { .size = sizeof(opts), .filters = (const char *const *)filters };
	int error = dt_snapshot_load(name, &log_to_stderr, ret_snapshot);

	return error ? error : dt_snapshot_filter(*ret_snapshot, &opts, &log_to_stderr);
}

static int group(char **words, size_t count)
{
	bool compare = !strcmp(words[0], "compare");
	struct dt_statistics_opts opts = { .size = sizeof(opts), .json = true };
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *old = NULL;
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	int error;

	if (count < 5u + compare || dt_group_parse(words[1], &opts.group) || dt_sort_parse(words[3], &opts.sort))
		return -1;
	opts.cumulative = *words[2] == '1';
	error = compare ? load(words[4], words + 6, &old) : 0;
	if (!error)
		error = load(words[4 + compare], words + 5 + compare, &snapshot);
	if (error)
		return error;
	return dt_statistics_write(snapshot, old, &opts, &log_to_stderr, stdout);
}

static int filter(char **words, size_t count)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	int error = count < 2 ? -1 : load(words[1], words + 2, &snapshot);

	return error ? error : dt_snapshot_write_json(snapshot, stdout);
}

/* As JSON, of UTF-8. */
static void print_text(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

static int print_lines(const struct dt_statistics *statistics, size_t index, const struct dt_traceback_format_opts *opts)
{
	DT_FREE char **lines = NULL;
	size_t count;
	int error = dt_statistics_format(statistics, index, opts, &lines, &count);

	printf("%s[", index ? "," : "");
	for (size_t i = 0; !error && i < count; i++) {
		printf("%s", i ? "," : "");
		print_text(lines[i]);
	}
	printf("]");
	return error || lines[count] ? -1 : 0;
}

static int format(char **words, size_t count)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
	struct dt_traceback_format_opts opts = { .size = sizeof(opts) };
	struct dt_statistics *statistics;
	int error = count < 4 ? -1 : load(words[3], words + 4, &snapshot);

	error = error ? error : dt_snapshot_statistics(snapshot, NULL, &log_to_stderr, &statistics);
	if (error)
		return error;
	opts.limit = strtoll(words[1], NULL, 10);
	opts.most_recent_first = *words[2] == '1';
	putchar('[');
	for (size_t i = 0; i < dt_statistics_count(statistics) && !error; i++)
		error = print_lines(statistics, i, &opts);
	puts("]");
	dt_statistics_free(statistics);
	return error;
}

static int match(char **words, size_t count)
{
	struct dt_pattern *pattern;

	if (count != 3 || dt_pattern_new(words[1], strlen(words[1]), &pattern))
		return -1;
	printf("%d\n", dt_pattern_matches(pattern, words[2], strlen(words[2])));
	dt_pattern_free(pattern);
	return 0;
}

static int run(char **words, size_t count)
{
	if (!strcmp(words[0], "filter"))
		return filter(words, count);
	if (!strcmp(words[0], "format"))
		return format(words, count);
	return strcmp(words[0], "match") ? group(words, count) : match(words, count);
}

static int drive(void)
{
	DT_FREE char *line = NULL;
	size_t room = 0;

	while (getline(&line, &room, stdin) > 0) {
		char *words[WORDS_MAX + 1] = { NULL }, *rest = line;
		size_t count = 0;
		int error;

		line[strcspn(line, "\n")] = '\0';
		while (count < WORDS_MAX && (words[count] = strsep(&rest, "\t")))
			count++;
		error = run(words, count);
		if (error)
			puts(error == -ENODATA ? "\"refused\"" : "");
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return drive();
	execl(PYTHON, PYTHON, SCRIPT, argv[0], (char *)NULL);
	fprintf(stderr, "skipped: there is no " PYTHON "\n");
	return 77;
}
