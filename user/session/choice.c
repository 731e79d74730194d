/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/choice.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/magic.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "base/parse.h"

static int read_comm(const char *comm, const struct dt_log *log, struct dt_choice *choice)
{
	if (strlen(comm) >= sizeof(choice->comm))
		return dt_log_error(log, -EINVAL, "the kernel keeps %zu characters of a program's name: '%s' has more", sizeof(choice->comm) - 1, comm);
	strcpy(choice->comm, comm);
	choice->by |= DT_CHOICE_COMM;
	return 0;
}

static int read_user(const char *user, const struct dt_log *log, struct dt_choice *choice)
{
	const struct passwd *entry;
	uint64_t number;

	if (dt_parse_u64(user, 0, UINT32_MAX - 1, &number)) {
		entry = getpwnam(user);
		if (!entry)
			return dt_log_error(log, -EINVAL, "there is no user '%s'", user);
		number = entry->pw_uid;
	}
	choice->uid = (uint32_t)number;
	choice->by |= DT_CHOICE_UID;
	return 0;
}

/* The device of the file system that a file is in: files of btrfs or overlayfs tell another one themselves. */
static int read_mount_device(uint64_t mount, uint32_t *ret_device)
{
	DT_FREE char *text = NULL;
	unsigned int major, minor;
	unsigned long long number;
	int error = dt_file_read("/proc/self/mountinfo", &text, NULL);

	if (error)
		return error;
	/* Each line: number of the mount, that of the one it is in, MAJOR:MINOR … (proc(5)). */
	for (char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (sscanf(line, "%llu %*u %u:%u", &number, &major, &minor) != 3 || number != mount)
			continue;
		*ret_device = major << 20 | minor;      /* include/linux/kdev_t.h: MKDEV() */
		return 0;
	}
	return -ENODEV;
}

static int read_file(const char *path, const struct dt_log *log, struct dt_choice *choice)
{
	struct statx status;
	int error = statx(AT_FDCWD, path, 0, STATX_TYPE | STATX_INO | STATX_MNT_ID, &status) ? -errno : 0;

	if (!error && !S_ISREG(status.stx_mode))
		error = -ENOEXEC;
	if (!error)
		error = read_mount_device(status.stx_mnt_id, &choice->file_device);
	if (error)
		return dt_log_error(log, error, "processes of the program '%s' cannot be found: %s", path, strerror(-error));
	choice->file_inode = status.stx_ino;
	choice->by |= DT_CHOICE_FILE;
	return 0;
}

/* The path of a cgroup below the root of its file system, which is how processes tell it (/proc/PID/cgroup). */
static int find_level(const char *path, uint32_t *ret_level)
{
	DT_FREE char *real = realpath(path, NULL);
	struct statfs status;
	uint32_t level = 0;

	if (!real)
		return -errno;
	/* Up to where another file system begins; the root, level 0, is counted, too. */
	for (char *end = real + strlen(real); end > real; end = strrchr(real, '/')) {
		*end = '\0';
		if (end != real && !statfs(real, &status) && status.f_type == CGROUP2_SUPER_MAGIC)
			level++;
		else
			break;
	}
	*ret_level = level ? level - 1 : 0;
	return 0;
}

/* A cgroup's number is the inode of its directory on 64-bit kernels (include/linux/kernfs.h). */
static int read_cgroup(const char *path, const struct dt_log *log, struct dt_choice *choice)
{
	struct statfs system;
	struct stat status;
	int error = stat(path, &status) || statfs(path, &system) ? -errno : 0;

	if (!error && system.f_type != CGROUP2_SUPER_MAGIC)
		return dt_log_error(log, -EINVAL, "'%s' is no cgroup of version 2: give its directory, e.g. below /sys/fs/cgroup", path);
	if (!error)
		error = find_level(path, &choice->cgroup_level);
	if (error)
		return dt_log_error(log, error, "processes of the cgroup '%s' cannot be found: %s", path, strerror(-error));
	choice->cgroup = status.st_ino;
	choice->by |= DT_CHOICE_CGROUP;
	return 0;
}

