/* SPDX-License-Identifier: BSD-2-Clause */
/* A snapshot as one line of JSON (user/snapshot/FORMAT.md), written as it is generated: never whole in memory. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yajl/yajl_gen.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "export/text.h"
#include "snapshot/snapshot.h"

struct json {
	yajl_gen gen;
	FILE *out;
	const struct dt_snapshot *snapshot;
	bool ages;                      /* it has them */
	int error;                      /* the first one; nothing is written after it */
};

/* ---- values -------------------------------------------------------------------------------------------------- */

static void print(void *context, const char *text, size_t size)
{
	struct json *json = context;

	if (!json->error && fwrite_unlocked(text, 1, size, json->out) != size)
		json->error = errno ? -errno : -EIO;
}

static void string(struct json *json, const char *bytes)
{
	DT_FREE char *own = NULL;
	const char *text;
	size_t size;
	int error;

	if (!bytes) {
		yajl_gen_null(json->gen);
		return;
	}
	error = dt_text_decode(bytes, &text, &size, &own);
	if (error)
		json->error = json->error ? json->error : error;
	else
		yajl_gen_string(json->gen, (const unsigned char *)text, size);
}

static void key(struct json *json, const char *name)
{
	yajl_gen_string(json->gen, (const unsigned char *)name, strlen(name));
}

/* Not yajl_gen_integer: it ends at INT64_MAX, and addresses and lost counts may be above. */
static void number(struct json *json, uint64_t value)
{
	char digits[24];
	int size = snprintf(digits, sizeof(digits), "%" PRIu64, value);

	yajl_gen_number(json->gen, digits, (size_t)size);
}

static void key_string(struct json *json, const char *name, const char *value)
{
	key(json, name);
	string(json, value);
}

static void key_number(struct json *json, const char *name, uint64_t value)
{
	key(json, name);
	number(json, value);
}

/* A number that may be unknown. */
static void key_number_if(struct json *json, const char *name, bool known, uint64_t value)
{
	key(json, name);
	if (known)
		number(json, value);
	else
		yajl_gen_null(json->gen);
}

static void key_integer(struct json *json, const char *name, long long value)
{
	key(json, name);
	yajl_gen_integer(json->gen, value);
}

static void key_bool(struct json *json, const char *name, bool value)
{
	key(json, name);
	yajl_gen_bool(json->gen, value);
}

/* ---- rows ---------------------------------------------------------------------------------------------------- */

static void write_time(struct json *json, const struct timespec *time)
{
	char day[48], text[64];
	struct tm utc;

	if (!gmtime_r(&time->tv_sec, &utc)) {
		json->error = json->error ? json->error : -EOVERFLOW;
		return;
	}
	strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(text, sizeof(text), "%s.%09ldZ", day, time->tv_nsec);
	key_string(json, "time", text);
}

static void write_counters(struct json *json, const struct dt_snapshot *snapshot, const char *name, bool losses)
{
	key(json, name);
	yajl_gen_map_open(json->gen);
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++)
		if (dt_counter_is_loss(i) == losses)
			key_number(json, dt_counter_name(i), snapshot->counters[i]);
	yajl_gen_map_close(json->gen);
}

static void write_memory(struct json *json, const struct dt_snapshot_memory *memory)
{
	key(json, "memory");
	if (!memory->known) {
		yajl_gen_null(json->gen);
		return;
	}
	yajl_gen_map_open(json->gen);
	key_integer(json, "after_ns", memory->after_ns);
	key_number(json, "resident_bytes", memory->resident_bytes);
	key_number(json, "heap_bytes", memory->heap_bytes);
	key_number(json, "anonymous_mapping_bytes", memory->anonymous_mapping_bytes);
	key_number(json, "file_mapping_bytes", memory->file_mapping_bytes);
	key_number(json, "other_mapping_bytes", memory->other_mapping_bytes);
	key_number(json, "private_bytes", memory->private_bytes);
	key_number(json, "swap_bytes", memory->swap_bytes);
	key_number(json, "hugetlb_bytes", memory->hugetlb_bytes);
	yajl_gen_map_close(json->gen);
}

