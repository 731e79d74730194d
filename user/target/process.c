/* SPDX-License-Identifier: BSD-2-Clause */
#include "target/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"

#define PF_KTHREAD 0x00200000u          /* include/linux/sched.h: field "flags" of /proc/PID/stat */

/* What /proc/PID/stat tells, the numbers as proc(5) counts them. */
struct stat_line {
	char *text, *comm;              /* comm points into text */
	char state;                     /* 3 */
	pid_t ppid;                     /* 4 */
	unsigned int flags;             /* 9 */
	uint64_t start_ticks;           /* 22 */
};

static void stat_line_clear(struct stat_line *line)
{
	free(line->text);
}

/* A file of a process that has gone is missing, or its reading fails with ESRCH. */
static int gone(int error)
{
	if (error == -ENOENT)
		return -ESRCH;
	return error == -EPERM ? -EACCES : error;
}

static int read_proc(pid_t pid, const char *name, char **ret_text, size_t *ret_size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return gone(dt_file_read(path, ret_text, ret_size));
}

static int read_stat(pid_t pid, struct stat_line *ret_line)
{
	struct stat_line line = { 0 };
	DT_FREE char *text = NULL;
	char *end;
	int ppid, error = read_proc(pid, "stat", &text, NULL);

	if (error)
		return error;
	/* The name may hold anything, also brackets: it ends at the last one, behind which there are only numbers. */
	line.comm = strchr(text, '(');
	end = strrchr(text, ')');
	if (!line.comm || !end || end < line.comm)
		return -EBADMSG;
	*end = '\0';
	line.comm++;
	if (sscanf(end + 1, " %c %d %*d %*d %*d %*d %u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %" SCNu64,
		   &line.state, &ppid, &line.flags, &line.start_ticks) != 4)
		return -EBADMSG;
	line.ppid = ppid;
	line.text = DT_TAKE(text);
	*ret_line = line;
	return 0;
}

/* The leader of the thread's process. */
static int read_leader(pid_t pid, pid_t *ret_leader)
{
	DT_FREE char *text = NULL;
	const char *field;
	int error = read_proc(pid, "status", &text, NULL);

	if (error)
		return error;
	/* "Name:" comes first, but cannot imitate the field: the kernel escapes newlines there. */
	field = strstr(text, "\nTgid:");
	if (!field)
		return -EBADMSG;
	*ret_leader = (pid_t)strtol(field + strlen("\nTgid:"), NULL, 10);
	return 0;
}

/* Opening maps asks for the same right as every later reading of the process does (PTRACE_MODE_READ). */
static int check_readable(pid_t pid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
	DT_FD int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? gone(-errno) : 0;
}

/* Everything that can be wrong with a process that exists. */
static int check_process(pid_t pid, const struct dt_log *log)
{
	DT_CLEANUP(stat_line_clear) struct stat_line line = { 0 };
	pid_t leader;
	int error = read_leader(pid, &leader);

	if (!error)
		error = read_stat(pid, &line);
	if (error == -ESRCH)
		return dt_log_error(log, error, "process %d ended while it was being opened, or /proc hides it from this user.",
				    (int)pid);
	if (error)
		return dt_log_error(log, error, "process %d cannot be traced: /proc/%d/stat and status: %s.", (int)pid, (int)pid,
				    strerror(-error));
	if (leader != pid)
		return dt_log_error(log, -EINVAL, "%d is a thread of process %d: trace %d instead.", (int)pid, (int)leader,
				    (int)leader);
	if (line.flags & PF_KTHREAD)
		return dt_log_error(log, -EINVAL, "process %d (%s) is a kernel thread: it has no memory of its own to trace.",
				    (int)pid, line.comm);
	if (line.state == 'Z' || line.state == 'X')
		return dt_log_error(log, -ESRCH, "process %d (%s) has already ended: only its exit status is left.", (int)pid,
				    line.comm);
	error = check_readable(pid);
	if (error)
		return dt_log_error(log, error, "process %d (%s) cannot be read: %s; run domtrace as root or with CAP_SYS_PTRACE.",
				    (int)pid, line.comm, strerror(-error));
	return 0;
}

int dt_process_open(pid_t pid, const struct dt_log *log, int *ret_pidfd)
{
	int error;

	if (pid == getpid())
		return dt_log_error(log, -EINVAL, "process %d is domtrace itself, which cannot be traced by itself.", (int)pid);
	DT_FD int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	error = pidfd < 0 ? -errno : 0;
	/* EINVAL (ENOENT since 6.9) means a thread that is not the leader, or a number that no process can have. */
	if (error == -ESRCH || (pid <= 0 && error == -EINVAL))
		return dt_log_error(log, -ESRCH, "there is no process %d.", (int)pid);
	if (error && error != -EINVAL && error != -ENOENT)
		return dt_log_error(log, error, "process %d cannot be watched: pidfd_open: %s.", (int)pid, strerror(-error));
	error = check_process(pid, log);
	if (error)
		return error;
	if (pidfd < 0)
		return dt_log_error(log, -ESRCH, "process %d ended while it was being opened.", (int)pid);
	*ret_pidfd = DT_TAKE_FD(pidfd);
	return 0;
}

