/* SPDX-License-Identifier: BSD-2-Clause */
/* snapshot: rows are copied, equal ones stored once, wrong books are found, and no failed allocation leaks. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "snapshot/snapshot.h"

/* ---- the n-th allocation fails ----------------------------------------------------------------------------- */

#ifdef __SANITIZE_ADDRESS__
#define REAL(function) __interceptor_##function
#else
#define REAL(function) __libc_##function
#endif
void *REAL(malloc)(size_t size);
void *REAL(calloc)(size_t count, size_t size);
void *REAL(realloc)(void *block, size_t size);

static size_t allocations_left = SIZE_MAX;      /* until one fails; SIZE_MAX: never */

static int allocation_fails(void)
{
	return allocations_left != SIZE_MAX && allocations_left-- == 0;
}

/* The rooms are linked statically, so their calls end here; reallocarray as well, which libc would do on its own. */
void *malloc(size_t size)
{
	return allocation_fails() ? NULL : REAL(malloc)(size);
}

void *calloc(size_t count, size_t size)
{
	return allocation_fails() ? NULL : REAL(calloc)(count, size);
}

void *realloc(void *block, size_t size)
{
	return allocation_fails() ? NULL : REAL(realloc)(block, size);
}

void *reallocarray(void *block, size_t count, size_t size)
{
	if (__builtin_mul_overflow(count, size, &size))
		return NULL;
	return realloc(block, size);
}

/* ---- a small snapshot -------------------------------------------------------------------------------------- */

static struct dt_snapshot *new_snapshot(void)
{
	struct dt_snapshot *snapshot = NULL;

	assert_int_equal(dt_snapshot_new(&snapshot), 0);
	return snapshot;
}

/* One of everything; 0 or the first error. */
static int fill(struct dt_snapshot *snapshot, uint32_t rounds)
{
	const char *command[] = { "python3", "app.py", NULL };
	struct dt_snapshot_process process = { .pid = 42, .comm = "python3", .exe = "/usr/bin/python3", .command = command };
	struct dt_snapshot_domain domain = { .source = DT_SOURCE_LIBC, .name = "libc" };
	uint32_t index, frames[300];
	int error = dt_snapshot_add_process(snapshot, &process, &index);

	error = error ? error : dt_snapshot_add_domain(snapshot, &domain, &index);
	for (uint32_t i = 0; i < rounds && !error; i++) {
		struct dt_snapshot_frame frame = { .kind = DT_FRAME_PYTHON, .file = "/srv/app.py", .function = "f",
						   .line = (int)i + 1 };
		struct dt_snapshot_traceback traceback = { .frames = frames, .frame_count = i % 300 + 1 };
		struct dt_snapshot_trace trace = { .blocks = 0 };

		error = dt_snapshot_add_frame(snapshot, &frame, &index);
		for (uint32_t k = 0; k < DT_ARRAY_SIZE(frames); k++)
			frames[k] = index;
		traceback.total_frames = traceback.frame_count;
		error = error ? error : dt_snapshot_add_traceback(snapshot, &traceback, &trace.traceback);
		error = error ? error : dt_snapshot_add_trace(snapshot, &trace, &index);
	}
	return error;
}

/* ---- cases -------------------------------------------------------------------------------------------------- */

static void test_strings_are_stored_once(void **state)
{
	struct dt_snapshot *snapshot = new_snapshot();
	char text[] = "libc.so.6", *large;
	const char *first = dt_snapshot_string(snapshot, text);

	(void)state;
	text[0] = 'L';
	assert_string_equal(first, "libc.so.6");
	assert_ptr_equal(dt_snapshot_string(snapshot, "libc.so.6"), first);
	assert_ptr_not_equal(dt_snapshot_string(snapshot, text), first);
	assert_null(dt_snapshot_string(snapshot, NULL));
	assert_string_equal(dt_snapshot_string(snapshot, ""), "");
	/* Larger than a chunk of the arena, as the first and as a later one. */
	large = malloc(200001);
	memset(large, 'x', 200000);
	large[200000] = '\0';
	assert_string_equal(dt_snapshot_string(snapshot, large), large);
	assert_ptr_equal(dt_snapshot_string(snapshot, large), dt_snapshot_string(snapshot, large));
	dt_snapshot_free(snapshot);
	snapshot = new_snapshot();
	assert_string_equal(dt_snapshot_string(snapshot, large), large);
	assert_string_equal(dt_snapshot_string(snapshot, "small"), "small");
	dt_snapshot_free(snapshot);
	free(large);
}

