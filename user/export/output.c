/* SPDX-License-Identifier: BSD-2-Clause */
/* Where snapshots go: a journal, or with %n in the name a file for each. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include <domtrace/snapshot.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "export/journal.h"
#include "snapshot/snapshot.h"

#define TEMPORARY_ATTEMPTS 16

struct dt_output {
	struct dt_log log;
	struct dt_journal *journal;     /* NULL: a file for each snapshot, */
	int directory;                  /* in this directory, */
	char *pattern;                  /* with this name in it; "%n" and "%%" are still to be replaced */
	char *path;                     /* as given, for messages */
};

struct temporary {
	char name[32];
	int fd;
};

/* Looks at every percent sign. *ret_number: the first "%n", or NULL. */
static int scan_pattern(const char *path, const struct dt_log *log, const char **ret_number)
{
	const char *number = NULL;

	for (const char *c = strchr(path, '%'); c; c = strchr(c + 2, '%')) {
		if (c[1] != 'n' && c[1] != '%')
			return dt_log_error(log, -EINVAL, "output %s has a %% before neither n (the snapshot's number) nor another %%; "
					    "write %%%% for a percent sign", path);
		if (c[1] == 'n' && !number)
			number = c;
	}
	if (number && strchr(number, '/'))
		return dt_log_error(log, -EINVAL, "output %s has %%n in the name of a directory; "
				    "put it behind the last slash", path);
	*ret_number = number;
	return 0;
}

/* The text with its percent signs replaced. NULL: no memory. */
static char *expand(const char *pattern, uint64_t number)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (const char *c = pattern; *c; c++) {
		if (*c != '%')
			putc(*c, out);
		else if (*++c == 'n')
			fprintf(out, "%" PRIu64, number);
		else
			putc('%', out);
	}
	bool failed = ferror(out);

	if (fclose(out) == EOF || failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* A name of its own, so that a name which is nearly too long still works. */
static int temporary_new(int directory, struct temporary *ret_temporary)
{
	struct temporary temporary;

	for (int attempt = 0; attempt < TEMPORARY_ATTEMPTS; attempt++) {
		uint64_t random = (uint64_t)getpid() << 8 | (unsigned)attempt;

		if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0 && errno != EAGAIN && errno != ENOSYS)
			return -errno;
		snprintf(temporary.name, sizeof(temporary.name), ".domtrace-%016" PRIx64, random);
		temporary.fd = openat(directory, temporary.name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (temporary.fd >= 0) {
			*ret_temporary = temporary;
			return 0;
		}
		if (errno != EEXIST)
			break;
	}
	return -errno;
}

static int open_directory(struct dt_output *output, const char *path)
{
	const char *slash = strrchr(path, '/');
	DT_FREE char *prefix = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("./");
	DT_FREE char *name = prefix ? expand(prefix, 0) : NULL;
	struct temporary probe;
	int error;

	output->pattern = strdup(slash ? slash + 1 : path);
	if (!name || !output->pattern)
		return dt_log_error(&output->log, -ENOMEM, "no memory for writing %s; free some", path);
	output->directory = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Whether a file can be made there is known best by making one: before the run, not in the middle of it. */
	error = output->directory < 0 ? -errno : temporary_new(output->directory, &probe);
	if (error)
		return dt_log_error(&output->log, error, "cannot make files for %s: %s; %s", path, strerror(-error),
				    dt_journal_advice(error));
	unlinkat(output->directory, probe.name, 0);
	close(probe.fd);
	return 0;
}

static int open_journal(struct dt_output *output, const char *path)
{
	DT_FREE char *name = expand(path, 0);

	if (!name)
		return dt_log_error(&output->log, -ENOMEM, "no memory for writing %s; free some", path);
	return dt_journal_open(name, &output->log, &output->journal);
}

int dt_output_open(const char *path, const struct dt_log *log, struct dt_output **ret_output)
{
	struct dt_output *output;
	const char *number = NULL;
	int error;

	if (!*path)
		return dt_log_error(log, -EINVAL, "the name of the output is empty; name a file, or - for standard output");
	error = scan_pattern(path, log, &number);
	if (error)
		return error;
	output = calloc(1, sizeof(*output));
	if (!output)
		return dt_log_error(log, -ENOMEM, "no memory for writing %s; free some", path);
	if (log)
		output->log = *log;
	output->directory = -1;
	output->path = strdup(path);
	error = !output->path ? dt_log_error(log, -ENOMEM, "no memory for writing %s; free some", path) :
		number ? open_directory(output, path) : open_journal(output, path);
	if (error) {
		dt_output_close(output);
		return error;
	}
	*ret_output = output;
	return 0;
}

void dt_output_close(struct dt_output *output)
{
	if (!output)
		return;
	dt_journal_close(output->journal);
	if (output->directory >= 0)
		close(output->directory);
	free(output->pattern);
	free(output->path);
	free(output);
}

/* Writes the whole snapshot and waits until it is on the disk; closes fd. */
static int write_whole(int fd, const struct dt_snapshot *snapshot)
{
	FILE *file = fdopen(fd, "w");
	int error;

	if (!file) {
		error = -errno;
		close(fd);
		return error;
	}
	error = dt_snapshot_write_json(snapshot, file);
	if (!error && fsync(fd) < 0)
		error = -errno;
	if (fclose(file) == EOF && !error)
		error = -errno;
	return error;
}

/* Beside its name first, then renamed: a reader sees the old file, the new one or none, but never half of one. */
static int write_file(struct dt_output *output, const struct dt_snapshot *snapshot, const char *name)
{
	struct temporary temporary;
	int error = temporary_new(output->directory, &temporary);

	if (error)
		return error;
	error = write_whole(temporary.fd, snapshot);
	if (!error && renameat(output->directory, temporary.name, output->directory, name) < 0)
		error = -errno;
	if (error)
		unlinkat(output->directory, temporary.name, 0);
	else if (fsync(output->directory) < 0)
		error = -errno;
	return error;
}

int dt_output_write(struct dt_output *output, const struct dt_snapshot *snapshot)
{
	DT_FREE char *name = NULL;
	int error;

	if (output->journal)
		return dt_journal_append(output->journal, snapshot);
	name = expand(output->pattern, snapshot->sequence);
	error = name ? write_file(output, snapshot, name) : -ENOMEM;
	if (error)
		return dt_log_error(&output->log, error, "snapshot %" PRIu64 " is not in %s: %s; %s", snapshot->sequence,
				    output->path, strerror(-error), dt_journal_advice(error));
	return 0;
}

int dt_snapshot_dump(const struct dt_snapshot *snapshot, const char *path, const struct dt_log *log)
{
	const char *slash = strrchr(path, '/');
	DT_FREE char *directory = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup("./");
	struct dt_output output = { .directory = -1 };
	int error = directory ? 0 : -ENOMEM;

	if (!error) {
		output.directory = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		error = output.directory < 0 ? -errno : write_file(&output, snapshot, slash ? slash + 1 : path);
	}
	if (output.directory >= 0)
		close(output.directory);
	return error ? dt_log_error(log, error, "the snapshot is not in %s: %s; %s", path, strerror(-error), dt_journal_advice(error)) : 0;
}
