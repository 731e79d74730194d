/* SPDX-License-Identifier: BSD-2-Clause */
/* A snapshot of a Python program and a server, with something of everything, for the tests of all exporters. */
#ifndef DT_TESTS_SNAPSHOT_SAMPLE_H
#define DT_TESTS_SNAPSHOT_SAMPLE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "snapshot/snapshot.h"

#define SAMPLE_ADD(what, ...) ({ \
	uint32_t sample_index; \
	struct dt_snapshot_##what sample_row = { __VA_ARGS__ }; \
	assert_int_equal(dt_snapshot_add_##what(sample, &sample_row, &sample_index), 0); \
	sample_index; \
})

/* A file of tests/data. The build names sources by whole paths. */
static inline char *sample_data_path(const char *name)
{
	const char *file = __FILE__, *slash = strrchr(file, '/');
	char *path = NULL;

	assert_true(asprintf(&path, "%.*s/../data/%s", (int)(slash - file), file, name) > 0);
	return path;
}

static inline char *sample_data(const char *name)
{
	DT_FREE char *path = sample_data_path(name);
	char *data = NULL;

	assert_int_equal(dt_file_read(path, &data, NULL), 0);
	return data;
}

static inline void sample_head(struct dt_snapshot *sample)
{
	sample->sequence = 3;
	sample->label = dt_snapshot_string(sample, "interval");
	sample->time = (struct timespec){ .tv_sec = 1769860800, .tv_nsec = 123456789 };
	sample->elapsed_ns = 5000000000;
	sample->traceback_limit = 3;
	sample->kernel = dt_snapshot_string(sample, "6.12.0");
	sample->architecture = dt_snapshot_string(sample, "x86_64");
	sample->counters[DT_COUNTER_unmatched_frees] = 12;
	sample->counters[DT_COUNTER_truncated_no_frame_pointer] = 2;
}

static inline void sample_python(struct dt_snapshot *sample, const char *file)
{
	const char *command[] = { "python3", "app.py", NULL };
	uint32_t process = SAMPLE_ADD(process, .pid = 4242, .ppid = 1, .start_time_ns = 123, .comm = "python3",
				      .exe = "/usr/bin/python3.11", .command = command, .python = "3.11.2", .rss_bytes = 126418944);
	uint32_t numpy = SAMPLE_ADD(domain, .process = process, .source = DT_SOURCE_TRACEMALLOC, .id = 389047, .name = "numpy",
				    .live_blocks = 14, .live_bytes = 14900224, .peak_bytes = 31457280, .allocations = 100,
				    .allocated_bytes = 99999999, .frees = 86, .freed_bytes = 85099775, .temporary = 80);
	uint32_t libc = SAMPLE_ADD(domain, .process = process, .source = DT_SOURCE_LIBC, .name = "libc", .live_blocks = 3,
				   .live_bytes = 12288, .peak_bytes = 65536, .allocations = 1000003, .allocated_bytes = 40012288,
				   .frees = 1000000, .freed_bytes = 40000000, .temporary = 999999,
				   .at_peak_exact = true);
	uint32_t main = SAMPLE_ADD(frame, .kind = DT_FRAME_PYTHON, .file = file, .line = 5, .function = "<module>", .first_line = 1);
	uint32_t load = SAMPLE_ADD(frame, .kind = DT_FRAME_PYTHON, .file = file, .line = 2, .function = "load", .first_line = 1);
	uint32_t gone = SAMPLE_ADD(frame, .kind = DT_FRAME_PYTHON, .file = "/nonexistent/lib.py", .line = 9, .function = "C.f",
				   .first_line = 7);
	uint32_t start = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/lib/x86_64-linux-gnu/libc.so.6",
				    .build_id = "c047672cae7964324658491e7dee26748ae5d2f8", .address = 155209,
				    .function = "__libc_start_main", .function_offset = 137);
	uint32_t jit = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .address = 0xffffffffff600000);
	uint32_t deep = SAMPLE_ADD(traceback, .frames = (uint32_t[]){ main, load, gone }, .frame_count = 3, .total_frames = 8);
	uint32_t flat = SAMPLE_ADD(traceback, .frames = (uint32_t[]){ main }, .frame_count = 1, .total_frames = 1);
	uint32_t native = SAMPLE_ADD(traceback, .frames = (uint32_t[]){ start, jit }, .frame_count = 2, .total_frames = 2,
				     .truncation = DT_TRUNCATION_no_frame_pointer);

	SAMPLE_ADD(trace, .domain = numpy, .traceback = flat, .blocks = 12, .bytes = 1200000, .allocations = 98,
		   .allocated_bytes = 86299775, .peak_bytes = 2400000, .at_peak_bytes = 2000000, .temporary = 80);
	SAMPLE_ADD(trace, .domain = numpy, .traceback = deep, .blocks = 2, .bytes = 13700224, .allocations = 2,
		   .allocated_bytes = 13700224, .peak_bytes = 13700224, .at_peak_bytes = 13700224);
	SAMPLE_ADD(trace, .domain = libc, .traceback = native, .blocks = 3, .bytes = 12288, .allocations = 1000003,
		   .allocated_bytes = 40012288, .peak_bytes = 65536, .at_peak_bytes = 65536, .temporary = 999999);
}

