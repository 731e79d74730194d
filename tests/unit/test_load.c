/* SPDX-License-Identifier: BSD-2-Clause */
/* load: what is read is what was written; what cannot be read is told in one sentence. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <zlib.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "snapshot/load.h"
#include "snapshot_sample.h"
#include "snapshot_file.h"

static char said[2048];
static char *line;                      /* tests/data/snapshot_sample.json */

static void tell(void *context, enum dt_log_level level, const char *text)
{
	(void)context;
	snprintf(said + strlen(said), sizeof(said) - strlen(said), "%s%s", level == DT_LOG_WARNING ? "warning: " : "", text);
}

static const struct dt_log log_to_said = { tell, NULL };

static void cleanup_snapshot(struct dt_snapshot **snapshot)
{
	dt_snapshot_free(*snapshot);
}

/* Loads "FILE" out of these bytes. */
static int load_bytes(const void *data, size_t size, uint64_t number, struct dt_snapshot **ret_snapshot)
{
	struct memory_file file = memory_file(data, size);
	struct dt_input *input;
	int error;

	said[0] = '\0';
	assert_int_equal(dt_input_open(file.path, &input), 0);
	close(file.fd);
	error = dt_load_input(input, "FILE", number, &log_to_said, ret_snapshot);
	dt_input_close(input);
	return error;
}

/* The sample with one piece of its text in the place of another. The caller's to free. */
static char *changed(const char *old, const char *new)
{
	const char *at = strstr(line, old);
	char *text = NULL;

	if (!at)
		fail_msg("the sample has no '%s'", old);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - line), line, new, at + strlen(old)) > 0);
	return text;
}

static char *json_of(const struct dt_snapshot *snapshot)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_int_equal(dt_snapshot_write_json(snapshot, out), 0);
	fclose(out);
	return text;
}

/* Written, read and written again is the same, byte by byte. */
static void test_round_trip(void **state)
{
	struct dt_snapshot *samples[] = { new_sample("/srv/app.py"), new_sample("/srv/app.py"), new_mixed_sample("/srv/app.py") };

	(void)state;
	sample_layers(samples[1]);
	for (size_t i = 0; i < DT_ARRAY_SIZE(samples); i++) {
		DT_FREE char *first = json_of(samples[i]), *second = NULL;
		DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *read = NULL;

		assert_int_equal(load_bytes(first, strlen(first), 0, &read), 0);
		assert_string_equal(said, "");
		second = json_of(read);
		assert_string_equal(first, second);
		dt_snapshot_free(samples[i]);
	}
}

static void test_numbers(void **state)
{
	static const struct { const char *text, *sentence; } cases[] = {
		{ "18446744073709551615", "" },
		{ "9007199254740993", "" },
		{ "18446744073709551616", "a number is more than 18446744073709551615" },
		{ "99999999999999999999999999999999999999999999999999999999999999999999999999999999", "a number is more than 18446744073709551615" },
		{ "-1", "a number is negative, which it cannot be" },
		{ "1.0", "a number is not written as a whole one" },
		{ "1e3", "a number is not written as a whole one" },
		{ "01", "a number begins with 0" },
		{ "null", "'n' stands where a number should be" },
		{ "\"5\"", "'\"' stands where a number should be" },
		{ "true", "'t' stands where a number should be" },
	};

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(cases); i++) {
		char key[128];
		DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *read = NULL;
		DT_FREE char *text = NULL, *expected = NULL;
		int error;

		snprintf(key, sizeof(key), "\"elapsed_ns\": %s", cases[i].text);
		text = changed("\"elapsed_ns\": 5000000000", key);
		error = load_bytes(text, strlen(text), 0, &read);
		if (!*cases[i].sentence) {
			assert_int_equal(error, 0);
			snprintf(key, sizeof(key), "%" PRIu64, read->elapsed_ns);
			assert_string_equal(key, cases[i].text);
			continue;
		}
		assert_int_not_equal(error, 0);
		assert_true(asprintf(&expected, "FILE: line 1, byte %zu: %s", (size_t)(strstr(text, key) - text) + strlen("\"elapsed_ns\": "),
				     cases[i].sentence) > 0);
		assert_string_equal(said, expected);
	}
}

