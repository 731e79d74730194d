/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/control.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "cli/runtime.h"

#define NS_PER_SECOND 1000000000u

struct client {
	int fd;                         /* -1: free */
	uint64_t deadline_ns;           /* CLOCK_MONOTONIC */
	char request[DT_REQUEST_SIZE_MAX];
	size_t request_size;
	char *answer;                   /* NULL: it has not asked yet */
	size_t answer_size, sent;
};

struct dt_control {
	struct dt_log log;
	int directory, listen_fd, epoll_fd, timer_fd;
	struct client clients[DT_CONTROL_CLIENTS_MAX];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

static void drop(struct client *client)
{
	close(client->fd);              /* which takes it out of the epoll set */
	free(client->answer);
	*client = (struct client){ .fd = -1 };
}

/* A free place; if there is none, that of the client that has waited longest, best of one that has not even asked. */
static struct client *make_place(struct dt_control *control)
{
	struct client *oldest = NULL;

	for (size_t i = 0; i < DT_CONTROL_CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];

		if (client->fd < 0)
			return client;
		if (!oldest || (!client->answer && oldest->answer) ||
		    (!client->answer == !oldest->answer && client->deadline_ns < oldest->deadline_ns))
			oldest = client;
	}
	drop(oldest);
	dt_log_debug(&control->log, "too many ask at a time: the one who was slowest is not waited for");
	return oldest;
}

/* Another user, who got past the permissions of the directory: root, or one with the capability. */
static void refuse(int fd)
{
	static const char text[] = "it belongs to another user\n";
	char line[DT_REQUEST_SIZE_MAX];
	size_t size = dt_verdict_write_line(DT_VERDICT_REFUSED, sizeof(text) - 1, line);

	if (send(fd, line, size, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)size)
		(void)!send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* One of those who wait; the next is taken when poll tells again, so that no crowd holds us here. */
static void accept_one(struct dt_control *control)
{
	DT_FD int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct epoll_event event = { .events = EPOLLIN };
	struct client *client;

	if (fd < 0)
		return;                 /* who has gone again */
	if (!dt_runtime_is_own(fd)) {
		refuse(fd);
		return;
	}
	client = make_place(control);
	event.data.u32 = (uint32_t)(client - control->clients);
	if (epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event))
		return;
	client->fd = DT_TAKE_FD(fd);
	client->deadline_ns = now_ns() + DT_CONTROL_PATIENCE_NS;
}

/* Sends what is taken without waiting. */
static void send_answer(struct dt_control *control, struct client *client)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.u32 = (uint32_t)(client - control->clients) };
	ssize_t sent = send(client->fd, client->answer + client->sent, client->answer_size - client->sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (sent > 0)
		client->sent += (size_t)sent;
	if (client->sent == client->answer_size || (sent < 0 && errno != EAGAIN && errno != EINTR) ||
	    epoll_ctl(control->epoll_fd, EPOLL_CTL_MOD, client->fd, &event))
		drop(client);
}

/* The line that says what `text` is, and the text: *ret_answer, the caller's. */
static int join(enum dt_verdict verdict, const char *text, size_t text_size, char **ret_answer, size_t *ret_size)
{
	char line[DT_REQUEST_SIZE_MAX];
	size_t line_size = dt_verdict_write_line(verdict, text_size, line);
	char *answer = malloc(line_size + text_size + 1);

	if (!answer)
		return -ENOMEM;
	memcpy(answer, line, line_size);
	memcpy(answer + line_size, text, text_size);
	*ret_answer = answer;
	*ret_size = line_size + text_size;
	return 0;
}

static int make_answer(struct client *client, int wrong, enum dt_request request, dt_control_fn answer, void *context)
{
	DT_FREE char *text = NULL;
	size_t text_size = 0;
	FILE *out = open_memstream(&text, &text_size);
	enum dt_verdict verdict = DT_VERDICT_UNKNOWN;
	bool failed;

	if (!out)
		return -ENOMEM;
	if (!wrong)
		verdict = answer(context, request, out);
	else
		fputs("there is no such request\n", out);
	failed = ferror(out);
	failed |= !!fclose(out);
	if (failed || text_size > DT_ANSWER_SIZE_MAX)
		return -ENOMEM;
	return join(verdict, text, text_size, &client->answer, &client->answer_size);
}

/* Returns when nothing more is there to be read, or all that is needed. */
static void read_request(struct dt_control *control, struct client *client, dt_control_fn answer, void *context)
{
	ssize_t size = recv(client->fd, client->request + client->request_size, sizeof(client->request) - client->request_size, MSG_DONTWAIT);
	enum dt_request request = DT_REQUEST_COUNT_;
	int error;

	if (size <= 0) {
		if (!size || (errno != EAGAIN && errno != EINTR))
			drop(client);
		return;
	}
	client->request_size += (size_t)size;
	error = dt_request_read_line(client->request, client->request_size, &request);
	if (error == -EAGAIN)
		return;
	if (make_answer(client, error, request, answer, context)) {
		dt_log_warning(&control->log, "not enough memory to answer 'domtrace ctl'");
		drop(client);
		return;
	}
	client->deadline_ns = now_ns() + DT_CONTROL_PATIENCE_NS;
	send_answer(control, client);
}

