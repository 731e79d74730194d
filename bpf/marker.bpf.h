/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * marker: a line of a program that wants a snapshot of what there is when a thread comes to it.
 *
 * The thread turns the epoch, which makes the tables those of that line, and stays until they have been read: what is not in the tables
 * (the process's memory, the addresses of blocks) is then of that line, too, as far as its other threads let it. Nothing stops
 * those, and no tracer is needed: a program that a debugger has is served like any other.
 */

/*
 * A thread waits for the right to turn, and then until all has been read: for each as long as userspace shows life from time to time, but
 * not for ever. When a thread has waited in vain, nobody waits any more until userspace shows life again.
 */
#define MARKER_LIFE_NS 5000000000ull    /* from one sign of life to the next, or to the end of the wait */
#define MARKER_WAIT_NS 20000000000ull

enum marker_what {
	MARKER_TURN,                    /* the right to turn */
	MARKER_READ,                    /* the tables have been read */
};

enum marker_state {
	MARKER_WAITS,
	MARKER_HAS,                     /* what it waits for */
	MARKER_GIVES_UP,
};

static __always_inline bool marker_has(const struct marker_wait *wait)
{
	if (wait->what == MARKER_TURN)
		return atomic_compare_and_swap(&turn, DT_TURN_FREE, DT_TURN_MARKER) == DT_TURN_FREE;
	return (__s32)(markers_read - wait->number) >= 0;
}

/* The image may have been replaced in its slot, or given up; a clear is none of that. */
static __always_inline bool marker_is_wanted(const struct marker_wait *wait)
{
	const struct dt_process_state *state = image_state(wait->slot);

	return !markers_closed && *(const volatile __u32 *)&state->image == wait->image && image_row(state);
}

/* Userspace shows life only while it works: what it did before it had anything to do with this thread says nothing. */
static __always_inline bool marker_is_in_vain(const struct marker_wait *wait)
{
	__u64 life_ns = markers_life_ns, now_ns = bpf_ktime_get_ns(), begun_ns = wait->begun_ns;

	if (life_ns && life_ns == markers_dead_ns)
		return true;
	if (now_ns <= begun_ns + MARKER_WAIT_NS && now_ns <= (life_ns > begun_ns ? life_ns : begun_ns) + MARKER_LIFE_NS)
		return false;
	markers_dead_ns = life_ns;
	return true;
}

/*
 * One look, and then a read of memory that it has, through which the kernel gives the processor away where somebody wants it, and which
 * fails when the thread is being killed (mm/gup.c, __get_user_pages(): cond_resched(), fatal_signal_pending()).
 */
static long marker_wait_step(__u32 index, void *context)
{
	struct marker_wait *wait = *(struct marker_wait **)context; /* the context itself must be of the stack */
	char byte;

	(void)index;
	if (marker_has(wait))
		wait->state = MARKER_HAS;
	else if (!marker_is_wanted(wait) || marker_is_in_vain(wait) ||
		 bpf_copy_from_user_task(&byte, sizeof(byte), (const void *)(unsigned long)wait->readable, bpf_get_current_task_btf(), 0))
		wait->state = MARKER_GIVES_UP;
	return wait->state != MARKER_WAITS;
}

#define MARKER_STEPS (1u << 23)         /* what the kernel allows at once (BPF_MAX_LOOPS): some seconds, as a step takes a microsecond */
#define MARKER_TIMES 8                  /* that often: more than a thread waits */

/* False: it was not to be had in time, or the thread is not traced any more, or is being killed. */
static __always_inline bool marker_wait_for(struct marker_wait *wait, enum marker_what what)
{
	wait->what = what;
	wait->state = MARKER_WAITS;
	wait->begun_ns = bpf_ktime_get_ns();
	for (int i = 0; i < MARKER_TIMES && wait->state == MARKER_WAITS; i++)
		bpf_loop(MARKER_STEPS, marker_wait_step, &wait, 0);
	return wait->state == MARKER_HAS;
}

/* A label that cannot be read is empty. Its page may be of a file and not be there yet: so one byte is read as the program would. */
static __always_inline void marker_read_label(struct marker_wait *wait, __u64 place, __u64 address)
{
	char byte;

	wait->place = place;
	wait->label[0] = 0;
	if (place != DT_MARKER_DECLARED)
		return;
	if (config.awaits_pages) {
		bpf_copy_from_user(&byte, sizeof(byte), (const void *)(unsigned long)address);
		bpf_copy_from_user(&byte, sizeof(byte), (const void *)(unsigned long)(address + DT_MARKER_LABEL_BYTES - 1));
	}
	if (bpf_probe_read_user_str(wait->label, sizeof(wait->label), (const void *)(unsigned long)address) < 0)
		wait->label[0] = 0;
}

/* The current thread holds the right to turn. From the turn on, what happens is behind the line. */
static __always_inline void marker_turn(struct marker_wait *wait)
{
	struct dt_event event = { .type = DT_EVENT_MARKER, .slot = wait->slot };
	__u64 before = epoch;

	marker.slot = wait->slot;
	marker.place = wait->place;
	__builtin_memcpy(marker.label, wait->label, sizeof(marker.label));
	if (config.blocks_are_read) {   /* which of them userspace knows: until it says so all that die are kept */
		marker.kept_before = reading_kept;
		marker.lost_before = reading_lost;
		reading = DT_SPAN(~0u, DT_EPOCH_SEGMENT(before));
	}
	/* Forks may step it meanwhile, but nobody else changes the half. */
	before = atomic_fetch_and_add(&epoch, DT_EPOCH_TURN(before));
	marker.turned_ns = bpf_ktime_get_ns();
	marker.segment = DT_EPOCH_SEGMENT(before);
	wait->number = marker.number + 1; /* nobody else changes it */
	atomic_add(&marker.number, 1);
	/* When it is lost there are others, behind which it is found. */
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
}