static void test_processes_are_copied(void **state)
{
	struct dt_snapshot *snapshot = new_snapshot();
	char comm[] = "redis";
	const char *command[] = { "redis-server", "--port", "0", NULL };
	struct dt_snapshot_process row = { .pid = 7, .ppid = 1, .start_time_ns = UINT64_MAX, .comm = comm, .exe = "/bin/r",
					   .command = command, .exited = true, .rss_bytes = 4096 };
	struct dt_snapshot_process bare = { .pid = 8 };
	uint32_t index = 99;

	(void)state;
	assert_int_equal(dt_snapshot_add_process(snapshot, &row, &index), 0);
	assert_int_equal(index, 0);
	assert_int_equal(dt_snapshot_add_process(snapshot, &bare, &index), 0);
	assert_int_equal(index, 1);
	comm[0] = command[1] ? 'X' : 'Y';
	command[1] = NULL;
	assert_int_equal(snapshot->process_count, 2);
	const struct dt_snapshot_process *own = &snapshot->processes[0];

	assert_int_equal(own->pid, 7);
	assert_int_equal(own->ppid, 1);
	assert_true(own->start_time_ns == UINT64_MAX && own->rss_bytes == 4096 && own->exited);
	assert_string_equal(own->comm, "redis");
	assert_string_equal(own->exe, "/bin/r");
	assert_string_equal(own->command[0], "redis-server");
	assert_string_equal(own->command[1], "--port");
	assert_string_equal(own->command[2], "0");
	assert_null(own->command[3]);
	assert_null(own->python);
	assert_non_null(snapshot->processes[1].command);
	assert_null(snapshot->processes[1].command[0]);
	dt_snapshot_free(snapshot);
}

static void test_equal_frames_are_one(void **state)
{
	struct dt_snapshot *snapshot = new_snapshot();
	char file[] = "/a.py", same[] = "/a.py";
	struct dt_snapshot_frame row;
	uint32_t first, second, third, fourth;

	(void)state;
	memset(&row, 0xff, sizeof(row));        /* padding must not matter */
	row = (struct dt_snapshot_frame){ .kind = DT_FRAME_PYTHON, .file = file, .function = "f", .line = 3 };
	assert_int_equal(dt_snapshot_add_frame(snapshot, &row, &first), 0);
	row.file = same;
	assert_int_equal(dt_snapshot_add_frame(snapshot, &row, &second), 0);
	row.line = 4;
	assert_int_equal(dt_snapshot_add_frame(snapshot, &row, &third), 0);
	row.inlined = true;
	assert_int_equal(dt_snapshot_add_frame(snapshot, &row, &fourth), 0);
	assert_int_equal(first, 0);
	assert_int_equal(second, 0);
	assert_int_equal(third, 1);
	assert_int_equal(fourth, 2);
	assert_int_equal(snapshot->frame_count, 3);
	assert_string_equal(snapshot->frames[2].file, "/a.py");
	assert_int_equal(snapshot->frames[1].line, 4);
	dt_snapshot_free(snapshot);
}

