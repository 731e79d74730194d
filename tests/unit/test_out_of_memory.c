/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every allocation of whatever works on files of snapshots fails once: the first, the second, and so on until none is left. Each time
 * the answer is -ENOMEM, and what was allocated before has been given back. The linker puts the functions below in the place of
 * malloc() and its family (tests/CMakeLists.txt); what shared libraries allocate is not theirs to fail.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "snapshot/filter.h"
#include "snapshot/group.h"
#include "snapshot/kind.h"
#include "snapshot/merge.h"
#include "snapshot/sizes.h"
#include "snapshot/statistic.h"
#include "snapshot_sample.h"
#include "snapshot_file.h"

#include <domtrace/snapshot.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *memory);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t size);
void __wrap_free(void *memory);

#define LIVE_MAX 65536u

static struct {
	bool on;
	size_t made, fails_at;          /* allocations so far; the one that fails, 0: none */
	const void *live[LIVE_MAX];     /* by a hash of the address, probed linearly */
	size_t live_count;
} books;

static size_t slot_of(const void *memory)
{
	return ((uintptr_t)memory >> 4) * 0x9e3779b97f4a7c15u >> 48;
}

static void note(const void *memory)
{
	size_t slot = slot_of(memory);

	if (!books.on || !memory)
		return;
	if (books.live_count++ > LIVE_MAX / 2)
		abort();
	while (books.live[slot])
		slot = (slot + 1) % LIVE_MAX;
	books.live[slot] = memory;
}

static void forget(const void *memory)
{
	size_t slot = slot_of(memory);

	while (memory && books.live[slot] && books.live[slot] != memory)
		slot = (slot + 1) % LIVE_MAX;
	if (!memory || !books.live[slot])
		return;
	books.live_count--;
	books.live[slot] = NULL;
	/* Those behind it may have been put there because its place was taken. */
	for (slot = (slot + 1) % LIVE_MAX; books.live[slot]; slot = (slot + 1) % LIVE_MAX) {
		const void *other = books.live[slot];

		books.live[slot] = NULL;
		books.live_count--;
		note(other);
	}
}

static bool fails(void)
{
	return books.on && ++books.made == books.fails_at;
}

void *__wrap_malloc(size_t size)
{
	void *memory = fails() ? NULL : __real_malloc(size);

	note(memory);
	return memory;
}

void *__wrap_calloc(size_t count, size_t size)
{
	void *memory = fails() ? NULL : __real_calloc(count, size);

	note(memory);
	return memory;
}

void *__wrap_realloc(void *old, size_t size)
{
	void *memory = fails() ? NULL : __real_realloc(old, size);

	if (memory) {
		forget(old);
		note(memory);
	}
	return memory;
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	assert_true(!size || count <= SIZE_MAX / size);
	return __wrap_realloc(old, count * size);
}

char *__wrap_strndup(const char *text, size_t size)
{
	size_t length = strnlen(text, size);
	char *copy = __wrap_malloc(length + 1);

	if (copy) {
		memcpy(copy, text, length);
		copy[length] = '\0';
	}
	return copy;
}

char *__wrap_strdup(const char *text)
{
	return __wrap_strndup(text, SIZE_MAX);
}

void __wrap_free(void *memory)
{
	forget(memory);
	__real_free(memory);
}

/* ---- the rounds ----------------------------------------------------------------------------------------------- */

struct subject {
	const char *path;
	struct dt_snapshot *snapshot, *old;
};

static void tell(void *context, enum dt_log_level level, const char *line)
{
	(void)line;
	if (level == DT_LOG_ERROR)
		*(unsigned *)context += 1;
}

/* Lines of source are shown where they can be had: a report goes on without them. */
static bool may_go_on;

