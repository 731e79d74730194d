/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/runtime.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"

#define NAME "domtrace"
#define SUFFIX ".sock"
#define BACKLOG 16
#define CONNECT_SECONDS 10              /* until one who has no time must have taken the connection */

void dt_runtime_parent(char *path, size_t size)
{
	const char *directory = getenv("XDG_RUNTIME_DIR");

	/* Root's is not where whoever called sudo has his. */
	if (!geteuid())
		snprintf(path, size, "/run");
	else if (directory && *directory == '/')
		snprintf(path, size, "%s", directory);
	else
		snprintf(path, size, "/run/user/%u", geteuid());
}

/* May nobody but this user, or root, change what is in it? With `alone`: nor look. */
static bool is_safe(int fd, bool alone)
{
	struct stat status;

	if (fstat(fd, &status))
		return false;
	if (alone)
		return status.st_uid == geteuid() && !(status.st_mode & 077);
	return (status.st_uid == geteuid() || !status.st_uid) && !(status.st_mode & 022);
}

int dt_runtime_open(const char *parent, bool make, const struct dt_log *log, enum dt_log_level level, int *ret_fd)
{
	DT_FD int above = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	DT_FD int fd = -1;
	int error = above < 0 ? -errno : 0;

	if (!error && !is_safe(above, false))
		return dt_log_write(log, level, -EACCES, "%s cannot hold a socket for 'domtrace ctl': others than its user may write to it", parent);
	if (!error && make && mkdirat(above, NAME, 0700) && errno != EEXIST)
		error = -errno;
	if (!error) {
		fd = openat(above, NAME, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		error = fd < 0 ? -errno : 0;
	}
	if (error == -ENOENT && !make)
		return error;
	if (error)
		return dt_log_write(log, level, error, "cannot open the directory %s/" NAME " of sockets for 'domtrace ctl': %s", parent, strerror(-error));
	if (!is_safe(fd, true))
		return dt_log_write(log, level, -EACCES, "%s/" NAME " is not used for 'domtrace ctl': it is not of user %u alone (owner and mode 0700); remove it",
				    parent, geteuid());
	*ret_fd = DT_TAKE_FD(fd);
	return 0;
}

/* By way of the open directory: no part of the path can be changed, and it is never too long. */
static struct sockaddr_un address_of(int directory, pid_t pid)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%d" SUFFIX, directory, (int)pid);
	return address;
}

static void remove_socket(int directory, pid_t pid)
{
	char name[32];

	snprintf(name, sizeof(name), "%d" SUFFIX, (int)pid);
	unlinkat(directory, name, 0);
}

void dt_runtime_remove(int directory)
{
	remove_socket(directory, getpid());
}

bool dt_runtime_is_own(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) && peer.uid == geteuid();
}

int dt_runtime_connect(int directory, pid_t pid, int *ret_fd)
{
	struct sockaddr_un address = address_of(directory, pid);
	struct timeval limit = { .tv_sec = CONNECT_SECONDS };
	DT_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return -errno;
	if (!dt_runtime_is_own(fd))
		return -EACCES;
	*ret_fd = DT_TAKE_FD(fd);
	return 0;
}

static bool listens(int directory, pid_t pid)
{
	DT_FD int fd = -1;
	int error = dt_runtime_connect(directory, pid, &fd);

	return error != -ECONNREFUSED && error != -ENOENT;
}

static int compare_pids(const void *left, const void *right)
{
	pid_t a = *(const pid_t *)left, b = *(const pid_t *)right;

	return (a > b) - (a < b);
}

/* Calls `each` with the process number of every socket, or what looks like one. */
static int each_name(int directory, bool (*each)(void *context, pid_t pid), void *context)
{
	int copy = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);  /* with a position of its own */
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);
	const struct dirent *entry;
	bool more = true;

	if (!entries) {
		int error = -errno;

		dt_cleanup_fd(&copy);
		return error;
	}
	while (more && (entry = readdir(entries))) {
		size_t size = strcspn(entry->d_name, ".");
		char number[16] = "";
		uint64_t pid;

		if (size >= sizeof(number) || strcmp(entry->d_name + size, SUFFIX))
			continue;
		memcpy(number, entry->d_name, size);
		if (!dt_parse_u64(number, 1, INT_MAX, &pid))
			more = each(context, (pid_t)pid);
	}
	closedir(entries);
	return 0;
}

struct listing {
	int directory;
	pid_t *pids;
	size_t count;
};

static bool list_one(void *context, pid_t pid)
{
	struct listing *listing = context;

	if (listens(listing->directory, pid))
		listing->pids[listing->count++] = pid;
	return listing->count < DT_RUNTIME_PEERS_MAX;
}

int dt_runtime_list(int directory, pid_t pids[DT_RUNTIME_PEERS_MAX], size_t *ret_count)
{
	struct listing listing = { directory, pids, 0 };
	int error = each_name(directory, list_one, &listing);

	if (error)
		return error;
	qsort(pids, listing.count, sizeof(*pids), compare_pids);
	*ret_count = listing.count;
	return 0;
}

/* Between bind() and listen() a socket looks dead; so a process that lives keeps it. */
static bool sweep_one(void *context, pid_t pid)
{
	const int *directory = context;

	if (kill(pid, 0) && errno == ESRCH && !listens(*directory, pid))
		remove_socket(*directory, pid);
	return true;
}

/* Our number was another's before: what that one left is not ours. */
static int bind_anew(int fd, int directory)
{
	struct sockaddr_un address = address_of(directory, getpid());

	if (!bind(fd, (struct sockaddr *)&address, sizeof(address)))
		return 0;
	if (errno != EADDRINUSE || listens(directory, getpid()))
		return -errno;
	dt_runtime_remove(directory);
	return bind(fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

int dt_runtime_listen(int directory, const struct dt_log *log, enum dt_log_level level, int *ret_fd)
{
	DT_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int error = fd < 0 ? -errno : 0;

	each_name(directory, sweep_one, &directory);
	/* The mode of the socket becomes that of its file (net/unix/af_unix.c: unix_bind_bsd). */
	if (!error && fchmod(fd, 0600))
		error = -errno;
	if (!error)
		error = bind_anew(fd, directory);
	if (!error && listen(fd, BACKLOG)) {
		error = -errno;
		dt_runtime_remove(directory);
	}
	if (error)
		return dt_log_write(log, level, error, "cannot make the socket %d" SUFFIX " for 'domtrace ctl': %s", (int)getpid(), strerror(-error));
	*ret_fd = DT_TAKE_FD(fd);
	return 0;
}
