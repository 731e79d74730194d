/* SPDX-License-Identifier: BSD-2-Clause */
/* Code objects: strings of every kind into UTF-8; what was cut off in the record is read from the process, if it is still there. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "session/code.h"


static struct dt_code *codes;
static struct dt_code_event event;      /* too large for comfort on a stack */

static int setup(void **state)
{
	(void)state;
	event = (struct dt_code_event){ .event = { DT_EVENT_CODE, 3 }, .code = 5, .first_line = 12,
					.file_string = { 0, 1 }, .name_string = { 0, 1 },
					.lines_format = DT_PYTHON_LOCATIONS };
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	dt_codes_clear(&codes);
	assert_null(codes);
	return 0;
}

static const struct dt_code *add(void)
{
	assert_int_equal(dt_codes_add(&codes, getpid(), &event, sizeof(event)), 0);
	return dt_codes_find(codes, 5);
}

static void expect_file(const char *text)
{
	const struct dt_code *code = add();

	assert_non_null(code);
	assert_string_equal(code->file, text);
}

static void put_file(uint32_t kind, const void *data, uint32_t length)
{
	event.file_string = (struct dt_code_string){ length, kind };
	memcpy(event.file, data, length * kind);
}

static void test_kinds(void **state)
{
	(void)state;
	put_file(1, "a\xe4\xff", 3);
	expect_file("a\xc3\xa4\xc3\xbf");
	put_file(2, u"\u0142\uffff\x7f", 3);
	expect_file("\xc5\x82\xef\xbf\xbf\x7f");
	put_file(4, U"\U0001f40d!", 2);
	expect_file("\xf0\x9f\x90\x8d!");
	put_file(1, "", 0);
	expect_file("");
	event.file_string = (struct dt_code_string){ 0, 0 };
	expect_file("");
	event.file_string = (struct dt_code_string){ 3, 3 }; /* no kind of CPython's */
	expect_file("\xe2\x80\xa6");
}

/* Halves of surrogate pairs, which os.fsdecode() makes of bytes that are no UTF-8; what is beyond Unicode. */
static void test_what_is_no_character(void **state)
{
	static const uint16_t halves[] = { 0xd7ff, 0xd800, 0xdcff, 0xdfff, 0xe000 };
	static const uint32_t beyond[] = { 0x10ffff, 0x110000, 0xffffffff };

	(void)state;
	put_file(2, halves, 5);
	expect_file("\xed\x9f\xbf\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xee\x80\x80");
	put_file(4, beyond, 3);
	expect_file("\xf4\x8f\xbf\xbf\xef\xbf\xbd\xef\xbf\xbd");
}

/* Of each kind: as much as the record holds, one character more, and lengths that are none. */
static void test_strings_that_were_cut_off(void **state)
{
	(void)state;
	for (uint32_t kind = 1; kind <= 4; kind *= 2) {
		static const uint32_t lengths[] = { 0, 1, 2, 1u << 30, UINT32_MAX - DT_CODE_NAME_BYTES };

		for (uint32_t i = 0; i < DT_CODE_NAME_BYTES; i++)
			event.name[i] = i % kind ? 0 : 'x';
		for (size_t i = 0; i < DT_ARRAY_SIZE(lengths); i++) {
			uint32_t fits = DT_CODE_NAME_BYTES / kind;
			const struct dt_code *code;

			event.name_string = (struct dt_code_string){ fits + lengths[i], kind };
			event.name_address = 8;         /* not mapped */
			code = add();
			assert_int_equal(strspn(code->name, "x"), fits);
			assert_string_equal(code->name + fits, i ? "\xe2\x80\xa6" : "");
		}
	}
}

