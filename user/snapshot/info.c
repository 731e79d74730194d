/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/info.h"

#include "snapshot/place.h"

int dt_snapshot_get_info(const struct dt_snapshot *snapshot, struct dt_snapshot_info *info)
{
	struct dt_snapshot_info filled = {
		.sequence = snapshot->sequence,
		.label = snapshot->label,
		.time = snapshot->time,
		.elapsed_ns = snapshot->elapsed_ns,
		.traceback_limit = snapshot->traceback_limit,
		.complete = dt_snapshot_is_complete(snapshot),
		.process_count = snapshot->process_count,
		.domain_count = snapshot->domain_count,
		.trace_count = snapshot->trace_count,
	};

	return dt_info_fill(info, &filled, sizeof(filled));
}

int dt_snapshot_get_process(const struct dt_snapshot *snapshot, size_t index, struct dt_snapshot_process_info *info)
{
	const struct dt_snapshot_process *row = &snapshot->processes[index];
	struct dt_snapshot_process_info filled;

	if (index >= snapshot->process_count)
		return -ERANGE;
	filled = (struct dt_snapshot_process_info){
		.pid = row->pid,
		.ppid = row->ppid,
		.start_time_ns = row->start_time_ns,
		.comm = row->comm,
		.exe = row->exe,
		.command = row->command,
		.python = row->python,
		.exited = row->exited,
		.from_start = row->from_start,
		.resident_bytes = row->rss_bytes,
	};
	return dt_info_fill(info, &filled, sizeof(filled));
}

int dt_snapshot_get_domain(const struct dt_snapshot *snapshot, size_t index, struct dt_domain_info *info)
{
	const struct dt_snapshot_domain *row = &snapshot->domains[index];
	struct dt_domain_info filled;

	if (index >= snapshot->domain_count)
		return -ERANGE;
	filled = (struct dt_domain_info){
		.process = row->process,
		.name = row->name,
		.live_blocks = row->live_blocks,
		.live_bytes = row->live_bytes,
		.peak_bytes = row->peak_bytes,
		.allocations = row->allocations,
		.allocated_bytes = row->allocated_bytes,
		.frees = row->frees,
		.freed_bytes = row->freed_bytes,
		.temporary = row->temporary,
		.old_blocks = row->old_blocks,
		.old_bytes = row->old_bytes,
	};
	return dt_info_fill(info, &filled, sizeof(filled));
}

int dt_snapshot_get_trace(const struct dt_snapshot *snapshot, size_t index, struct dt_trace_info *info)
{
	const struct dt_snapshot_trace *row = &snapshot->traces[index];
	const struct dt_snapshot_traceback *traceback;
	struct dt_trace_info filled;

	if (index >= snapshot->trace_count)
		return -ERANGE;
	traceback = &snapshot->tracebacks[row->traceback];
	filled = (struct dt_trace_info){
		.domain = row->domain,
		.live_blocks = row->blocks,
		.live_bytes = row->bytes,
		.peak_bytes = row->peak_bytes,
		.at_peak_bytes = row->at_peak_bytes,
		.allocations = row->allocations,
		.allocated_bytes = row->allocated_bytes,
		.temporary = row->temporary,
		.old_blocks = row->old_blocks,
		.old_bytes = row->old_bytes,
		.frame_count = traceback->frame_count,
		.total_frames = traceback->total_frames,
		.truncated = dt_truncation_name(traceback->truncation),
	};
	return dt_info_fill(info, &filled, sizeof(filled));
}

int dt_info_fill_frame(const struct dt_snapshot_frame *frame, const char *filename, uint64_t lineno, struct dt_frame_info *info)
{
	struct dt_frame_info filled = { .filename = filename, .lineno = lineno };

	if (frame) {
		filled.python = frame->kind == DT_FRAME_PYTHON;
		filled.inlined = frame->inlined;
		filled.function = frame->function;
		filled.file = frame->file;
		filled.line = frame->line;
		filled.module = frame->module;
		filled.build_id = frame->build_id;
		filled.address = frame->address;
	}
	return dt_info_fill(info, &filled, sizeof(filled));
}

int dt_snapshot_get_frame(const struct dt_snapshot *snapshot, size_t trace, size_t frame, struct dt_frame_info *info)
{
	const struct dt_snapshot_traceback *traceback;
	const struct dt_snapshot_frame *row;
	struct dt_place place;

	if (trace >= snapshot->trace_count)
		return -ERANGE;
	traceback = &snapshot->tracebacks[snapshot->traces[trace].traceback];
	if (frame >= traceback->frame_count)
		return -ERANGE;
	row = &snapshot->frames[traceback->frames[frame]];
	place = dt_place_of(row);
	return dt_info_fill_frame(row, place.name, place.number, info);
}