static void test_equal_tracebacks_are_one(void **state)
{
	struct dt_snapshot *snapshot = new_snapshot();
	uint32_t frames[] = { 4, 9, 2 }, index[6];
	struct dt_snapshot_traceback row = { .frames = frames, .frame_count = 3, .total_frames = 3 };
	struct dt_snapshot_traceback none = { .frame_count = 0, .truncation = DT_TRUNCATION_lost };

	(void)state;
	assert_int_equal(dt_snapshot_add_traceback(snapshot, &row, &index[0]), 0);
	assert_int_equal(dt_snapshot_add_traceback(snapshot, &row, &index[1]), 0);
	row.total_frames = 4;
	assert_int_equal(dt_snapshot_add_traceback(snapshot, &row, &index[2]), 0);
	row.frame_count = 2;
	assert_int_equal(dt_snapshot_add_traceback(snapshot, &row, &index[3]), 0);
	assert_int_equal(dt_snapshot_add_traceback(snapshot, &none, &index[4]), 0);
	assert_int_equal(dt_snapshot_add_traceback(snapshot, &none, &index[5]), 0);
	assert_memory_equal(index, ((uint32_t[]){ 0, 0, 1, 2, 3, 3 }), sizeof(index));
	assert_int_equal(snapshot->traceback_count, 4);
	frames[0] = 1;
	assert_memory_equal(snapshot->tracebacks[0].frames, ((uint32_t[]){ 4, 9, 2 }), 12);
	assert_int_equal(snapshot->tracebacks[2].frame_count, 2);
	assert_int_equal(snapshot->tracebacks[3].truncation, DT_TRUNCATION_lost);
	dt_snapshot_free(snapshot);
}

static void test_complete_follows_losses(void **state)
{
	struct dt_snapshot *snapshot = new_snapshot();

	(void)state;
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++) {
		assert_true(dt_snapshot_is_complete(snapshot));
		snapshot->counters[i] = 1;
		assert_int_equal(dt_snapshot_is_complete(snapshot), !dt_counter_is_loss(i));
		snapshot->counters[i] = 0;
	}
	dt_snapshot_free(snapshot);
}

/* Two domains with right books. */
static struct dt_snapshot *balanced_snapshot(void)
{
	struct dt_snapshot *snapshot = new_snapshot();
	struct dt_snapshot_process process = { .pid = 1 };
	struct dt_snapshot_domain libc = { .name = "libc", .live_blocks = 3, .live_bytes = 30, .allocations = 5,
					   .allocated_bytes = 50, .frees = 2, .freed_bytes = 20, .peak_bytes = 40, .temporary = 1,
					   .at_peak_exact = true };
	struct dt_snapshot_domain numpy = { .name = "numpy", .source = DT_SOURCE_TRACEMALLOC, .id = 389047 };
	struct dt_snapshot_frame frame = { .kind = DT_FRAME_NATIVE };
	struct dt_snapshot_trace traces[] = {
		{ .blocks = 1, .bytes = 10, .allocations = 3, .allocated_bytes = 30, .at_peak_bytes = 25, .temporary = 1 },
		{ .blocks = 2, .bytes = 20, .allocations = 2, .allocated_bytes = 20, .at_peak_bytes = 15 },
	};
	struct dt_snapshot_traceback traceback = { .frames = (uint32_t[]){ 0 }, .frame_count = 1, .total_frames = 1 };
	uint32_t index;

	assert_int_equal(dt_snapshot_add_process(snapshot, &process, &index), 0);
	assert_int_equal(dt_snapshot_add_domain(snapshot, &libc, &index), 0);
	assert_int_equal(dt_snapshot_add_domain(snapshot, &numpy, &index), 0);
	assert_int_equal(dt_snapshot_add_frame(snapshot, &frame, &index), 0);
	assert_int_equal(dt_snapshot_add_traceback(snapshot, &traceback, &index), 0);
	assert_int_equal(dt_snapshot_add_trace(snapshot, &traces[0], &index), 0);
	assert_int_equal(dt_snapshot_add_trace(snapshot, &traces[1], &index), 0);
	return snapshot;
}

#define ASSERT_BROKEN(snapshot, sentence) do { \
	const char *broken = NULL; \
	assert_int_equal(dt_snapshot_check(snapshot, &broken), -EBADMSG); \
	assert_string_equal(broken, sentence); \
} while (0)

/* Sets one field wrong, looks for the sentence, and sets it right again. */
#define WRONG(field, value, sentence) do { \
	__typeof__(field) right = (field); \
	(field) = (value); \
	ASSERT_BROKEN(snapshot, sentence); \
	(field) = right; \
} while (0)

