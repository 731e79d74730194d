/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * request: what a running domtrace can be asked, and the two lines of text that ask and answer.
 *
 * One request a connection. Who asks sends "domtrace/1 REQUEST\n"; the answer is "domtrace/1 VERDICT SIZE\n" and SIZE bytes
 * of text, which end with a newline; then the connection is closed. An answer without all of its bytes is none.
 */
#ifndef DT_CLI_REQUEST_H
#define DT_CLI_REQUEST_H

#include <stddef.h>
#include <stdint.h>

enum dt_request {
	DT_REQUEST_SNAPSHOT,
	DT_REQUEST_CLEAR,
	DT_REQUEST_RESET_PEAK,
	DT_REQUEST_STATUS,
	DT_REQUEST_STATUS_JSON,         /* the same in another form */
	DT_REQUEST_STOP,
	DT_REQUEST_COUNT_,
};

enum dt_verdict {
	DT_VERDICT_DONE,
	DT_VERDICT_FAILED,
	DT_VERDICT_STOPPED,             /* tracing has ended: there is nothing to ask about any more */
	DT_VERDICT_UNKNOWN,             /* no such request */
	DT_VERDICT_REFUSED,             /* by another user */
	DT_VERDICT_COUNT_,
};

#define DT_REQUEST_SIZE_MAX 64          /* of either line, its newline included */
#define DT_ANSWER_SIZE_MAX (1u << 30)   /* of the text */

/* "snapshot", "reset-peak" …, as the line has them. */
const char *dt_request_name(enum dt_request request);
/* -EINVAL: no such request. */
int dt_request_parse(const char *name, enum dt_request *ret_request);

/* Each returns the size of the line. */
size_t dt_request_write_line(enum dt_request request, char line[DT_REQUEST_SIZE_MAX]);
size_t dt_verdict_write_line(enum dt_verdict verdict, size_t size, char line[DT_REQUEST_SIZE_MAX]);
/*
 * Read a line from what has come so far. -EAGAIN: it is not whole yet. -EINVAL: this is not such a line, whatever follows.
 * *ret_size: of the line of an answer; its text begins there.
 */
int dt_request_read_line(const char *data, size_t size, enum dt_request *ret_request);
int dt_verdict_read_line(const char *data, size_t size, enum dt_verdict *ret_verdict, size_t *ret_size, size_t *ret_text_size);

#endif
