/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* process: the traced processes, by their ids. */

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

/* The process of a slot; NULL: it is not traced any more. The row is read once: the next moment it may be another one. */
static __always_inline const struct dt_process *process_in_slot(__u32 slot)
{
	__u32 row = *(volatile __u32 *)&process_states[slot & (DT_PROCESSES_MAX - 1)].row;

	return row ? &process_rows[row & (DT_PROCESS_ROWS - 1)] : NULL;
}

/* NULL: it is not traced. */
static __always_inline const struct dt_process *process_find(__u32 tgid)
{
	const __u32 *slot = bpf_map_lookup_elem(&processes, &tgid);

	return slot ? process_in_slot(*slot) : NULL;
}
