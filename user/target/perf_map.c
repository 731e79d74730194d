/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/perf_map.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

struct entry {
	uint64_t start, end;            /* end exclusive */
	uint64_t reach;                 /* largest end of this and all entries before: where to stop looking back */
	size_t line;
	const char *name;
};

struct dt_perf_map {
	char *text;                     /* names end with a NUL there */
	struct entry *entries;          /* by start, then by line */
	size_t count;
};

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* A hexadecimal number, perhaps with 0x, and the space behind it. */
static bool read_hex(char **text, uint64_t *ret_value)
{
	char *at = *text, *begin;
	uint64_t value = 0;

	if (at[0] == '0' && (at[1] == 'x' || at[1] == 'X'))
		at += 2;
	begin = at;
	for (; (*at >= '0' && *at <= '9') || (*at >= 'a' && *at <= 'f') || (*at >= 'A' && *at <= 'F'); at++) {
		if (value >> 60)
			return false;
		value = value << 4 | (uint64_t)(*at <= '9' ? *at - '0' : (*at | 0x20) - 'a' + 10);
	}
	if (at == begin || *at != ' ')
		return false;
	*text = at + 1;
	*ret_value = value;
	return true;
}

/* START SIZE NAME; the name is all the rest, spaces included. */
static bool read_line(char *line, struct entry *ret_entry)
{
	uint64_t start, size;

	if (!read_hex(&line, &start) || !read_hex(&line, &size) || !*line || !size || size > UINT64_MAX - start)
		return false;
	*ret_entry = (struct entry){ .start = start, .end = start + size, .name = line };
	return true;
}

static int compare_entries(const void *left, const void *right)
{
	const struct entry *a = left, *b = right;

	if (a->start != b->start)
		return a->start < b->start ? -1 : 1;
	return a->line < b->line ? -1 : a->line > b->line;
}

static size_t count_newlines(const char *text, size_t size)
{
	size_t count = 0;

	for (const char *at = text, *end = text + size; (at = memchr(at, '\n', (size_t)(end - at))); at++)
		count++;
	return count;
}

/* The last line without its newline is one that is being written: it is not taken. */
static void read_lines(struct dt_perf_map *map, size_t size)
{
	char *at = map->text, *end = map->text + size, *newline;
	uint64_t reach = 0;

	for (size_t line = 0; (newline = memchr(at, '\n', (size_t)(end - at))); line++, at = newline + 1) {
		struct entry *entry = &map->entries[map->count];

		*newline = '\0';
		if (!read_line(at, entry))
			continue;
		entry->line = line;
		map->count++;
	}
	if (map->count)
		qsort(map->entries, map->count, sizeof(*map->entries), compare_entries);
	for (size_t i = 0; i < map->count; i++) {
		if (map->entries[i].end > reach)
			reach = map->entries[i].end;
		map->entries[i].reach = reach;
	}
}

/* Takes the text over, also on failure. */
static int parse_own(char *text, size_t size, struct dt_perf_map **ret_map)
{
	struct dt_perf_map *map = calloc(1, sizeof(*map));

	if (!map) {
		free(text);
		return -ENOMEM;
	}
	map->text = text;
	map->entries = calloc(count_newlines(text, size) + 1, sizeof(*map->entries));
	if (!map->entries) {
		dt_perf_map_free(map);
		return -ENOMEM;
	}
	read_lines(map, size);
	*ret_map = map;
	return 0;
}

int dt_perf_map_parse(const char *text, size_t size, struct dt_perf_map **ret_map)
{
	char *own = malloc(size + 1);

	if (!own)
		return -ENOMEM;
	memcpy(own, text, size);
	own[size] = '\0';
	return parse_own(own, size, ret_map);
}

void dt_perf_map_free(struct dt_perf_map *map)
{
	if (!map)
		return;
	free(map->entries);
	free(map->text);
	free(map);
}

