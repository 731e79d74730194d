/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * memory PID DOMAIN...: for each line of standard input what dt_session_get_traced_memory() says of each domain and of all together, as
 * JSON: [current, peak, whether the peak is exact]. A line "reset" resets peaks first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <domtrace/domtrace.h>

static void say(void *context, enum dt_log_level level, const char *line)
{
	if (level <= DT_LOG_INFO)
		fprintf(context, "memory: %s\n", line);
}

static int tell(struct dt_session *session, const char *domain, const char *end)
{
	uint64_t current, peak;
	bool exact;
	int error = dt_session_get_traced_memory(session, 0, domain, &current, &peak, &exact);

	if (!error)
		printf("\"%s\":[%" PRIu64 ",%" PRIu64 ",%s]%s", domain ? domain : "all", current, peak, exact ? "true" : "false", end);
	return error;
}

int main(int count, char **arguments)
{
	struct dt_session_opts opts = { .size = sizeof(opts), .log = { say, stderr } };
	struct dt_session *session;
	char line[16];
	int error;

	if (count < 3 || dt_session_start(&opts, atoi(arguments[1]), &session))
		return 1;
	fprintf(stderr, "memory: ready\n");
	for (error = 0; !error && fgets(line, sizeof(line), stdin); fflush(stdout)) {
		if (!strcmp(line, "reset\n"))
			error = dt_session_reset_peak(session);
		printf("{");
		for (int i = 2; i < count && !error; i++)
			error = tell(session, arguments[i], ",");
		if (!error)
			error = tell(session, NULL, "}\n");
	}
	dt_session_free(session);
	return error ? 1 : 0;
}