static void test_check_finds_wrong_books(void **state)
{
	struct dt_snapshot *snapshot = balanced_snapshot();
	const char *reason = NULL;

	(void)state;
	assert_int_equal(dt_snapshot_check(snapshot, &reason), 0);
	assert_null(reason);
	WRONG(snapshot->domains[1].process, 1, "domain 1 names process 1, but there are 1");
	WRONG(snapshot->traces[1].domain, 2, "trace 1 names domain 2, but there are 2");
	WRONG(snapshot->traces[0].traceback, 1, "trace 0 names traceback 1, but there are 1");
	WRONG(snapshot->frame_count, 0, "traceback 0 names frame 0, but there are 0");
	WRONG(snapshot->tracebacks[0].total_frames, 0, "traceback 0 keeps 1 frames of 0");
	WRONG(snapshot->domains[0].frees, 3, "domain 0 (libc) has 3 live blocks after 5 allocations and 3 frees");
	WRONG(snapshot->domains[0].frees, 6, "domain 0 (libc) has 3 live blocks after 5 allocations and 6 frees");
	WRONG(snapshot->domains[0].freed_bytes, 19, "domain 0 (libc) has 30 live bytes after 50 allocated and 19 freed");
	WRONG(snapshot->domains[1].live_blocks, 1, "domain 1 (numpy) has 1 live blocks after 0 allocations and 0 frees");
	WRONG(snapshot->traces[0].blocks, 2, "domain 0 (libc) has 3 live blocks, but its traces have 4");
	WRONG(snapshot->traces[0].bytes, 9, "domain 0 (libc) has 30 live bytes, but its traces have 29");
	WRONG(snapshot->traces[0].allocations, 9, "domain 0 (libc) has 5 allocations, but its traces have 11");
	WRONG(snapshot->traces[0].allocated_bytes, 0, "domain 0 (libc) has 50 allocated bytes, but its traces have 20");
	WRONG(snapshot->traces[0].temporary, 2, "domain 0 (libc) has 1 temporary blocks, but its traces have 2");
	WRONG(snapshot->domains[0].temporary, 3, "domain 0 (libc) has 3 temporary blocks of 2 that were freed");
	WRONG(snapshot->traces[1].at_peak_bytes, 14, "domain 0 (libc) has 40 bytes at its peak, but its traces have 39");
	WRONG(snapshot->traces[0].bytes, UINT64_MAX, "the traces of domain 0 (libc) add up to more than 64 bits");
	/* What is not said to be exact need not be. */
	snapshot->domains[0].at_peak_exact = false;
	snapshot->traces[1].at_peak_bytes = 14;
	assert_int_equal(dt_snapshot_check(snapshot, &reason), 0);
	dt_snapshot_free(snapshot);
}

static void test_check_finds_wrong_layers(void **state)
{
	struct dt_snapshot *snapshot = balanced_snapshot();
	struct dt_snapshot_memory *memory = &snapshot->processes[0].memory;
	struct dt_snapshot_layers *layers = &snapshot->processes[0].layers;
	const char *reason = NULL;

	(void)state;
	*memory = (struct dt_snapshot_memory){ .known = true, .resident_bytes = 10, .heap_bytes = 1, .anonymous_mapping_bytes = 2,
					       .file_mapping_bytes = 3, .other_mapping_bytes = 4, .private_bytes = 9 };
	*layers = (struct dt_snapshot_layers){ .known = true, .exact = true, .libc_bytes = 30, .claimed_bytes = 30 };
	snapshot->domains[1].compared = true;
	assert_int_equal(dt_snapshot_check(snapshot, &reason), 0);
	WRONG(memory->resident_bytes, 11, "process 0 has 11 resident bytes, its mappings have 10, 9 of them private");
	WRONG(memory->private_bytes, 11, "process 0 has 10 resident bytes, its mappings have 10, 11 of them private");
	WRONG(memory->heap_bytes, UINT64_MAX, "process 0 has 10 resident bytes, its mappings have 8, 9 of them private");
	WRONG(layers->claimed_bytes, 31, "of 30 libc bytes of process 0, 31 are claimed");
	WRONG(layers->libc_bytes, 31, "domain 0 (libc) has 30 live bytes, but its blocks have 31");
	WRONG(snapshot->domains[1].in_libc_bytes, 1, "domain 1 (numpy) has 0 live bytes, but its blocks have 1");
	WRONG(snapshot->domains[1].compared, false, "domain 1 (numpy) has no place in the layers of process 0");
	WRONG(snapshot->domains[0].compared, true, "domain 0 (libc) has a wrong place in the layers of process 0");
	/* What is not exact need not be what the domains have. */
	layers->exact = false;
	layers->libc_bytes = 31;
	snapshot->domains[1].outside_libc_bytes = 1;
	assert_int_equal(dt_snapshot_check(snapshot, &reason), 0);
	dt_snapshot_free(snapshot);
}

