/* SPDX-License-Identifier: BSD-2-Clause */
/* What a running trace holds, for 'domtrace ctl status': text, or one line of JSON. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yajl/yajl_gen.h>

#include <domtrace/domtrace.h>

#include "base/cleanup.h"
#include "export/figure.h"
#include "export/text.h"
#include "snapshot/snapshot.h"

#define COMM_COLUMNS 32
#define FILE_COLUMNS 4096               /* a path is not cut */

/* When tracing began or was last cleared. */
static void format_since(const struct dt_snapshot *totals, char *text, size_t size)
{
	time_t since = totals->time.tv_sec - (time_t)(totals->elapsed_ns / 1000000000);
	struct tm utc;

	if ((uint64_t)totals->time.tv_nsec < totals->elapsed_ns % 1000000000)
		since--;
	if (!gmtime_r(&since, &utc) || !strftime(text, size, "%Y-%m-%dT%H:%M:%SZ", &utc))
		snprintf(text, size, "?");
}

/* ---- text -------------------------------------------------------------------------------------------------------- */

static void write_grouped(FILE *out, const char *before, uint64_t value, const char *behind)
{
	char text[DT_FIGURE_SIZE];

	dt_figure_grouped(value, text);
	fprintf(out, "%s%s%s", before, text, behind);
}

static void write_domain(const struct dt_snapshot_domain *domain, FILE *out)
{
	fprintf(out, "    %s:", domain->name);
	write_grouped(out, " ", domain->live_bytes, " bytes");
	write_grouped(out, " in ", domain->live_blocks, " blocks live");
	write_grouped(out, ", peak ", domain->peak_bytes, " bytes\n");
}

static int write_processes(const struct dt_snapshot *totals, FILE *out)
{
	fprintf(out, "processes: %" PRIu32 "\n", totals->process_count);
	for (uint32_t i = 0; i < totals->process_count; i++) {
		const struct dt_snapshot_process *process = &totals->processes[i];
		const char *name = process->comm ? process->comm : "?";
		DT_FREE char *comm = dt_text_fit(name, strlen(name), COMM_COLUMNS, DT_TEXT_CUT_MIDDLE);

		if (!comm)
			return -ENOMEM;
		fprintf(out, "  %d (%s)%s\n", (int)process->pid, comm, process->exited ? ", exited" : "");
		for (uint32_t j = 0; j < totals->domain_count; j++)
			if (totals->domains[j].process == i)
				write_domain(&totals->domains[j], out);
	}
	return 0;
}

static void write_losses(const struct dt_snapshot *totals, FILE *out)
{
	if (dt_snapshot_is_complete(totals))
		fputs("losses: none\n", out);
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++) {
		if (!dt_counter_is_loss(i) || !totals->counters[i])
			continue;
		write_grouped(out, "losses: ", totals->counters[i], " ");
		fprintf(out, "%s\n", dt_counter_help(i));
	}
}

