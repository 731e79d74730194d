/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * page PID: NumPy's example of tracemalloc (its page on memory allocation), from outside, on the library. sections.py is what it traces;
 * a line on standard input says that a section has been run, and standard error what comes next. page.sh is the same for the shell.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/snapshot.h>

/* Keeps the last sentence: it is the exception. */
static void say(void *context, enum dt_log_level level, const char *line)
{
	if (level == DT_LOG_ERROR)
		snprintf(context, 256, "%s", line);
}

/* stat.count, stat.size, stat.traceback.format()[-1] */
static int print_statistics(const struct dt_snapshot *snapshot, const struct dt_log *log)
{
	struct dt_statistics *statistics;
	int error = dt_snapshot_statistics(snapshot, NULL, log, &statistics);

	for (size_t i = 0; !error && i < dt_statistics_count(statistics); i++) {
		struct dt_statistic row = { .size = sizeof(row) };
		char **lines = NULL;
		size_t count = 0;

		dt_statistics_get(statistics, i, &row);
		error = dt_statistics_format(statistics, i, NULL, &lines, &count);
		printf("%" PRIu64 " memory blocks: %.1f KiB\n%s\n", row.live_blocks, (double)row.live_bytes / 1024,
		       error ? strerror(-error) : lines[count - 1]);
		free(lines);
	}
	if (!error)
		dt_statistics_free(statistics);
	return error;
}

static int print_section(struct dt_session *session, const char *const filters[], const struct dt_log *log)
{
	struct dt_filter_opts filter = { .size = sizeof(filter), .filters = filters };
	struct dt_snapshot *snapshot;
	char line[16];
	int error = fgets(line, sizeof(line), stdin) ? dt_session_take_snapshot(session, "request", &snapshot) : -1;

	if (error)
		return error;
	error = dt_snapshot_filter(snapshot, &filter, log);
	if (!error)
		error = print_statistics(snapshot, log);
	dt_snapshot_free(snapshot);
	return error;
}

int main(int count, char **arguments)
{
	static const char *const domains[] = { "numpy", "python", NULL }, *const numpy[] = { "domain=numpy", NULL };
	char said[256] = "";
	struct dt_session_opts opts = {
		.size = sizeof(opts), .log = { say, said }, .domains = domains, .frame_limit = 1, .stack = "python", .patch_python = true,
	};
	struct dt_session *session;
	struct dt_snapshot *snapshot;
	int error = count == 2 ? dt_session_start(&opts, atoi(arguments[1]), &session) : -1;

	if (error) {
		fprintf(stderr, "page: %s\n", said);
		return 1;
	}
	fprintf(stderr, "page: ready\n");
	printf("================ SNAPSHOT 1 =================\n");
	error = print_section(session, numpy, &opts.log);
	if (!error)
		error = dt_session_clear_traces(session);
	fprintf(stderr, "page: cleared\n");
	printf("\n================ SNAPSHOT 2 =================\n");
	if (!error)
		error = print_section(session, NULL, &opts.log);
	if (!error)
		error = dt_session_stop(session);
	printf("\n============================================\n\nTracing Status :  %s\n", dt_session_is_tracing(session) ? "True" : "False");
	printf("\nTrying to Take Snapshot After Tracing is Stopped.\n");
	if (!error && !dt_session_take_snapshot(session, "request", &snapshot))
		return 1;
	printf("Exception :  %s\n", said);
	dt_session_free(session);
	return error ? 1 : 0;
}
