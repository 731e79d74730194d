/* SPDX-License-Identifier: BSD-2-Clause */
/* top PID [SECONDS]: traces a process for some seconds and prints the lines and functions that hold most of its memory then. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <domtrace/snapshot.h>

#define TOP 10

static void say(void *context, enum dt_log_level level, const char *line)
{
	if (level <= DT_LOG_INFO)
		fprintf(context, "top: %s\n", line);
}

static int print_top(const struct dt_snapshot *snapshot, const struct dt_log *log)
{
	struct dt_grouping_opts by_line = { .size = sizeof(by_line), .group = DT_GROUP_LINENO };
	struct dt_statistics *statistics;
	int error = dt_snapshot_statistics(snapshot, &by_line, log, &statistics);

	for (size_t i = 0; !error && i < TOP && i < dt_statistics_count(statistics); i++) {
		struct dt_statistic row = { .size = sizeof(row) };
		struct dt_frame_info frame = { .size = sizeof(frame) };

		dt_statistics_get(statistics, i, &row);
		dt_statistics_get_frame(statistics, i, 0, &frame);
		printf("%10" PRIu64 " bytes in %6" PRIu64 " blocks  %s at %s:%" PRIu64 "\n", row.live_bytes, row.live_blocks,
		       frame.function ? frame.function : "?", frame.filename, frame.lineno);
	}
	if (!error)
		dt_statistics_free(statistics);
	return error;
}

int main(int count, char **arguments)
{
	struct dt_session_opts opts = { .size = sizeof(opts), .log = { say, stderr } };
	struct dt_session *session;
	struct dt_snapshot *snapshot;
	int error;

	if (count < 2) {
		fprintf(stderr, "top PID [SECONDS]\n");
		return 2;
	}
	if (dt_session_start(&opts, atoi(arguments[1]), &session))
		return 1;
	fprintf(stderr, "top: ready\n");
	for (int seconds = count > 2 ? atoi(arguments[2]) : 10; seconds > 0; seconds--) {
		sleep(1);
		dt_session_dispatch(session);   /* follows what the process loads */
	}
	error = dt_session_take_snapshot(session, "request", &snapshot);
	if (!error) {
		error = print_top(snapshot, &opts.log);
		dt_snapshot_free(snapshot);
	}
	dt_session_free(session);
	return error ? 1 : 0;
}