static int write_text(const struct dt_snapshot *totals, const struct dt_status_opts *opts, FILE *out)
{
	const char *name = opts->file ? opts->file : "none";
	DT_FREE char *file = dt_text_fit(name, strlen(name), FILE_COLUMNS, DT_TEXT_CUT_MIDDLE);
	char since[32], seconds[DT_FIGURE_SIZE];
	int error;

	if (!file)
		return -ENOMEM;
	format_since(totals, since, sizeof(since));
	dt_figure_seconds(totals->elapsed_ns, seconds);
	fprintf(out, "since: %s, for %s\n", since, seconds);
	fprintf(out, "snapshots: %" PRIu64 "\nfile: %s\n", totals->sequence, file);
	write_grouped(out, "kernel memory: ", opts->kernel_bytes, " bytes\n");
	write_losses(totals, out);
	error = write_processes(totals, out);
	return error ? error : ferror(out) ? -EIO : 0;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void key(yajl_gen gen, const char *name)
{
	yajl_gen_string(gen, (const unsigned char *)name, strlen(name));
}

static void key_number(yajl_gen gen, const char *name, uint64_t value)
{
	char digits[24];
	int size = snprintf(digits, sizeof(digits), "%" PRIu64, value);

	key(gen, name);
	yajl_gen_number(gen, digits, (size_t)size);
}

static int key_string(yajl_gen gen, const char *name, const char *bytes)
{
	DT_FREE char *own = NULL;
	const char *text;
	size_t size;
	int error = bytes ? dt_text_decode(bytes, &text, &size, &own) : 0;

	key(gen, name);
	if (bytes && !error)
		yajl_gen_string(gen, (const unsigned char *)text, size);
	else
		yajl_gen_null(gen);
	return error;
}

static int generate_domains(yajl_gen gen, const struct dt_snapshot *totals, uint32_t process)
{
	int error = 0;

	key(gen, "domains");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < totals->domain_count && !error; i++) {
		const struct dt_snapshot_domain *domain = &totals->domains[i];

		if (domain->process != process)
			continue;
		yajl_gen_map_open(gen);
		error = key_string(gen, "name", domain->name);
		key_number(gen, "live_blocks", domain->live_blocks);
		key_number(gen, "live_bytes", domain->live_bytes);
		key_number(gen, "peak_bytes", domain->peak_bytes);
		yajl_gen_map_close(gen);
	}
	yajl_gen_array_close(gen);
	return error;
}

static int generate_processes(yajl_gen gen, const struct dt_snapshot *totals)
{
	int error = 0;

	key(gen, "processes");
	yajl_gen_array_open(gen);
	for (uint32_t i = 0; i < totals->process_count && !error; i++) {
		yajl_gen_map_open(gen);
		key_number(gen, "pid", (uint64_t)totals->processes[i].pid);
		error = key_string(gen, "comm", totals->processes[i].comm);
		key(gen, "exited");
		yajl_gen_bool(gen, totals->processes[i].exited);
		if (!error)
			error = generate_domains(gen, totals, i);
		yajl_gen_map_close(gen);
	}
	yajl_gen_array_close(gen);
	return error;
}

static int generate(yajl_gen gen, const struct dt_snapshot *totals, const struct dt_status_opts *opts)
{
	char since[32];
	int error;

	format_since(totals, since, sizeof(since));
	yajl_gen_map_open(gen);
	key_string(gen, "since", since);
	key_number(gen, "elapsed_ns", totals->elapsed_ns);
	key_number(gen, "snapshots", totals->sequence);
	error = key_string(gen, "file", opts->file);
	key_number(gen, "kernel_bytes", opts->kernel_bytes);
	key(gen, "losses");
	yajl_gen_map_open(gen);
	for (enum dt_counter i = 0; i < DT_COUNTER_COUNT; i++)
		if (dt_counter_is_loss(i))
			key_number(gen, dt_counter_name(i), totals->counters[i]);
	yajl_gen_map_close(gen);
	if (!error)
		error = generate_processes(gen, totals);
	yajl_gen_map_close(gen);
	return error;
}

static int write_json(const struct dt_snapshot *totals, const struct dt_status_opts *opts, FILE *out)
{
	yajl_gen gen = yajl_gen_alloc(NULL);
	const unsigned char *text;
	size_t size;
	int error = gen ? generate(gen, totals, opts) : -ENOMEM;

	if (!error && yajl_gen_get_buf(gen, &text, &size) != yajl_gen_status_ok)
		error = -ENOMEM;
	if (!error && (fwrite(text, 1, size, out) != size || fputc('\n', out) == EOF))
		error = -EIO;
	if (gen)
		yajl_gen_free(gen);
	return error;
}

int dt_status_write(const struct dt_snapshot *totals, const struct dt_status_opts *opts, FILE *out)
{
	return opts->json ? write_json(totals, opts, out) : write_text(totals, opts, out);
}
