/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line a trace, frames with semicolons between them and a figure at its end, as flamegraph.pl (github.com/brendangregg/FlameGraph)
 * and most viewers of profiles read it. Process and domain are the oldest frames.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/cleanup.h"
#include "export/format.h"
#include "export/text.h"
#include "snapshot/place.h"
#include "snapshot/statistic.h"

/* What separates frames, and ends lines, in a name is written as ':' and as ' '. */
static int write_name(FILE *out, const char *name)
{
	DT_FREE char *own = NULL;
	const char *text;
	size_t size;
	int error = dt_text_decode(name, &text, &size, &own);

	for (size_t i = 0; i < size && !error; i++)
		putc_unlocked(text[i] == ';' ? ':' : (unsigned char)text[i] < ' ' ? ' ' : text[i], out);
	return error;
}

/* `load (/srv/app.py:5)`, `malloc (libc.so.6)`, `libc.so.6:0x98930` */
static int write_frame(FILE *out, const struct dt_snapshot_frame *frame)
{
	struct dt_place place = dt_place_of(frame);
	int error = 0;

	putc_unlocked(';', out);
	if (frame->function)
		error = write_name(out, frame->function);
	if (frame->function && !error)
		fputs_unlocked(" (", out);
	error = error ? error : write_name(out, place.name);
	if (frame->file)
		fprintf(out, ":%" PRIu64, place.number);
	else if (!frame->function)
		fprintf(out, ":0x%" PRIx64, place.number);
	if (frame->function)
		putc_unlocked(')', out);
	return error;
}

int dt_folded_write(const struct dt_snapshot *snapshot, enum dt_sort sort, FILE *out)
{
	int error = 0;

	for (uint32_t i = 0; i < snapshot->trace_count && !error; i++) {
		const struct dt_snapshot_trace *trace = &snapshot->traces[i];
		const struct dt_snapshot_domain *domain = &snapshot->domains[trace->domain];
		const struct dt_snapshot_process *process = &snapshot->processes[domain->process];
		const struct dt_snapshot_traceback *row = &snapshot->tracebacks[trace->traceback];

		if (!dt_statistic_key(trace, sort))
			continue;
		error = write_name(out, process->comm ? process->comm : DT_PLACE_UNKNOWN);
		fprintf(out, "-%d;", process->pid);
		error = error ? error : write_name(out, domain->name);
		if (row->truncation)
			fprintf(out, ";[%s]", dt_truncation_name(row->truncation));
		for (uint32_t k = 0; k < row->frame_count && !error; k++)
			error = write_frame(out, &snapshot->frames[row->frames[k]]);
		fprintf(out, " %" PRIu64 "\n", dt_statistic_key(trace, sort));
	}
	return error;
}
