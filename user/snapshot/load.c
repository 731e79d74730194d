/* SPDX-License-Identifier: BSD-2-Clause */
#include "snapshot/load.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/parse.h"
#include "snapshot/document.h"
#include "snapshot/json_reader.h"
#include "snapshot/snapshot.h"

struct load {
	struct dt_input *input;
	struct dt_json *json;
	const char *name;
	const struct dt_log *log;
	struct dt_snapshot *snapshot;   /* the last that was read whole */
	struct dt_document_notes notes; /* of it */
	uint64_t lines;                 /* whole ones so far */
	bool cut;                       /* the last line has no newline */
	bool data_cut;                  /* the compressed data end in the middle */
};

static void close_load(struct load *load)
{
	dt_json_free(load->json);
	dt_snapshot_free(load->snapshot);
}

static int fail_line(const struct load *load, int error, uint64_t line, uint64_t byte, const char *place, const char *reason)
{
	if (error == -ENOMEM)
		return dt_log_error(load->log, error, "%s: line %" PRIu64 " cannot be read: %s", load->name, line, reason);
	return dt_log_error(load->log, error, "%s: line %" PRIu64 ", byte %" PRIu64 "%s%s%s: %s", load->name, line, byte,
			    *place ? " (" : "", place, *place ? ")" : "", reason);
}

/*
 * What was wrong with a line counts only if the line is whole: a last one without its newline was never written to its end. 0: it
 * was such a line.
 */
static int refuse_line(struct load *load, int error, const char *place)
{
	uint64_t line, byte;
	DT_FREE char *reason = strdup(dt_json_reason(load->json, &line, &byte));

	if (!reason)
		return dt_log_error(load->log, -ENOMEM, "%s: not enough memory", load->name);
	if (error != -ENOMEM && error != -EPROTONOSUPPORT && !dt_json_skip_line(load->json) && !dt_json_error(load->json)) {
		load->cut = true;
		return 0;
	}
	return fail_line(load, error, line, byte, place, reason);
}

/* Reads the next line, which there is. Where it is not whole, the snapshot before stays. */
static int read_line(struct load *load)
{
	char place[DT_DOCUMENT_PLACE_SIZE];
	struct dt_document_notes notes;
	struct dt_snapshot *snapshot;
	const char *reason;
	int error = dt_snapshot_new(&snapshot);

	if (error)
		return dt_log_error(load->log, error, "%s: not enough memory", load->name);
	error = dt_document_read(load->json, snapshot, &notes, place);
	if (!error && !dt_json_end_line(load->json)) {
		error = dt_json_error(load->json);
		load->cut = !error;
	}
	if (error)
		error = refuse_line(load, error, place);
	else if (!load->cut)
		load->lines++;
	if (error || load->cut) {
		dt_snapshot_free(snapshot);
		return error;
	}
	error = dt_snapshot_check(snapshot, &reason);
	if (error) {
		error = dt_log_error(load->log, error, "%s: line %" PRIu64 ": the snapshot contradicts itself: %s", load->name, load->lines,
				     error == -ENOMEM ? "there is not enough memory to find out" : reason);
		dt_snapshot_free(snapshot);
		return error;
	}
	dt_snapshot_free(load->snapshot);
	load->snapshot = snapshot;
	load->notes = notes;
	return 0;
}

/* Passes up to `count` whole lines. */
static int skip_lines(struct load *load, uint64_t count)
{
	for (; count && dt_json_has_line(load->json); count--) {
		if (!dt_json_skip_line(load->json)) {
			load->cut = !dt_json_error(load->json);
			break;
		}
		load->lines++;
	}
	return dt_json_error(load->json);
}

static int fail_reading(const struct load *load, int error)
{
	uint64_t line, byte;
	const char *reason = dt_json_reason(load->json, &line, &byte);

	return fail_line(load, error, line, byte, "", reason);
}

/* Of a file that can be read again only the last line matters: the others are counted. Others are read as they come. */
static int read_last(struct load *load)
{
	uint64_t last;
	bool cut;
	int error = read_line(load);

	if (error || load->cut || !dt_json_has_line(load->json))
		return error;
	error = skip_lines(load, UINT64_MAX);
	if (error)
		return fail_reading(load, error);
	last = load->lines;
	load->data_cut = dt_input_is_cut(load->input);
	if (last < 2)
		return 0;
	cut = load->cut;
	load->cut = false;
	error = dt_input_rewind(load->input);
	if (error)
		return dt_log_error(load->log, error, "%s: it cannot be read a second time: %s", load->name, strerror(-error));
	dt_json_restart(load->json);
	dt_snapshot_free(load->snapshot);
	load->snapshot = NULL;
	load->lines = 0;
	error = skip_lines(load, last - 1);
	if (error)
		return fail_reading(load, error);
	error = dt_json_has_line(load->json) ? read_line(load) : 0;
	load->cut |= cut;
	return error;
}