int dt_choice_read(const struct dt_session_opts *opts, struct dt_choice *ret_choice)
{
	struct dt_choice choice = { .own_tgid = (uint32_t)getpid() };
	int error = opts->comm ? read_comm(opts->comm, &opts->log, &choice) : 0;

	if (!error && opts->user)
		error = read_user(opts->user, &opts->log, &choice);
	if (!error && opts->cgroup)
		error = read_cgroup(opts->cgroup, &opts->log, &choice);
	if (!error && opts->exe)
		error = read_file(opts->exe, &opts->log, &choice);
	if (!error)
		*ret_choice = choice;
	return error;
}

/* ---- processes that run already ---------------------------------------------------------------------------------- */

/* As it is: /proc/PID/status has escapes in it. */
static bool has_comm(const struct dt_choice *choice, pid_t pid)
{
	DT_FREE char *name = NULL;
	char path[64];
	size_t size;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	return !dt_file_read(path, &name, &size) && size == strlen(choice->comm) + 1 && !memcmp(name, choice->comm, size - 1);
}

static bool has_uid(const struct dt_choice *choice, const char *status)
{
	const char *line = strstr(status, "\nUid:\t");

	return line && strtoul(line + 6, NULL, 10) == choice->uid;
}

/* Where the file system of cgroups (version 2) is mounted: beside those of version 1 it is elsewhere. NULL: nowhere. */
static char *find_cgroups(void)
{
	DT_FREE char *text = NULL;
	char directory[PATH_MAX];

	if (dt_file_read("/proc/self/mountinfo", &text, NULL))
		return NULL;
	/* Each line: two numbers, MAJOR:MINOR, root, where it is mounted … - type … (proc(5)). */
	for (char *line = text, *next; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		if (strstr(line, " - cgroup2 ") && sscanf(line, "%*u %*u %*s %*s %4095s", directory) == 1)
			return strdup(directory);
	}
	return NULL;
}

static bool is_in_cgroup(const struct dt_choice *choice, pid_t pid)
{
	DT_FREE char *cgroups = find_cgroups();
	DT_FREE char *text = NULL;
	char path[64];
	char *own;
	struct stat status;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	if (!cgroups || dt_file_read(path, &text, NULL))
		return false;
	own = strstr(text, "0::/");
	if (!own)
		return false;
	own[strcspn(own, "\n")] = '\0';
	own += strlen("0::");
	/* It, or one that it is in, up to the root. */
	for (char *end = own + strlen(own); end && !found; end = strrchr(own, '/')) {
		DT_FREE char *directory = NULL;

		*end = '\0';
		found = asprintf(&directory, "%s%s", cgroups, own) > 0 && !stat(directory, &status) && status.st_ino == choice->cgroup;
	}
	return found;
}

static bool has_file(const struct dt_choice *choice, pid_t pid)
{
	struct statx status;
	char path[64];
	uint32_t device;

	snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid);
	return !statx(AT_FDCWD, path, 0, STATX_INO | STATX_MNT_ID, &status) && status.stx_ino == choice->file_inode &&
	       (read_mount_device(status.stx_mnt_id, &device) || device == choice->file_device);
}

bool dt_choice_holds(const struct dt_choice *choice, pid_t pid)
{
	DT_FREE char *status = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if ((uint32_t)pid == choice->own_tgid || dt_file_read(path, &status, NULL))
		return false;
	return (!(choice->by & DT_CHOICE_COMM) || has_comm(choice, pid)) &&
	       (!(choice->by & DT_CHOICE_UID) || has_uid(choice, status)) &&
	       (!(choice->by & DT_CHOICE_CGROUP) || is_in_cgroup(choice, pid)) &&
	       (!(choice->by & DT_CHOICE_FILE) || has_file(choice, pid));
}
