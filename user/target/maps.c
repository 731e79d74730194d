/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

static const char deleted_suffix[] = " (deleted)";

/*
 * The kernel writes the path with seq_path(m, path, "\n") (fs/proc/task_mmu.c): a newline becomes \012 and nothing else
 * is escaped, not even the backslash. So only this one is undone; a name that holds the four characters \012 itself
 * reads as a newline, and its file is then found through map_files alone.
 */
static char *copy_path(const char *from, size_t size)
{
	char *path = malloc(size + 1);
	size_t length = 0;

	if (!path)
		return NULL;
	for (size_t i = 0; i < size; length++) {
		bool newline = size - i >= 4 && !memcmp(from + i, "\\012", 4);

		path[length] = newline ? '\n' : from[i];
		i += newline ? 4 : 1;
	}
	path[length] = '\0';
	return path;
}

static int parse_path(const char *from, size_t size, struct dt_mapping *mapping)
{
	size_t suffix = strlen(deleted_suffix);

	if (!size)
		return 0;
	/* A name of the kernel's own ("[heap]", "[anon:deleted)]") is no path and never deleted. */
	mapping->deleted = *from == '/' && size > suffix && !memcmp(from + size - suffix, deleted_suffix, suffix);
	mapping->path = copy_path(from, mapping->deleted ? size - suffix : size);
	return mapping->path ? 0 : -ENOMEM;
}

/* A hexadecimal number and the character behind it. */
static bool read_hex(const char **text, const char *end, char behind, uint64_t *ret_value)
{
	uint64_t value = 0;
	const char *at = *text;

	for (; at < end && strchr("0123456789abcdef", *at) && *at; at++) {
		if (value >> 60)
			return false;
		value = value << 4 | (uint64_t)(*at <= '9' ? *at - '0' : *at - 'a' + 10);
	}
	if (at == *text || at == end || *at != behind)
		return false;
	*text = at + 1;
	*ret_value = value;
	return true;
}

static bool read_permissions(const char **text, const char *end, struct dt_mapping *mapping)
{
	const char *at = *text;

	if (end - at < 5 || !strchr("r-", at[0]) || !strchr("w-", at[1]) || !strchr("x-", at[2]) || !strchr("ps", at[3]) ||
	    at[4] != ' ')
		return false;
	mapping->readable = at[0] == 'r';
	mapping->writable = at[1] == 'w';
	mapping->executable = at[2] == 'x';
	*text = at + 5;
	return true;
}

/* Decimal digits, then a space or the end of the line. */
static bool read_inode(const char **text, const char *end, uint64_t *ret_inode)
{
	uint64_t inode = 0;
	const char *at = *text;

	for (; at < end && *at >= '0' && *at <= '9'; at++)
		if (__builtin_mul_overflow(inode, 10, &inode) || __builtin_add_overflow(inode, (uint64_t)(*at - '0'), &inode))
			return false;
	if (at == *text || (at < end && *at != ' '))
		return false;
	*text = at;
	*ret_inode = inode;
	return true;
}

/* START-END rwxp OFFSET MAJOR:MINOR INODE[   PATH] */
static int parse_line(const char *at, const char *end, struct dt_mapping *ret_mapping)
{
	struct dt_mapping mapping = { 0 };
	uint64_t high, low;
	int error;

	if (!read_hex(&at, end, '-', &mapping.start) || !read_hex(&at, end, ' ', &mapping.end) ||
	    mapping.end <= mapping.start || !read_permissions(&at, end, &mapping) ||
	    !read_hex(&at, end, ' ', &mapping.offset) || !read_hex(&at, end, ':', &high) || !read_hex(&at, end, ' ', &low) ||
	    high > UINT32_MAX || low > UINT32_MAX || !read_inode(&at, end, &mapping.inode))
		return -EBADMSG;
	mapping.device = makedev((unsigned int)high, (unsigned int)low);
	while (at < end && *at == ' ')
		at++;
	error = parse_path(at, (size_t)(end - at), &mapping);
	if (error)
		return error;
	*ret_mapping = mapping;
	return 0;
}

/*
 * The file is read in pieces while the process goes on. What changes between two pieces can come out twice, so a later
 * line takes back what it overlaps: it is the younger truth.
 */
static void drop_overlaps(struct dt_maps *maps, uint64_t start)
{
	while (maps->count && maps->mappings[maps->count - 1].start >= start)
		free(maps->mappings[--maps->count].path);
	if (maps->count && maps->mappings[maps->count - 1].end > start)
		maps->mappings[maps->count - 1].end = start;
}

