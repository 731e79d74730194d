/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/debug_file.h"

#include <elfutils/libdwelf.h>
#include <errno.h>
#include <fcntl.h>
#include <libelf.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DEBUG_DIRECTORY "/usr/lib/debug"

int dt_debug_root_open(pid_t pid, bool *ret_own)
{
	char path[64];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d/root", (int)pid);
	DT_FD int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : errno == EPERM ? -EACCES : -errno;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	if (stat(path, &theirs) || stat("/proc/self/ns/mnt", &ours))
		return errno == ENOENT ? -ESRCH : -errno;
	*ret_own = theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
	/* chroot(2): another root in the same namespace */
	if (fstat(fd, &theirs) || stat("/", &ours))
		return -errno;
	*ret_own = *ret_own && theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
	return DT_TAKE_FD(fd);
}

/* A regular file, found as a process finds it whose root directory this is (openat2(2), since Linux 5.6). */
static int open_in(int root, const char *path)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	DT_FD int fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	struct stat status;

	if (fd < 0 || fstat(fd, &status))
		return -errno;
	return S_ISREG(status.st_mode) ? DT_TAKE_FD(fd) : -ENOENT;
}

struct found {
	int root;
	int *fds;
	size_t count;
};

static void try_path(struct found *found, const char *first, const char *second, const char *third)
{
	char path[PATH_MAX];
	int fd;

	if (found->count == DT_DEBUG_FILES_MAX || snprintf(path, sizeof(path), "%s%s%s", first, second, third) >= (int)sizeof(path))
		return;
	fd = open_in(found->root, path);
	if (fd >= 0)
		found->fds[found->count++] = fd;
}

static void try_build_id(struct found *found, const char *build_id)
{
	char name[256];

	if (strlen(build_id) < 3 || snprintf(name, sizeof(name), "%.2s/%s.debug", build_id, build_id + 2) >= (int)sizeof(name))
		return;
	try_path(found, DEBUG_DIRECTORY "/.build-id/", name, "");
}

/*
 * .gnu_debuglink (gdb manual, "Separate Debug Files"): a file name, NUL, padding up to a multiple of 4, a CRC-32 in the file's
 * own byte order. NULL: there is none, or it is no plain file name.
 */
static const char *read_link(struct dt_elf *elf, uint32_t *ret_crc)
{
	const uint8_t *bytes;
	uint64_t vaddr;
	size_t size, length;

	if (dt_elf_section(elf, ".gnu_debuglink", &bytes, &size, &vaddr))
		return NULL;
	length = strnlen((const char *)bytes, size);
	if (!length || length > NAME_MAX || (length / 4 + 1) * 4 + sizeof(*ret_crc) > size || memchr(bytes, '/', length))
		return NULL;
	memcpy(ret_crc, bytes + (length / 4 + 1) * 4, sizeof(*ret_crc));
	return (const char *)bytes;
}

static void try_link(struct found *found, const char *name, const char *path)
{
	const char *slash = strrchr(path, '/');
	char directory[PATH_MAX];

	if (*path != '/' || snprintf(directory, sizeof(directory), "%.*s", (int)(slash - path) + 1, path) >= (int)sizeof(directory))
		return;
	if (strcmp(slash + 1, name))    /* else it is the file itself */
		try_path(found, directory, name, "");
	try_path(found, directory, ".debug/", name);
	try_path(found, DEBUG_DIRECTORY, directory, name);
}

size_t dt_debug_file_open(struct dt_elf *elf, const char *path, int root, int fds[DT_DEBUG_FILES_MAX])
{
	const char *build_id = dt_elf_build_id(elf), *name;
	struct found found = { .root = root, .fds = fds };
	uint32_t crc;

	if (build_id)
		try_build_id(&found, build_id);
	name = read_link(elf, &crc);
	if (name)
		try_link(&found, name, path);
	return found.count;
}

/* ---- is it the right one? ---------------------------------------------------------------------------------------- */

/* The CRC-32 of ISO 3309, as zlib's and gdb's. */
static bool has_crc(int fd, uint32_t wanted)
{
	uint8_t buffer[65536];
	uint32_t table[256], crc = ~0u;
	ssize_t got;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	for (off_t at = 0; (got = pread(fd, buffer, sizeof(buffer), at)) > 0; at += got)
		for (ssize_t i = 0; i < got; i++)
			crc = crc >> 8 ^ table[(crc ^ buffer[i]) & 255];
	return !got && ~crc == wanted;
}

/* -1: it has no build id. */
static int compare_build_id(int fd, const char *wanted)
{
	Elf *elf = elf_version(EV_CURRENT) == EV_NONE ? NULL : elf_begin(fd, ELF_C_READ_MMAP, NULL);
	const void *id;
	ssize_t size = elf ? dwelf_elf_gnu_build_id(elf, &id) : 0;
	int equal = -1;

	if (size > 0) {
		equal = strlen(wanted) == 2 * (size_t)size;
		for (ssize_t i = 0; i < size && equal; i++) {
			char digits[3];

			snprintf(digits, sizeof(digits), "%02x", ((const uint8_t *)id)[i]);
			equal = !memcmp(digits, wanted + 2 * i, 2);
		}
	}
	elf_end(elf);
	return equal;
}

bool dt_debug_file_matches(struct dt_elf *elf, int fd)
{
	const char *build_id = dt_elf_build_id(elf);
	int equal = build_id ? compare_build_id(fd, build_id) : -1;
	uint32_t crc;

	return equal >= 0 ? equal : read_link(elf, &crc) && has_crc(fd, crc);
}
