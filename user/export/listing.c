/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"

#define FILE_BYTES_MAX ((size_t)4 << 20)        /* no source file that a person wrote is larger */
#define ALL_BYTES_MAX ((size_t)64 << 20)

struct source_file {
	struct source_file *next;
	char *path;
	char *data;                     /* NULL: it cannot be read */
	size_t size;
};

struct dt_listing {
	struct source_file *files;      /* a report names few: a list is enough */
	size_t bytes;                   /* of all data */
};

int dt_listing_new(struct dt_listing **ret_listing)
{
	struct dt_listing *listing = calloc(1, sizeof(*listing));

	if (!listing)
		return -ENOMEM;
	*ret_listing = listing;
	return 0;
}

void dt_listing_free(struct dt_listing *listing)
{
	while (listing && listing->files) {
		struct source_file *file = listing->files;

		listing->files = file->next;
		free(file->path);
		free(file->data);
		free(file);
	}
	free(listing);
}

/*
 * Opens only a regular file. The name is not ours, and opening some devices does things (a watchdog starts), so it is
 * looked at first through a descriptor that does not open it, and then that very file is opened.
 */
static int open_regular(const char *path, size_t *ret_size)
{
	DT_FD int place = open(path, O_PATH | O_CLOEXEC);
	struct stat status;
	char again[64];
	int fd;

	if (place < 0 || fstat(place, &status) < 0)
		return -errno;
	/* Files of procfs say size 0, and reading some of them (kmsg, trace_pipe) takes something away. */
	if (!S_ISREG(status.st_mode) || status.st_size <= 0 || (size_t)status.st_size > FILE_BYTES_MAX)
		return -EINVAL;
	snprintf(again, sizeof(again), "/proc/self/fd/%d", place);
	fd = open(again, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	*ret_size = (size_t)status.st_size;
	return fd < 0 ? -errno : fd;
}

static void read_file(struct dt_listing *listing, struct source_file *file)
{
	size_t size = 0;
	DT_FD int fd = -1;
	DT_FREE char *data = NULL;

	/* A relative name is relative to a directory of the traced process that nobody knows any more. */
	if (file->path[0] != '/')
		return;
	fd = open_regular(file->path, &size);
	if (fd < 0 || size > ALL_BYTES_MAX - listing->bytes)
		return;
	data = malloc(size);
	if (!data || dt_file_read_at(fd, data, size, 0))
		return;
	file->data = DT_TAKE(data);
	file->size = size;
	listing->bytes += size;
}

static struct source_file *find_file(struct dt_listing *listing, const char *path)
{
	struct source_file *file;

	for (file = listing->files; file; file = file->next)
		if (!strcmp(file->path, path))
			return file;
	file = calloc(1, sizeof(*file));
	if (!file)
		return NULL;
	file->path = strdup(path);
	if (!file->path) {
		free(file);
		return NULL;
	}
	read_file(listing, file);
	file->next = listing->files;
	listing->files = file;
	return file;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v';
}

const char *dt_listing_find(struct dt_listing *listing, const char *path, int line, size_t *ret_size)
{
	const struct source_file *file = find_file(listing, path);
	const char *begin, *end, *newline;

	if (!file || !file->data || line < 1)
		return NULL;
	begin = file->data;
	end = file->data + file->size;
	while (--line) {
		newline = memchr(begin, '\n', (size_t)(end - begin));
		if (!newline)
			return NULL;
		begin = newline + 1;
	}
	newline = memchr(begin, '\n', (size_t)(end - begin));
	end = newline ? newline : end;
	while (begin < end && is_space(*begin))
		begin++;
	while (begin < end && is_space(end[-1]))
		end--;
	*ret_size = (size_t)(end - begin);
	return begin < end ? begin : NULL;
}