static size_t count_lines(const char *text, size_t size)
{
	size_t count = 0;

	for (const char *at = text, *end = text + size; at < end; count++) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));

		at = newline ? newline + 1 : end;
	}
	return count;
}

int dt_maps_parse(const char *text, size_t size, struct dt_maps *ret_maps)
{
	DT_CLEANUP(dt_maps_clear) struct dt_maps maps = { 0 };
	const char *end = text + size;

	/* One more, so that no maps at all are still an array. */
	maps.mappings = calloc(count_lines(text, size) + 1, sizeof(*maps.mappings));
	if (!maps.mappings)
		return -ENOMEM;
	while (text < end) {
		const char *newline = memchr(text, '\n', (size_t)(end - text));
		const char *line_end = newline ? newline : end;
		struct dt_mapping mapping;
		int error = parse_line(text, line_end, &mapping);

		if (error)
			return error;
		drop_overlaps(&maps, mapping.start);
		maps.mappings[maps.count++] = mapping;
		text = newline ? newline + 1 : end;
	}
	*ret_maps = maps;
	memset(&maps, 0, sizeof(maps));
	return 0;
}

int dt_maps_read(pid_t pid, struct dt_maps *ret_maps)
{
	DT_FREE char *text = NULL;
	char path[64];
	size_t size;
	int error;

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	error = dt_file_read(path, &text, &size);
	if (error == -ENOENT)
		return -ESRCH;
	if (error)
		return error == -EPERM ? -EACCES : error;
	/* A process that lives has mappings: an empty file is what a zombie has left. */
	return size ? dt_maps_parse(text, size, ret_maps) : -ESRCH;
}

void dt_maps_clear(struct dt_maps *maps)
{
	for (size_t i = 0; i < maps->count; i++)
		free(maps->mappings[i].path);
	free(maps->mappings);
	memset(maps, 0, sizeof(*maps));
}

const struct dt_mapping *dt_maps_find(const struct dt_maps *maps, uint64_t address)
{
	size_t low = 0, high = maps->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (maps->mappings[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < maps->count && maps->mappings[low].start <= address ? &maps->mappings[low] : NULL;
}

/*
 * Is this the file that maps spoke of? On overlayfs and btrfs stat reports a made-up device (major 0) and maps the real
 * one, or the other way round, depending on the kernel: there the inode has to do.
 */
static int check_file(int fd, const struct dt_mapping *mapping)
{
	struct stat status;

	if (fstat(fd, &status))
		return -errno;
	if (!S_ISREG(status.st_mode) || status.st_ino != mapping->inode)
		return -ESTALE;
	return status.st_dev == mapping->device || !major(status.st_dev) || !major(mapping->device) ? 0 : -ESTALE;
}

static int open_checked(const char *path, const struct dt_mapping *mapping)
{
	/* Not blocking: what stands at the path by now may be a fifo. */
	DT_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int error = fd < 0 ? -errno : check_file(fd, mapping);

	return error ? error : DT_TAKE_FD(fd);
}

/* Opens the file and says by which path it was found. */
static int open_mapping(pid_t pid, const struct dt_mapping *mapping, char **ret_path)
{
	DT_FREE char *path = NULL;
	int fd, refused;

	if (!mapping->inode || !mapping->path)
		return -ENOENT;
	if (asprintf(&path, "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, (int)pid, mapping->start, mapping->end) < 0)
		return path = NULL, -ENOMEM;
	refused = open_checked(path, mapping);
	if (refused < 0) {
		free(path);
		if (asprintf(&path, "/proc/%d/root%s", (int)pid, mapping->path) < 0)
			return path = NULL, -ENOMEM;
		fd = open_checked(path, mapping);
		/* "Not permitted" on the first way is the reason worth telling where the second leads to another file. */
		if (fd < 0)
			return refused == -EPERM || refused == -EACCES ? -EACCES : fd;
	} else {
		fd = refused;
	}
	if (ret_path)
		*ret_path = DT_TAKE(path);
	return fd;
}

int dt_mapping_open(pid_t pid, const struct dt_mapping *mapping)
{
	return open_mapping(pid, mapping, NULL);
}

int dt_mapping_path(pid_t pid, const struct dt_mapping *mapping, char **ret_path)
{
	DT_FD int fd = open_mapping(pid, mapping, ret_path);

	return fd < 0 ? fd : 0;
}