/* Runs `act` with one failing allocation more each time; it must fail with -ENOMEM, say so at most once, and leave nothing. */
static void run(int (*act)(const struct subject *subject, const struct dt_log *log), const struct subject *subject)
{
	for (size_t n = 1;; n++) {
		unsigned told = 0;
		struct dt_log log = { tell, &told };
		int error;

		books.made = 0;
		books.fails_at = n;
		books.on = true;
		error = act(subject, &log);
		books.on = false;
		assert_int_equal(books.live_count, 0);
		assert_true(told <= 1);
		if (books.made < n) {
			assert_int_equal(error, 0);
			assert_true(n > 3);
			return;
		}
		if (!may_go_on || error)
			assert_int_equal(error, -ENOMEM);
	}
}

static int load(const struct subject *subject, const struct dt_log *log)
{
	struct dt_snapshot *snapshot;
	int error = dt_snapshot_load(subject->path, log, &snapshot);

	if (!error)
		dt_snapshot_free(snapshot);
	return error;
}

static void test_load(void **state)
{
	static const char *const names[] = { "snapshot_sample.json", "snapshot_mixed.json" };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(names); i++) {
		char *line = sample_line(names[i]), *twice = NULL;
		struct memory_file one, two;

		assert_true(asprintf(&twice, "%s%s", line, line) > 0);
		one = memory_file(line, strlen(line));
		two = memory_file(twice, strlen(twice));
		run(load, &(struct subject){ .path = one.path });
		run(load, &(struct subject){ .path = two.path });
		close(one.fd);
		close(two.fd);
		free(line);
		free(twice);
	}
}

static int load_all(const struct subject *subject, const struct dt_log *log)
{
	const char *const one[] = { subject->path, NULL };
	struct dt_snapshot *snapshot;
	int error = dt_snapshot_load_all(one, log, &snapshot);

	if (!error)
		dt_snapshot_free(snapshot);
	return error;
}

/* Merging works on tables of its own. */
static int merge(const struct subject *subject, const struct dt_log *log)
{
	struct dt_snapshot *merged;
	uint32_t process;
	int error = dt_snapshot_new(&merged);

	(void)log;
	if (error)
		return error;
	error = dt_merge_add(merged, subject->old, &process);
	if (!error)
		error = dt_merge_add(merged, subject->snapshot, &process);
	dt_snapshot_free(merged);
	return error;
}

static int filter_nothing(const struct subject *subject, const struct dt_log *log)
{
	static const char *const filters[] = { "file=*,all,line=3,domain=numpy", "!function=[a-z]*,module=*lib*,process=p*,bytes>=2K", "bytes>=0",
					       NULL };
	static const char *const domains[] = { "!pandas", NULL };
	struct dt_filter_opts opts = { .size = sizeof(opts), .filters = filters, .domains = domains };

	return dt_snapshot_filter(subject->snapshot, &opts, log);
}

/* All of it, cut into its own traces. */
static int filter_sizes(const struct subject *subject, const struct dt_log *log)
{
	static const char *const filters[] = { "size>1", "size<=1", "!size>4G,function=x", NULL };
	struct dt_filter_opts opts = { .size = sizeof(opts), .filters = filters };

	return dt_snapshot_filter(subject->snapshot, &opts, log);
}

static enum dt_group group;
static bool cumulative;

static int make_groups(const struct subject *subject, const struct dt_log *log)
{
	struct dt_groups groups;
	int error = dt_groups_make(subject->snapshot, subject->old, group, cumulative, DT_SORT_LIVE, &groups);

	(void)log;
	if (!error)
		dt_groups_clear(&groups);
	return error;
}

static enum { TEXT, JSON, FOLD } form;

static int write_statistics(const struct subject *subject, const struct dt_log *log)
{
	struct dt_statistics_opts opts = { .size = sizeof(opts), .group = group, .json = form == JSON, .fold = form == FOLD };
	FILE *out = fopen("/dev/null", "we");
	int error = dt_statistics_write(subject->snapshot, subject->old, &opts, log, out);

	fclose(out);
	return error;
}

