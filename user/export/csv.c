/* SPDX-License-Identifier: BSD-2-Clause */
/* A row a trace, as RFC 4180 has it, with a line of names; the traceback is one field with a newline between its frames. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/format.h"
#include "export/text.h"
#include "snapshot/place.h"

static int write_text(FILE *out, const char *text)
{
	DT_FREE char *own = NULL;
	const char *decoded;
	size_t size;
	int error = dt_text_decode(text, &decoded, &size, &own);

	for (size_t i = 0; i < size && !error; i++) {
		if (decoded[i] == '"')
			putc_unlocked('"', out);
		putc_unlocked(decoded[i], out);
	}
	return error;
}

static int write_field(FILE *out, const char *text)
{
	int error;

	putc_unlocked('"', out);
	error = text ? write_text(out, text) : 0;
	fputs_unlocked("\",", out);
	return error;
}

/* `/srv/app.py:5 load`, the oldest first */
static int write_traceback(const struct dt_snapshot *snapshot, const struct dt_snapshot_traceback *row, FILE *out)
{
	int error = 0;

	putc_unlocked('"', out);
	for (uint32_t i = 0; i < row->frame_count && !error; i++) {
		const struct dt_snapshot_frame *frame = &snapshot->frames[row->frames[i]];
		struct dt_place place = dt_place_of(frame);

		if (i)
			putc_unlocked('\n', out);
		error = write_text(out, place.name);
		fprintf(out, frame->file ? ":%" PRIu64 : ":0x%" PRIx64, place.number);
		if (frame->function && !error) {
			putc_unlocked(' ', out);
			error = write_text(out, frame->function);
		}
	}
	fputs_unlocked("\"\r\n", out);
	return error;
}

int dt_csv_write(const struct dt_snapshot *snapshot, enum dt_sort sort, FILE *out)
{
	int error = 0;

	(void)sort;
	fputs("pid,process,domain,live_bytes,live_blocks,allocated_bytes,allocations,peak_bytes,total_frames,truncated,traceback\r\n", out);
	for (uint32_t i = 0; i < snapshot->trace_count && !error; i++) {
		const struct dt_snapshot_trace *trace = &snapshot->traces[i];
		const struct dt_snapshot_domain *domain = &snapshot->domains[trace->domain];
		const struct dt_snapshot_process *process = &snapshot->processes[domain->process];
		const struct dt_snapshot_traceback *row = &snapshot->tracebacks[trace->traceback];

		fprintf(out, "%d,", process->pid);
		error = write_field(out, process->comm);
		error = error ? error : write_field(out, domain->name);
		fprintf(out, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%u,", trace->bytes, trace->blocks,
			trace->allocated_bytes, trace->allocations, trace->peak_bytes, row->total_frames);
		error = error ? error : write_field(out, dt_truncation_name(row->truncation));
		error = error ? error : write_traceback(snapshot, row, out);
	}
	return error;
}
