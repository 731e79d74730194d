/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/fetch.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cap-ng.h>

#include "base/cleanup.h"

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* ---- the process that fetches ------------------------------------------------------------------------------------ */

struct answer {
	int error;
};

static void send_answer(int socket, int error, int fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { .header = { .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int)) } };
	struct answer answer = { .error = error };
	struct iovec data = { .iov_base = &answer, .iov_len = sizeof(answer) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };

	if (!error) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		message.msg_control = &control;
		message.msg_controllen = sizeof(control);
	}
	sendmsg(socket, &message, MSG_NOSIGNAL);
}

/* elfutils/debuginfod.h, the same since elfutils 0.178: the library is not linked, so neither is its header needed. */
typedef void *(*begin_fn)(void);
typedef int (*find_debuginfo_fn)(void *client, const unsigned char *build_id, int build_id_length, char **path);

/* A length of 0 says that the build id is a string. */
static int find_debuginfo(const char *build_id)
{
	void *library = dlopen("libdebuginfod.so.1", RTLD_NOW);
	begin_fn begin = library ? (begin_fn)dlsym(library, "debuginfod_begin") : NULL;
	find_debuginfo_fn find = library ? (find_debuginfo_fn)dlsym(library, "debuginfod_find_debuginfo") : NULL;
	void *client;

	if (!begin || !find)
		return -ELIBACC;
	client = begin();
	return client ? find(client, (const unsigned char *)build_id, 0, NULL) : -ENOMEM;
}

static void keep_socket_only(int socket)
{
	int high = fcntl(socket, F_DUPFD, 4), null = open("/dev/null", O_RDWR);
	sigset_t none;

	for (int fd = 0; fd < 3; fd++)
		if (null != fd && dup2(null, fd) < 0)
			close(fd);
	if (high < 0 || dup2(high, 3) < 0)
		_exit(1);
	syscall(SYS_close_range, 4, ~0u, 0);
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGALRM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void run(int socket, const char *build_id, unsigned int seconds)
{
	int fd;

	keep_socket_only(socket);
	alarm(seconds);                 /* also when nobody is left to end it */
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS))
		_exit(1);
	fd = find_debuginfo(build_id);
	send_answer(3, fd < 0 ? fd : 0, fd);
	_exit(0);
}

/* ---- the one that waits ------------------------------------------------------------------------------------------ */

int dt_fetch_start(struct dt_fetch *fetch, const char *build_id, uint64_t limit_ns)
{
	int sockets[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return -errno;
	pid = fork();
	if (!pid)
		run(sockets[1], build_id, (unsigned int)(limit_ns / 1000000000 + 1));
	close(sockets[1]);
	if (pid < 0) {
		close(sockets[0]);
		return -EAGAIN;
	}
	*fetch = (struct dt_fetch){ .pid = pid, .socket = sockets[0], .limit_ns = now_ns() + limit_ns };
	return 0;
}

void dt_fetch_stop(struct dt_fetch *fetch)
{
	if (!fetch->pid)
		return;
	close(fetch->socket);
	kill(fetch->pid, SIGKILL);
	while (waitpid(fetch->pid, NULL, 0) < 0 && errno == EINTR)
		;
	fetch->pid = 0;
}

static int receive(struct dt_fetch *fetch, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct answer answer;
	struct iovec data = { .iov_base = &answer, .iov_len = sizeof(answer) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };
	ssize_t got = recvmsg(fetch->socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *header;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (got != sizeof(answer))
		return -EPIPE;
	if (answer.error)
		return answer.error < 0 && answer.error != -EAGAIN ? answer.error : -EPIPE;
	header = CMSG_FIRSTHDR(&message);
	if (!header || header->cmsg_type != SCM_RIGHTS)
		return -EPIPE;
	memcpy(ret_fd, CMSG_DATA(header), sizeof(*ret_fd));
	return 0;
}

int dt_fetch_wait(struct dt_fetch *fetch, uint64_t budget_ns, int *ret_fd)
{
	struct pollfd pollfd = { .fd = fetch->socket, .events = POLLIN };
	uint64_t now = now_ns(), left = fetch->limit_ns > now ? fetch->limit_ns - now : 0;
	struct timespec timeout;
	int error;

	left = left < budget_ns ? left : budget_ns;
	timeout = (struct timespec){ .tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000) };
	ppoll(&pollfd, 1, &timeout, NULL);
	error = receive(fetch, ret_fd);
	if (error == -EAGAIN && now_ns() >= fetch->limit_ns)
		error = -ETIMEDOUT;
	if (error != -EAGAIN)
		dt_fetch_stop(fetch);
	return error;
}
