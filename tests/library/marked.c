/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * marked PID [FILE:SYMBOL…]: a snapshot at each marker of a process, and one when it has ended, each as a line of JSON: its label, its number,
 * and the live bytes of the only domain.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include <domtrace/snapshot.h>

static void say(void *context, enum dt_log_level level, const char *line)
{
	(void)context;
	if (level == DT_LOG_ERROR)
		fprintf(stderr, "%s\n", line);
}

static void print(struct dt_snapshot *snapshot)
{
	struct dt_snapshot_info info = { .size = sizeof(info) };
	struct dt_domain_info domain = { .size = sizeof(domain) };

	if (!dt_snapshot_get_info(snapshot, &info) && !dt_snapshot_get_domain(snapshot, 0, &domain))
		printf("{\"label\": \"%s\", \"sequence\": %" PRIu64 ", \"live_bytes\": %" PRIu64 "}\n", info.label, info.sequence, domain.live_bytes);
	fflush(stdout);
	dt_snapshot_free(snapshot);
}

/* Those of markers come first: whatever else is asked for is told so. */
static int take_marked(struct dt_session *session)
{
	struct dt_snapshot *snapshot;
	int error;

	while (!(error = dt_session_take_marked(session, &snapshot)))
		print(snapshot);
	return error == -EAGAIN ? 0 : error;
}

static int follow(struct dt_session *session)
{
	struct pollfd fd = { .fd = dt_session_fd(session), .events = POLLIN };
	int error = 0;

	while (!error && dt_session_running(session)) {
		if (poll(&fd, 1, -1) < 0)
			return -errno;
		error = take_marked(session);
		if (!error)
			error = dt_session_dispatch(session);
	}
	return error;
}

int main(int count, char **arguments)
{
	struct dt_session_opts opts = {
		.size = sizeof(opts), .log = { say, NULL }, .domains = (const char *const[]){ "libc", NULL }, .markers = true,
		.snapshot_at = count > 2 ? (const char *const *)arguments + 2 : NULL,
	};
	struct dt_snapshot *last;
	struct dt_session *session;
	int error = count > 1 ? dt_session_start(&opts, atoi(arguments[1]), &session) : -EINVAL;

	if (error)
		return 1;
	fprintf(stderr, "marked: ready\n");
	error = follow(session);
	while (!error && (error = dt_session_take_snapshot(session, "final", &last)) == -EBUSY)
		error = take_marked(session);
	if (!error)
		print(last);
	dt_session_free(session);
	return error ? 1 : 0;
}
