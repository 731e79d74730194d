/* SPDX-License-Identifier: BSD-2-Clause */
/* output: lines are whole or absent whatever happens to the disk; files appear under their name only when complete. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include <domtrace/domtrace.h>

#include "snapshot_sample.h"

static char directory[] = "/tmp/domtrace-test-output-XXXXXX";
static char said[4096];                 /* what the log was told, a line each: "E …" */
static char *one_line;                  /* the sample as JSON */
static struct dt_snapshot *sample;

static void remember(void *context, enum dt_log_level level, const char *line)
{
	size_t size = strlen(said);

	(void)context;
	snprintf(said + size, sizeof(said) - size, "%c %s\n", "EWID"[level], line);
}

static const struct dt_log listener = { .write = remember };

static int set_up(void **state)
{
	size_t size;
	FILE *out = open_memstream(&one_line, &size);

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	sample = new_sample("/srv/app.py");
	return !mkdtemp(directory) || dt_snapshot_write_json(sample, out) || fclose(out);
}

/* Every name in the directory, sorted, with a space behind each. */
static char *listed(void)
{
	struct dirent **entries;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	int count = scandir(directory, &entries, NULL, alphasort);

	for (int i = 0; i < count; i++) {
		if (strcmp(entries[i]->d_name, ".") && strcmp(entries[i]->d_name, ".."))
			fprintf(out, "%s ", entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	fclose(out);
	return text;
}

static void assert_listed(const char *names)
{
	DT_FREE char *text = listed();

	assert_string_equal(text, names);
}

static int clean(void **state)
{
	DT_FREE char *names = listed();

	(void)state;
	for (char *name = strtok(names, " "); name; name = strtok(NULL, " ")) {
		DT_FREE char *path = NULL;

		if (asprintf(&path, "%s/%s", directory, name) < 0 || (unlink(path) && rmdir(path)))
			return -1;
	}
	said[0] = '\0';
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	dt_snapshot_free(sample);
	free(one_line);
	return rmdir(directory);
}

static char *in_directory(const char *name)
{
	char *path = NULL;

	assert_true(asprintf(&path, "%s/%s", directory, name) > 0);
	return path;
}

static struct dt_output *opened(const char *path)
{
	struct dt_output *output = NULL;

	assert_int_equal(dt_output_open(path, &listener, &output), 0);
	return output;
}

static void fill_file(const char *path, const char *text)
{
	DT_FILE FILE *file = fopen(path, "w");

	assert_true(fputs(text, file) >= 0);
}

/* The file is `text`, then `lines` times the sample. */
static void assert_file(const char *path, const char *text, size_t lines)
{
	DT_FREE char *data = NULL, *expected = NULL;
	size_t size, expected_size;
	FILE *out = open_memstream(&expected, &expected_size);

	fputs(text, out);
	while (lines--)
		fputs(one_line, out);
	fclose(out);
	assert_int_equal(dt_file_read(path, &data, &size), 0);
	assert_int_equal(size, expected_size);
	assert_memory_equal(data, expected, size);
}

/* The sentences, in which @ stands for the directory. */
static void assert_said(const char *sentences)
{
	DT_FREE char *expected = NULL;
	size_t size;
	FILE *out = open_memstream(&expected, &size);

	for (const char *c = sentences; *c; c++)
		*c == '@' ? fputs(directory, out) : fputc(*c, out);
	fclose(out);
	assert_string_equal(said, expected);
	said[0] = '\0';
}

static void test_lines_are_appended(void **state)
{
	DT_FREE char *path = in_directory("a.jsonl");
	struct dt_output *output = opened(path);

	(void)state;
	assert_file(path, "", 0);
	assert_int_equal(dt_output_write(output, sample), 0);
	assert_file(path, "", 1);
	assert_int_equal(dt_output_write(output, sample), 0);
	assert_file(path, "", 2);
	dt_output_close(output);
	output = opened(path);
	assert_int_equal(dt_output_write(output, sample), 0);
	dt_output_close(output);
	assert_file(path, "", 3);
	assert_listed("a.jsonl ");
	assert_said("");
}

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk "fills up" at every point of the second line; afterwards there is room again. */
static void test_full_in_the_middle(void **state)
{
	DT_FREE char *path = in_directory("a.jsonl");
	struct dt_output *output = opened(path);
	size_t size = strlen(one_line);

	(void)state;
	assert_int_equal(dt_output_write(output, sample), 0);
	for (size_t room = 0; room < size; room += 97) {
		limit_files(size + room);
		assert_int_equal(dt_output_write(output, sample), -EFBIG);
		limit_files(RLIM_INFINITY);
		assert_file(path, "", 1);
		assert_said("E snapshot 3 is not in @/a.jsonl: File too large; raise the limit on the size of files (ulimit -f)\n");
	}
	assert_int_equal(dt_output_write(output, sample), 0);
	assert_file(path, "", 2);
	dt_output_close(output);
	assert_said("");
}

static void test_unfinished_line_is_cut_off(void **state)
{
	static const size_t lengths[] = { 1, 20, 5000, SIZE_MAX };
	DT_FREE char *path = in_directory("a.jsonl");

	(void)state;
	/* A run that was killed after so many bytes of its line, behind a whole one or as the first. */
	for (size_t i = 0; i < 2 * DT_ARRAY_SIZE(lengths); i++) {
		size_t length = lengths[i / 2] < strlen(one_line) ? lengths[i / 2] : strlen(one_line) - 1;
		const char *before = i % 2 ? "{}\n" : "";
		DT_FREE char *text = NULL, *sentence = NULL;

		assert_true(asprintf(&text, "%s%.*s", before, (int)length, one_line) > 0);
		assert_true(asprintf(&sentence, "W @/a.jsonl ended in the middle of a snapshot of an interrupted run; its %zu bytes "
				     "were cut off\n", length) > 0);
		fill_file(path, text);
		struct dt_output *output = opened(path);

		assert_said(sentence);
		assert_int_equal(dt_output_write(output, sample), 0);
		dt_output_close(output);
		assert_file(path, before, 1);
	}
}

static void test_foreign_files_are_left_alone(void **state)
{
	static const char *const texts[] = { "my diary", "line\n{\"format\":\"other\"", "{\"format\":\"domtrace-snapshop\"" };
	DT_FREE char *path = in_directory("a.jsonl");
	struct dt_output *output = (void *)1;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(texts); i++) {
		fill_file(path, texts[i]);
		assert_int_equal(dt_output_open(path, &listener, &output), -EEXIST);
		assert_ptr_equal(output, (void *)1);
		assert_file(path, texts[i], 0);
		assert_said("E @/a.jsonl ends in the middle of a line that is not a snapshot's; name another file, so that nothing "
			    "in it is damaged\n");
	}
}

static void test_one_writer(void **state)
{
	DT_FREE char *path = in_directory("a.jsonl");
	struct dt_output *output = opened(path), *second = NULL;

	(void)state;
	assert_int_equal(dt_output_open(path, &listener, &second), -EBUSY);
	assert_said("E @/a.jsonl is being written by another domtrace; name another file\n");
	dt_output_close(output);
	dt_output_close(opened(path));
}

static void test_what_cannot_be_opened(void **state)
{
	static const struct {
		const char *path;
		int error;
		const char *sentence;
	} cases[] = {
		{ "", -EINVAL, "E the name of the output is empty; name a file, or - for standard output\n" },
		{ "@", -EISDIR, "E cannot open @ for snapshots: Is a directory; name a file in it\n" },
		{ "@/no/a", -ENOENT, "E cannot open @/no/a for snapshots: No such file or directory; make its directory first\n" },
		{ "@/no/%n", -ENOENT, "E cannot make files for @/no/%n: No such file or directory; make its directory first\n" },
		{ "@/%d", -EINVAL, "E output @/%d has a % before neither n (the snapshot's number) nor another %; write %% for a "
		  "percent sign\n" },
		{ "@/a%", -EINVAL, "E output @/a% has a % before neither n (the snapshot's number) nor another %; write %% for a "
		  "percent sign\n" },
		{ "@/%n/a", -EINVAL, "E output @/%n/a has %n in the name of a directory; put it behind the last slash\n" },
		{ "@/%n/%n", -EINVAL, "E output @/%n/%n has %n in the name of a directory; put it behind the last slash\n" },
	};
	struct dt_output *output = (void *)1;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		const char *path = cases[i].path;
		DT_FREE char *whole = *path == '@' ? NULL : strdup(path);

		assert_true(whole || asprintf(&whole, "%s%s", directory, path + 1) > 0);
		assert_int_equal(dt_output_open(whole, &listener, &output), cases[i].error);
		assert_said(cases[i].sentence);
	}
	assert_ptr_equal(output, (void *)1);
	assert_listed("");
	dt_output_close(NULL);
}