static void write_layers(struct json *json, const struct dt_snapshot_layers *layers)
{
	key(json, "layers");
	if (!layers->known) {
		yajl_gen_null(json->gen);
		return;
	}
	yajl_gen_map_open(json->gen);
	key_bool(json, "exact", layers->exact);
	key_integer(json, "after_ns", layers->after_ns);
	key_number(json, "libc_bytes", layers->libc_bytes);
	key_number(json, "claimed_bytes", layers->claimed_bytes);
	key_number(json, "unclaimed_bytes", layers->libc_bytes - layers->claimed_bytes);
	yajl_gen_map_close(json->gen);
}

static void write_process(struct json *json, const struct dt_snapshot_process *process)
{
	key_integer(json, "pid", process->pid);
	key_integer(json, "ppid", process->ppid);
	key_number(json, "start_time_ns", process->start_time_ns);
	key_string(json, "comm", process->comm);
	key_string(json, "exe", process->exe);
	key(json, "command");
	yajl_gen_array_open(json->gen);
	for (const char *const *argument = process->command; *argument; argument++)
		string(json, *argument);
	yajl_gen_array_close(json->gen);
	key_string(json, "python", process->python);
	key_bool(json, "exited", process->exited);
	key_bool(json, "from_start", process->from_start);
	key_number(json, "rss_bytes", process->rss_bytes);
	write_memory(json, &process->memory);
	write_layers(json, &process->layers);
}

static void write_ages(struct json *json, const struct dt_snapshot_ages *ages)
{
	if (!ages->older_than_ns)
		return;
	key(json, "ages");
	yajl_gen_map_open(json->gen);
	key_number(json, "older_than_ns", ages->older_than_ns);
	key_number_if(json, "age_ns", ages->age_ns, ages->age_ns);
	key_bool(json, "exact", ages->exact);
	yajl_gen_map_close(json->gen);
}

/* Only where they were asked for: most of a snapshot is rows. */
static void write_old(struct json *json, uint64_t blocks, uint64_t bytes)
{
	if (!json->ages)
		return;
	key_number(json, "old_blocks", blocks);
	key_number(json, "old_bytes", bytes);
}

/* [[upper_bytes, blocks, bytes], …] */
static void write_sizes(struct json *json, bool sized, const struct dt_snapshot_sizes *sizes)
{
	if (!sized)
		return;
	key(json, "sizes");
	yajl_gen_array_open(json->gen);
	for (uint32_t i = 0; i < sizes->count; i++) {
		yajl_gen_array_open(json->gen);
		number(json, sizes->rows[i].upper_bytes);
		number(json, sizes->rows[i].blocks);
		number(json, sizes->rows[i].bytes);
		yajl_gen_array_close(json->gen);
	}
	yajl_gen_array_close(json->gen);
}

static void write_domain(struct json *json, const struct dt_snapshot_domain *domain)
{
	key_number(json, "process", domain->process);
	key_string(json, "name", domain->name);
	key_string(json, "source", dt_source_name(domain->source));
	key_number_if(json, "id", domain->source == DT_SOURCE_TRACEMALLOC || domain->source == DT_SOURCE_DECLARED, domain->id);
	key_number(json, "live_blocks", domain->live_blocks);
	key_number(json, "live_bytes", domain->live_bytes);
	key_number(json, "peak_bytes", domain->peak_bytes);
	key_number(json, "allocations", domain->allocations);
	key_number(json, "allocated_bytes", domain->allocated_bytes);
	key_number(json, "frees", domain->frees);
	key_number(json, "freed_bytes", domain->freed_bytes);
	key_number(json, "temporary", domain->temporary);
	key_bool(json, "at_peak_exact", domain->at_peak_exact);
	key_number_if(json, "in_libc_bytes", domain->compared, domain->in_libc_bytes);
	key_number_if(json, "outside_libc_bytes", domain->compared, domain->outside_libc_bytes);
	write_old(json, domain->old_blocks, domain->old_bytes);
	write_sizes(json, domain->sized, &domain->sizes);
	if (domain->sized)
		key_bool(json, "sizes_exact", domain->sizes_exact);
}

static void write_trace(struct json *json, const struct dt_snapshot_trace *trace)
{
	key_number(json, "domain", trace->domain);
	key_number(json, "traceback", trace->traceback);
	key_number(json, "blocks", trace->blocks);
	key_number(json, "bytes", trace->bytes);
	key_number(json, "allocations", trace->allocations);
	key_number(json, "allocated_bytes", trace->allocated_bytes);
	key_number(json, "peak_bytes", trace->peak_bytes);
	key_number(json, "at_peak_bytes", trace->at_peak_bytes);
	key_number(json, "temporary", trace->temporary);
	write_old(json, trace->old_blocks, trace->old_bytes);
	write_sizes(json, json->snapshot->domains[trace->domain].sized, &trace->sizes);
}

