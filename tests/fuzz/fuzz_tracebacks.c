/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Records of tracebacks, whose addresses are whatever stands on a stack: how many frames are told, how many bytes the record lacks,
 * then eight bytes a frame. They go into a snapshot, unnamed: names are for fuzz_names.
 */
#include "fuzz.h"

#include <errno.h>

#include "session/tracebacks.h"

static const char maps_text[] = "10000-20000 r-xp 00000000 00:00 0 \n20000-30000 rw-p 00000000 00:00 0 \n"
			   "fffffffff0000-fffffffffffff000 r-xp 00000000 00:00 0 [anon:code]\n";

static struct dt_traceback_event *make_event(struct fuzz_bytes *bytes, uint32_t told, size_t have)
{
	struct dt_traceback_event *event = calloc(1, offsetof(struct dt_traceback_event, frames) + have * sizeof(event->frames[0]));

	FUZZ_EXPECT(event);
	event->event = (struct dt_event){ DT_EVENT_TRACEBACK, 3 };
	event->traceback = 4711;
	event->frame_count = told;
	event->total_frames = told;
	event->truncation = told % DT_TRUNCATION_lost;
	event->row = told & 1;
	for (size_t i = 0; i < have; i++) {
		uint64_t kind = fuzz_number(bytes, 1), shift = fuzz_number(bytes, 1) % 49;

		event->frames[i].kind = kind & 1;
		event->frames[i].where = fuzz_number(bytes, 2) << shift;
		event->frames[i].instruction = (uint32_t)fuzz_number(bytes, 4);
	}
	return event;
}

static void copy(struct dt_tracebacks *tracebacks, uint32_t told)
{
	struct dt_snapshot *snapshot;
	uint32_t index;
	bool cut;

	FUZZ_EXPECT(!dt_snapshot_new(&snapshot));
	FUZZ_EXPECT(!dt_tracebacks_begin(tracebacks));
	FUZZ_EXPECT(!dt_tracebacks_copy(tracebacks, 17, 4711, snapshot, &index, &cut));
	FUZZ_EXPECT(index < snapshot->traceback_count && snapshot->tracebacks[index].frame_count <= told);
	for (uint32_t i = 0; i < snapshot->tracebacks[index].frame_count; i++)
		FUZZ_EXPECT(snapshot->tracebacks[index].frames[i] < snapshot->frame_count);
	dt_snapshot_free(snapshot);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_bytes bytes = { data, size };
	uint32_t told = (uint32_t)fuzz_number(&bytes, 2) % (DT_TRACEBACK_FRAMES_MAX + 3);
	size_t have = bytes.size / 8 < DT_TRACEBACK_FRAMES_MAX ? bytes.size / 8 : DT_TRACEBACK_FRAMES_MAX;
	struct dt_traceback_event *event = make_event(&bytes, told, have);
	struct dt_traced *traced = dt_traced_new(getpid(), -1);
	struct dt_maps maps = { 0 };
	struct dt_modules modules = { 0 };
	struct dt_resolve_opts opts = { .modules = &modules };
	struct dt_tracebacks *tracebacks;
	int error;

	FUZZ_EXPECT(traced && !dt_maps_parse(maps_text, sizeof(maps_text) - 1, &maps));
	traced->image = 17;
	FUZZ_EXPECT(!dt_tracebacks_new(&opts, &tracebacks));
	error = dt_tracebacks_add(tracebacks, traced, &maps, event, offsetof(struct dt_traceback_event, frames) + have * sizeof(event->frames[0]));
	FUZZ_EXPECT(error == (told <= have && told <= DT_TRACEBACK_FRAMES_MAX ? 0 : -EBADMSG));
	copy(tracebacks, told);
	dt_tracebacks_free(tracebacks);
	dt_traced_free(traced);
	dt_maps_clear(&maps);
	dt_modules_clear(&modules);
	free(event);
	return 0;
}
