/* SPDX-License-Identifier: BSD-2-Clause */
#include "session/tracebacks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "session/code.h"
#include "target/call.h"
#include "target/python_lines.h"

/* From the number that the programs gave a traceback to its row in `names`. */
struct known {
	struct {
		uint64_t traceback;
		uint64_t pid;
	} key;
	uint32_t index;
	bool cut;                       /* here, while the program took it for whole and did not count it */
	UT_hash_handle hh;
};

struct dt_tracebacks {
	struct dt_modules *modules;
	struct dt_code *codes;
	struct known *known;
	struct dt_snapshot *names;      /* only its frames and tracebacks are used: equal ones stand there once */
	uint32_t *copied;               /* frame in `names` → frame in the snapshot that is being filled, + 1 */
	size_t copied_count;
};

int dt_tracebacks_new(struct dt_modules *modules, struct dt_tracebacks **ret_tracebacks)
{
	struct dt_tracebacks *tracebacks = calloc(1, sizeof(*tracebacks));
	int error = tracebacks ? dt_snapshot_new(&tracebacks->names) : -ENOMEM;

	if (error) {
		free(tracebacks);
		return error;
	}
	tracebacks->modules = modules;
	*ret_tracebacks = tracebacks;
	return 0;
}

static void remove_known(struct dt_tracebacks *tracebacks, pid_t pid, bool all)
{
	struct known *known, *next;

	HASH_ITER(hh, tracebacks->known, known, next) {
		if (!all && known->key.pid != (uint64_t)pid)
			continue;
		HASH_DEL(tracebacks->known, known);
		free(known);
	}
}

void dt_tracebacks_free(struct dt_tracebacks *tracebacks)
{
	if (!tracebacks)
		return;
	remove_known(tracebacks, 0, true);
	dt_codes_clear(&tracebacks->codes);
	dt_snapshot_free(tracebacks->names);
	free(tracebacks->copied);
	free(tracebacks);
}

void dt_tracebacks_remove_process(struct dt_tracebacks *tracebacks, pid_t pid)
{
	remove_known(tracebacks, pid, false);
	dt_codes_remove_process(&tracebacks->codes, pid);
}

int dt_tracebacks_add_code(struct dt_tracebacks *tracebacks, const struct dt_code_event *event, size_t size)
{
	return dt_codes_add(&tracebacks->codes, event, size);
}

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static void name_python_frame(struct dt_tracebacks *tracebacks, pid_t pid, const struct dt_frame *frame, struct dt_snapshot_frame *row)
{
	const struct dt_code *code = dt_codes_find(tracebacks->codes, pid, frame->where);

	row->kind = DT_FRAME_PYTHON;
	row->file = "<unknown>";        /* as tracemalloc says it */
	if (!code || !code->file)
		return;
	row->file = code->file;
	row->function = code->name;
	row->first_line = code->first_line;
	row->line = dt_python_line_find(code->lines, code->lines_size, code->first_line, frame->instruction);
}

/* The mapping of an address, as the traceback was walked. NULL: no code was known to be mapped there. */
static const struct dt_mapping *find_code(const struct dt_maps *maps, uint64_t address)
{
	const struct dt_mapping *mapping = dt_maps_find(maps, address);

	return mapping && mapping->executable ? mapping : NULL;
}

/* Names the code of a file. *is_call: a call instruction stands before the return address. */
static void name_file_frame(const struct dt_module *module, const struct dt_mapping *mapping, uint64_t return_address,
			    struct dt_snapshot_frame *row, bool *is_call)
{
	uint64_t offset = return_address - mapping->start + mapping->offset, vaddr, from;
	size_t before = DT_CALL_BYTES_MAX, size = 0, length = 0;
	const uint8_t *bytes;

	row->build_id = dt_elf_build_id(module->elf);
	if (dt_elf_offset_to_vaddr(module->elf, offset - 1, &vaddr)) {
		*is_call = false;
		return;
	}
	from = vaddr + 1 - before;
	if (vaddr + 1 >= before && !dt_elf_bytes(module->elf, from, before, &bytes, &size) && size == before)
		length = dt_call_length(bytes, size);
	*is_call = length;
	row->address = offset - (length ? length : 1);
	row->function = dt_symbols_find(module->symbols, vaddr + 1 - (length ? length : 1), &row->function_offset);
}

/* False: nothing that a call could return to. */
static bool name_native_frame(struct dt_tracebacks *tracebacks, struct dt_traced *traced, const struct dt_maps *maps, const struct dt_frame *frame,
			      struct dt_snapshot_frame *row)
{
	const struct dt_mapping *mapping = find_code(maps, frame->where - 1);
	struct dt_module *module = NULL;
	bool is_call = true;

	row->kind = DT_FRAME_NATIVE;
	row->address = frame->where - 1;
	if (!mapping)
		return false;
	row->module = mapping->path;
	if (mapping->inode && !dt_modules_get(tracebacks->modules, traced->pid, mapping, &module)) {
		row->address = frame->where - 1 - mapping->start + mapping->offset;
		if (module->elf)
			name_file_frame(module, mapping, frame->where, row, &is_call);
	}
	return is_call;
}

