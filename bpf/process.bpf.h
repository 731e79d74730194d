/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* process: the image that a thread runs, and its state. */

/* The thread group as userspace knows it. 0: it is not in that namespace. */
static __always_inline __u32 current_tgid(void)
{
	struct bpf_pidns_info info;

	if (!config.pid_namespace_inode)
		return bpf_get_current_pid_tgid() >> 32;
	if (bpf_get_ns_current_pid_tgid(config.pid_namespace_device, config.pid_namespace_inode, &info, sizeof(info)))
		return 0;
	return info.tgid;
}

static __always_inline struct dt_process_state *image_state(__u32 slot)
{
	return &process_states[slot & (DT_PROCESSES_MAX - 1)];
}

/* The segment and the generation of an event that began in an epoch. */
static __always_inline __u64 image_segments(const struct dt_process_state *state, __u64 began)
{
	__u32 generation = *(const volatile __u32 *)&state->generation, segment = DT_EPOCH_SEGMENT(began);

	return DT_SEGMENTS(segment, generation);
}

/* Number of the row with what is known of its program; 0: it is not traced (any more). Read once: the next moment it may be another. */
static __always_inline __u32 image_row(const struct dt_process_state *state)
{
	return *(const volatile __u32 *)&state->row;
}

static __always_inline const struct dt_process *process_row(__u32 row)
{
	return &process_rows[row & (DT_PROCESS_ROWS - 1)];
}

/* What is kept of the current thread; NULL: nothing. */
static __always_inline struct dt_thread *thread_find(void)
{
	return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), NULL, 0);
}

/* The slot of the image that the current thread runs. False: it is not traced. */
static __always_inline bool image_of_thread(struct dt_thread *thread, __u32 *slot)
{
	const __u32 *found;
	__u32 tgid;

	/* Without a row it is not traced any more: an exec that only userspace has noticed. */
	if (thread && thread->image && image_state(thread->slot)->image == thread->image && image_row(image_state(thread->slot))) {
		*slot = thread->slot;
		return true;
	}
	tgid = current_tgid();
	found = bpf_map_lookup_elem(&processes, &tgid);
	if (!found)
		return false;
	*slot = *found;
	if (thread) {
		thread->slot = *slot;
		thread->image = image_state(*slot)->image;
	}
	return true;
}