/* Those that are still in the process, which here is this one. */
static void test_strings_that_are_read(void **state)
{
	static uint16_t name[5 * DT_CODE_NAME_BYTES];
	const struct dt_code *code;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(name); i++)
		name[i] = (uint16_t)(0x4e00 + i);
	memcpy(event.name, name, DT_CODE_NAME_BYTES);
	event.name_address = (uintptr_t)name;
	event.name_string = (struct dt_code_string){ DT_ARRAY_SIZE(name), 2 };
	code = add();
	assert_int_equal(strlen(code->name), 3 * DT_ARRAY_SIZE(name));
	assert_memory_equal(code->name, "\xe4\xb8\x80\xe4\xb8\x81", 6);
	assert_memory_equal(code->name + 3 * (DT_ARRAY_SIZE(name) - 1), "\xe6\x87\xbf", 3);
	name[3]++;                                      /* another string is there by now */
	code = add();
	assert_int_equal(strlen(code->name), 3 * (DT_CODE_NAME_BYTES / 2) + 3);
	assert_string_equal(code->name + 3 * (DT_CODE_NAME_BYTES / 2), "\xe2\x80\xa6");
}

static void expect_lines(const uint8_t *lines, size_t size)
{
	const struct dt_code *code = add();

	assert_int_equal(code->lines.size, size);
	assert_int_equal(code->lines.first_line, 12);
	assert_int_equal(code->lines.format, DT_PYTHON_LOCATIONS);
	if (size)
		assert_memory_equal(code->lines.bytes, lines, size);
}

static void test_line_tables(void **state)
{
	static uint8_t table[3 * DT_CODE_LINES_BYTES];

	(void)state;
	for (size_t i = 0; i < sizeof(table); i++)
		table[i] = (uint8_t)(i * 7 + i / 256);
	memcpy(event.lines, table, DT_CODE_LINES_BYTES);
	event.lines_address = (uintptr_t)table;
	expect_lines(table, 0);
	event.lines_size = DT_CODE_LINES_BYTES;
	expect_lines(table, DT_CODE_LINES_BYTES);
	event.lines_size = DT_CODE_LINES_BYTES + 1;     /* read from this process */
	expect_lines(table, DT_CODE_LINES_BYTES + 1);
	event.lines_size = sizeof(table);
	expect_lines(table, sizeof(table));
	event.lines[0]++;                               /* there is another table by now */
	expect_lines(table, 0);
	event.lines[0]--;
	event.lines_address = 8;                        /* not mapped */
	expect_lines(table, 0);
	assert_null(add()->lines.bytes);
	event.lines_size = 1u << 30;
	expect_lines(table, 0);
	event.lines_size = UINT32_MAX;
	expect_lines(table, 0);
}

static void test_records(void **state)
{
	const struct dt_code *code;

	(void)state;
	/* as long as what is filled of its last field */
	event.lines_size = 7;
	assert_int_equal(dt_codes_add(&codes, getpid(), &event, offsetof(struct dt_code_event, lines) + 6), -EBADMSG);
	event.lines_size = DT_CODE_LINES_BYTES + 1;
	assert_int_equal(dt_codes_add(&codes, getpid(), &event, sizeof(event) - 1), -EBADMSG);
	assert_int_equal(dt_codes_add(&codes, getpid(), &event, offsetof(struct dt_code_event, lines) - 1), -EBADMSG);
	assert_int_equal(dt_codes_add(&codes, getpid(), &event, 0), -EBADMSG);
	assert_null(codes);
	event.lines_size = 7;
	assert_int_equal(dt_codes_add(&codes, getpid(), &event, offsetof(struct dt_code_event, lines) + 7), 0);
	code = dt_codes_find(codes, 5);
	assert_string_equal(code->file, "");
	assert_int_equal(code->first_line, 12);
	assert_int_equal(code->lines.size, 7);
	/* a second record replaces the first */
	put_file(1, "f", 1);
	expect_file("f");
	assert_int_equal(HASH_COUNT(codes), 1);
	assert_null(dt_codes_find(codes, 6));
}

#define code_test(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		code_test(test_kinds),
		code_test(test_what_is_no_character),
		code_test(test_strings_that_were_cut_off),
		code_test(test_strings_that_are_read),
		code_test(test_line_tables),
		code_test(test_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