/* One piece of the sample is changed; what is said of it behind "FILE: line 1, byte N". */
static const struct {
	const char *old, *new;
	int error;
	const char *sentence;
} broken[] = {
	{ "\"version\": 1", "\"version\": 2", -EPROTONOSUPPORT,
	  ": it is in version 2 of the format, and this domtrace reads version 1: use the domtrace that wrote it, or a newer one" },
	{ "\"version\": 1", "\"version\": 0", -EBADMSG, ": there is no version 0 of the format" },
	{ "\"version\": 1,", "", -EBADMSG, ": the snapshot has no 'version'" },
	{ "domtrace-snapshot", "memray", -EBADMSG, ": its format is 'memray', not 'domtrace-snapshot': domtrace did not write it" },
	{ "\"version\": 1,", "\"version\": 1, \"version\": 1,", -EBADMSG, ": the snapshot has 'version' twice" },
	{ "\"blocks\": 12,", "\"blocks\": 12, \"blocks\": 12,", -EBADMSG, " (traces[0]): a trace has 'blocks' twice" },
	{ "\"live_full\": 0", "\"live_full\": 0, \"live_full\": 0", -EBADMSG, ": 'live_full' is there twice" },
	{ "\"blocks\": 12,", "", -EBADMSG, " (traces[0]): a trace has no 'blocks'" },
	{ "\"label\": \"interval\"", "\"label\": \"inter\xffval\"", -EILSEQ, ": the byte 0xff is not UTF-8 here" },
	{ "\"label\": \"interval\"", "\"label\": \"a\x01\"", -EBADMSG, ": a text has the control character 0x01" },
	{ "\"label\": \"interval\"", "\"label\": \"a\\u0000\"", -EBADMSG, ": a text has the character NUL, which no name has" },
	{ "\"label\": \"interval\"", "\"label\": \"\\ud800\"", -EBADMSG,
	  ": \\ud800 is half of a surrogate pair, and its other half is not there" },
	{ "\"label\": \"interval\"", "\"label\": \"\\x\"", -EBADMSG, ": a text has a backslash with nothing behind it that JSON knows" },
	{ "\"label\": \"interval\"", "\"label\": \"\\u12g4\"", -EBADMSG, ": \\u has no four hexadecimal digits behind it" },
	{ "\"label\": \"interval\"", "\"label\": 5", -EBADMSG, ": '5' stands where a text ('\"') should be" },
	{ "2026-01-31T12:00:00.123456789Z", "2026-01-31 12:00", -EBADMSG,
	  ": its time is '2026-01-31 12:00', not as in '2026-01-31T12:00:00.123456789Z'" },
	{ "2026-01-31T12:00:00.123456789Z", "2026-13-31T12:00:00.123456789Z", -EBADMSG,
	  ": its time is '2026-13-31T12:00:00.123456789Z', not as in '2026-01-31T12:00:00.123456789Z'" },
	{ "\"source\": \"libc\"", "\"source\": \"cuda\"", -EBADMSG,
	  " (domains[1]): a domain has the source 'cuda', which this version of domtrace does not know" },
	{ "\"kind\": \"python\"", "\"kind\": \"java\"", -EBADMSG,
	  " (frames[0]): a frame is of the kind 'java', which this version of domtrace does not know" },
	{ "\"processes\": [", "\"processes\": {", -EBADMSG, ": '{' stands where a list ('[') should be" },
	{ "\"version\": 1,", "\"version\": 1 \n", -EBADMSG,
	  ": the line ends where ',' or '}' should be: it is cut off, or the snapshot is spread over several lines (jq -c . makes one of them)" },
	{ "\"label\": \"interval\"", "\"label\": \"inter\nval\"", -EBADMSG, ": the line ends within a text" },
};

static void test_broken(void **state)
{
	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(broken); i++) {
		DT_FREE char *text = changed(broken[i].old, broken[i].new);
		struct dt_snapshot *read = NULL;
		unsigned long long number, byte;
		int used = 0;

		assert_int_equal(load_bytes(text, strlen(text), 0, &read), broken[i].error);
		assert_int_equal(sscanf(said, "FILE: line %llu, byte %llu%n", &number, &byte, &used), 2);
		assert_int_equal(number, 1);
		assert_true(byte <= strlen(text));
		assert_string_equal(said + used, broken[i].sentence);
	}
}

static void test_contradiction(void **state)
{
	DT_FREE char *text = changed("\"blocks\": 12,", "\"blocks\": 13,"), *index = changed("\"traceback\": 0", "\"traceback\": 77");
	struct dt_snapshot *read = NULL;

	(void)state;
	assert_int_equal(load_bytes(text, strlen(text), 0, &read), -EBADMSG);
	assert_string_equal(said, "FILE: line 1: the snapshot contradicts itself: domain 0 (numpy) has 14 live blocks, but its traces have 15");
	assert_int_equal(load_bytes(index, strlen(index), 0, &read), -EBADMSG);
	assert_non_null(strstr(said, "names traceback 77, but there are"));
}