/* Fails every allocation in turn, until all is done without a failure. ASan watches for leaks. */
static void test_every_allocation_may_fail(void **state)
{
	int error;
	size_t n = 0;

	(void)state;
	do {
		struct dt_snapshot *snapshot = NULL;
		const char *reason;

		allocations_left = n++;
		error = dt_snapshot_new(&snapshot);
		error = error ? error : fill(snapshot, 700);
		error = error ? error : dt_snapshot_check(snapshot, &reason);
		if (!error && allocations_left == SIZE_MAX)
			error = -ENOMEM;        /* the failure was swallowed */
		bool failed = allocations_left == SIZE_MAX;

		allocations_left = SIZE_MAX;
		dt_snapshot_free(snapshot);
		assert_int_equal(error, failed ? -ENOMEM : 0);
	} while (error);
	assert_true(n > 30);
}

static void test_a_million_traces(void **state)
{
	enum { HALF = 500000, WHOLE = 2 * HALF };
	struct timespec start, end;
	struct dt_snapshot *snapshot;
	double seconds[2];
	uint32_t index;

	(void)state;
	for (int round = 0; round < 2; round++) {
		snapshot = new_snapshot();
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
		for (uint32_t i = 0; i < (round ? WHOLE : HALF); i++) {
			struct dt_snapshot_frame frame = { .kind = DT_FRAME_NATIVE, .module = "/lib/libc.so.6", .address = i * 16ull };
			struct dt_snapshot_traceback traceback = { .frames = (uint32_t[]){ 0, i / 2, i }, .frame_count = 3,
								   .total_frames = 3 };
			struct dt_snapshot_trace trace = { .blocks = 1 };

			assert_int_equal(dt_snapshot_add_frame(snapshot, &frame, &index), 0);
			assert_int_equal(index, i);
			assert_int_equal(dt_snapshot_add_traceback(snapshot, &traceback, &trace.traceback), 0);
			assert_int_equal(trace.traceback, i);
			assert_int_equal(dt_snapshot_add_trace(snapshot, &trace, &index), 0);
		}
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
		seconds[round] = (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
		assert_int_equal(snapshot->trace_count, round ? WHOLE : HALF);
		dt_snapshot_free(snapshot);
	}
	print_message("half a million: %.2f s, a million: %.2f s\n", seconds[0], seconds[1]);
	/* Linear: twice the rows, twice the time; a table that grew quadratically would take four times. */
	assert_true(seconds[1] < 3.5 * seconds[0] + 0.2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_strings_are_stored_once),
		cmocka_unit_test(test_processes_are_copied),
		cmocka_unit_test(test_equal_frames_are_one),
		cmocka_unit_test(test_equal_tracebacks_are_one),
		cmocka_unit_test(test_complete_follows_losses),
		cmocka_unit_test(test_check_finds_wrong_books),
		cmocka_unit_test(test_check_finds_wrong_layers),
		cmocka_unit_test(test_every_allocation_may_fail),
		cmocka_unit_test(test_a_million_traces),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
