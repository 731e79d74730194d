/* SPDX-License-Identifier: BSD-2-Clause */
/* Recorded cases (case.h): the walker finds the frames that another unwinder, and the program itself, told of real threads. */
#include <dirent.h>
#include <errno.h>

#include "base/cleanup.h"
#include "case.h"
#include "target/python_lines.h"

#if defined(__x86_64__)
#define ARCHITECTURE "x86_64"
#elif defined(__aarch64__)
#define ARCHITECTURE "aarch64"
#endif

#define FRAMES_MAX 1024

struct python_frame {
	int line;
	const char *file, *name;        /* in the text of the case */
};

static struct {
	struct case_registers registers;
	struct dt_process *process;
	struct dt_mapping_row *mapping;
	__u32 page, rows[DT_UNWIND_PAGE_BYTES], row_count; /* that are being read */
	struct { __u64 address; __u32 size; uint8_t bytes[64]; } memory[8192]; /* by address, no piece overlaps another */
	size_t memory_count;
	struct dt_frame native[FRAMES_MAX];
	struct python_frame python[FRAMES_MAX];
	size_t native_count, python_count;
} recorded;

/* ---- memory -------------------------------------------------------------------------------------------------------- */

/* What was not recorded cannot be read. */
static long read_recorded(void *to, __u32 size, __u64 address)
{
	uint8_t *at = to;

	for (size_t i = 0; i < recorded.memory_count && size; i++) {
		__u64 offset = address - recorded.memory[i].address;
		__u32 part;

		if (offset >= recorded.memory[i].size)
			continue;
		part = recorded.memory[i].size - (__u32)offset < size ? recorded.memory[i].size - (__u32)offset : size;
		memcpy(at, recorded.memory[i].bytes + offset, part);
		at += part;
		address += part;
		size -= part;
	}
	return size ? -EFAULT : 0;
}

static void read_memory(const char *text)
{
	size_t i = recorded.memory_count++;
	int n = 0;

	assert_true(i < DT_ARRAY_SIZE(recorded.memory));
	assert_int_equal(sscanf(text, "%llx %n", &recorded.memory[i].address, &n), 1);
	assert_true(!i || recorded.memory[i - 1].address + recorded.memory[i - 1].size <= recorded.memory[i].address);
	for (text += n; text[0] && text[1]; text += 2) {
		unsigned int byte;

		assert_int_equal(sscanf(text, "%2x", &byte), 1);
		assert_true(recorded.memory[i].size < sizeof(recorded.memory[i].bytes));
		recorded.memory[i].bytes[recorded.memory[i].size++] = (uint8_t)byte;
	}
}

/* ---- the other lines ------------------------------------------------------------------------------------------------ */

static void read_register(const char *text)
{
	char name[32];
	__u64 value;

	assert_int_equal(sscanf(text, "%31s %llx", name, &value), 2);
	if (!strcmp(name, "stack"))
		recorded.registers.stack = value;
	else if (!strcmp(name, "frame_pointer"))
		recorded.registers.frame_pointer = value;
	else if (!strcmp(name, "thread_pointer"))
		recorded.registers.thread_pointer = value;
	else
		fail_msg("no register is named %s", name);
}

