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

/* The thread group that a first thread is of, as userspace knows it. 0: it is not in that namespace. */
static __always_inline __u32 image_tgid(const struct task_struct *task)
{
	const struct upid *numbers;
	struct upid upid;
	__u32 inode;

	if (!config.pid_namespace_inode)
		return task->tgid;
	numbers = &task->thread_pid->numbers[0];
	for (__u32 level = 0; level < PID_NAMESPACE_LEVELS_MAX; level++) {
		if (bpf_probe_read_kernel(&upid, sizeof(upid), numbers + level) ||
		    bpf_probe_read_kernel(&inode, sizeof(inode), &upid.ns->ns.inum))
			break;
		if (inode == (__u32)config.pid_namespace_inode)
			return upid.nr;
		if (level == task->thread_pid->level)
			break;
	}
	return 0;
}

/*
 * A child of vfork() runs in the memory of the process that made it, until it begins a program: what it does there is booked with that
 * one. Where forks are followed it is known already (process_fork). 0: the current thread is no such child. To the verifier a function of
 * its own, which it proves once.
 */
__noinline __u32 lender_tgid(void)
{
	const struct task_struct *task = bpf_get_current_task_btf(), *maker = task->real_parent;

	return task->mm && maker->mm == task->mm ? image_tgid(maker->group_leader) : 0;
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

extern void bpf_preempt_disable(void) __ksym __weak;
extern void bpf_preempt_enable(void) __ksym __weak;

/*
 * The kernel serves one request for task storage of a CPU at a time, and refuses others (kernel/bpf/bpf_task_storage.c:
 * bpf_task_storage_trylock()); from 6.2 on only those that make some (kernel e8b02296a6b8 "bpf: Avoid taking spinlock in
 * bpf_task_storage_get if potential deadlock is detected"). A thread that is preempted within one makes it refuse all others of the CPU
 * until it runs again. So it is not preempted there, where programs can ask for that: from 6.10 on (kernel fc7566ad0a82 "bpf: Introduce
 * bpf_preempt_[disable,enable] kfuncs"). Before, where a kernel preempts itself (preempt=full), calls are missed and counted: as
 * calls_full, and, where a return finds nothing (6.1), by the thread's next entry as calls_abandoned. A return of operator new that finds
 * nothing is not counted: of a later entry it looks like one that threw.
 */
#define thread_storage(map, flags) \
	({ \
		void *_found; \
		if (config.defers_preemption) \
			bpf_preempt_disable(); \
		_found = bpf_task_storage_get(map, bpf_get_current_task_btf(), NULL, flags); \
		if (config.defers_preemption) \
			bpf_preempt_enable(); \
		_found; \
	})

/* What is kept of the current thread; NULL: nothing. */
static __always_inline struct dt_thread *thread_find(void)
{
	return thread_storage(&threads, 0);
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
	if (!found && config.follow == DT_FOLLOW_NONE) {
		tgid = lender_tgid();
		found = bpf_map_lookup_elem(&processes, &tgid);
	}
	if (!found)
		return false;
	*slot = *found;
	if (thread) {
		thread->slot = *slot;
		thread->image = image_state(*slot)->image;
	}
	return true;
}
