/* SPDX-License-Identifier: BSD-2-Clause */
#include "export/fold.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/wrapper.h"
#include "snapshot/sizes.h"

struct fold {
	const struct dt_snapshot *from;
	struct dt_snapshot *to;
	uint32_t *frames;               /* by frame of `from`: its index in `to`, plus 1; 0: not copied */
	uint32_t *tracebacks;           /* by traceback of `from`: its index in `to` */
};

static void cleanup_fold(struct fold *fold)
{
	dt_snapshot_free(fold->to);
	free(fold->frames);
	free(fold->tracebacks);
}

static int copy_head(struct fold *fold)
{
	const struct dt_snapshot *from = fold->from;
	struct dt_snapshot *to = fold->to;

	to->sequence = from->sequence;
	to->label = dt_snapshot_string(to, from->label);
	to->time = from->time;
	to->elapsed_ns = from->elapsed_ns;
	to->traceback_limit = from->traceback_limit;
	to->ages = from->ages;
	memcpy(to->counters, from->counters, sizeof(to->counters));
	to->kernel = dt_snapshot_string(to, from->kernel);
	to->architecture = dt_snapshot_string(to, from->architecture);
	return (from->label && !to->label) || (from->kernel && !to->kernel) ||
	       (from->architecture && !to->architecture) ? -ENOMEM : 0;
}

static int copy_owners(struct fold *fold)
{
	uint32_t index;
	int error = 0;

	for (uint32_t i = 0; i < fold->from->process_count && !error; i++)
		error = dt_snapshot_add_process(fold->to, &fold->from->processes[i], &index);
	for (uint32_t i = 0; i < fold->from->domain_count && !error; i++)
		error = dt_snapshot_add_domain(fold->to, &fold->from->domains[i], &index);
	return error;
}

/* ---- tracebacks ---------------------------------------------------------------------------------------------- */

static bool is_wrapper(const struct dt_snapshot_frame *frame)
{
	return frame->kind == DT_FRAME_NATIVE && frame->function && dt_wrapper_is(frame->function);
}

/* What a report shows of a frame (export/traceback.c). */
static struct dt_snapshot_frame shown(const struct dt_snapshot_frame *frame)
{
	struct dt_snapshot_frame row = *frame;

	row.first_line = 0;
	row.build_id = NULL;
	if (row.file || (row.inlined && row.function))
		row.address = row.function_offset = 0;
	return row;
}

static int copy_frame(struct fold *fold, uint32_t frame, uint32_t *ret_index)
{
	if (!fold->frames[frame]) {
		struct dt_snapshot_frame row = shown(&fold->from->frames[frame]);
		uint32_t index;
		int error = dt_snapshot_add_frame(fold->to, &row, &index);

		if (error)
			return error;
		fold->frames[frame] = index + 1;
	}
	*ret_index = fold->frames[frame] - 1;
	return 0;
}

static int copy_traceback(struct fold *fold, uint32_t traceback)
{
	struct dt_snapshot_traceback row = fold->from->tracebacks[traceback];
	const uint32_t *frames = row.frames;
	DT_FREE uint32_t *copied = NULL;
	int error;

	while (row.frame_count > 1 && is_wrapper(&fold->from->frames[frames[row.frame_count - 1]])) {
		row.frame_count--;
		row.total_frames--;
	}
	copied = calloc(row.frame_count + 1ul, sizeof(*copied));
	if (!copied)
		return -ENOMEM;
	for (uint32_t i = 0; i < row.frame_count; i++) {
		error = copy_frame(fold, frames[i], &copied[i]);
		if (error)
			return error;
	}
	row.frames = copied;
	return dt_snapshot_add_traceback(fold->to, &row, &fold->tracebacks[traceback]);
}

static int copy_tracebacks(struct fold *fold)
{
	int error = 0;

	fold->frames = calloc(fold->from->frame_count + 1ul, sizeof(*fold->frames));
	fold->tracebacks = calloc(fold->from->traceback_count + 1ul, sizeof(*fold->tracebacks));
	if (!fold->frames || !fold->tracebacks)
		return -ENOMEM;
	for (uint32_t i = 0; i < fold->from->traceback_count && !error; i++)
		error = copy_traceback(fold, i);
	return error;
}

/* ---- traces -------------------------------------------------------------------------------------------------- */

static int compare_traces(const void *trace_a, const void *trace_b)
{
	const struct dt_snapshot_trace *a = trace_a, *b = trace_b;

	if (a->domain != b->domain)
		return a->domain < b->domain ? -1 : 1;
	return (a->traceback > b->traceback) - (a->traceback < b->traceback);
}

static void add_trace(struct dt_snapshot_trace *sum, const struct dt_snapshot_trace *trace, uint64_t domain_peak_bytes)
{
	uint64_t most = sum->peak_bytes > trace->peak_bytes ? sum->peak_bytes : trace->peak_bytes;

	most = most > domain_peak_bytes ? most : domain_peak_bytes;
	if (__builtin_add_overflow(sum->peak_bytes, trace->peak_bytes, &sum->peak_bytes) || sum->peak_bytes > most)
		sum->peak_bytes = most;
	sum->blocks += trace->blocks;
	sum->bytes += trace->bytes;
	sum->allocations += trace->allocations;
	sum->allocated_bytes += trace->allocated_bytes;
	sum->at_peak_bytes += trace->at_peak_bytes;
	sum->temporary += trace->temporary;
	sum->old_blocks += trace->old_blocks;
	sum->old_bytes += trace->old_bytes;
}

/* Of traces that become one. */
static int sum_sizes(struct fold *fold, const struct dt_snapshot_trace *traces, uint32_t count, struct dt_snapshot_sizes *sizes)
{
	struct dt_size_sums sums = { .blocks = { 0 } };

	for (uint32_t i = 0; i < count; i++)
		dt_size_sums_add(&sums, &traces[i].sizes);
	return count > 1 ? dt_size_sums_keep(&sums, fold->to, sizes) : 0;
}

static int copy_traces(struct fold *fold)
{
	uint32_t count = fold->from->trace_count, index;
	DT_FREE struct dt_snapshot_trace *traces = calloc(count + 1ul, sizeof(*traces));
	int error = traces ? 0 : -ENOMEM;

	if (error)
		return error;
	for (uint32_t i = 0; i < count; i++) {
		traces[i] = fold->from->traces[i];
		traces[i].traceback = fold->tracebacks[traces[i].traceback];
	}
	qsort(traces, count, sizeof(*traces), compare_traces);
	for (uint32_t i = 0; i < count && !error;) {
		struct dt_snapshot_trace sum = traces[i];
		uint32_t first = i++;

		for (; i < count && !compare_traces(&sum, &traces[i]); i++)
			add_trace(&sum, &traces[i], fold->from->domains[sum.domain].peak_bytes);
		error = sum_sizes(fold, &traces[first], i - first, &sum.sizes);
		error = error ? error : dt_snapshot_add_trace(fold->to, &sum, &index);
	}
	return error;
}

int dt_fold_new(const struct dt_snapshot *snapshot, struct dt_snapshot **ret_folded)
{
	DT_CLEANUP(cleanup_fold) struct fold fold = { .from = snapshot };
	int error = dt_snapshot_new(&fold.to);

	error = error ? error : copy_head(&fold);
	error = error ? error : copy_owners(&fold);
	error = error ? error : copy_tracebacks(&fold);
	error = error ? error : copy_traces(&fold);
	if (!error)
		*ret_folded = DT_TAKE(fold.to);
	return error;
}