static void test_numbered_files(void **state)
{
	DT_FREE char *pattern = in_directory("s%n-%%-%n.json"), *first = in_directory("s3-%-3.json");
	DT_FREE char *percent = in_directory("100%%"), *percent_path = in_directory("100%");
	struct dt_output *output = opened(pattern);

	(void)state;
	assert_listed("");
	assert_int_equal(dt_output_write(output, sample), 0);
	assert_listed("s3-%-3.json ");
	assert_file(first, "", 1);
	sample->sequence = UINT64_MAX;
	assert_int_equal(dt_output_write(output, sample), 0);
	sample->sequence = 3;
	assert_listed("s18446744073709551615-%-18446744073709551615.json s3-%-3.json ");
	/* A failure leaves what was there, and nothing else. */
	fill_file(first, "old");
	limit_files(100);
	assert_int_equal(dt_output_write(output, sample), -EFBIG);
	limit_files(RLIM_INFINITY);
	assert_said("E snapshot 3 is not in @/s%n-%%-%n.json: File too large; raise the limit on the size of files (ulimit -f)\n");
	assert_file(first, "old", 0);
	assert_listed("s18446744073709551615-%-18446744073709551615.json s3-%-3.json ");
	assert_int_equal(dt_output_write(output, sample), 0);
	assert_file(first, "", 1);
	dt_output_close(output);
	/* Only %%: an ordinary file of lines. */
	output = opened(percent);
	assert_int_equal(dt_output_write(output, sample), 0);
	dt_output_close(output);
	assert_file(percent_path, "", 1);
	assert_said("");
}