/* A process whose names are not what anyone hopes for, and a domain that was used up. */
static inline void sample_server(struct dt_snapshot *sample)
{
	const char *command[] = { "\x1b[31mredis\xff", "\xed\xa0\x80", "\xe2\x82", NULL };
	uint32_t process = SAMPLE_ADD(process, .pid = 4194304, .ppid = 4242, .start_time_ns = UINT64_MAX, .comm = "\x1b[31m\xc2\x9bré\xff",
				      .command = command, .exited = true, .rss_bytes = 5);
	uint32_t libc = SAMPLE_ADD(domain, .process = process, .source = DT_SOURCE_LIBC, .name = "libc", .peak_bytes = UINT64_MAX,
				   .allocations = UINT64_MAX, .frees = UINT64_MAX, .allocated_bytes = UINT64_MAX,
				   .freed_bytes = UINT64_MAX, .temporary = UINT64_MAX, .at_peak_exact = true);
	uint32_t lost = SAMPLE_ADD(traceback, .truncation = DT_TRUNCATION_lost);

	SAMPLE_ADD(trace, .domain = libc, .traceback = lost, .allocations = UINT64_MAX, .allocated_bytes = UINT64_MAX,
		   .at_peak_bytes = UINT64_MAX, .temporary = UINT64_MAX);
}

/* `file`: where the Python program is. */
static inline struct dt_snapshot *new_sample(const char *file)
{
	struct dt_snapshot *sample = NULL;
	const char *reason = NULL;

	assert_int_equal(dt_snapshot_new(&sample), 0);
	sample_head(sample);
	sample_python(sample, file);
	sample_server(sample);
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
	return sample;
}

/* What the kernel says of the first process of new_sample(), and how its domains lie in one another. */
static inline void sample_layers(struct dt_snapshot *sample)
{
	const char *reason = NULL;

	sample->processes[0].memory = (struct dt_snapshot_memory){
		.known = true, .after_ns = -5000000000, .resident_bytes = 126418944, .heap_bytes = 12288000,
		.anonymous_mapping_bytes = 98000896, .file_mapping_bytes = 16000000, .other_mapping_bytes = 130048,
		.private_bytes = 100000000, .swap_bytes = 4096,
	};
	sample->processes[0].layers = (struct dt_snapshot_layers){
		.known = true, .exact = true, .after_ns = 20000000, .libc_bytes = 12288, .claimed_bytes = 12000,
	};
	sample->domains[0].compared = true;
	sample->domains[0].in_libc_bytes = 12000;
	sample->domains[0].outside_libc_bytes = 14900224 - 12000;
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
}

