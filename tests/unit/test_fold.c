/* SPDX-License-Identifier: BSD-2-Clause */
/* fold: whole tables before and after; what is summed, what is not, and what a snapshot keeps while it is folded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <domtrace/domtrace.h>

#include "export/fold.h"
#include "snapshot_sample.h"

static struct dt_snapshot *folded(const struct dt_snapshot *snapshot)
{
	struct dt_snapshot *fold = NULL;
	const char *reason = NULL;

	assert_int_equal(dt_fold_new(snapshot, &fold), 0);
	if (dt_snapshot_check(fold, &reason))
		fail_msg("%s", reason);
	return fold;
}

/* "load+fill" for each frame, oldest first, then what is missing. */
static void describe(const struct dt_snapshot *snapshot, const struct dt_snapshot_trace *trace, char *text)
{
	const struct dt_snapshot_traceback *traceback = &snapshot->tracebacks[trace->traceback];

	*text = '\0';
	for (uint32_t i = 0; i < traceback->frame_count; i++) {
		const struct dt_snapshot_frame *frame = &snapshot->frames[traceback->frames[i]];

		sprintf(text + strlen(text), "%s%s", i ? "+" : "", frame->function ? frame->function : "?");
	}
	sprintf(text + strlen(text), " of %u%s%s", traceback->total_frames, traceback->truncation ? " " : "",
		traceback->truncation ? dt_truncation_name(traceback->truncation) : "");
}

#define WAY "_start+Py_BytesMain+PyEval_EvalCode+<module>+load+fill(std::vector<double, std::allocator<double> >&, " \
	    "unsigned long)+std::vector<double, std::allocator<double> >::reserve(unsigned long)"

static void test_mixed(void **state)
{
	static const struct {
		const char *text;
		struct dt_snapshot_trace trace;
	} expected[] = {
		{ WAY " of 7", { .blocks = 5, .bytes = 35000, .allocations = 10, .allocated_bytes = 70000, .peak_bytes = 46000 } },
		{ "<module>+load+fill(std::vector<double, std::allocator<double> >&, unsigned long) of 20",
		  { .blocks = 1, .bytes = 4000, .allocations = 2, .allocated_bytes = 8000, .peak_bytes = 4000 } },
		{ "py::load:/srv/app.py+? of 2 python_unplaced",
		  { .blocks = 1, .bytes = 3000, .allocations = 2, .allocated_bytes = 6000, .peak_bytes = 3000 } },
		{ "?+clock of 3 too_deep",
		  { .blocks = 1, .bytes = 2000, .allocations = 2, .allocated_bytes = 4000, .peak_bytes = 2000 } },
		{ "operator new[](unsigned long, std::nothrow_t const&) of 1",
		  { .blocks = 1, .bytes = 1000, .allocations = 2, .allocated_bytes = 2000, .peak_bytes = 1000 } },
		{ "<module>+load of 2",
		  { .domain = 1, .blocks = 1, .bytes = 8000, .allocations = 2, .allocated_bytes = 16000, .peak_bytes = 8000 } },
	};
	struct dt_snapshot *sample = new_mixed_sample("/srv/app.py"), *fold = folded(sample);

	(void)state;
	assert_int_equal(fold->trace_count, DT_ARRAY_SIZE(expected));
	for (size_t i = 0; i < DT_ARRAY_SIZE(expected); i++) {
		struct dt_snapshot_trace trace = fold->traces[i];
		char text[1024];

		describe(fold, &trace, text);
		assert_string_equal(text, expected[i].text);
		trace.traceback = 0;
		assert_memory_equal(&trace, &expected[i].trace, sizeof(trace));
	}
	dt_snapshot_free(fold);
	dt_snapshot_free(sample);
}