/* Does the path, as the process sees it, name the file that it executes? */
static bool names_exe(pid_t pid, const char *path)
{
	DT_FREE char *seen = NULL;
	struct stat exe, named;
	char link[64];

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	if (asprintf(&seen, "/proc/%d/root%s", (int)pid, path) < 0) {
		seen = NULL;
		return false;
	}
	return !stat(link, &exe) && !stat(seen, &named) && exe.st_ino == named.st_ino && exe.st_dev == named.st_dev;
}

/* An empty string for a kernel thread. */
static int read_exe(pid_t pid, char **ret_exe)
{
	static const char deleted[] = " (deleted)";
	char link[64], path[4096 + sizeof(deleted)];
	size_t length;
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0 && errno != ENOENT)
		return gone(-errno);
	length = n < 0 ? 0 : (size_t)n;
	path[length] = '\0';
	/* A file may well be called "x (deleted)": only one that is not found by that name has lost it. */
	if (length > strlen(deleted) && !strcmp(path + length - strlen(deleted), deleted) && !names_exe(pid, path))
		path[length - strlen(deleted)] = '\0';
	*ret_exe = strdup(path);
	return *ret_exe ? 0 : -ENOMEM;
}

static int split_command(const char *text, size_t size, char ***ret_command)
{
	size_t count = 0, at;
	char **command = calloc(size + 1, sizeof(*command));

	if (!command)
		return -ENOMEM;
	for (at = 0; at < size; at += strlen(text + at) + 1) {
		command[count] = strdup(text + at);
		if (!command[count++])
			goto no_memory;
	}
	*ret_command = command;
	return 0;
no_memory:
	for (at = 0; at < count; at++)
		free(command[at]);
	free(command);
	return -ENOMEM;
}

static int read_command(pid_t pid, char ***ret_command)
{
	DT_FREE char *text = NULL;
	size_t size;
	int error = read_proc(pid, "cmdline", &text, &size);

	return error ? error : split_command(text, size, ret_command);
}

int dt_process_read(pid_t pid, struct dt_process_info *ret_info)
{
	DT_CLEANUP(dt_process_info_clear) struct dt_process_info info = { .pid = pid };
	DT_CLEANUP(stat_line_clear) struct stat_line line = { 0 };
	int error = read_stat(pid, &line);

	if (error)
		return error;
	info.ppid = line.ppid;
	/* Ticks do not overflow: 2^64 ns are 584 years after boot. */
	info.start_time_ns = line.start_ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
	info.comm = strdup(line.comm);
	if (!info.comm)
		return -ENOMEM;
	error = read_exe(pid, &info.exe);
	if (!error)
		error = read_command(pid, &info.command);
	if (!error)
		error = dt_process_read_rss(pid, &info.rss_bytes);
	if (error)
		return error;
	*ret_info = info;
	memset(&info, 0, sizeof(info));
	return 0;
}

int dt_process_read_rss(pid_t pid, uint64_t *ret_bytes)
{
	DT_FREE char *text = NULL;
	uint64_t pages;
	int error = read_proc(pid, "statm", &text, NULL);

	if (error)
		return error;
	if (sscanf(text, "%*u %" SCNu64, &pages) != 1)
		return -EBADMSG;
	*ret_bytes = pages * (uint64_t)sysconf(_SC_PAGESIZE);
	return 0;
}

void dt_process_info_clear(struct dt_process_info *info)
{
	for (char **argument = info->command; argument && *argument; argument++)
		free(*argument);
	free(info->command);
	free(info->comm);
	free(info->exe);
	memset(info, 0, sizeof(*info));
}

int dt_process_read_memory(pid_t pid, uint64_t address, void *data, size_t size)
{
	char *to = data;

	/* A read ends early at the first page that is not there, and the next one then says EFAULT. */
	while (size) {
		struct iovec local = { .iov_base = to, .iov_len = size };
		struct iovec remote = { .iov_base = (void *)(uintptr_t)address, .iov_len = size };
		ssize_t n = process_vm_readv(pid, &local, 1, &remote, 1, 0);

		if (n <= 0)
			return n ? gone(-errno) : -EFAULT;
		to += n;
		address += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}