static inline void sample_old(struct dt_snapshot *sample)
{
	const char *reason = NULL;

	sample->elapsed_ns = 100000000000;
	sample->ages = (struct dt_snapshot_ages){ .older_than_ns = 60000000000, .age_ns = 60400000000, .exact = true };
	for (uint32_t i = 0; i < sample->trace_count; i++) {
		struct dt_snapshot_trace *trace = &sample->traces[i];

		if (trace->domain)
			continue;
		trace->old_blocks = trace->blocks / 3 + trace->blocks % 3 / 2;  /* of 12: 4; of 2: 1 */
		trace->old_bytes = trace->blocks == 12 ? 200000 : trace->bytes;
		sample->domains[0].old_blocks += trace->old_blocks;
		sample->domains[0].old_bytes += trace->old_bytes;
	}
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
}

/* ---- native and Python frames in one traceback ------------------------------------------------------------------ */

#define SAMPLE_EXTENSION "/srv/lib/_array.cpython-311-x86_64-linux-gnu.so"
#define SAMPLE_STL "/nonexistent/c++/12/bits/"

struct sample_mixed {
	uint32_t start, main, eval, module, load, fill, reserve, allocate, allocate_inner, operator_new, array_new;
	uint32_t jit, anonymous, line_zero, unnamed;
};

static inline struct sample_mixed sample_mixed_frames(struct dt_snapshot *sample, const char *file)
{
	return (struct sample_mixed){
		.start = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/usr/bin/python3.11", .build_id = "0a1b", .address = 2233088,
				    .function = "_start", .function_offset = 32),
		.main = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/usr/bin/python3.11", .build_id = "0a1b", .address = 2180921,
				   .function = "Py_BytesMain", .function_offset = 40, .file = "../Modules/main.c", .line = 734),
		.eval = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/usr/bin/python3.11", .build_id = "0a1b", .address = 5242880,
				   .function = "PyEval_EvalCode", .function_offset = 130),
		.module = SAMPLE_ADD(frame, .kind = DT_FRAME_PYTHON, .file = file, .line = 5, .function = "<module>", .first_line = 1),
		.load = SAMPLE_ADD(frame, .kind = DT_FRAME_PYTHON, .file = file, .line = 2, .function = "load", .first_line = 1),
		.fill = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = SAMPLE_EXTENSION, .address = 8192,
				   .function = "fill(std::vector<double, std::allocator<double> >&, unsigned long)",
				   .function_offset = 64, .file = "/srv/src/array.cpp", .line = 31),
		.reserve = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = SAMPLE_EXTENSION, .address = 8192, .inlined = true,
				      .function = "std::vector<double, std::allocator<double> >::reserve(unsigned long)",
				      .file = SAMPLE_STL "vector.tcc", .line = 79),
		.allocate = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = SAMPLE_EXTENSION, .address = 8192, .inlined = true,
				       .function = "std::_Vector_base<double, std::allocator<double> >::_M_allocate(unsigned long)",
				       .file = SAMPLE_STL "stl_vector.h", .line = 378),
		.allocate_inner = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = SAMPLE_EXTENSION, .address = 8192, .inlined = true,
					     .function = "std::__new_allocator<double>::allocate(unsigned long, void const*)",
					     .file = SAMPLE_STL "new_allocator.h", .line = 137),
		.operator_new = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30",
					   .address = 655395, .function = "operator new(unsigned long)", .function_offset = 24),
		.array_new = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/usr/lib/x86_64-linux-gnu/libstdc++.so.6.0.30",
					.address = 655500, .function = "operator new[](unsigned long, std::nothrow_t const&)",
					.function_offset = 9),
		.jit = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .address = 0x7f0000001234, .function = "py::load:/srv/app.py",
				  .function_offset = 18),
		.anonymous = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .address = 0x7f0000005678),
		.line_zero = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "[vdso]", .address = 2000, .function = "clock",
					.function_offset = 1, .file = "vclock.c"),
		.unnamed = SAMPLE_ADD(frame, .kind = DT_FRAME_NATIVE, .module = "/srv/lib/stripped.so (deleted)", .address = 0x1f40),
	};
}

