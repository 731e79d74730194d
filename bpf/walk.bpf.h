/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* walk: the traceback of an event: the Python frames where the thread runs Python, the native ones otherwise. */

/* The first slot that no preempted program of this CPU holds; NULL: all are held. */
static __always_inline struct dt_scratch *scratch_claim(void)
{
	for (__u32 slot = 0; slot < SCRATCH_SLOTS; slot++) {
		__u32 key = slot;
		struct dt_scratch *scratch = bpf_map_lookup_elem(&scratches, &key);

		if (scratch && !__sync_val_compare_and_swap(&scratch->busy, 0, 1))
			return scratch;
	}
	count_add(DT_COUNTER_scratch_busy);
	return NULL;
}

static __always_inline void scratch_release(struct dt_scratch *scratch)
{
	if (scratch)
		scratch->busy = 0;
}

/*
 * Numbers the traceback in the scratch, whose frames have been mixed into it one by one. 64 bits, seeded with a random
 * number per run: of a million different tracebacks any two share a number with a probability of 3e-8 (10^12 / 2 pairs
 * / 2^64).
 */
static __always_inline void traceback_number(struct dt_traceback_event *traceback)
{
	__u64 number = hash_mix(traceback->traceback, (__u64)traceback->truncation << 32 | traceback->total_frames);

	traceback->traceback = number < DT_TRACEBACK_FIRST ? DT_TRACEBACK_FIRST : number;
}

/* Walks the stack of an event in a call that returns to `return_address`. */
static __always_inline void traceback_walk(struct dt_scratch *scratch, const struct dt_process *process, __u32 tgid,
					   __u64 return_address, __u64 stack, __u64 frame_pointer)
{
	struct dt_traceback_event *traceback = &scratch->traceback;

	traceback->event.type = DT_EVENT_TRACEBACK;
	traceback->event.tgid = tgid;
	/* Counted there, not in a variable: what is read from a map is unknown to the verifier, so that its loops converge. */
	traceback->total_frames = 0;
	traceback->traceback = config.hash_seed;
	if (!python_walk(process, scratch))
		native_walk(scratch, return_address, stack, frame_pointer);
	traceback->frame_count = traceback->total_frames;
	if (traceback->frame_count > config.frame_limit)
		traceback->frame_count = config.frame_limit;
	if (traceback->truncation)
		count_add(DT_COUNTER_truncated_tracebacks);
	traceback_number(traceback);
}

/* Sends the traceback in the scratch, the code objects that it names first. False: the ring buffer is full. */
static __always_inline bool traceback_send(struct dt_scratch *scratch, const struct dt_process *process)
{
	struct python_send send = { .process = process, .scratch = scratch };
	struct dt_traceback_event *traceback = &scratch->traceback;
	__u32 count = traceback->frame_count;

	if (count > DT_FRAMES_MAX)
		count = DT_FRAMES_MAX;
	if (process && traceback->frames[0].kind == DT_FRAME_PYTHON)
		bpf_loop(count, python_send_step, &send, 0);
	return bpf_ringbuf_output(&events, traceback, offsetof(struct dt_traceback_event, frames) +
				  count * sizeof(struct dt_frame), 0) == 0;
}
