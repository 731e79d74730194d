/* SPDX-License-Identifier: BSD-2-Clause */
/* request: each line as it is written and read, byte by byte, and what is no such line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/request.h"

static const char *const names[DT_REQUEST_COUNT_] = { "snapshot", "clear", "reset-peak", "status", "status-json", "stop" };

static void test_requests(void **state)
{
	(void)state;
	for (enum dt_request i = 0; i < DT_REQUEST_COUNT_; i++) {
		char line[DT_REQUEST_SIZE_MAX], expected[DT_REQUEST_SIZE_MAX];
		enum dt_request request = DT_REQUEST_COUNT_;
		size_t size = dt_request_write_line(i, line);

		strcat(strcat(strcpy(expected, "domtrace/1 "), names[i]), "\n");
		assert_string_equal(line, expected);
		assert_int_equal(size, strlen(line));
		for (size_t part = 0; part < size; part++)
			assert_int_equal(dt_request_read_line(line, part, &request), -EAGAIN);
		assert_int_equal(request, DT_REQUEST_COUNT_);
		assert_int_equal(dt_request_read_line(line, size, &request), 0);
		assert_int_equal(request, i);
		assert_string_equal(dt_request_name(i), names[i]);
		assert_int_equal(dt_request_parse(names[i], &request), 0);
		assert_int_equal(request, i);
	}
}

#define BYTES(text) { text, sizeof(text) - 1 }

static void test_no_requests(void **state)
{
	static const struct {
		const char *data;
		size_t size;
	} cases[] = {
		BYTES("\n"), BYTES("GET / HTTP/1.1\r\n"), BYTES("domtrace/2 status\n"), BYTES("domtrace/1\n"), BYTES("domtrace/1 \n"),
		BYTES("domtrace/1 status \n"), BYTES("domtrace/1 Status\n"), BYTES("domtrace/1 status\r\n"), BYTES("domtrace/1 status\nx"),
		BYTES("domtrace/1 status\n\n"), BYTES("domtrace/1 sta\0tus\n"), BYTES("domtrace/1 status\0\n"), BYTES("\0"), BYTES("x"), BYTES("domtrace/1x"),
		BYTES("domtrace/1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), /* 64 bytes, and no end */
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		enum dt_request request = DT_REQUEST_COUNT_;

		assert_int_equal(dt_request_read_line(cases[i].data, cases[i].size, &request), -EINVAL);
		assert_int_equal(request, DT_REQUEST_COUNT_);
	}
}

static void test_answers(void **state)
{
	static const char *const verdicts[DT_VERDICT_COUNT_] = { "done", "failed", "stopped", "unknown", "refused" };

	(void)state;
	for (enum dt_verdict i = 0; i < DT_VERDICT_COUNT_; i++) {
		char line[DT_REQUEST_SIZE_MAX], expected[DT_REQUEST_SIZE_MAX];
		enum dt_verdict verdict = DT_VERDICT_COUNT_;
		size_t size = dt_verdict_write_line(i, 4711, line), begin, text_size;

		strcat(strcat(strcpy(expected, "domtrace/1 "), verdicts[i]), " 4711\n");
		assert_string_equal(line, expected);
		for (size_t part = 0; part < size; part++)
			assert_int_equal(dt_verdict_read_line(line, part, &verdict, &begin, &text_size), -EAGAIN);
		assert_int_equal(dt_verdict_read_line(line, size, &verdict, &begin, &text_size), 0);
		assert_int_equal(verdict, i);
		assert_int_equal(begin, size);
		assert_int_equal(text_size, 4711);
	}
}

static void test_no_answers(void **state)
{
	static const char *const lines[] = { "domtrace/1 done\n", "domtrace/1 done \n", "domtrace/1 done -1\n", "domtrace/1 done 1 2\n",
					     "domtrace/1 did 1\n", "domtrace/1 done 1073741825\n", "domtrace/1 done 18446744073709551616\n" };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(lines); i++) {
		enum dt_verdict verdict = DT_VERDICT_COUNT_;
		size_t begin = 7, text_size = 7;

		assert_int_equal(dt_verdict_read_line(lines[i], strlen(lines[i]), &verdict, &begin, &text_size), -EINVAL);
		assert_true(verdict == DT_VERDICT_COUNT_ && begin == 7 && text_size == 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_requests), cmocka_unit_test(test_no_requests), cmocka_unit_test(test_answers),
		cmocka_unit_test(test_no_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