static char *nested(size_t depth)
{
	char *value = calloc(1, 2 * depth + 32);

	strcpy(value, "\"future\": ");
	memset(value + strlen(value), '[', depth);
	memset(value + strlen(value), ']', depth);
	strcat(value, ", \"version\": 1");
	return value;
}

/* What is not known is passed over, whatever it is; but not without end. */
static void test_unknown(void **state)
{
	static const char *const values[] = { "null", "true", "-0.5E+10", "1e400", "[]", "{}", "[1, {\"a\": [\"\\ud834\\udd1e\", null]}]",
		"123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890", "\"\\\"\\\\\\/\\b\"" };
	DT_FREE char *deep = nested(64), *deeper = nested(65), *good = changed("\"version\": 1", deep), *bad = changed("\"version\": 1", deeper);
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *read = NULL;

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(values); i++) {
		DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *snapshot = NULL;
		DT_FREE char *text = NULL;
		char member[256];

		snprintf(member, sizeof(member), "\"blocks\": 12, \"future\" : %s ,", values[i]);
		text = changed("\"blocks\": 12,", member);
		assert_int_equal(load_bytes(text, strlen(text), 0, &snapshot), 0);
		assert_string_equal(said, "");
	}
	assert_int_equal(load_bytes(good, strlen(good), 0, &read), 0);
	dt_snapshot_free(read);
	read = NULL;
	assert_int_equal(load_bytes(bad, strlen(bad), 0, &read), -EBADMSG);
	assert_non_null(strstr(said, ": lists and objects are more than 64 deep"));
}

/* What a newer domtrace may have to tell within this version is not dropped in silence. */
static void test_newer(void **state)
{
	DT_FREE char *loss = changed("\"live_full\": 0", "\"live_full\": 0, \"moons_lost\": 3"),
		     *none = changed("\"live_full\": 0", "\"live_full\": 0, \"moons_lost\": 0"),
		     *reason = changed("\"truncated\": null", "\"truncated\": \"full_moon\"");
	struct dt_snapshot *read = NULL;

	(void)state;
	assert_int_equal(load_bytes(loss, strlen(loss), 0, &read), 0);
	assert_string_equal(said, "warning: FILE: it has a loss that this version of domtrace does not know (moons_lost): the tables are incomplete");
	dt_snapshot_free(read);
	assert_int_equal(load_bytes(none, strlen(none), 0, &read), 0);
	assert_string_equal(said, "");
	dt_snapshot_free(read);
	assert_int_equal(load_bytes(reason, strlen(reason), 0, &read), 0);
	assert_string_equal(said, "warning: FILE: some tracebacks end early for a reason that this version of domtrace does not know (full_moon): "
			    "they are shown as lost");
	dt_snapshot_free(read);
}

/* Three snapshots, numbered 3, 4 and 5. */
static char *three(void)
{
	DT_FREE char *second = changed("\"sequence\": 3", "\"sequence\": 4"), *third = changed("\"sequence\": 3", "\"sequence\": 5");
	char *text = NULL;

	assert_true(asprintf(&text, "%s%s%s", line, second, third) > 0);
	return text;
}

static void expect_sequence(const void *data, size_t size, uint64_t number, uint64_t sequence, const char *sentence)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *read = NULL;

	assert_int_equal(load_bytes(data, size, number, &read), 0);
	assert_int_equal(read->sequence, sequence);
	assert_string_equal(said, sentence);
}

#define LEFT_OUT "warning: FILE: its last line is left out: it has no newline at its end, so whoever wrote it was interrupted"

#define CUT "warning: FILE: the compressed data end in the middle: there may have been more snapshots"

static void test_which(void **state)
{
	DT_FREE char *text = three();
	struct dt_snapshot *read = NULL;
	size_t size = strlen(text);

	(void)state;
	for (uint64_t number = 1; number <= 3; number++)
		expect_sequence(text, size, number, number + 2, "");
	expect_sequence(text, size, 0, 5, "");
	assert_int_equal(load_bytes(text, size, 4, &read), -ENODATA);
	assert_string_equal(said, "FILE: there is no snapshot 4: it has 3 whole snapshots");
	/* What is not asked for may be anything. */
	memset(text, '#', 100);
	expect_sequence(text, size, 3, 5, "");
}

