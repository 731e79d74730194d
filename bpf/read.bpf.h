/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* read: words of the target's memory. Without faulting in: stacks and live frames are resident. */

static __always_inline bool read_bytes(void *to, __u32 size, __u64 address)
{
	return bpf_probe_read_user(to, size, (const void *)(unsigned long)address) == 0;
}

static __always_inline bool read_u64(__u64 address, __u64 *to)
{
	return read_bytes(to, sizeof(*to), address);
}
