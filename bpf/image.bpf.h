/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * image: images begin with fork or exec and end with exec or exit. The programs make and end them themselves, so that not one
 * event is missed until userspace has heard of it; userspace adds what it finds out of them, and empties the slots.
 */

static __always_inline void image_tell(__u32 slot)
{
	struct dt_event event = { .type = DT_EVENT_IMAGE, .slot = slot };

	/* That there is news is all it says: when it is lost, whatever comes next says it, too. */
	atomic_add(&image_news, 1);
	bpf_ringbuf_output(&events, &event, sizeof(event), 0);
}

/* Takes a slot for a new image, all zero but for what all have. NULL: there is none. */
static __always_inline struct dt_process_state *image_new(__u32 tgid, __u32 *slot)
{
	struct dt_process_state *state;

	if (bpf_map_pop_elem(&free_slots, slot)) {
		count_add(DT_COUNTER_processes_full);
		return NULL;
	}
	state = image_state(*slot);
	__builtin_memset(state, 0, sizeof(*state));
	state->tgid = tgid;
	state->row = DT_PROCESS_ROW_NEW;
	state->generation = 1;
	state->started_ns = bpf_ktime_get_ns();
	return state;
}

/* From now on its events are booked. */
static __always_inline bool image_show(struct dt_process_state *state, __u32 tgid, __u32 slot)
{
	state->phase = DT_IMAGE_RUNS;
	state->image = (__u32)atomic_fetch_and_add(&image_count, 1) + 1;
	if (!bpf_map_update_elem(&processes, &tgid, &slot, BPF_ANY))
		return true;
	count_add(DT_COUNTER_processes_full);
	state->phase = DT_IMAGE_ENDED;
	return false;
}

/* Steps the clock; returns the segment that has ended, and the generation. */
static __always_inline __u64 image_step(const struct dt_process_state *state)
{
	__u64 before = atomic_fetch_and_add(&epoch, DT_EPOCH_STEP), segments = image_segments(state, before);

	/* A clear goes on, which steps the clock behind its generation: what comes from now on must be behind the fork. */
	if (DT_SEGMENTS_NOW(segments) != DT_EPOCH_SEGMENT(before))
		atomic_add(&epoch, DT_EPOCH_STEP * (DT_SEGMENTS_NOW(segments) - DT_EPOCH_SEGMENT(before)));
	return segments;
}

#define FORK_TRIES 8

/* The segment of a fork that was under way is known. Should that not be noted in time, rows stay for longer than they must. */
static __always_inline void image_note_fork(struct dt_process_state *parent, __u32 segment)
{
	__u64 forks = *(volatile __u64 *)&parent->forks;

	for (int i = 0; i < FORK_TRIES; i++) {
		__u32 last = DT_FORKS_LAST(forks) > segment ? DT_FORKS_LAST(forks) : segment;
		__u64 noted = (((forks >> 32) - 1) << 32) | last, seen = atomic_compare_and_swap(&parent->forks, forks, noted);

		if (seen == forks)
			return;
		forks = seen;
	}
}

/* A fork: the heir has the blocks of its parent, and what is known of its code. */
static __always_inline void image_inherit(struct dt_process_state *heir, __u32 slot)
{
	struct dt_process_state *parent = image_state(slot);
	__u64 segments;

	/* In this order: whoever sees the new segment also sees that there is an heir of the one before. */
	atomic_add(&parent->forks, DT_FORKS_ONE_UNDER_WAY);
	atomic_add(&parent->heirs, 1);
	segments = image_step(parent);
	image_note_fork(parent, DT_SEGMENTS_NOW(segments));
	heir->parent = slot;
	heir->parent_segment = DT_SEGMENTS_NOW(segments);
	heir->parent_generation = DT_SEGMENTS_GENERATION(segments);
	heir->ppid = parent->tgid;
	heir->row = parent->row;
	heir->removals = parent->removals;
	__builtin_memcpy(heir->comm, parent->comm, sizeof(heir->comm));
	/* What its parent had before a clear it has not inherited. */
	heir->ancestors = heir->parent_generation > 1 ? 1 : parent->ancestors + 1;
	if (heir->ancestors > DT_ANCESTORS_MAX)
		count_add(DT_COUNTER_ancestors_lost);
}

static __always_inline bool choice_has_comm(void)
{
	char comm[DT_COMM_BYTES] = "";

	if (bpf_get_current_comm(comm, sizeof(comm)))
		return false;
	for (int i = 0; i < DT_COMM_BYTES; i++) {
		if (comm[i] != config.choice.comm[i])
			return false;
		if (!comm[i])
			break;
	}
	return true;
}

static __always_inline bool choice_has_file(const struct task_struct *task)
{
	const struct inode *inode = task->mm && task->mm->exe_file ? task->mm->exe_file->f_inode : NULL;

	return inode && inode->i_ino == config.choice.file_inode && inode->i_sb->s_dev == config.choice.file_device;
}

/* Is the program that the current thread has just begun one of those that are to be traced? */
static __always_inline bool image_is_chosen(const struct task_struct *task, __u32 tgid)
{
	__u32 by = config.choice.by;

	if (config.follow != DT_FOLLOW_ALL || tgid == config.choice.own_tgid || !tgid)
		return false;
	return (!(by & DT_CHOICE_COMM) || choice_has_comm()) &&
	       (!(by & DT_CHOICE_UID) || (__u32)bpf_get_current_uid_gid() == config.choice.uid) &&
	       (!(by & DT_CHOICE_CGROUP) ||
		bpf_get_current_ancestor_cgroup_id(config.choice.cgroup_level) == config.choice.cgroup) &&
	       (!(by & DT_CHOICE_FILE) || choice_has_file(task));
}

/*
 * An image that is replaced is in no snapshot any more. Unless another one looks through it, it need not keep its parent's past: shells
 * and build tools fork for each program that they begin.
 */
static __always_inline void image_disinherit(__u32 tgid, __u32 slot)
{
	struct dt_process_state *state = image_state(slot);

	if (state->tgid != tgid || !state->parent_segment || state->heirs || state->sharers)
		return;
	state->parent_segment = 0;
	atomic_add(&image_state(state->parent)->heirs, -1);
}

/* The image in a slot ends; a process that shared it (vfork) does not end it. */
static __always_inline void image_end(__u32 tgid, __u32 slot, enum dt_image_phase phase)
{
	struct dt_process_state *state = image_state(slot);

	if (state->tgid == tgid)
		state->phase = phase;
	else
		atomic_add(&state->sharers, -1);
	image_tell(slot);
}