static void test_pipes_and_devices(void **state)
{
	DT_FREE char *fifo = in_directory("fifo"), *data = NULL;
	int reader;

	(void)state;
	struct dt_output *output = opened("/dev/full");

	assert_int_equal(dt_output_write(output, sample), -ENOSPC);
	assert_said("E snapshot 3 is not in /dev/full: No space left on device; make room on that disk\n");
	dt_output_close(output);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	reader = open(fifo, O_RDONLY | O_NONBLOCK);
	assert_true(reader >= 0);
	output = opened(fifo);
	assert_int_equal(dt_output_write(output, sample), 0);
	data = calloc(1, strlen(one_line) + 2);
	assert_int_equal(read(reader, data, strlen(one_line) + 1), strlen(one_line));
	assert_string_equal(data, one_line);
	close(reader);
	assert_int_equal(dt_output_write(output, sample), -EPIPE);
	assert_said("E snapshot 3 is not in @/fifo: Broken pipe; whoever read it has gone\n");
	dt_output_close(output);
}

/* "-" is standard output, and it stays open and is never cut, even where it is a file. */
static void test_standard_output(void **state)
{
	DT_FREE char *path = in_directory("stdout");
	int file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600), saved;

	(void)state;
	assert_int_equal(write(file, "before", 6), 6);
	fflush(stdout);
	saved = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	dup2(file, STDOUT_FILENO);
	struct dt_output *output = NULL, *second = NULL;
	int errors[] = { dt_output_open("-", &listener, &output), dt_output_open("/dev/stdout", &listener, &second),
			 output ? dt_output_write(output, sample) : -1, second ? dt_output_write(second, sample) : -1 };

	dt_output_close(output);
	dt_output_close(second);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(file);
	assert_memory_equal(errors, ((int[4]){ 0 }), sizeof(errors));
	assert_file(path, "before", 2);
	assert_said("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_lines_are_appended, clean),
		cmocka_unit_test_teardown(test_full_in_the_middle, clean),
		cmocka_unit_test_teardown(test_unfinished_line_is_cut_off, clean),
		cmocka_unit_test_teardown(test_foreign_files_are_left_alone, clean),
		cmocka_unit_test_teardown(test_one_writer, clean),
		cmocka_unit_test_teardown(test_what_cannot_be_opened, clean),
		cmocka_unit_test_teardown(test_numbered_files, clean),
		cmocka_unit_test_teardown(test_pipes_and_devices, clean),
		cmocka_unit_test_teardown(test_standard_output, clean),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