static void write_traceback(struct json *json, const struct dt_snapshot_traceback *traceback)
{
	key(json, "frames");
	yajl_gen_array_open(json->gen);
	for (uint32_t i = 0; i < traceback->frame_count; i++)
		number(json, traceback->frames[i]);
	yajl_gen_array_close(json->gen);
	key_number(json, "total_frames", traceback->total_frames);
	key_string(json, "truncated", dt_truncation_name(traceback->truncation));
}

static void write_frame(struct json *json, const struct dt_snapshot_frame *frame)
{
	if (frame->kind == DT_FRAME_PYTHON) {
		key_string(json, "kind", "python");
		key_string(json, "file", frame->file);
		key_number_if(json, "line", frame->line > 0, (uint64_t)frame->line);
		key_string(json, "function", frame->function);
		key_integer(json, "first_line", frame->first_line);
		return;
	}
	key_string(json, "kind", "native");
	key_string(json, "module", frame->module);
	key_string(json, "build_id", frame->build_id);
	key_number(json, "address", frame->address);
	key_string(json, "function", frame->function);
	key_number_if(json, "function_offset", frame->function && !frame->inlined, frame->function_offset);
	key_string(json, "file", frame->file);
	key_number_if(json, "line", frame->line > 0, (uint64_t)frame->line);
	key_bool(json, "inlined", frame->inlined);
}

/* ---- the document ------------------------------------------------------------------------------------------- */

static void write_head(struct json *json, const struct dt_snapshot *snapshot)
{
	key_string(json, "format", "domtrace-snapshot");
	key_number(json, "version", 1);
	key_string(json, "tool", "domtrace " DOMTRACE_VERSION);
	key_number(json, "sequence", snapshot->sequence);
	key_string(json, "label", snapshot->label);
	write_time(json, &snapshot->time);
	key_number(json, "elapsed_ns", snapshot->elapsed_ns);
	key_number(json, "traceback_limit", snapshot->traceback_limit);
	write_ages(json, &snapshot->ages);
	key_bool(json, "complete", dt_snapshot_is_complete(snapshot));
	write_counters(json, snapshot, "losses", true);
	write_counters(json, snapshot, "counters", false);
	key_string(json, "kernel", snapshot->kernel);
	key_string(json, "architecture", snapshot->architecture);
}

/* A table: an array of one object a row. It ends early once nothing can be written any more. */
#define WRITE_TABLE(json, name, rows, count, write_row) do { \
	key(json, name); \
	yajl_gen_array_open((json)->gen); \
	for (uint32_t row = 0; row < (count) && !(json)->error; row++) { \
		yajl_gen_map_open((json)->gen); \
		write_row(json, &(rows)[row]); \
		yajl_gen_map_close((json)->gen); \
	} \
	yajl_gen_array_close((json)->gen); \
} while (0)

static void write_document(struct json *json, const struct dt_snapshot *snapshot)
{
	yajl_gen_map_open(json->gen);
	write_head(json, snapshot);
	WRITE_TABLE(json, "processes", snapshot->processes, snapshot->process_count, write_process);
	WRITE_TABLE(json, "domains", snapshot->domains, snapshot->domain_count, write_domain);
	WRITE_TABLE(json, "traces", snapshot->traces, snapshot->trace_count, write_trace);
	WRITE_TABLE(json, "tracebacks", snapshot->tracebacks, snapshot->traceback_count, write_traceback);
	WRITE_TABLE(json, "frames", snapshot->frames, snapshot->frame_count, write_frame);
	yajl_gen_map_close(json->gen);
	print(json, "\n", 1);
}

int dt_snapshot_write_json(const struct dt_snapshot *snapshot, FILE *out)
{
	struct json json = { .gen = yajl_gen_alloc(NULL), .out = out, .snapshot = snapshot, .ages = snapshot->ages.older_than_ns };

	if (!json.gen)
		return -ENOMEM;
	yajl_gen_config(json.gen, yajl_gen_print_callback, print, &json);
	write_document(&json, snapshot);
	yajl_gen_free(json.gen);
	errno = 0;
	if (!json.error && fflush(out) == EOF)
		json.error = errno ? -errno : -EIO;
	return json.error;
}