/*
 * Names the frames of a record, innermost first, into `indexes`; returns how many are right or -ENOMEM. Behind a frame
 * that nobody can have called, the chain of frame pointers was not one.
 */
static int name_frames(struct dt_tracebacks *tracebacks, struct dt_traced *traced, const struct dt_traceback_event *event, uint32_t *indexes)
{
	const struct dt_maps *maps = dt_traced_maps(traced, event->mappings_version);

	for (uint32_t i = 0; i < event->frame_count; i++) {
		const struct dt_frame *frame = &event->frames[i];
		struct dt_snapshot_frame row = { 0 };
		int error;

		if (frame->kind == DT_FRAME_PYTHON)
			name_python_frame(tracebacks, traced->pid, frame, &row);
		else if (!name_native_frame(tracebacks, traced, maps, frame, &row) && i)
			return (int)i;  /* the innermost is the caller by the call itself, not by the chain */
		error = dt_snapshot_add_frame(tracebacks->names, &row, &indexes[i]);
		if (error)
			return error;
	}
	return (int)event->frame_count;
}

static void reverse(uint32_t *indexes, size_t count)
{
	for (size_t i = 0; i < count / 2; i++) {
		uint32_t other = indexes[i];

		indexes[i] = indexes[count - 1 - i];
		indexes[count - 1 - i] = other;
	}
}

int dt_tracebacks_add(struct dt_tracebacks *tracebacks, struct dt_traced *traced,
		      const struct dt_traceback_event *event, size_t size)
{
	uint32_t indexes[DT_TRACEBACK_FRAMES_MAX];
	struct dt_snapshot_traceback row = { .frames = indexes };
	struct known *known, *old;
	int named, error;

	if (size < offsetof(struct dt_traceback_event, frames) || event->frame_count > DT_TRACEBACK_FRAMES_MAX ||
	    size < offsetof(struct dt_traceback_event, frames) + event->frame_count * sizeof(event->frames[0]))
		return -EBADMSG;
	named = name_frames(tracebacks, traced, event, indexes);
	if (named < 0)
		return named;
	row.frame_count = (uint32_t)named;
	row.total_frames = row.frame_count < event->frame_count ? row.frame_count : event->total_frames;
	row.truncation = row.frame_count < event->frame_count ? DT_TRUNCATION_no_frame_pointer : (enum dt_truncation)event->truncation;
	reverse(indexes, row.frame_count);
	known = calloc(1, sizeof(*known));
	if (!known)
		return -ENOMEM;
	known->key.traceback = event->traceback;
	known->key.pid = (uint64_t)traced->pid;
	known->cut = row.truncation && !event->truncation;
	error = dt_snapshot_add_traceback(tracebacks->names, &row, &known->index);
	if (error) {
		free(known);
		return error;
	}
	HASH_REPLACE(hh, tracebacks->known, key, sizeof(known->key), known, old);
	free(old);
	return 0;
}

/* ---- into a snapshot --------------------------------------------------------------------------------------------- */

int dt_tracebacks_begin(struct dt_tracebacks *tracebacks)
{
	size_t count = tracebacks->names->frame_count;
	uint32_t *copied = calloc(count + 1, sizeof(*copied));

	if (!copied)
		return -ENOMEM;
	free(tracebacks->copied);
	tracebacks->copied = copied;
	tracebacks->copied_count = count;
	return 0;
}

static int copy_frame(struct dt_tracebacks *tracebacks, uint32_t frame, struct dt_snapshot *to, uint32_t *ret_index)
{
	int error;

	if (frame >= tracebacks->copied_count)
		return -ERANGE;         /* not begun since it was added */
	if (!tracebacks->copied[frame]) {
		error = dt_snapshot_add_frame(to, &tracebacks->names->frames[frame], ret_index);
		if (error)
			return error;
		tracebacks->copied[frame] = *ret_index + 1;
	}
	*ret_index = tracebacks->copied[frame] - 1;
	return 0;
}

int dt_tracebacks_copy(struct dt_tracebacks *tracebacks, pid_t pid, uint64_t traceback, struct dt_snapshot *to,
		       uint32_t *ret_index, bool *ret_cut)
{
	struct known *known, probe = { .key = { traceback, (uint64_t)pid } };
	struct dt_snapshot_traceback row = { .truncation = DT_TRUNCATION_lost };
	uint32_t indexes[DT_TRACEBACK_FRAMES_MAX];
	int error;

	HASH_FIND(hh, tracebacks->known, &probe.key, sizeof(probe.key), known);
	if (known)
		row = tracebacks->names->tracebacks[known->index];
	for (uint32_t i = 0; i < row.frame_count; i++) {
		error = copy_frame(tracebacks, row.frames[i], to, &indexes[i]);
		if (error)
			return error;
	}
	row.frames = indexes;
	*ret_cut = known && known->cut;
	return dt_snapshot_add_traceback(to, &row, ret_index);
}
