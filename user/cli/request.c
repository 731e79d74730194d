/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/request.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

#define GREETING "domtrace/1 "

static const char *const requests[DT_REQUEST_COUNT_] = {
	[DT_REQUEST_SNAPSHOT] = "snapshot",
	[DT_REQUEST_CLEAR] = "clear",
	[DT_REQUEST_RESET_PEAK] = "reset-peak",
	[DT_REQUEST_STATUS] = "status",
	[DT_REQUEST_STATUS_JSON] = "status-json",
	[DT_REQUEST_STOP] = "stop",
};

static const char *const verdicts[DT_VERDICT_COUNT_] = {
	[DT_VERDICT_DONE] = "done",
	[DT_VERDICT_FAILED] = "failed",
	[DT_VERDICT_STOPPED] = "stopped",
	[DT_VERDICT_UNKNOWN] = "unknown",
	[DT_VERDICT_REFUSED] = "refused",
};

static int find(const char *const *names, int count, const char *name)
{
	for (int i = 0; i < count; i++)
		if (!strcmp(names[i], name))
			return i;
	return -EINVAL;
}

const char *dt_request_name(enum dt_request request)
{
	return requests[request];
}

int dt_request_parse(const char *name, enum dt_request *ret_request)
{
	int found = find(requests, DT_REQUEST_COUNT_, name);

	if (found < 0)
		return found;
	*ret_request = (enum dt_request)found;
	return 0;
}

size_t dt_request_write_line(enum dt_request request, char line[DT_REQUEST_SIZE_MAX])
{
	return (size_t)snprintf(line, DT_REQUEST_SIZE_MAX, GREETING "%s\n", requests[request]);
}

size_t dt_verdict_write_line(enum dt_verdict verdict, size_t size, char line[DT_REQUEST_SIZE_MAX])
{
	return (size_t)snprintf(line, DT_REQUEST_SIZE_MAX, GREETING "%s %zu\n", verdicts[verdict], size);
}

/* The first line without greeting and newline, as a string. */
static int read_line(const char *data, size_t size, char rest[DT_REQUEST_SIZE_MAX], size_t *ret_line_size)
{
	size_t greeting = strlen(GREETING), seen = size < DT_REQUEST_SIZE_MAX ? size : DT_REQUEST_SIZE_MAX;
	const char *end = memchr(data, '\n', seen);

	if (memcmp(data, GREETING, seen < greeting ? seen : greeting))
		return -EINVAL;
	if (!end)
		return seen == DT_REQUEST_SIZE_MAX ? -EINVAL : -EAGAIN;
	seen = (size_t)(end - data);
	if (seen < greeting || memchr(data, '\0', seen))
		return -EINVAL;
	memcpy(rest, data + greeting, seen - greeting);
	rest[seen - greeting] = '\0';
	*ret_line_size = seen + 1;
	return 0;
}

int dt_request_read_line(const char *data, size_t size, enum dt_request *ret_request)
{
	char name[DT_REQUEST_SIZE_MAX];
	size_t line_size;
	int error = read_line(data, size, name, &line_size);

	if (error)
		return error;
	/* It says all that it has to say; who sends more takes us for something else. */
	return line_size < size ? -EINVAL : dt_request_parse(name, ret_request);
}

int dt_verdict_read_line(const char *data, size_t size, enum dt_verdict *ret_verdict, size_t *ret_size, size_t *ret_text_size)
{
	char words[DT_REQUEST_SIZE_MAX], *number;
	uint64_t text_size;
	size_t line_size;
	int error = read_line(data, size, words, &line_size), verdict;

	if (error)
		return error;
	number = strchr(words, ' ');
	if (!number)
		return -EINVAL;
	*number++ = '\0';
	verdict = find(verdicts, DT_VERDICT_COUNT_, words);
	if (verdict < 0 || dt_parse_u64(number, 0, DT_ANSWER_SIZE_MAX, &text_size))
		return -EINVAL;
	*ret_verdict = (enum dt_verdict)verdict;
	*ret_size = line_size;
	*ret_text_size = (size_t)text_size;
	return 0;
}
