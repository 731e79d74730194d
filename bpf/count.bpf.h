/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* count: the counters of counters.def. Per CPU, yet atomic: a program may be preempted between load and store. */

static __always_inline void count_add(enum dt_counter counter)
{
	__u32 key = counter;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		atomic_add(value, 1);
}