static int read_stream(struct load *load)
{
	int error = 0;

	while (!error && !load->cut && dt_json_has_line(load->json))
		error = read_line(load);
	return error;
}

static int read_number(struct load *load, uint64_t number)
{
	int error = skip_lines(load, number - 1);

	if (error)
		return fail_reading(load, error);
	return !load->cut && dt_json_has_line(load->json) ? read_line(load) : 0;
}

/* Nothing was read, and nothing was wrong with what is there. */
static int fail_empty(const struct load *load, uint64_t number)
{
	const char *s = load->lines == 1 ? "" : "s";

	if (dt_json_error(load->json))
		return fail_reading(load, dt_json_error(load->json));
	if (load->lines)
		return dt_log_error(load->log, -ENODATA, "%s: there is no snapshot %" PRIu64 ": it has %" PRIu64 " whole snapshot%s", load->name,
				    number, load->lines, s);
	if (load->cut)
		return dt_log_error(load->log, -ENODATA, "%s: there is no whole snapshot: its only line has no newline at its end, so whoever "
				    "wrote it was interrupted, or it is no file of domtrace -o", load->name);
	return dt_log_error(load->log, -ENODATA, "%s: there is no snapshot: it is empty", load->name);
}

static void tell_notes(const struct load *load)
{
	if (load->cut)
		dt_log_warning(load->log, "%s: its last line is left out: it has no newline at its end, so whoever wrote it was interrupted",
			       load->name);
	if (load->data_cut || dt_input_is_cut(load->input))
		dt_log_warning(load->log, "%s: the compressed data end in the middle: there may have been more snapshots", load->name);
	if (load->notes.loss[0])
		dt_log_warning(load->log, "%s: it has a loss that this version of domtrace does not know (%s): the tables are incomplete",
			       load->name, load->notes.loss);
	if (load->notes.truncation[0])
		dt_log_warning(load->log, "%s: some tracebacks end early for a reason that this version of domtrace does not know (%s): "
			       "they are shown as lost", load->name, load->notes.truncation);
}

int dt_load_input(struct dt_input *input, const char *name, uint64_t number, const struct dt_log *log,
		  struct dt_snapshot **ret_snapshot)
{
	DT_CLEANUP(close_load) struct load load = { .input = input, .name = name, .log = log };
	bool again;
	int error = dt_json_new(input, &load.json);

	if (error)
		return dt_log_error(log, error, "%s: not enough memory to read it", name);
	again = dt_input_is_seekable(input);
	if (number)
		error = read_number(&load, number);
	else if (again && dt_json_has_line(load.json))
		error = read_last(&load);
	else
		error = read_stream(&load);
	if (!error && !load.snapshot)
		error = fail_empty(&load, number);
	if (error)
		return error;
	tell_notes(&load);
	*ret_snapshot = DT_TAKE(load.snapshot);
	return 0;
}

/* "FILE#3" where there is no file of that whole name. 0: no number. */
static int split_name(const char *name, char **ret_path, uint64_t *ret_number)
{
	const char *mark = strrchr(name, '#');
	char *path;

	*ret_number = 0;
	if (!mark || mark == name || access(name, F_OK) == 0 || dt_parse_u64(mark + 1, 1, UINT64_MAX, ret_number))
		mark = name + strlen(name);
	path = strndup(name, (size_t)(mark - name));
	if (!path)
		return -ENOMEM;
	*ret_path = path;
	return 0;
}

int dt_snapshot_load(const char *name, const struct dt_log *log, struct dt_snapshot **ret_snapshot)
{
	DT_FREE char *path = NULL;
	struct dt_input *input;
	const char *shown;
	uint64_t number;
	int error = split_name(name, &path, &number);

	if (error)
		return dt_log_error(log, error, "%s: not enough memory to read it", name);
	shown = strcmp(path, "-") ? path : "standard input";
	error = dt_input_open(path, &input);
	if (error)
		return dt_log_error(log, error, "%s: it cannot be opened: %s", shown, strerror(-error));
	error = dt_load_input(input, shown, number, log, ret_snapshot);
	dt_input_close(input);
	return error;
}