/* Cut off anywhere, the file has what was whole before. */
static void test_interrupted(void **state)
{
	DT_FREE char *text = three();
	size_t size = strlen(text), first = strlen(line);
	struct dt_snapshot *read = NULL;

	(void)state;
	for (size_t cut = 2 * first + 1; cut < size; cut += 37)
		expect_sequence(text, cut, 0, 4, LEFT_OUT);
	expect_sequence(text, size - 1, 0, 4, LEFT_OUT);
	expect_sequence(text, 2 * first, 0, 4, "");
	for (size_t cut = 1; cut < first; cut += 37) {
		assert_int_equal(load_bytes(text, cut, 0, &read), -ENODATA);
		assert_string_equal(said, "FILE: there is no whole snapshot: its only line has no newline at its end, so whoever wrote it was "
				    "interrupted, or it is no file of domtrace -o");
	}
	assert_int_equal(load_bytes("", 0, 0, &read), -ENODATA);
	assert_string_equal(said, "FILE: there is no snapshot: it is empty");
	assert_int_equal(load_bytes("\n", 1, 0, &read), -EBADMSG);
	assert_string_equal(said, "FILE: line 1, byte 0: the line ends where an object ('{') should be: it is cut off, or the snapshot is spread "
			    "over several lines (jq -c . makes one of them)");
}

static size_t gzip_of(const char *text, unsigned char **ret_packed)
{
	size_t size = strlen(text), room = compressBound(size) + 64;
	unsigned char *packed = malloc(room);
	z_stream stream = { .next_in = (unsigned char *)text, .avail_in = (uInt)size, .next_out = packed, .avail_out = (uInt)room };

	assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	*ret_packed = packed;
	return stream.total_out;
}

static void test_compressed(void **state)
{
	DT_FREE char *text = three();
	DT_FREE unsigned char *gzip = NULL, *zstd = malloc(ZSTD_compressBound(strlen(text)));
	size_t gzip_size = gzip_of(text, &gzip), zstd_size = ZSTD_compress(zstd, ZSTD_compressBound(strlen(text)), text, strlen(text), 3);
	DT_FREE unsigned char *twice = malloc(2 * gzip_size);
	struct dt_snapshot *read = NULL;

	(void)state;
	for (uint64_t number = 0; number <= 3; number++) {
		expect_sequence(gzip, gzip_size, number, number ? number + 2 : 5, "");
		expect_sequence(zstd, zstd_size, number, number ? number + 2 : 5, "");
	}
	memcpy(twice, gzip, gzip_size);
	memcpy(twice + gzip_size, gzip, gzip_size);
	expect_sequence(twice, 2 * gzip_size, 6, 5, "");
	gzip[gzip_size / 2] ^= 0x55;
	assert_int_not_equal(load_bytes(gzip, gzip_size, 0, &read), 0);
	zstd[0] = '{';
	assert_int_not_equal(load_bytes(zstd, zstd_size, 0, &read), 0);
}

/* Compressed data that end in the middle have what can be had of them. */
static void test_compressed_cut(void **state)
{
	DT_FREE char *text = three();
	DT_FREE unsigned char *gzip = NULL;
	size_t size = gzip_of(text, &gzip);

	(void)state;
	expect_sequence(gzip, size - 9, 0, 5, CUT);
	expect_sequence(gzip, size - 64, 0, 3, LEFT_OUT CUT); /* the other two are all but the same, and so take few bytes */
}

static void test_names(void **state)
{
	struct dt_snapshot *read = NULL;
	char directory[] = "/tmp/test_load.XXXXXX", path[128], other[160];
	FILE *file;

	(void)state;
	said[0] = '\0';
	assert_int_equal(dt_snapshot_load("tests/data/nowhere.json", &log_to_said, &read), -ENOENT);
	assert_string_equal(said, "tests/data/nowhere.json: it cannot be opened: No such file or directory");
	said[0] = '\0';
	assert_int_equal(dt_snapshot_load("tests", &log_to_said, &read), -EISDIR);
	assert_string_equal(said, "tests: it cannot be opened: Is a directory");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a", directory);
	snprintf(other, sizeof(other), "%s#2", path);
	file = fopen(path, "w");
	fputs(line, file);
	fclose(file);
	said[0] = '\0';
	assert_int_equal(dt_snapshot_load(other, &log_to_said, &read), -ENODATA);
	file = fopen(other, "w");       /* a file of that very name is meant then */
	fputs(line, file);
	fclose(file);
	assert_int_equal(dt_snapshot_load(other, &log_to_said, &read), 0);
	dt_snapshot_free(read);
	unlink(path);
	unlink(other);
	rmdir(directory);
}