/* ---- time -------------------------------------------------------------------------------------------------------- */

/* Lets go of those whose time is over, and wakes us up for the next. */
static void expire(struct dt_control *control)
{
	uint64_t now = now_ns(), next_ns = 0;
	struct itimerspec due = { 0 };

	for (size_t i = 0; i < DT_CONTROL_CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];

		if (client->fd >= 0 && client->deadline_ns <= now)
			drop(client);
		if (client->fd >= 0 && (!next_ns || client->deadline_ns < next_ns))
			next_ns = client->deadline_ns;
	}
	due.it_value = (struct timespec){ (time_t)(next_ns / NS_PER_SECOND), next_ns % NS_PER_SECOND };
	timerfd_settime(control->timer_fd, TFD_TIMER_ABSTIME, &due, NULL); /* fails of no valid time; this is one */
}

/* ---- the socket -------------------------------------------------------------------------------------------------- */

enum { EVENT_LISTEN = DT_CONTROL_CLIENTS_MAX, EVENT_TIMER, EVENT_COUNT };

void dt_control_dispatch(struct dt_control *control, dt_control_fn answer, void *context)
{
	struct epoll_event events[EVENT_COUNT];
	bool wanted = false;
	int count = control ? epoll_wait(control->epoll_fd, events, EVENT_COUNT, 0) : 0;

	for (int i = 0; i < count; i++) {
		struct client *client = &control->clients[events[i].data.u32 % DT_CONTROL_CLIENTS_MAX];

		if (events[i].data.u32 == EVENT_LISTEN)
			wanted = true;
		else if (events[i].data.u32 != EVENT_TIMER && client->answer)
			send_answer(control, client);
		else if (events[i].data.u32 != EVENT_TIMER)
			read_request(control, client, answer, context);
	}
	/* Last: a place that changes hands is not another's event. */
	if (wanted)
		accept_one(control);
	if (count > 0)
		expire(control);
}

int dt_control_fd(const struct dt_control *control)
{
	return control ? control->epoll_fd : -1;
}

static int watch(const struct dt_control *control, int fd, uint32_t number)
{
	struct epoll_event event = { .events = EPOLLIN, .data.u32 = number };

	return epoll_ctl(control->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static int set_up(struct dt_control *control)
{
	int error;

	control->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	control->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (control->epoll_fd < 0 || control->timer_fd < 0)
		return -errno;
	error = watch(control, control->listen_fd, EVENT_LISTEN);
	return error ? error : watch(control, control->timer_fd, EVENT_TIMER);
}

int dt_control_open(const char *parent, const struct dt_log *log, struct dt_control **ret_control)
{
	DT_FD int directory = -1;
	DT_FD int listen_fd = -1;
	struct dt_control *control;
	int error;

	*ret_control = NULL;
	if (dt_runtime_open(parent, true, log, DT_LOG_WARNING, &directory) ||
	    dt_runtime_listen(directory, log, DT_LOG_WARNING, &listen_fd))
		return 0;
	control = calloc(1, sizeof(*control));
	if (!control) {
		dt_runtime_remove(directory);
		return dt_log_error(log, -ENOMEM, "not enough memory to listen for 'domtrace ctl'");
	}
	control->log = *log;
	control->directory = DT_TAKE_FD(directory);
	control->listen_fd = DT_TAKE_FD(listen_fd);
	for (size_t i = 0; i < DT_CONTROL_CLIENTS_MAX; i++)
		control->clients[i].fd = -1;
	error = set_up(control);
	if (error) {
		dt_control_close(control);
		return dt_log_error(log, error, "cannot listen for 'domtrace ctl': %s", strerror(-error));
	}
	*ret_control = control;
	return 0;
}

/* What is on its way, until the client's time is over. */
static void send_rest(struct dt_control *control, struct client *client)
{
	while (client->fd >= 0 && client->answer) {
		struct pollfd ready = { .fd = client->fd, .events = POLLOUT };
		uint64_t now = now_ns();

		if (client->deadline_ns <= now || poll(&ready, 1, (int)((client->deadline_ns - now) / 1000000) + 1) <= 0)
			return;
		send_answer(control, client);
	}
}

void dt_control_close(struct dt_control *control)
{
	if (!control)
		return;
	dt_runtime_remove(control->directory);
	for (size_t i = 0; i < DT_CONTROL_CLIENTS_MAX; i++) {
		send_rest(control, &control->clients[i]);
		if (control->clients[i].fd >= 0)
			drop(&control->clients[i]);
	}
	close(control->listen_fd);
	close(control->directory);
	dt_cleanup_fd(&control->epoll_fd);
	dt_cleanup_fd(&control->timer_fd);
	free(control);
}