/* The sum of the traces that were added. */
static inline void sample_close_domain(struct dt_snapshot *sample, uint32_t domain)
{
	struct dt_snapshot_domain *row = &sample->domains[domain];

	for (uint32_t i = 0; i < sample->trace_count; i++) {
		if (sample->traces[i].domain != domain)
			continue;
		row->live_blocks += sample->traces[i].blocks;
		row->live_bytes += sample->traces[i].bytes;
		row->allocations += sample->traces[i].allocations;
		row->allocated_bytes += sample->traces[i].allocated_bytes;
	}
	row->frees = row->allocations - row->live_blocks;
	row->freed_bytes = row->allocated_bytes - row->live_bytes;
}

#define SAMPLE_TRACE(domain_index, blocks_, bytes_, peak_bytes_, total, reason, ...) do { \
	uint32_t sample_frames[] = { __VA_ARGS__ }; \
	uint32_t sample_traceback = SAMPLE_ADD(traceback, .frames = sample_frames, .truncation = DT_TRUNCATION_##reason, \
					       .frame_count = DT_ARRAY_SIZE(sample_frames), .total_frames = total); \
	SAMPLE_ADD(trace, .domain = domain_index, .traceback = sample_traceback, .blocks = blocks_, .bytes = bytes_, \
		   .allocations = 2 * (blocks_), .allocated_bytes = 2 * (bytes_), .peak_bytes = peak_bytes_); \
} while (0)

/* Two ways to one operator new that differ only within the allocator, and tracebacks that end early or in odd places. */
static inline struct dt_snapshot *new_mixed_sample(const char *file)
{
	const char *command[] = { "python3", "app.py", NULL };
	struct dt_snapshot *sample = NULL;
	const char *reason = NULL;

	assert_int_equal(dt_snapshot_new(&sample), 0);
	sample_head(sample);
	sample->traceback_limit = 8;
	uint32_t process = SAMPLE_ADD(process, .pid = 4242, .ppid = 1, .start_time_ns = 123, .comm = "python3", .command = command,
				      .exe = "/usr/bin/python3.11", .python = "3.11.2", .rss_bytes = 126418944);
	uint32_t libc = SAMPLE_ADD(domain, .process = process, .source = DT_SOURCE_LIBC, .name = "libc", .peak_bytes = 50000);
	uint32_t numpy = SAMPLE_ADD(domain, .process = process, .source = DT_SOURCE_TRACEMALLOC, .id = 389047, .name = "numpy",
				    .peak_bytes = 8000);
	struct sample_mixed f = sample_mixed_frames(sample, file);

	SAMPLE_TRACE(libc, 3, 30000, 40000, 10, none, f.start, f.main, f.eval, f.module, f.load, f.fill, f.reserve, f.allocate,
		     f.allocate_inner, f.operator_new);
	SAMPLE_TRACE(libc, 2, 5000, 6000, 8, none, f.start, f.main, f.eval, f.module, f.load, f.fill, f.reserve, f.operator_new);
	SAMPLE_TRACE(libc, 1, 4000, 4000, 20, none, f.module, f.load, f.fill);
	SAMPLE_TRACE(libc, 1, 3000, 3000, 2, python_unplaced, f.jit, f.anonymous);
	SAMPLE_TRACE(libc, 1, 2000, 2000, 3, too_deep, f.unnamed, f.line_zero);
	SAMPLE_TRACE(libc, 1, 1000, 1000, 2, none, f.array_new, f.operator_new);
	SAMPLE_TRACE(numpy, 1, 8000, 8000, 2, none, f.module, f.load);
	sample_close_domain(sample, libc);
	sample_close_domain(sample, numpy);
	assert_int_equal(dt_snapshot_check(sample, &reason), 0);
	return sample;
}

#endif