/* What comes through a pipe cannot be read twice, and is read all the same. */
static void test_pipe(void **state)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *read_back = NULL;
	DT_FREE char *text = three();
	struct dt_input *input;
	char path[64];
	int ends[2];

	(void)state;
	said[0] = '\0';
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], text, strlen(text)), strlen(text));
	close(ends[1]);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	assert_int_equal(dt_input_open(path, &input), 0);
	assert_false(dt_input_is_seekable(input));
	assert_int_equal(dt_load_input(input, "FILE", 0, &log_to_said, &read_back), 0);
	assert_int_equal(read_back->sequence, 5);
	dt_input_close(input);
	close(ends[0]);
}

static void expect_huge(const struct memory_file *file, uint64_t number, int error, uint64_t sequence, const char *sentence)
{
	DT_CLEANUP(cleanup_snapshot) struct dt_snapshot *read = NULL;
	struct dt_input *input;

	said[0] = '\0';
	assert_int_equal(dt_input_open(file->path, &input), 0);
	assert_int_equal(dt_load_input(input, "FILE", number, &log_to_said, &read), error);
	dt_input_close(input);
	assert_string_equal(said, sentence);
	if (!error)
		assert_int_equal(read->sequence, sequence);
}

/* More than 2 GiB, most of it a hole, in which there is no newline: first it is the end, then the second of three lines. */
static void test_huge(void **state)
{
	const off_t size = (off_t)2200 << 20;
	struct memory_file file = memory_file(line, strlen(line));
	DT_FREE char *last = changed("\"sequence\": 3", "\"sequence\": 5");

	(void)state;
	assert_int_equal(ftruncate(file.fd, size), 0);
	expect_huge(&file, 0, 0, 3, LEFT_OUT);
	assert_int_equal(pwrite(file.fd, "\n", 1, size), 1);
	assert_int_equal(pwrite(file.fd, last, strlen(last), size + 1), strlen(last));
	expect_huge(&file, 0, 0, 5, "");
	expect_huge(&file, 1, 0, 3, "");
	expect_huge(&file, 3, 0, 5, "");
	expect_huge(&file, 2, -EBADMSG, 0, "FILE: line 2, byte 0: the byte 0x00 stands where an object ('{') should be");
	expect_huge(&file, 4, -ENODATA, 0, "FILE: there is no snapshot 4: it has 3 whole snapshots");
	close(file.fd);
}

/* 320 MiB of spaces in less than a hundredth of that. */
static void test_bomb(void **state)
{
	size_t chunk = 8u << 20, room = 4u << 20, used = 0;
	DT_FREE char *spaces = malloc(chunk);
	DT_FREE unsigned char *packed = malloc(room);
	z_stream stream = { .next_out = packed, .avail_out = (uInt)room };
	struct dt_snapshot *read = NULL;

	(void)state;
	memset(spaces, ' ', chunk);
	assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
	for (; used < (320u << 20); used += chunk) {
		stream.next_in = (unsigned char *)spaces;
		stream.avail_in = (uInt)chunk;
		assert_int_equal(deflate(&stream, Z_NO_FLUSH), Z_OK);
	}
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	if (stream.total_out * 300 > used)
		skip();                 /* this zlib does not pack well enough */
	assert_int_equal(load_bytes(packed, stream.total_out, 0, &read), -EFBIG);
	assert_non_null(strstr(said, "the compressed data grow to more than 300 times their size, as no snapshot does"));
}

static int read_line(void **state)
{
	(void)state;
	line = sample_line("snapshot_sample.json");
	return 0;
}

static int free_line(void **state)
{
	(void)state;
	free(line);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip), cmocka_unit_test(test_numbers), cmocka_unit_test(test_broken),
		cmocka_unit_test(test_contradiction), cmocka_unit_test(test_unknown), cmocka_unit_test(test_newer), cmocka_unit_test(test_which),
		cmocka_unit_test(test_interrupted), cmocka_unit_test(test_compressed), cmocka_unit_test(test_compressed_cut),
		cmocka_unit_test(test_names), cmocka_unit_test(test_pipe), cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_huge),
	};

	return cmocka_run_group_tests(tests, read_line, free_line);
}
