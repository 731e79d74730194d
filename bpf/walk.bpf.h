/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * walk: the traceback of an event: one loop whose turns each take one native or one Python frame, outwards.
 *
 * CPython's eval loop is a native function; each call of it (_PyEval_EvalFrameDefault) runs a group of Python frames. Where the
 * native walk comes to one, the group stands for it.
 */

struct scratch_search {
	__u32 slot;                     /* the next one to be tried, or that was claimed */
	__u32 is_claimed;
};

static long scratch_try(__u32 index, void *context)
{
	struct scratch_search *search = context;
	struct dt_scratch *scratch;

	(void)index;
	scratch = bpf_map_lookup_elem(&scratches, &search->slot);
	search->is_claimed = scratch && !atomic_compare_and_swap(&scratch->busy, 0, 1);
	if (!search->is_claimed)
		search->slot = search->slot + 1 < config.scratch_count ? search->slot + 1 : 0;
	return search->is_claimed;
}

/* The first slot, from those of this CPU on, that no program holds: one of this CPU that was preempted, mostly. NULL: all are held. */
static __always_inline struct dt_scratch *scratch_claim(void)
{
	struct scratch_search search = { .slot = bpf_get_smp_processor_id() * DT_SCRATCHES_PER_CPU };

	if (!scratch_try(0, &search))
		bpf_loop(config.scratch_count, scratch_try, &search, 0);
	if (search.is_claimed)
		return bpf_map_lookup_elem(&scratches, &search.slot);
	count_add(DT_COUNTER_scratch_busy);
	return NULL;
}

static __always_inline void scratch_release(struct dt_scratch *scratch)
{
	if (!scratch)
		return;
	/* Who claims it next, on any CPU, must not be overtaken by a write of before: x86 keeps the order of stores, the compiler must. */
	asm volatile("" : : : "memory");
	*(volatile __u32 *)&scratch->busy = 0;
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

enum walk_phase {
	WALK_NATIVE,                    /* to the caller of the native frame */
	WALK_PYTHON,                    /* the Python frames of one call of the eval loop; all, unless they are mixed */
	WALK_REST,                      /* the native walk has ended: what is left of the Python frames */
	WALK_DONE,
};

static __always_inline bool range_holds(const struct dt_address_range *range, __u64 address)
{
	return address - range->start < range->end - range->start;
}

/* Is the native frame a call of the eval loop? */
static __always_inline bool walk_is_eval(const struct dt_process *process, const struct dt_scratch *scratch)
{
	__u64 address = native_address(&scratch->native);

	return range_holds(&process->python.eval[0], address) || range_holds(&process->python.eval[1], address);
}

/* The native walk has come to a frame. */
static __always_inline void walk_arrive(const struct dt_process *process, struct dt_scratch *scratch)
{
	if (scratch->python.frame && config.stack != DT_STACK_NATIVE && walk_is_eval(process, scratch))
		scratch->phase = WALK_PYTHON;
	else
		scratch->native.index = frame_push(scratch, DT_FRAME_NATIVE, scratch->native.pc, scratch->native.how);
}

static __always_inline void walk_native(struct walk *walk)
{
	const struct dt_process *process = walk->process;
	struct dt_scratch *scratch = walk->scratch;
	enum dt_truncation truncation = native_step(process, scratch);

	/* Programs that are not followed from their first moment on have no such. */
	if (truncation == DT_TRUNCATION_unknown_mapping && config.follow && file_find_mapping(walk))
		return;                 /* the same frame again with the next turn */
	if (!truncation && !scratch->native.is_outermost) {
		walk_arrive(process, scratch);
		return;
	}
	scratch->traceback.truncation = truncation;
	scratch->phase = scratch->python.frame ? WALK_REST : WALK_DONE;
	scratch->unplaced_from = scratch->traceback.total_frames;
}

static __always_inline void walk_python(const struct dt_process *process, struct dt_scratch *scratch)
{
	enum python_step step = python_step(process, scratch);
	bool mixed = scratch->phase == WALK_PYTHON && config.stack == DT_STACK_MIXED;

	if (step == PYTHON_MORE)
		return;
	if (step == PYTHON_ENTRY) {
		if (mixed)
			scratch->phase = WALK_NATIVE;
		return;
	}
	scratch->phase = WALK_DONE;
	if (step == PYTHON_FAILED)
		scratch->traceback.truncation = DT_TRUNCATION_python_unreadable;
	else if (mixed)
		scratch->phase = WALK_NATIVE; /* this group has no frame, none of the others will have */
	else if (scratch->traceback.total_frames > scratch->unplaced_from && !scratch->traceback.truncation)
		scratch->traceback.truncation = DT_TRUNCATION_python_unplaced;
}

static long walk_step(__u32 index, void *context)
{
	struct walk *walk = context;

	(void)index;
	if (walk->scratch->phase == WALK_NATIVE)
		walk_native(walk);
	else
		walk_python(walk->process, walk->scratch);
	return walk->scratch->phase == WALK_DONE;
}

/* Walks the stack of an event, in a call that returns to `return_address`, of the image in `slot`, whose program `row` describes. */
static __always_inline void traceback_walk(struct dt_scratch *scratch, __u32 row, __u32 slot,
					   __u64 return_address, __u64 stack, __u64 frame_pointer)
{
	const struct dt_process *process = process_row(row);
	struct dt_traceback_event *traceback = &scratch->traceback;
	struct walk walk = { .process = process, .scratch = scratch };

	traceback->event.type = DT_EVENT_TRACEBACK;
	traceback->event.slot = slot;
	traceback->row = row;
	traceback->total_frames = traceback->frame_count = 0;
	traceback->truncation = DT_TRUNCATION_none;
	traceback->traceback = config.hash_seed;
	scratch->kept[0] = scratch->kept[1] = 0;
	scratch->is_cut = 0;
	scratch->image = image_state(slot)->image;
	scratch->unplaced_from = ~0u;
	native_begin(scratch, return_address, stack, frame_pointer);
	if (config.stack == DT_STACK_NATIVE)
		scratch->python.frame = scratch->python_unread = 0;
	else
		python_begin(process, scratch);
	scratch->phase = scratch->python.frame && config.stack == DT_STACK_PYTHON ? WALK_PYTHON : WALK_NATIVE;
	if (scratch->phase == WALK_NATIVE)
		walk_arrive(process, scratch);
	bpf_loop(DT_FRAMES_WALKED_MAX, walk_step, &walk, 0);
	if (scratch->phase != WALK_DONE)
		traceback->truncation = DT_TRUNCATION_too_deep;
	if (scratch->python_unread && !traceback->truncation)
		traceback->truncation = DT_TRUNCATION_python_unreadable;
	if (traceback->truncation)
		count_add(DT_COUNTER_TRUNCATED + traceback->truncation);
	traceback_number(traceback);
}

/* Sends the traceback in the scratch; its code objects went before. False: the ring buffer is full. */
static __always_inline bool traceback_send(struct dt_scratch *scratch)
{
	struct dt_traceback_event *traceback = &scratch->traceback;
	__u32 count = traceback->frame_count;

	if (count > DT_TRACEBACK_FRAMES_MAX)
		count = DT_TRACEBACK_FRAMES_MAX;
	return bpf_ringbuf_output(&events, traceback, offsetof(struct dt_traceback_event, frames) +
				  count * sizeof(struct dt_frame), 0) == 0;
}