/* What is not about tracebacks stays as it is, and so does the snapshot that is folded. */
static void test_rest_is_the_same(void **state)
{
	struct dt_snapshot *sample = new_sample("/srv/app.py"), *fold = folded(sample), *again = folded(fold);
	struct dt_snapshot *const copies[] = { fold, again };

	(void)state;
	for (size_t i = 0; i < DT_ARRAY_SIZE(copies); i++) {
		const struct dt_snapshot *copy = copies[i];

		assert_int_equal(copy->sequence, 3);
		assert_string_equal(copy->label, "interval");
		assert_int_equal(copy->time.tv_sec, sample->time.tv_sec);
		assert_int_equal(copy->time.tv_nsec, sample->time.tv_nsec);
		assert_int_equal(copy->elapsed_ns, 5000000000);
		assert_int_equal(copy->traceback_limit, 3);
		assert_memory_equal(copy->counters, sample->counters, sizeof(copy->counters));
		assert_string_equal(copy->kernel, "6.12.0");
		assert_string_equal(copy->architecture, "x86_64");
		assert_int_equal(copy->process_count, 2);
		assert_string_equal(copy->processes[0].command[1], "app.py");
		assert_int_equal(copy->domain_count, 3);
		assert_int_equal(copy->domains[2].allocations, UINT64_MAX);
		assert_int_equal(copy->trace_count, 4);
		assert_int_equal(copy->traceback_count, 4);
		assert_int_equal(copy->tracebacks[3].truncation, DT_TRUNCATION_lost);
	}
	assert_int_equal(sample->frames[3].address, 155209);
	assert_string_equal(sample->frames[3].build_id, "c047672cae7964324658491e7dee26748ae5d2f8");
	dt_snapshot_free(again);
	dt_snapshot_free(fold);
	dt_snapshot_free(sample);
}

/* Frames that a report shows alike are alike; offsets that it shows keep them apart. */
static void test_what_looks_the_same(void **state)
{
	struct dt_snapshot *sample = NULL;

	(void)state;
	assert_int_equal(dt_snapshot_new(&sample), 0);
	SAMPLE_ADD(process, .pid = 1);
	uint32_t domain = SAMPLE_ADD(domain, .name = "libc");
	uint32_t lines[2], offsets[2], wrapper = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .function = "g_malloc");

	for (uint32_t i = 0; i < 2; i++) {
		lines[i] = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/a", .function = "f", .file = "/a.c", .line = 9,
				      .address = 100 + i, .function_offset = i);
		offsets[i] = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/a", .function = "g", .address = 200 + i,
					.function_offset = i);
		SAMPLE_TRACE(domain, 1, 10, 10, 2, none, lines[i], wrapper);
		SAMPLE_TRACE(domain, 1, 10, 10, 2, none, offsets[i], wrapper);
		SAMPLE_TRACE(domain, 1, 10, UINT64_MAX, 2, no_rule, lines[i], wrapper);
	}
	sample_close_domain(sample, domain);
	struct dt_snapshot *fold = folded(sample);

	assert_int_equal(fold->trace_count, 4);
	assert_int_equal(fold->traces[0].blocks, 2);            /* f at /a.c:9 */
	assert_int_equal(fold->traces[0].peak_bytes, 10);       /* no more than the domain or one of them ever had */
	assert_int_equal(fold->traces[1].blocks, 1);            /* g+0x0 */
	assert_int_equal(fold->traces[2].blocks, 2);            /* f at /a.c:9, truncated */
	assert_int_equal(fold->traces[2].peak_bytes, UINT64_MAX);
	assert_int_equal(fold->traces[3].blocks, 1);            /* g+0x1 */
	dt_snapshot_free(fold);
	dt_snapshot_free(sample);
}

static void test_empty(void **state)
{
	struct dt_snapshot *sample = NULL;

	(void)state;
	assert_int_equal(dt_snapshot_new(&sample), 0);
	struct dt_snapshot *fold = folded(sample);

	assert_int_equal(fold->trace_count + fold->traceback_count + fold->frame_count + fold->process_count, 0);
	assert_null(fold->label);
	dt_snapshot_free(fold);
	dt_snapshot_free(sample);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mixed),
		cmocka_unit_test(test_rest_is_the_same),
		cmocka_unit_test(test_what_looks_the_same),
		cmocka_unit_test(test_empty),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
