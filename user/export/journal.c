/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "snapshot/snapshot.h"

#define LINE_BEGIN "{\"format\":\"domtrace-snapshot\""
#define NOT_TORN (-1)

struct dt_journal {
	const struct dt_log *log;
	char *path;
	FILE *file;
	bool regular;
	off_t torn_off;                 /* where a line begins that could not be cut off yet, or NOT_TORN */
};

const char *dt_journal_advice(int error)
{
	switch (error) {
	case -ENOENT:
	case -ENOTDIR:
		return "make its directory first";
	case -EACCES:
	case -EPERM:
	case -EROFS:
		return "choose a place where you may write";
	case -EISDIR:
		return "name a file in it";
	case -ENOSPC:
	case -EDQUOT:
		return "make room on that disk";
	case -EFBIG:
		return "raise the limit on the size of files (ulimit -f)";
	case -EPIPE:
		return "whoever read it has gone";
	default:
		return "choose another place";
	}
}

/* Opens `path` as what it is: a regular file also for reading its end, anything else only for writing. */
static int open_path(const char *path, bool *ret_made)
{
	struct stat status;
	bool there = stat(path, &status) == 0;
	int fd;

	if (!strcmp(path, "-") || !strcmp(path, "/dev/stdout"))
		fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	else if (there && !S_ISREG(status.st_mode))
		fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	else
		fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0666);
	*ret_made = !there;
	return fd < 0 ? -errno : fd;
}

/* A new file is on the disk only when its directory is. */
static void sync_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	DT_FREE char *name = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	DT_FD int fd = name ? open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		fsync(fd);
}

/* Where the last line begins that has no newline; `size` where all have one. */
static int find_torn_line(int fd, off_t size, off_t *ret_off)
{
	char chunk[4096];
	off_t end = size;

	while (end > 0) {
		size_t part = end < (off_t)sizeof(chunk) ? (size_t)end : sizeof(chunk);
		int error = dt_file_read_at(fd, chunk, part, (uint64_t)end - part);
		const char *newline;

		if (error)
			return error;
		newline = memrchr(chunk, '\n', part);
		end -= (off_t)part;
		if (newline) {
			*ret_off = end + (newline - chunk) + 1;
			return 0;
		}
	}
	*ret_off = 0;
	return 0;
}

/* Only what looks like the beginning of one of our lines is ours to cut off. */
static int repair_end(struct dt_journal *journal, int fd, off_t size)
{
	char begin[sizeof(LINE_BEGIN) - 1];
	size_t compared;
	off_t torn;
	int error = find_torn_line(fd, size, &torn);

	if (!error && torn == size)
		return 0;
	compared = !error && size - torn < (off_t)sizeof(begin) ? (size_t)(size - torn) : sizeof(begin);
	error = error ? error : dt_file_read_at(fd, begin, compared, (uint64_t)torn);
	if (!error && memcmp(begin, LINE_BEGIN, compared))
		return dt_log_error(journal->log, -EEXIST, "%s ends in the middle of a line that is not a snapshot's; "
				    "name another file, so that nothing in it is damaged", journal->path);
	if (!error && ftruncate(fd, torn) < 0)
		error = -errno;
	if (error)
		return dt_log_error(journal->log, error, "cannot cut the unfinished last line off %s: %s; name another file",
				    journal->path, strerror(-error));
	dt_log_warning(journal->log, "%s ended in the middle of a snapshot of an interrupted run; its %lld bytes were cut off",
		       journal->path, (long long)(size - torn));
	return 0;
}

static int prepare(struct dt_journal *journal, int fd)
{
	bool is_output = !strcmp(journal->path, "-") || !strcmp(journal->path, "/dev/stdout");
	struct stat status;

	if (fstat(fd, &status) < 0)
		return dt_log_error(journal->log, -errno, "cannot look at %s: %s; choose another place", journal->path,
				    strerror(errno));
	journal->regular = S_ISREG(status.st_mode) && !is_output;
	if (!journal->regular)
		return 0;
	/* Not every file system can lock; a second writer is then the user's own care. */
	if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return dt_log_error(journal->log, -EBUSY, "%s is being written by another domtrace; name another file",
				    journal->path);
	/* Only now: before the lock another may have been in the middle of a line. */
	if (fstat(fd, &status) < 0)
		return -errno;
	return repair_end(journal, fd, status.st_size);
}

int dt_journal_open(const char *path, const struct dt_log *log, struct dt_journal **ret_journal)
{
	struct dt_journal *journal = calloc(1, sizeof(*journal));
	bool made = false;
	int error = -ENOMEM;
	DT_FD int fd = -1;

	if (!journal)
		return dt_log_error(log, -ENOMEM, "no memory for writing %s; free some", path);
	journal->log = log;
	journal->torn_off = NOT_TORN;
	journal->path = strdup(path);
	if (journal->path) {
		fd = open_path(path, &made);
		error = fd < 0 ? dt_log_error(log, fd, "cannot open %s for snapshots: %s; %s", path, strerror(-fd),
					      dt_journal_advice(fd)) : prepare(journal, fd);
	}
	if (!error) {
		journal->file = fdopen(fd, "a");
		error = journal->file ? 0 : -errno;
	}
	if (error) {
		dt_journal_close(journal);
		return error;
	}
	DT_TAKE_FD(fd);
	if (made && journal->regular)
		sync_directory(path);
	*ret_journal = journal;
	return 0;
}

void dt_journal_close(struct dt_journal *journal)
{
	if (!journal)
		return;
	if (journal->file)
		fclose(journal->file);
	free(journal->path);
	free(journal);
}

/* Cuts off what is there of a line. Where that fails it is tried again before the next line. */
static int cut_back(struct dt_journal *journal, off_t off)
{
	journal->torn_off = off;
	if (ftruncate(fileno(journal->file), off) < 0)
		return dt_log_error(journal->log, -errno, "%s ends in the middle of a line that cannot be cut off: %s; "
				    "leave its last line out", journal->path, strerror(errno));
	journal->torn_off = NOT_TORN;
	return 0;
}

static int find_end(struct dt_journal *journal, off_t *ret_off)
{
	struct stat status;

	if (journal->torn_off != NOT_TORN) {
		int error = cut_back(journal, journal->torn_off);

		if (error)
			return error;
	}
	if (fstat(fileno(journal->file), &status) < 0)
		return -errno;
	*ret_off = status.st_size;
	return 0;
}

int dt_journal_append(struct dt_journal *journal, const struct dt_snapshot *snapshot)
{
	off_t begin = 0;
	int error = journal->regular ? find_end(journal, &begin) : 0;

	if (error)
		return error;
	error = dt_snapshot_write_json(snapshot, journal->file);
	if (!error && journal->regular && fsync(fileno(journal->file)) < 0)
		error = -errno;
	if (!error)
		return 0;
	dt_log_error(journal->log, error, "snapshot %llu is not in %s: %s; %s", (unsigned long long)snapshot->sequence,
		     journal->path, strerror(-error), dt_journal_advice(error));
	/* What is still in the stream must not follow later. */
	__fpurge(journal->file);
	clearerr(journal->file);
	if (journal->regular)
		cut_back(journal, begin);
	return error;
}