const char *dt_perf_map_find(const struct dt_perf_map *map, uint64_t address, uint64_t *ret_offset)
{
	const struct entry *best = NULL;
	size_t low = 0, high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->entries[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	while (low-- && map->entries[low].reach > address) {
		const struct entry *entry = &map->entries[low];

		if (address < entry->end && (!best || entry->line > best->line))
			best = entry;
	}
	if (!best)
		return NULL;
	*ret_offset = address - best->start;
	return best->name;
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

/* The number by which the process knows itself: the last of NSpid (proc(5), since Linux 4.1). */
static int read_own_pid(pid_t pid, long *ret_pid)
{
	DT_FREE char *text = NULL;
	const char *field, *end;
	char path[64];
	int error;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	error = dt_file_read(path, &text, NULL);
	if (error)
		return error == -ESRCH ? -ENOENT : error;
	/* "Name:" comes first, but cannot imitate the field: the kernel escapes newlines there. */
	field = strstr(text, "\nNSpid:");
	end = field ? strchr(field + 1, '\n') : NULL;
	if (!end)
		return -EBADMSG;
	while (end[-1] >= '0' && end[-1] <= '9')
		end--;
	*ret_pid = strtol(end, NULL, 10);
	return 0;
}

/* Of a process that has ended the user is the one it last was seen to be. */
static int read_uid(pid_t pid, uid_t *ret_uid)
{
	struct stat process;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d", (int)pid);
	if (stat(path, &process))
		return -errno;
	*ret_uid = process.st_uid;
	return 0;
}

int dt_perf_map_owner_open(pid_t pid, struct dt_perf_map_owner *ret_owner)
{
	struct dt_perf_map_owner owner = { .pid = pid };
	char path[64];
	int error = read_own_pid(pid, &owner.own_pid);

	if (!error)
		error = read_uid(pid, &owner.uid);
	if (error)
		return error;
	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	owner.root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (owner.root_fd < 0)
		return errno == ESRCH ? -ENOENT : -errno;
	*ret_owner = owner;
	return 0;
}

void dt_perf_map_owner_close(struct dt_perf_map_owner *owner)
{
	if (owner->root_fd >= 0)
		close(owner->root_fd);
	owner->root_fd = -1;
}

/* /tmp is everybody's: what another user put there says nothing of this process. */
static int check_owner(int fd, uid_t uid)
{
	struct stat file;

	if (fstat(fd, &file))
		return -errno;
	if (!S_ISREG(file.st_mode))
		return -ENOENT;
	return file.st_uid && file.st_uid != uid ? -EPERM : 0;
}

int dt_perf_map_open(struct dt_perf_map_owner *owner)
{
	/* As the process would find it (openat2(2), since Linux 5.6): links of its file system lead nowhere else. */
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	char path[64];
	int error;

	snprintf(path, sizeof(path), "tmp/perf-%ld.map", owner->own_pid);
	DT_FD int fd = (int)syscall(SYS_openat2, owner->root_fd, path, &how, sizeof(how));

	if (fd < 0)
		return -errno;
	read_uid(owner->pid, &owner->uid);
	error = check_owner(fd, owner->uid);
	return error ? error : DT_TAKE_FD(fd);
}

int dt_perf_map_load(int fd, struct dt_perf_map **ret_map)
{
	uint64_t from = 0, size;
	struct stat status;
	char *text, *newline;
	ssize_t got = 1;
	size_t have = 0;

	if (fstat(fd, &status))
		return -errno;
	size = (uint64_t)status.st_size;
	if (size > DT_PERF_MAP_BYTES_MAX) {
		from = size - DT_PERF_MAP_BYTES_MAX;
		size = DT_PERF_MAP_BYTES_MAX;
	}
	text = malloc(size + 1);
	if (!text)
		return -ENOMEM;
	for (; have < size && got > 0; have += got > 0 ? (size_t)got : 0)
		got = pread(fd, text + have, size - have, (off_t)(from + have));
	if (got < 0) {
		free(text);
		return -errno;
	}
	text[have] = '\0';
	newline = from ? memchr(text, '\n', have) : NULL;
	if (newline)                    /* the first line may have lost its beginning */
		memset(text, '\n', (size_t)(newline - text));
	return parse_own(text, have, ret_map);
}