/* As callers of the library do it. */
static int use_library(const struct subject *subject, const struct dt_log *log)
{
	struct dt_grouping_opts opts = { .size = sizeof(opts), .group = group };
	struct dt_snapshot *copy = NULL, *all = NULL;
	struct dt_statistics *statistics = NULL;
	char **lines = NULL;
	int error = dt_snapshot_copy(subject->snapshot, &copy);

	if (!error)
		error = dt_snapshot_merge((const struct dt_snapshot *[]){ copy, subject->old }, 2, log, &all);
	if (!error)
		error = dt_snapshot_compare_to(all, copy, &opts, log, &statistics);
	for (size_t i = 0; !error && i < dt_statistics_count(statistics); i++) {
		error = dt_statistics_format(statistics, i, NULL, &lines, NULL);
		free(lines);
		lines = NULL;
	}
	dt_statistics_free(statistics);
	dt_snapshot_free(all);
	dt_snapshot_free(copy);
	return error;
}

static void with_sample(int (*act)(const struct subject *, const struct dt_log *), bool with_old)
{
	struct subject subject = { .snapshot = new_mixed_sample("/nonexistent/app.py") };

	subject.old = with_old ? new_sample("/nonexistent/app.py") : NULL;
	if (with_old)
		subject.old->processes[0].pid++;        /* not the same process */
	run(act, &subject);
	dt_snapshot_free(subject.snapshot);
	dt_snapshot_free(subject.old);
}

static void with_sizes(int (*act)(const struct subject *, const struct dt_log *))
{
	struct subject subject = { .snapshot = new_mixed_sample("/nonexistent/app.py") };
	DT_FREE struct dt_sized *seen = calloc(subject.snapshot->trace_count, sizeof(*seen));

	assert_non_null(seen);
	for (uint32_t i = 0; i < subject.snapshot->trace_count; i++) {
		const struct dt_snapshot_trace *trace = &subject.snapshot->traces[i];

		seen[i] = (struct dt_sized){ i, dt_size_class(trace->bytes / (trace->blocks + !trace->blocks)), trace->blocks, trace->bytes };
	}
	assert_int_equal(dt_sizes_set(subject.snapshot, seen, subject.snapshot->trace_count), 0);
	run(act, &subject);
	dt_snapshot_free(subject.snapshot);
}

static void test_merge(void **state)
{
	char *line = sample_line("snapshot_mixed.json");
	struct memory_file file = memory_file(line, strlen(line));

	(void)state;
	run(load_all, &(struct subject){ .path = file.path });
	close(file.fd);
	free(line);
	with_sample(merge, true);
}

static void test_filter(void **state)
{
	(void)state;
	with_sample(filter_nothing, false);
	with_sizes(filter_sizes);
}

static void test_groups(void **state)
{
	(void)state;
	for (group = 0; group < DT_GROUP_COUNT_; group++) {
		with_sample(make_groups, false);
		with_sample(make_groups, true);
	}
	cumulative = true;
	for (group = DT_GROUP_LINENO; group <= DT_GROUP_FILENAME; group++)
		with_sample(make_groups, true);
	cumulative = false;
}

static void test_statistics(void **state)
{
	(void)state;
	for (form = TEXT; form <= FOLD; form++) {
		may_go_on = form != JSON;
		for (group = 0; group < DT_GROUP_COUNT_; group++)
			with_sample(write_statistics, group % 2);
	}
	may_go_on = false;
}

static void test_library(void **state)
{
	(void)state;
	may_go_on = true;               /* without lines of source */
	for (group = 0; group < DT_GROUP_COUNT_; group++)
		with_sample(use_library, true);
	may_go_on = false;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_load), cmocka_unit_test(test_merge), cmocka_unit_test(test_filter), cmocka_unit_test(test_groups),
		cmocka_unit_test(test_statistics), cmocka_unit_test(test_library),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
