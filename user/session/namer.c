/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/namer.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "session/namer_wire.h"

struct dt_namer {
	struct dt_names_opts opts;
	uint64_t limit_ns;
	pid_t pid;                      /* 0: no helper runs */
	int socket;
	uint32_t generation;            /* helpers started */
	uint64_t asked_ns;              /* when the last question was asked */
	struct dt_name names[DT_NAMES_DEPTH_MAX];
	struct dt_namer_reply *reply;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int dt_namer_new(const struct dt_names_opts *opts, uint64_t limit_ns, struct dt_namer **ret_namer)
{
	struct dt_namer *namer = calloc(1, sizeof(*namer));

	if (namer)
		namer->reply = malloc(sizeof(*namer->reply) + DT_NAMER_STRINGS_MAX);
	if (!namer || !namer->reply) {
		free(namer);
		return -ENOMEM;
	}
	namer->opts = *opts;
	namer->limit_ns = limit_ns;
	namer->socket = -1;
	*ret_namer = namer;
	return 0;
}

/* ---- the helper -------------------------------------------------------------------------------------------------- */

void dt_namer_stop(struct dt_namer *namer)
{
	if (!namer->pid)
		return;
	close(namer->socket);
	namer->socket = -1;
	kill(namer->pid, SIGKILL);
	while (waitpid(namer->pid, NULL, 0) < 0 && errno == EINTR)
		;                       /* ECHILD: the program around us reaps every child */
	namer->pid = 0;
}

void dt_namer_free(struct dt_namer *namer)
{
	if (!namer)
		return;
	dt_namer_stop(namer);
	free(namer->reply);
	free(namer);
}

uint32_t dt_namer_start(struct dt_namer *namer)
{
	int sockets[2];
	pid_t pid;

	if (namer->pid)
		return namer->generation;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		return 0;
	pid = fork();
	if (!pid) {
		close(sockets[0]);
		dt_namer_serve(sockets[1], &namer->opts);
	}
	close(sockets[1]);
	if (pid < 0) {
		close(sockets[0]);
		return 0;
	}
	namer->pid = pid;
	namer->socket = sockets[0];
	return ++namer->generation;
}

int dt_namer_fd(const struct dt_namer *namer)
{
	return namer->socket;
}

pid_t dt_namer_pid(const struct dt_namer *namer)
{
	return namer->pid;
}

/* ---- questions --------------------------------------------------------------------------------------------------- */

static int send_request(struct dt_namer *namer, const struct dt_namer_request *request, const int *fds, size_t count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(DT_NAMER_FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec data = { .iov_base = (void *)request, .iov_len = sizeof(*request) };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1 };
	ssize_t sent;

	if (count) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof(int));
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
	}
	namer->asked_ns = now_ns();
	do
		sent = sendmsg(namer->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (sent < 0 && errno == EINTR);
	return sent < 0 && errno != EPIPE && errno != ECONNRESET ? -errno : 0; /* that it died, dt_namer_wait() will say */
}

int dt_namer_open(struct dt_namer *namer, uint32_t file, int fd, const int *debug_fds, size_t debug_count, bool no_lines)
{
	struct dt_namer_request request = { .verb = DT_NAMER_OPEN, .file = file, .no_lines = no_lines };
	int fds[DT_NAMER_FDS_MAX] = { fd };

	if (debug_count > DT_NAMER_FDS_MAX - 1)
		debug_count = DT_NAMER_FDS_MAX - 1;
	if (debug_count)
		memcpy(fds + 1, debug_fds, debug_count * sizeof(int));
	return send_request(namer, &request, fds, 1 + debug_count);
}

int dt_namer_ask(struct dt_namer *namer, uint32_t file, uint64_t vaddr)
{
	return send_request(namer, &(struct dt_namer_request){ .verb = DT_NAMER_ASK, .file = file, .vaddr = vaddr }, NULL, 0);
}

/* ---- answers ----------------------------------------------------------------------------------------------------- */

static bool find_string(const struct dt_namer_reply *reply, uint32_t at, const char **ret_string)
{
	*ret_string = at == DT_NAMER_NO_STRING ? NULL : reply->strings + at;
	return at == DT_NAMER_NO_STRING || at < reply->string_bytes;
}

/* Whoever took the helper over may send anything. */
static int read_reply(struct dt_namer *namer, size_t size, struct dt_namer_answer *ret_answer)
{
	const struct dt_namer_reply *reply = namer->reply;

	if (size < sizeof(*reply) || reply->count > DT_NAMES_DEPTH_MAX || reply->string_bytes != size - sizeof(*reply) ||
	    (reply->string_bytes && reply->strings[reply->string_bytes - 1]))
		return -EPIPE;
	if (reply->error)
		return reply->error < 0 && reply->error > -4096 && reply->error != -EAGAIN ? reply->error : -EPIPE;
	for (size_t i = 0; i < reply->count; i++) {
		const struct dt_namer_row *row = &reply->rows[i];
		struct dt_name *name = &namer->names[i];

		*name = (struct dt_name){ .line = row->line < 0 ? 0 : row->line, .offset = row->offset, .inlined = row->inlined };
		if (!find_string(reply, row->function, &name->function) || !find_string(reply, row->file, &name->file))
			return -EPIPE;
	}
	*ret_answer = (struct dt_namer_answer){
		.names = reply->count ? namer->names : NULL,
		.count = reply->count,
		.has_lines = reply->has_lines,
	};
	return 0;
}

static int receive(struct dt_namer *namer, struct dt_namer_answer *ret_answer)
{
	ssize_t got = recv(namer->socket, namer->reply, sizeof(*namer->reply) + DT_NAMER_STRINGS_MAX, MSG_DONTWAIT);
	int error;

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	error = got <= 0 ? -EPIPE : read_reply(namer, (size_t)got, ret_answer);
	if (error == -EPIPE)
		dt_namer_stop(namer);
	return error;
}

int dt_namer_wait(struct dt_namer *namer, uint64_t budget_ns, struct dt_namer_answer *ret_answer)
{
	uint64_t begin = now_ns(), passed = 0, limit = namer->asked_ns + namer->limit_ns;
	int error;

	if (!namer->pid)
		return -EPIPE;
	for (;;) {
		struct pollfd pollfd = { .fd = namer->socket, .events = POLLIN };
		uint64_t left = budget_ns > passed ? budget_ns - passed : 0;
		struct timespec timeout;

		if (begin + passed + left > limit)
			left = limit > begin + passed ? limit - begin - passed : 0;
		timeout = (struct timespec){ .tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000) };
		ppoll(&pollfd, 1, &timeout, NULL);
		error = receive(namer, ret_answer);
		if (error != -EAGAIN)
			return error;
		passed = now_ns() - begin;
		if (begin + passed >= limit) {
			dt_namer_stop(namer);
			return -ETIMEDOUT;
		}
		if (passed >= budget_ns)
			return -EAGAIN;
	}
}