#define SET_FIELD(field) \
	if (!strcmp(name, #field)) { \
		to->field = (__typeof__(to->field))value; \
		return; \
	}

static void read_python(const char *text)
{
	struct dt_interpreter *to = &recorded.process->python;
	char name[32];
	__u64 value;

	assert_int_equal(sscanf(text, "%31s %llx", name, &value), 2);
	CASE_INTERPRETER(SET_FIELD)
	fail_msg("struct dt_interpreter has no %s any more: the case must be recorded anew", name);
}

static void read_layout(const char *text)
{
	struct dt_python_layout *to = &recorded.process->python.layout;
	char name[32];
	__u64 value;

	assert_int_equal(sscanf(text, "%31s %llx", name, &value), 2);
	CASE_LAYOUT(SET_FIELD)
	fail_msg("struct dt_python_layout has no %s any more: the case must be recorded anew", name);
}

static void finish_page(void)
{
	if (recorded.row_count)
		case_put_page(recorded.mapping, recorded.page, recorded.rows, recorded.row_count);
	recorded.row_count = 0;
}

static void read_mapping(const char *text)
{
	__u64 start, end, base;
	__u32 pages, flags;

	finish_page();
	assert_int_equal(sscanf(text, "%llx %llx %llx %x %x", &start, &end, &base, &pages, &flags), 5);
	recorded.mapping = case_add_mapping(start, end, base, pages, flags);
}

static void read_page(const char *text)
{
	finish_page();
	assert_int_equal(sscanf(text, "%x", &recorded.page), 1);
}

static __u8 find_name(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (names[i] && !strcmp(names[i], name))
			return (__u8)i;
	fail_msg("a rule has no %s any more: the case must be recorded anew", name);
	return 0;
}

static void read_row(const char *text)
{
	struct dt_unwind_rule rule = { 0 };
	char cfa[32], saved[32], *derived;
	__u32 offset;

	assert_int_equal(sscanf(text, "%x %31s %d %31s %hd", &offset, cfa, &rule.cfa_offset, saved, &rule.frame_pointer_words), 5);
	rule.cfa = find_name(cfa, case_cfa, DT_ARRAY_SIZE(case_cfa));
	derived = strchr(saved, '+');
	if (derived) {
		assert_string_equal(derived, "+derived");
		*derived = '\0';
	}
	rule.frame_pointer = (derived ? DT_SAVED_DERIVED : 0) | find_name(saved, case_saved, DT_ARRAY_SIZE(case_saved));
	assert_true(recorded.row_count < DT_ARRAY_SIZE(recorded.rows));
	recorded.rows[recorded.row_count++] = DT_UNWIND_ROW(offset, case_rule(&rule));
}

/* "native 7f… name", "interrupted 7f… name", "python\t12\tfile\tname"; the text stays. */
static void read_frame(char *text)
{
	struct dt_frame *native = &recorded.native[recorded.native_count];
	struct python_frame *python = &recorded.python[recorded.python_count];
	char *word = strsep(&text, " \t");

	assert_true(recorded.native_count < FRAMES_MAX && recorded.python_count < FRAMES_MAX);
	if (!strcmp(word, "python")) {
		python->line = atoi(strsep(&text, "\t"));
		python->file = strsep(&text, "\t");
		python->name = text;
		recorded.python_count++;
		return;
	}
	native->where = strtoull(text, NULL, 16);
	native->instruction = strcmp(word, "native") ? DT_FRAME_INTERRUPTED : 0;
	recorded.native_count++;
}

static void read_about(char *text)
{
	print_message("    %s\n", text);
}

static void read_line(char *line)
{
	char *word = strsep(&line, " ");

	if (!strcmp(word, "about"))
		read_about(line);
	else if (!strcmp(word, "register"))
		read_register(line);
	else if (!strcmp(word, "python"))
		read_python(line);
	else if (!strcmp(word, "layout"))
		read_layout(line);
	else if (!strcmp(word, "mapping"))
		read_mapping(line);
	else if (!strcmp(word, "page"))
		read_page(line);
	else if (!strcmp(word, "row"))
		read_row(line);
	else if (!strcmp(word, "memory"))
		read_memory(line);
	else if (!strcmp(word, "frame"))
		read_frame(line);
	else
		fail_msg("a case has no %s", word);
}

/* ---- comparing ------------------------------------------------------------------------------------------------------ */

static bool is_eval(const struct dt_frame *frame)
{
	__u64 address = frame->where - !(frame->instruction & DT_FRAME_INTERRUPTED);

	return range_holds(&recorded.process->python.eval[0], address) || range_holds(&recorded.process->python.eval[1], address);
}

/* The next frame of a kind from *index on; NULL: there is none. */
static const struct dt_frame *next_frame(const struct dt_traceback_event *event, __u32 kind, __u32 *index)
{
	while (*index < event->frame_count && event->frames[*index].kind != kind)
		++*index;
	return *index < event->frame_count ? &event->frames[(*index)++] : NULL;
}

static void expect_native(const struct dt_traceback_event *event, bool with_eval)
{
	const struct dt_frame *frame;
	__u32 index = 0;

	for (size_t i = 0; i < recorded.native_count; i++) {
		if (!with_eval && is_eval(&recorded.native[i]))
			continue;
		frame = next_frame(event, DT_FRAME_NATIVE, &index);
		if (!frame || frame->where != recorded.native[i].where || (frame->instruction & DT_FRAME_INTERRUPTED) != recorded.native[i].instruction)
			fail_msg("native frame %zu is %llx (%u), not %llx (%u)", i, frame ? frame->where : 0, frame ? frame->instruction : 0,
				 recorded.native[i].where, recorded.native[i].instruction);
	}
	assert_null(next_frame(event, DT_FRAME_NATIVE, &index));
}

static const struct dt_code_event *find_code(__u64 number)
{
	const struct dt_code_event *code;

	for (unsigned int i = 0; (code = host_event(DT_EVENT_CODE, i)); i++)
		if (code->code == number)
			return code;
	return NULL;
}

static void expect_text(const struct dt_code_string *string, const __u8 *bytes, const char *expected)
{
	assert_int_equal(string->kind, 1);
	assert_int_equal(string->length, strlen(expected));
	assert_memory_equal(bytes, expected, string->length);
}

static void expect_python(const struct dt_traceback_event *event)
{
	const struct dt_frame *frame;
	__u32 index = 0;

	for (size_t i = 0; i < recorded.python_count; i++) {
		const struct python_frame *expected = &recorded.python[i];
		const struct dt_code_event *code;
		struct dt_python_line_table lines = { .format = recorded.process->python.layout.lines_format };

		frame = next_frame(event, DT_FRAME_PYTHON, &index);
		assert_non_null(frame);
		code = find_code(frame->where);
		assert_non_null(code);
		expect_text(&code->file_string, code->file, expected->file);
		expect_text(&code->name_string, code->name, expected->name);
		assert_true(code->lines_size <= sizeof(code->lines));
		lines.bytes = code->lines;
		lines.size = code->lines_size;
		lines.first_line = code->first_line;
		assert_int_equal(dt_python_line_find(&lines, frame->instruction), expected->line);
	}
	assert_null(next_frame(event, DT_FRAME_PYTHON, &index));
}

static const struct dt_traceback_event *walk(enum dt_stack stack)
{
	const struct dt_traceback_event *event = case_walk(&recorded.registers, stack);

	assert_non_null(event);
	assert_int_equal(event->truncation, DT_TRUNCATION_none);
	assert_int_equal(event->total_frames, event->frame_count);
	return event;
}

/* Which native frames there are beside Python's, in the middle of them, is their own matter; each kind must be whole and in order. */
static void compare(void)
{
	const struct dt_traceback_event *event = walk(DT_STACK_NATIVE);

	expect_native(event, true);
	assert_int_equal(event->frame_count, recorded.native_count);
	if (recorded.process->python.present && !recorded.python_count)
		return;                 /* a program that did not tell its Python frames */
	event = walk(DT_STACK_MIXED);
	expect_native(event, !recorded.python_count);
	expect_python(event);
	event = walk(DT_STACK_AUTO);
	expect_python(event);
	for (__u32 i = 0, native = 0; i < event->frame_count; i++) {
		if (event->frames[i].kind == DT_FRAME_PYTHON)
			break;
		assert_int_equal(event->frames[i].where, recorded.native[native++].where);
	}
	event = walk(DT_STACK_PYTHON);
	if (recorded.python_count)
		assert_int_equal(event->frame_count, recorded.python_count);
	expect_python(event);
}

static void replay(const char *path)
{
	DT_FREE char *text = NULL;
	DT_FILE FILE *file = fopen(path, "r");
	size_t room = 0;

	assert_non_null(file);
	print_message("%s\n", path);
	memset(&recorded, 0, sizeof(recorded));
	recorded.process = case_begin();
	host_read = read_recorded;
	assert_true(getdelim(&text, &room, '\0', file) > 0);
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		if (*line)
			read_line(line);
	finish_page();
	assert_true(recorded.native_count > 0);
	compare();
	host_read = NULL;
	host_teardown(NULL);
}

static void test_recorded_cases(void **state)
{
	static const char directory[] = "tests/bpf_host/cases/" ARCHITECTURE;
	struct dirent **names;
	int count = scandir(directory, &names, NULL, alphasort), replayed = 0;

	(void)state;
	if (count < 0)
		fail_msg("%s cannot be read: %s", directory, strerror(errno));
	for (int i = 0; i < count; i++) {
		DT_FREE struct dirent *name = names[i];
		DT_FREE char *path = NULL;

		if (name->d_name[0] == '.')
			continue;
		assert_true(asprintf(&path, "%s/%s", directory, name->d_name) > 0);
		replay(path);
		replayed++;
	}
	free(names);
	assert_true(replayed > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_recorded_cases) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
